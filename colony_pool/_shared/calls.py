"""Calls of a store: one after the other in a native thread, and nobody waits for one longer than ``PATIENCE``.

A store may block for as long as it likes; only its own thread stands still. A call that is not answered in time is
given up, and if it has not begun by then it never will. After a failure the store is left alone for a second, then
two, up to half a minute, and whoever asks meanwhile is told at once.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .._core.catalog import STORE_FAILURES, STORES
from .._runtime.protocol import Runtime
from .store import Store, StoreUnavailable

log = logging.getLogger("colony_pool")

PATIENCE = 0.2  # seconds that anybody waits for a store
_REST, _REST_MAX = 1.0, 30.0
_, UNKNOWN, WORKING, UNAVAILABLE = STORES
SLOW, FAILED = STORE_FAILURES

T = TypeVar("T")


class Health:
    """Whether the store works, as far as is known: one line in the log when it breaks, one when it is back."""

    def __init__(self, pool: str, runtime: Runtime) -> None:
        self.state = UNKNOWN
        self.failures = {SLOW: 0, FAILED: 0}
        self._pool = pool
        self._runtime = runtime
        self._rest = _REST
        self._asleep_until = float("-inf")

    @property
    def resting(self) -> bool:
        """Whether it is left alone now."""
        return self.state == UNAVAILABLE and self._runtime.monotonic() < self._asleep_until

    def good(self) -> None:
        """It has answered in time."""
        if self.state == UNAVAILABLE:
            log.warning("colony_pool %s: the shared store is back; decisions are shared again", self._pool)
        self.state, self._rest = WORKING, _REST

    def bad(self, kind: str, words: str) -> None:
        """It has not; ``words`` say why."""
        if self.resting:  # several waited for the same
            return
        self.failures[kind] += 1
        if self.state != UNAVAILABLE:
            log.warning("colony_pool %s: the shared store is unavailable (%s); this process decides alone until it "
                        "is back", self._pool, words)  # fmt: skip
            self._rest = _REST
        self.state = UNAVAILABLE
        self._asleep_until = self._runtime.monotonic() + self._rest * (0.75 + 0.25 * self._runtime.random())
        self._rest = min(2 * self._rest, _REST_MAX)


class Call(Generic[T]):
    """One call: its answer, or why there is none."""

    def __init__(self, verb: Callable[[Store], T], done: Any) -> None:
        self.verb = verb
        self.done = done  # an event of the runtime
        self.given_up = False
        self.answer: list[T] = []
        self.problem = ""


class Calls:
    """The calls of one process to its store."""

    def __init__(self, store: Store, runtime: Runtime, health: Health) -> None:
        self.made = False  # any call, whatever came of it
        self._store = store
        self._runtime = runtime
        self._health = health
        self._waiting: deque[Call[Any]] = deque()
        self._free = deque([True])  # who takes it out is the one that calls; ``deque`` lets only one have it

    def begin(self, verb: Callable[[Store], T]) -> Call[T]:
        """Have ``verb(store)`` called; never waits."""
        call = Call(verb, self._runtime.event())
        if self._health.resting:
            call.problem = "it failed a moment ago"
            call.done.set()
        else:
            self._waiting.append(call)
            self._work()
        return call

    def wait(self, call: Call[T]) -> T:
        """Return the answer, or raise ``StoreUnavailable``."""
        if not call.done.wait(PATIENCE):
            call.given_up = True
            self._health.bad(SLOW, f"no answer within {PATIENCE:g} s")
        if call.answer:
            return call.answer[0]
        raise StoreUnavailable(call.problem or "it did not answer in time")

    def _work(self) -> None:
        try:
            self._free.pop()
        except IndexError:
            return
        try:
            self._runtime.aside(self._work_off)
        except RuntimeError:  # the system grants no thread
            self._free.append(True)

    def _work_off(self) -> None:
        while self._waiting:
            try:
                while self._waiting:
                    self._carry_out(self._waiting.popleft())
            finally:
                self._free.append(True)
            if not self._waiting:  # else it came after the last look
                return
            try:
                self._free.pop()
            except IndexError:
                return
        self._free.append(True)

    def _carry_out(self, call: Call[Any]) -> None:
        if call.given_up:
            return
        try:
            self.made = True
            call.answer.append(call.verb(self._store))
            if not call.given_up:
                self._health.good()
        except StoreUnavailable as error:
            call.problem = str(error)
            self._health.bad(FAILED, call.problem)
        except Exception as error:  # noqa: BLE001 - a store's own bug must not be worse than no store
            call.problem = type(error).__name__
            self._health.bad(FAILED, call.problem)
        finally:
            call.done.set()
