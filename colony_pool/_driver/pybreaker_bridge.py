"""pybreaker as the public face of the breaker; the dispatcher decides, and this follows.

Its ``call`` holds one lock for the whole guarded call (50 calls of 100 ms take 5 s), and half-open lets
every caller of ``calling`` through, so it is never put around I/O. Instead each decision of the dispatcher is
*mirrored* into it in no time, and what an operator does to it (``open``, ``half_open``, ``close``) steers
the dispatcher. Users' listeners are told by a task of their own: pybreaker loses a trip when a listener raises, one
that calls back into the pool must not do so under its lock, and one that hangs must hold up no call.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

try:
    import pybreaker
except RuntimeError:  # it imports redis, if there is one, and redis cannot be imported while the interpreter ends
    sys.modules["redis"] = None  # type: ignore[assignment]
    import pybreaker

from .._core import actions as act
from .._core.events import CLOSED, HALF_OPEN, OPEN
from .._fork import notice_fork
from .._log import log_raised
from .delivery import DeliveryQueue

# The dispatcher's monotonic clock decides when to probe; inf overflows pybreaker's arithmetic.
_NEVER = 1e9


class _MirroredFailure(Exception):
    """Raised afresh for each failure: one shared instance grew a traceback of 12,000 frames."""


def _fail() -> None:
    raise _MirroredFailure


def _succeed() -> None:
    return None


class _QueuedListener(pybreaker.CircuitBreakerListener):
    """Stands for a user's listener inside pybreaker and notes what it is to be told."""

    def __init__(self, listener: Any, put: Callable[[Callable[[], object]], object]) -> None:
        self.listener = listener
        self._put = put

    def __eq__(self, other: object) -> bool:
        return self.listener is (other.listener if isinstance(other, _QueuedListener) else other)

    def __hash__(self) -> int:
        return id(self.listener)

    def before_call(self, cb: Any, func: Any, *args: Any, **kwargs: Any) -> None:
        self._put(lambda: self.listener.before_call(cb, func, *args, **kwargs))

    def failure(self, cb: Any, exc: BaseException) -> None:
        self._put(lambda: self.listener.failure(cb, exc))

    def success(self, cb: Any) -> None:
        self._put(lambda: self.listener.success(cb))

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self._put(lambda: self.listener.state_change(cb, old_state, new_state))


class PoolBreaker(pybreaker.CircuitBreaker):
    """A ``pybreaker.CircuitBreaker`` whose state and counters are those of the pool.

    Arguments:
        steer: told the state that an operator has asked for.
        queue: by which users' listeners are told.
    """

    def __init__(
        self, fail_max: int, name: str, steer: Callable[[str], object], queue: Callable[[], DeliveryQueue]
    ) -> None:
        super().__init__(fail_max=fail_max, reset_timeout=_NEVER, name=name, throw_new_error_on_trip=False)
        self._steer = steer
        self._queue = queue
        self._pending: deque[str] = deque()  # what the dispatcher has decided, not yet followed
        self._mirroring = False
        self.listener_errors = 0  # exceptions of users' listeners

    def add_listener(self, listener: Any) -> None:
        """Register a listener; it is called in order, in a task of its own, and may call the pool."""
        super().add_listener(_QueuedListener(listener, self._put))

    def open(self) -> bool:
        """Open the circuit, for the whole pool: parked agents wait, the next probe comes after the open delay."""
        return bool(self._operate(super().open, OPEN))

    def half_open(self) -> None:
        """Let one probe leave now."""
        self._operate(super().half_open, HALF_OPEN)

    def close(self) -> None:
        """Close the circuit, for the whole pool: agents leave at the pace of a recovery."""
        self._operate(super().close, CLOSED)

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As pybreaker's, which holds its lock over the whole call; what is decided meanwhile is followed then."""
        notice_fork()
        try:
            return super().call(func, *args, **kwargs)
        finally:
            self.deliver()

    def _operate(self, move: Callable[[], Any], state: str) -> Any:
        notice_fork()
        with self._lock:
            answer = move()
            if self._mirroring:
                return answer
        self._catch_up()
        self._steer(state)
        self.deliver()
        return answer

    def mirror(self, what: str) -> None:
        """Follow the dispatcher: ``success``, ``failure``, ``open``, ``half_open`` or ``close``."""
        if what == act.SUCCESS and not self.fail_counter and not self.listeners and self.current_state == CLOSED:
            return  # a success after a success changes nothing and nobody listens: not worth its 5 us
        self._pending.append(what)
        self._catch_up()

    def _catch_up(self) -> None:
        """Follow, unless another task has the lock: it follows then, and it may be waiting for this one."""
        while self._pending:
            held: list[bool] = []
            try:
                held.extend(map(self._lock.acquire, (False,)))  # all in C: an interrupt cannot leave it locked
                if not held[0]:
                    return
                self._mirroring = True
                while self._pending:
                    self._follow(self._pending.popleft())
            finally:
                if True in held:
                    self._mirroring = False
                    self._lock.release()

    def _follow(self, what: str) -> None:
        state = self.current_state
        if what in (act.SUCCESS, act.FAILURE):
            if state == pybreaker.STATE_OPEN:  # a call now would count as refused
                return
            with contextlib.suppress(_MirroredFailure):
                super().call(_fail if what == act.FAILURE else _succeed)
        elif what == act.TO_OPEN and state != pybreaker.STATE_OPEN:
            super().open()
        elif what == act.TO_HALF_OPEN and state != pybreaker.STATE_HALF_OPEN:
            super().half_open()
        elif what == act.TO_CLOSED:
            if state != pybreaker.STATE_CLOSED:
                super().close()
            # An operator's close may have overtaken failures that the dispatcher forgot with it.
            self._state_storage.reset_counter()

    def begin_anew(self) -> None:
        """For a new dispatcher, in a forked child for one: a free lock, and closed. Listeners stay, untold."""
        self._lock = threading.RLock()
        self._pending.clear()
        self._mirroring = False
        self.listener_errors = 0
        self._state_storage = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._state = self._create_new_state(pybreaker.STATE_CLOSED)

    def deliver(self) -> None:
        """Have users' listeners told what has happened."""
        self._catch_up()
        if self.listeners:
            self._queue().flush()

    def _put(self, callback: Callable[[], object]) -> None:
        """Note what a listener is to be told: under pybreaker's lock, and so in order."""
        self._queue().put(lambda: self._hand_over(callback))

    def _hand_over(self, callback: Callable[[], object]) -> None:
        """Tell a user's listener; one that raises is logged and changes nothing. It is the queue's task."""
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - a user's own code
            self.listener_errors += 1
            log_raised("a breaker listener raised; it changes nothing", error)
