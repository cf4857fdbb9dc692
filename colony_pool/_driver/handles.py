"""The handles of a pool, one for each key: kept while they are of use, known while somebody holds them.

A process that makes a handle for each key that its users send would else keep every one of them for its whole life.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

_SWEEP_AT = 256


class Handles(Generic[T]):
    """Handles by key. Any thread may use it.

    Arguments:
        of_use: says whether a handle that nobody holds has to stay.
    """

    def __init__(self, of_use: Callable[[T], bool]) -> None:
        self._of_use = of_use
        self._kept: dict[str, T] = {}
        self._known: WeakValueDictionary[str, T] = WeakValueDictionary()
        self._sweep_at = _SWEEP_AT  # when so many are kept, those that are of no use are let go

    def get(self, key: str) -> T | None:
        """The handle of ``key``, if there is one."""
        return self._kept.get(key) or self._known.get(key)

    def keep(self, key: str, handle: T) -> T:
        """Keep ``handle``, or the one that ``key`` has already; return which."""
        if len(self._kept) >= self._sweep_at:
            self._sweep()
        kept = self._kept.setdefault(key, self._known.get(key) or handle)
        self._known[key] = kept
        return kept

    def forget(self, key: str) -> bool:
        """Let go of the handle of ``key``; False if there is none."""
        known = self._known.pop(key, None)
        return self._kept.pop(key, known) is not None

    def __getitem__(self, key: str) -> T:
        """The handle of ``key``; ``KeyError`` without one, which does not say the key."""
        handle = self.get(key)
        if handle is None:
            raise KeyError("no handle of this key")
        return handle

    def __len__(self) -> int:
        """How many there are."""
        return len(self.all())

    def all(self) -> list[T]:
        """Those that there are."""
        if len(self._kept) == len(self._known):  # as a rule; and this is much faster
            return list(self._kept.values())
        return [handle for reference in self._known.valuerefs() if (handle := reference()) is not None]

    def _sweep(self) -> None:
        for key, handle in list(self._kept.items()):
            if not self._of_use(handle):
                self._kept.pop(key, None)
        self._sweep_at = max(_SWEEP_AT, 2 * len(self._kept))
