"""A store in memory: the protocol at its plainest, for tests and for processes that are simulated.

Everybody who is to share has the same object. It loses nothing, so its generations and fences count from 1.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .contended_lock import SharedLock
from .record import EndpointRecord, Key, RecordStore, Transaction


class MemoryStore(RecordStore):
    """A ``Store`` that its sharers hold in common.

    Arguments:
        clock: seconds, never backwards; virtual ones in a simulation.
        carries_tokens: whether it keeps tokens.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, carries_tokens: bool = False) -> None:
        self.carries_tokens = carries_tokens
        self._clock = clock
        self._lock = SharedLock(patience=60.0)  # guards _endpoint and _keys
        self._endpoint = EndpointRecord()
        self._keys = _KeysInMemory()

    @contextmanager
    def _reading(self) -> Iterator[tuple[float, EndpointRecord]]:
        with self._lock:
            yield self._clock(), self._endpoint

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        with self._lock:
            yield Transaction(self._clock(), self._endpoint, self._keys)


class _KeysInMemory:
    """One record for each API key that was ever exchanged."""

    def __init__(self) -> None:
        self._known: dict[str, Key] = {}
        self._claims: defaultdict[str, set[str]] = defaultdict(set)  # an owner's; some of them may be over

    def get(self, name: str) -> Key:
        return self._known.get(name, Key())

    def put(self, name: str, key: Key) -> None:
        self._known[name] = key
        if key.owner is not None:
            self._claims[key.owner].add(name)

    def free(self, owner: str) -> None:
        for name in self._claims.pop(owner, ()):
            self._known[name].end_claim(owner)

    def denied(self, now: float) -> int:
        return sum(now < key.denied_until for key in self._known.values())

    def clear_denials(self) -> None:
        for key in self._known.values():
            key.denied_until = 0.0
