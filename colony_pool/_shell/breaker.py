"""pybreaker as the public face of the breaker; the desk decides, and this follows.

Its ``call`` holds one lock for the whole guarded call (50 calls of 100 ms take 5 s), and half-open lets
every caller of ``calling`` through, so it is never put around I/O. Instead each verdict of the desk is
*replayed* into it in no time, and what an operator does to it (``open``, ``half_open``, ``close``) steers
the desk. Users' listeners are told by a task of their own: pybreaker loses a trip when a listener raises, one that
calls back into the pool must not do so under its lock, and one that hangs must hold up no call.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pybreaker

from .._core import actions as act
from .._core.events import CLOSED, HALF_OPEN, OPEN
from .fork import notice_fork
from .log import log_raised
from .mailbox import Mailbox

# The desk's monotonic clock decides when to probe; inf overflows pybreaker's arithmetic.
_NEVER = 1e9


class _ReplayedFailure(Exception):
    """Raised afresh for each failure: one shared instance grew a traceback of 12,000 frames."""


def _fail() -> None:
    raise _ReplayedFailure


def _succeed() -> None:
    return None


class _Deferred(pybreaker.CircuitBreakerListener):
    """Stands for a user's listener inside pybreaker and notes what it is to be told."""

    def __init__(self, listener: Any, put: Callable[[Callable[[], object]], object]) -> None:
        self.listener = listener
        self._put = put

    def __eq__(self, other: object) -> bool:
        return self.listener is (other.listener if isinstance(other, _Deferred) else other)

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
    """A ``pybreaker.CircuitBreaker`` whose state and counters are those of the pool."""

    def __init__(self, fail_max: int, name: str) -> None:
        super().__init__(fail_max=fail_max, reset_timeout=_NEVER, name=name, throw_new_error_on_trip=False)
        self._mailbox: Mailbox | None = None
        self._verdicts: deque[str] = deque()  # of the desk, not yet followed
        self._replaying = False
        self.listener_errors = 0  # exceptions of users' listeners
        self._steer: Callable[[str], object] = lambda state: None

    def steer_with(self, steer: Callable[[str], object]) -> None:
        """Tell ``steer`` the state that an operator has asked for."""
        self._steer = steer

    def tell_by(self, mailbox: Mailbox) -> None:
        """Have users' listeners told by way of ``mailbox``."""
        self._mailbox = mailbox

    def add_listener(self, listener: Any) -> None:
        """Register a listener; it is called in order, in a task of its own, and may call the pool."""
        super().add_listener(_Deferred(listener, self._put))

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
        """As pybreaker's, which holds its lock over the whole call; what the pool does meanwhile is followed then."""
        notice_fork()
        try:
            return super().call(func, *args, **kwargs)
        finally:
            self.deliver()

    def _operate(self, move: Callable[[], Any], state: str) -> Any:
        notice_fork()
        with self._lock:
            answer = move()
            if self._replaying:
                return answer
        self._catch_up()
        self._steer(state)
        self.deliver()
        return answer

    def replay(self, what: str) -> None:
        """Follow the desk: ``success``, ``failure``, ``open``, ``half_open`` or ``close``; ``deliver`` tells it."""
        if what == act.SUCCESS and not self.fail_counter and not self.listeners and self.current_state == CLOSED:
            return  # a success after a success changes nothing and nobody listens: not worth its 5 us
        self._verdicts.append(what)
        self._catch_up()

    def _catch_up(self) -> None:
        """Follow, unless another task has the lock: it follows then, and it may be waiting for this one."""
        while self._verdicts:
            held: list[bool] = []
            try:
                held.extend(map(self._lock.acquire, (False,)))  # all in C: an interrupt cannot leave it locked
                if not held[0]:
                    return
                self._replaying = True
                while self._verdicts:
                    self._follow(self._verdicts.popleft())
            finally:
                if True in held:
                    self._replaying = False
                    self._lock.release()

    def _follow(self, what: str) -> None:
        state = self.current_state
        if what in (act.SUCCESS, act.FAILURE):
            if state == pybreaker.STATE_OPEN:  # a call now would count as refused
                return
            with contextlib.suppress(_ReplayedFailure):
                super().call(_fail if what == act.FAILURE else _succeed)
        elif what == act.TO_OPEN and state != pybreaker.STATE_OPEN:
            super().open()
        elif what == act.TO_HALF_OPEN and state != pybreaker.STATE_HALF_OPEN:
            super().half_open()
        elif what == act.TO_CLOSED:
            if state != pybreaker.STATE_CLOSED:
                super().close()
            # An operator's close may have overtaken failures that the desk forgot with it.
            self._state_storage.reset_counter()

    def begin_anew(self) -> None:
        """For a new desk, in a forked child for one: a lock that nobody holds, and closed. Listeners stay, untold."""
        self._lock = threading.RLock()
        self._verdicts.clear()
        self._replaying = False
        self.listener_errors = 0
        self._state_storage = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._state = self._create_new_state(pybreaker.STATE_CLOSED)

    def deliver(self) -> None:
        """Have users' listeners told what has happened."""
        self._catch_up()
        if self._mailbox is not None:
            self._mailbox.poke()

    def _put(self, letter: Callable[[], object]) -> None:
        """Note what a listener is to be told: under pybreaker's lock, and so in order."""
        if self._mailbox is not None:
            self._mailbox.put(lambda: self._hand_over(letter))

    def _hand_over(self, letter: Callable[[], object]) -> None:
        """Tell a user's listener; one that raises is logged and changes nothing. It is the mailbox's task."""
        try:
            letter()
        except Exception as error:  # noqa: BLE001 - a user's own code
            self.listener_errors += 1
            log_raised("a breaker listener raised; it changes nothing", error)
