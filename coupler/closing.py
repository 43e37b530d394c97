"""Things that end with a block, or with its failure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self


class Closing(ABC):
    """A context manager that is closed at the end of its block, whatever happens in it."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def closed_on_failure(close: Callable[[], object]) -> Iterator[None]:
    """Give back what was opened where a block does not come to its end, interrupted or failed.

    Args:
        close: What to call then, before the error goes on.
    """
    try:
        yield
    except BaseException:  # Ctrl-C, too, must leave nothing open
        close()
        raise
