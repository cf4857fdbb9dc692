"""Things that are known and not kept alive, known to one thread and looked at by others.

``WeakSet`` is no such thing: to look at it while another thread adds something raises ``RuntimeError``, at that of a
scrape, or of a ``close`` that then closes nothing. To list what a ``WeakKeyDictionary`` refers to is one step.
"""

from __future__ import annotations

from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class ThreadSafeWeakSet(Generic[T]):
    """A set of weak references."""

    def __init__(self) -> None:
        self._things: WeakKeyDictionary[T, None] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._things)

    def add(self, thing: T) -> None:
        """Know ``thing`` for as long as somebody else keeps it."""
        self._things[thing] = None

    def discard(self, thing: T) -> None:
        """Forget it."""
        self._things.pop(thing, None)

    def all(self) -> list[T]:
        """Those that there are."""
        return [thing for reference in self._things.keyrefs() if (thing := reference()) is not None]
