"""Runs a store's calls one at a time in a native thread; callers wait only briefly.

A store may block for as long as it likes; only its own thread stands still. A call that was given up and has not
begun by then never will. How long anybody waits is said in ``health.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .._runtime.protocol import Runtime
from .health import FAILED, SLOW, UNAVAILABLE, StoreHealth
from .protocol import Store, StoreUnavailable

T = TypeVar("T")


class StoreOp(Generic[T]):
    """One call: its answer, or why there is none."""

    def __init__(self, verb: Callable[[Store], T], runtime: Runtime, patience: float) -> None:
        self.verb = verb
        self.began = runtime.monotonic()
        self.patience = patience
        self.done = runtime.event()  # it has come to its end, or nobody waits any more
        self.ended = runtime.event()
        self.given_up = False
        self.is_last = False  # it is made whatever has become of the store, and says nothing of it
        self.answer: list[T] = []
        self.problem = ""

    def end(self, problem: str = "") -> None:
        """It has come to its end."""
        self.problem = problem
        self.done.set()
        self.ended.set()


class StoreWorker:
    """The calls of one process to its store.

    Arguments:
        ping: all that is called of a store that has failed: it works once it has answered this in time.
    """

    def __init__(
        self, store: Store, runtime: Runtime, health: StoreHealth, *,
        ping: Callable[[Store], object] = lambda store: store.look(),
    ) -> None:  # fmt: skip
        self.made = False  # any call, whatever came of it
        self._store = store
        self._ping = ping
        self._runtime = runtime
        self._health = health
        self._waiting: deque[StoreOp[Any]] = deque()
        self._in_the_way: dict[StoreOp[Any], None] = {}
        self._ping_op: StoreOp[Any] | None = None
        self._free = deque([True])  # who takes it out is the one that calls; ``deque`` lets only one have it

    def begin(self, verb: Callable[[Store], T]) -> StoreOp[T]:
        """Have ``verb(store)`` called, in nobody's way; never waits."""
        call = StoreOp(verb, self._runtime, self._health.patience_aside)
        self._enter_if_it_works(call)
        return call

    def ask(self, verb: Callable[[Store], T]) -> StoreOp[T]:
        """Have ``verb(store)`` called, and somebody cannot go on before ``wait`` returns; never waits itself."""
        call = StoreOp(verb, self._runtime, self._health.patience)
        if self._health.state != UNAVAILABLE:
            self._in_the_way[call] = None
        self._enter_if_it_works(call)
        return call

    def _enter_if_it_works(self, call: StoreOp[Any]) -> None:
        if self._health.state != UNAVAILABLE:
            self._enter(call)
            return
        call.end("it has not answered since it failed")
        if not self._health.resting and (self._ping_op is None or self._ping_op.ended.is_set()):
            self._ping_op = StoreOp(self._ping, self._runtime, self._health.patience_aside)
            self._enter(self._ping_op)

    def close(self) -> None:
        """Have the store closed, though it may have failed; never waits."""
        call: StoreOp[Any] = StoreOp(lambda store: store.close(), self._runtime, self._health.patience_aside)
        call.is_last = True
        self._enter(call)

    def wait(self, call: StoreOp[T]) -> T:
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

    def _enter(self, call: StoreOp[Any]) -> None:
        self._waiting.append(call)
        try:
            self._free.pop()
        except IndexError:
            return
        try:
            self._runtime.run_in_thread(self._work_off)
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

    def _carry_out(self, call: StoreOp[Any]) -> None:
        problem = ""
        try:
            if call.given_up:
                return
            if call.is_last:
                call.verb(self._store)
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
