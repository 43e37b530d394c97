"""Whose turn it is: clients one after the other, the runs of each as they came."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """A bounded queue that is fair to clients, however many runs each of them has.

    >>> turns = Turns(max_items=3, max_clients=2)
    >>> for client, item in [("a", 1), ("a", 2), ("b", 3)]:
    ...     turns.add(client, item)
    >>> [turns.next(lambda item: True) for _ in range(3)]
    [1, 3, 1]
    >>> turns.n_ahead(2)
    2
    >>> turns.objection("b")
    '3 runs are under way or wait, which is all that the machine takes; try again later'
    """

    def __init__(self, max_items: int, max_clients: int) -> None:
        """Start empty.

        Args:
            max_items: Items in the queue at most, at least 1.
            max_clients: Clients with items at most, at least 1.
        """
        self._max_items = max_items
        self._max_clients = max_clients
        self._by_client: OrderedDict[Hashable, deque[Item]] = OrderedDict()
        self._n_items = 0

    def __len__(self) -> int:
        return self._n_items

    def objection(self, client: Hashable) -> str | None:
        """Why an item of this client has no place now; None where it has."""
        if self._n_items >= self._max_items:
            return (
                f"{self._n_items} runs are under way or wait, which is all that the machine takes; "
                "try again later"
            )
        if client not in self._by_client and len(self._by_client) >= self._max_clients:
            return (
                f"{len(self._by_client)} clients have runs, which is all that the machine takes; "
                "try again later"
            )
        return None

    def add(self, client: Hashable, item: Item) -> None:
        """Put an item behind the others of its client."""
        self._by_client.setdefault(client, deque()).append(item)
        self._n_items += 1

    def remove(self, client: Hashable, item: Item) -> None:
        """Take an item out, where it is still there."""
        items = self._by_client.get(client)
        if items is None or item not in items:
            return
        items.remove(item)
        self._n_items -= 1
        if not items:
            del self._by_client[client]

    def next(self, is_ready: Callable[[Item], bool]) -> Item | None:
        """Choose who is next, and put his client behind the others.

        Args:
            is_ready: Whether an item can use its turn.

        Returns:
            The first item that is ready, of the client who has waited longest among those with one;
            None where none is ready.
        """
        for client, items in self._by_client.items():
            for item in items:
                if is_ready(item):
                    self._by_client.move_to_end(client)
                    return item
        return None

    def n_ahead(self, item: Item) -> int:
        """Items that come before this one: of other clients whose turn it is, and of its own."""
        for place, items in enumerate(self._by_client.values()):
            if item in items:
                return place + items.index(item)
        return 0

    def __iter__(self) -> Iterator[Item]:
        for items in self._by_client.values():
            yield from items
