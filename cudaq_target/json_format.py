"""What our JSON formats share: a name and a version inside, and errors that say what is wrong."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """A format of texts that this package writes and reads.

    Attributes:
        noun: What a text holds, for messages.
        name: The `format` inside.
        version: The `version` inside that is written, and the only one that is read.
        remedy: How one comes by such a text, for messages.
        renewal: What helps where the version is another one, for messages.
    """

    noun: str
    name: str
    version: int
    remedy: str
    renewal: str

    @property
    def head(self) -> dict[str, Any]:
        """The entries that every text of the format begins with."""
        return {"format": self.name, "version": self.version}

    def content(self, text: str) -> dict[str, Any]:
        """Read a text as far as its format and version.

        Raises:
            OptionError: It is no JSON, or of another format or version.

        >>> JsonFormat("song", "our songs", 1, "Sing.", "Sing anew.").content('{"format": "hymns"}')
        Traceback (most recent call last):
        cudaq_target.errors.OptionError: song: JSON of another kind (format 'hymns'). Sing.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise OptionError(self.noun, f"no JSON ({error})", self.remedy) from error
        found = content.get("format") if isinstance(content, dict) else None
        if not isinstance(content, dict) or found != self.name:
            raise OptionError(self.noun, f"JSON of another kind (format {found!r})", self.remedy)
        version = content.get("version")
        if version != self.version:
            raise OptionError(
                self.noun,
                f"format version {version!r} is not known, this package reads version "
                f"{self.version}",
                self.renewal,
            )
        return content

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let what a block trips over, in a content of this format, be an error of ours.

        Raises:
            OptionError: An entry is missing, or not what it should be.
        """
        try:
            yield
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise OptionError(
                self.noun, f"the JSON is damaged ({type(error).__name__}: {error})", self.remedy
            ) from error
