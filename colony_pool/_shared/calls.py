"""Calls of a store: one after the other in a native thread, and nobody waits for long.

*Patience.* A call loses ``PATIENCE`` seconds at most to a store that does not answer, over its whole life and however
often the store fails:

- A question that stands in somebody's way may take half of what is left of the patience, and what was
  waited in vain is taken off it. It is whole again once a moment has come at which nobody waited: whoever waits
  after that has lost nothing yet.
- A store that has failed is asked nothing in anybody's way. After a pause of a second, then two, up to half a minute,
  it is looked at in the background, and only an answer in time makes it one that works.
- Once it fails, all who wait for it are told at once.
- When too little is left for a round trip, the store counts as failed until nobody waits.

An answer in time is worth its wait, and is not counted. A store may block for as long as it likes; only its own
thread stands still. A call that was given up and has not begun by then never will.
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

PATIENCE = 0.2  # seconds
_SHARE = 0.5  # of what is left of it, for one question; the pace of a window may add as much again
_LEAST = 0.01  # seconds; with less than this a store cannot be asked
_REST, _REST_MAX = 1.0, 30.0
_, UNKNOWN, WORKING, UNAVAILABLE = STORES
SLOW, FAILED = STORE_FAILURES

T = TypeVar("T")


class Health:
    """Whether the store works, as far as is known: one line in the log when it breaks, one when it is back.

    ``idle_at`` says when nobody waited in this process last.
    """

    def __init__(self, pool: str, runtime: Runtime, idle_at: Callable[[], float]) -> None:
        self.state = UNKNOWN
        self.failures = {SLOW: 0, FAILED: 0}
        self._pool = pool
        self._runtime = runtime
        self._idle_at = idle_at
        self._rest = _REST
        self._asleep_until = float("-inf")
        self._lost = 0.0  # seconds that somebody who may still wait has waited in vain
        self._lost_at = float("-inf")

    @property
    def resting(self) -> bool:
        """Whether it is left alone now."""
        return self.state == UNAVAILABLE and self._runtime.monotonic() < self._asleep_until

    @property
    def patience(self) -> float:
        """Seconds that a question in somebody's way may take now."""
        return _SHARE * max(0.0, PATIENCE - self._lost_by_now())

    def _lost_by_now(self) -> float:
        return self._lost if self._idle_at() <= self._lost_at else 0.0

    def good(self) -> None:
        """It has answered in time."""
        before = self.state
        if before == UNAVAILABLE and self.patience < _LEAST:
            return
        self.state, self._rest = WORKING, _REST  # before it is told: that takes a while, and others look
        if before == UNAVAILABLE:
            log.warning("colony_pool %s: the shared store is back; decisions are shared again", self._pool)

    def bad(self, kind: str, words: str, lost: float) -> None:
        """It has not; ``words`` say why, and somebody has waited in vain for ``lost`` seconds."""
        now = self._runtime.monotonic()
        if lost > 0.0:
            self._lost, self._lost_at = self._lost_by_now() + lost, now
        if self.resting:  # several waited for the same
            return
        self.failures[kind] += 1
        before, self.state = self.state, UNAVAILABLE
        rest = self._rest if before == UNAVAILABLE else _REST
        self._asleep_until = now + rest * (0.75 + 0.25 * self._runtime.random())
        self._rest = min(2 * rest, _REST_MAX)
        if before != UNAVAILABLE:
            log.warning("colony_pool %s: the shared store is unavailable (%s); this process decides alone until it "
                        "is back", self._pool, words)  # fmt: skip


class Call(Generic[T]):
    """One call: its answer, or why there is none."""

    def __init__(self, verb: Callable[[Store], T], runtime: Runtime, patience: float) -> None:
        self.verb = verb
        self.began = runtime.monotonic()
        self.patience = patience
        self.done = runtime.event()  # it has come to its end, or nobody waits any more
        self.ended = runtime.event()
        self.given_up = False
        self.answer: list[T] = []
        self.problem = ""

    def end(self, problem: str = "") -> None:
        """It has come to its end."""
        self.problem = problem
        self.done.set()
        self.ended.set()


class Calls:
    """The calls of one process to its store."""

    def __init__(self, store: Store, runtime: Runtime, health: Health) -> None:
        self.made = False  # any call, whatever came of it
        self._store = store
        self._runtime = runtime
        self._health = health
        self._waiting: deque[Call[Any]] = deque()
        self._in_the_way: dict[Call[Any], None] = {}
        self._trial: Call[Any] | None = None
        self._free = deque([True])  # who takes it out is the one that calls; ``deque`` lets only one have it

    def begin(self, verb: Callable[[Store], T]) -> Call[T]:
        """Have ``verb(store)`` called, in nobody's way; never waits."""
        call = Call(verb, self._runtime, _SHARE * PATIENCE)
        if self._health.resting:
            call.end("it failed a moment ago")
        else:
            self._enter(call)
        return call

    def ask(self, verb: Callable[[Store], T]) -> Call[T]:
        """Have ``verb(store)`` called, and somebody cannot go on before ``wait`` returns; never waits itself."""
        call = Call(verb, self._runtime, self._health.patience)
        if self._health.state == UNAVAILABLE:
            call.end("it has not answered since it failed")
            if self._trial is None or self._trial.ended.is_set():
                self._trial = self.begin(lambda store: store.look())
        else:
            self._in_the_way[call] = None
            self._enter(call)
        return call

    def wait(self, call: Call[T]) -> T:
        """Return the answer, or raise ``StoreUnavailable``."""
        if not call.done.wait(call.patience):
            self._fail(SLOW, f"no answer within {call.patience:.2g} s")
        self._in_the_way.pop(call, None)
        if call.answer:
            return call.answer[0]
        call.given_up = True
        raise StoreUnavailable(call.problem or "it did not answer in time")

    def _fail(self, kind: str, words: str) -> None:
        """The store has failed: nobody is to wait for it any longer."""
        now = self._runtime.monotonic()
        kept = list(self._in_the_way)
        self._health.bad(kind, words, max((now - call.began for call in kept), default=0.0))
        for call in kept:
            self._in_the_way.pop(call, None)
            call.done.set()

    def _enter(self, call: Call[Any]) -> None:
        self._waiting.append(call)
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
        problem = ""
        try:
            if call.given_up:
                return
            self.made = True
            call.answer.append(call.verb(self._store))
            in_time = self._runtime.monotonic() - call.began <= call.patience
            if in_time and not call.given_up:
                self._health.good()
            elif self._health.state == UNAVAILABLE:
                self._fail(SLOW, f"no answer within {call.patience:.2g} s")
        except StoreUnavailable as error:
            problem = str(error)
            self._fail(FAILED, problem)
        except Exception as error:  # noqa: BLE001 - a store's own bug must not be worse than no store
            problem = type(error).__name__
            self._fail(FAILED, problem)
        finally:
            call.end(problem)
