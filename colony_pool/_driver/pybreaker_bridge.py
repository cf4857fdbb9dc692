"""``pool.breaker``: pybreaker's interface to the pool's breaker.

pybreaker's own ``call`` holds one lock for the whole guarded call (50 calls of 100 ms take 5 s), and its counters
would be a second truth beside the dispatcher's. So nothing of it decides here. What is read is the dispatcher's state
at that moment, what an operator does is an input of the dispatcher, and what it cannot do for a pool is an error that
says what to use. pybreaker gives the interface, the listener, the error and the classes of the states.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone
from types import CoroutineType, GeneratorType, TracebackType
from typing import Any, Protocol

try:
    import pybreaker
except RuntimeError:  # it imports redis, if there is one, and redis cannot be imported while the interpreter ends
    sys.modules["redis"] = None  # type: ignore[assignment]
    import pybreaker

from .._core import actions as act
from .._core.dispatcher import Dispatcher
from .._core.events import CLOSED, HALF_OPEN, OPEN
from .._core.guarded import GuardedCall
from .._runtime.protocol import Runtime
from ..errors import CircuitOpenError
from .breaker_listeners import BreakerListeners
from .delivery import DeliveryQueue
from .driver import Driver

# By the dispatcher's name, pybreaker's.
_STATES = {CLOSED: pybreaker.STATE_CLOSED, OPEN: pybreaker.STATE_OPEN, HALF_OPEN: pybreaker.STATE_HALF_OPEN}
# The trials in which this task is, one of each breaker: what they call may be guarded by the same breaker.
_own_trials: ContextVar[tuple[GuardedCall, ...]] = ContextVar("colony_pool_own_trials", default=())
_MOVES = {act.TO_CLOSED: CLOSED, act.TO_OPEN: OPEN, act.TO_HALF_OPEN: HALF_OPEN}


class SteeredEngine(Protocol):
    """The engine, as far as it is needed here."""

    @property
    def dispatcher(self) -> Dispatcher:
        """It decides."""

    @property
    def driver(self) -> Driver:
        """It takes inputs."""

    @property
    def runtime(self) -> Runtime:
        """It has a clock."""

    @property
    def delivery(self) -> DeliveryQueue:
        """By it listeners are told."""


class GuardedCallError(pybreaker.CircuitBreakerError, CircuitOpenError):
    """The breaker does not let a guarded call pass, or the call's failure has opened it.

    It is pybreaker's error and the pool's own, with what that one knows: ``state``, ``cause``, ``retry_after``.
    """


class AttemptFailedError(Exception):
    """What pybreaker's listeners are given as the failure of an attempt of the pool's own to get a token."""


class _Storage(pybreaker.CircuitBreakerStorage):
    """Where pybreaker's own code reads the pool's state; it can write nothing there."""

    def __init__(self, breaker: PoolBreaker) -> None:
        super().__init__("memory")
        self._breaker = breaker

    @property  # type: ignore[misc]
    def state(self) -> str:
        return self._breaker.current_state

    @property
    def counter(self) -> int:
        return self._breaker.fail_counter

    @property
    def success_counter(self) -> int:
        return self._breaker.success_counter

    @property  # type: ignore[misc]
    def opened_at(self) -> datetime | None:
        return self._breaker.opened_at


class PoolBreaker(pybreaker.CircuitBreaker):
    """A ``pybreaker.CircuitBreaker`` that is the pool's breaker.

    Arguments:
        name: of the breaker, for its listeners; the pool's, unless somebody sets another one.
        engine: what it reads and steers.
    """

    def __init__(self, name: str, engine: Callable[[], SteeredEngine]) -> None:
        self._engine: Callable[[], SteeredEngine] | None = None
        super().__init__(name=name, state_storage=_Storage(self))  # it reads the state, and there is no engine yet
        self._engine = engine
        self._told = BreakerListeners(pybreaker.CircuitBreakerListener, lambda: self._pool.delivery)
        self._told_state = CLOSED  # the last that listeners were told of
        self._excluded: list[Any] = []  # each change is one step: no lock is needed
        self._state_objects: dict[str, Any] = {
            CLOSED: pybreaker.CircuitClosedState(self),
            OPEN: pybreaker.CircuitOpenState(self),
            HALF_OPEN: pybreaker.CircuitHalfOpenState(self, None),
        }

    @property
    def _pool(self) -> SteeredEngine:
        assert self._engine is not None  # noqa: S101 - but in the constructor
        return self._engine()

    # -- what it shows --------------------------------------------------------------------------------

    @property
    def current_state(self) -> str:
        """``"closed"``, ``"open"`` or ``"half-open"``, as ``pool.status()`` has it at this moment."""
        return pybreaker.STATE_CLOSED if self._engine is None else _STATES[self._pool.dispatcher.breaker.state]

    @property
    def state(self) -> Any:
        """pybreaker's object for the state of this moment; its ``name`` is ``current_state``."""
        return self._state_objects[self._pool.dispatcher.breaker.state]

    @state.setter
    def state(self, state_str: str) -> None:
        """As ``open()``, ``half_open()`` and ``close()``. Raises ``ValueError`` for what is no state."""
        names = {name: state for state, name in _STATES.items()}
        if state_str not in names:
            raise ValueError(f"state={state_str!r}: must be one of {', '.join(names)}")
        self._force(names[state_str])

    @property
    def fail_counter(self) -> int:
        """Failures in a row, as ``pool.status()`` has them at this moment."""
        return self._pool.dispatcher.breaker.failures

    @property
    def success_counter(self) -> int:
        """0: one good probe closes the breaker."""
        return 0

    @property
    def opened_at(self) -> datetime | None:
        """When it opened; ``None`` while it is closed."""
        pool = self._pool
        if pool.dispatcher.breaker.state == CLOSED:
            return None
        since = max(0.0, pool.runtime.monotonic() - pool.dispatcher.breaker.opened_at)
        return datetime.now(timezone.utc) - timedelta(seconds=since)

    # -- how it is set --------------------------------------------------------------------------------

    @property
    def fail_max(self) -> int:
        """Failures in a row that open it."""
        return self._pool.dispatcher.breaker.fail_max

    @fail_max.setter
    def fail_max(self, number: int) -> None:
        """From now on so many failures in a row open the pool. Raises ``ValueError``, as ``BreakerConfig`` does."""
        pool = self._pool
        dispatcher = pool.dispatcher
        dataclasses.replace(dispatcher.config.breaker, fail_max=number)  # it checks
        pool.driver.submit_and_wait(lambda at: dispatcher.set_fail_max(number, at))

    @property
    def reset_timeout(self) -> float:
        """Seconds from the opening to the first probe, without jitter; the delay doubles with each failed probe."""
        return self._pool.dispatcher.config.breaker.open_delay

    @reset_timeout.setter
    def reset_timeout(self, timeout: float) -> None:
        raise AttributeError(
            f"reset_timeout={timeout!r}: the pool's delay is not fixed, it doubles with each failed probe; give it "
            "BreakerConfig(open_delay=..., open_delay_max=...) when it is made"
        )

    @property
    def success_threshold(self) -> int:
        """1: one good probe closes the breaker."""
        return 1

    @success_threshold.setter
    def success_threshold(self, threshold: int) -> None:
        raise AttributeError(
            f"success_threshold={threshold!r}: one good probe closes the pool's breaker, and waiting calls leave at "
            "the pace that the server bears; BreakerConfig(reset_after=...) says how many successes forget an outage"
        )

    # -- listeners ------------------------------------------------------------------------------------

    @property
    def listeners(self) -> tuple[Any, ...]:
        """The listeners, as they were given."""
        return self._told.all()

    def add_listener(self, listener: Any) -> None:
        """Register a listener; it is called in order, in a task of its own, and may call the pool."""
        self._told.add(listener)

    def remove_listener(self, listener: Any) -> None:
        """Unregister a listener. Raises ``ValueError`` if it is not registered."""
        self._told.remove(listener)

    @property
    def listener_errors(self) -> int:
        """Exceptions that listeners have raised."""
        return self._told.errors

    # -- exceptions that are no failures --------------------------------------------------------------

    @property
    def excluded_exceptions(self) -> tuple[Any, ...]:
        """Exceptions of guarded calls that are successes: classes, or functions that say so of an exception."""
        return tuple(self._excluded)

    def add_excluded_exception(self, exception: Any) -> None:
        """Have such exceptions of guarded calls taken for successes; the pool's own attempts raise none."""
        if not callable(exception):
            raise ValueError(f"exception={exception!r}: must be a class of exceptions, or a function that takes one")
        self._excluded.append(exception)

    def remove_excluded_exception(self, exception: Any) -> None:
        """Have such exceptions taken for failures again. Raises ``ValueError`` if they were not excluded."""
        try:
            self._excluded.remove(exception)
        except ValueError:
            raise ValueError(f"exception={exception!r}: must be one of excluded_exceptions") from None

    def is_system_error(self, exception: BaseException) -> bool:
        """Whether ``exception``, of a guarded call, is a failure: no exclusion is a class of it, or is true of it."""
        return not any(
            isinstance(exception, one) if isinstance(one, type) else one(exception)
            for one in self.excluded_exceptions
        )

    # -- an operator ----------------------------------------------------------------------------------

    def open(self) -> bool:
        """Open the circuit, for the whole pool: parked agents wait, the next probe comes after the open delay.

        Returns, as pybreaker does, whether a guarded call whose failure opens it raises ``CircuitBreakerError``.
        """
        self._force(OPEN)
        return self._pool.dispatcher.config.breaker.count_guarded_calls

    def half_open(self) -> None:
        """Let one probe leave now."""
        self._force(HALF_OPEN)

    def close(self) -> None:
        """Close the circuit, for the whole pool: agents leave at the pace of a recovery."""
        self._force(CLOSED)

    def _force(self, state: str) -> None:
        pool = self._pool
        pool.driver.submit_and_wait(lambda at: pool.dispatcher.force(state, at))

    # -- guarded calls --------------------------------------------------------------------------------

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``func`` if the breaker lets it pass; any number of such calls run side by side.

        The guard of a generator, or of a coroutine, ends with it.

        Raises:
            pybreaker.CircuitBreakerError: it does not pass. Where guarded calls count, also if its failure has opened
                the breaker; that failure is its ``__cause__`` then.
        """
        with self._guard(func, *args, **kwargs) as guard:
            answer = func(*args, **kwargs)
            if isinstance(answer, GeneratorType):
                return _generator(guard.hand_over(), answer)
            if isinstance(answer, CoroutineType):
                return _coroutine(guard.hand_over(), answer)
            return answer

    async def call_async(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As ``call``, for a function whose answer is to be awaited; Tornado is not needed."""
        with self._guard(func, *args, **kwargs):
            return await func(*args, **kwargs)

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """A context manager whose block is the guarded call."""
        with self._guard(_block):
            yield

    def _guard(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> _Guard:
        """The guard of a call that may be made. Raises ``GuardedCallError`` if none may."""
        pool = self._pool
        dispatcher, call = pool.dispatcher, None
        if not dispatcher.config.breaker.count_guarded_calls:
            passes = dispatcher.guarded.may_pass(pool.runtime.monotonic())
        else:
            call = _admitted(pool)
            passes = call.passes or any(map(dispatcher.guarded.is_trial, _own_trials.get()))
            call = call if call.passes else None  # one that is made in the trial is part of it
        if not passes:
            raise self._error(pool, "no guarded call passes")
        self._tell("before_call", func, *args, **kwargs)
        return _Guard(self, pool, call)

    def guard_ended(self, pool: SteeredEngine, call: GuardedCall | None, error: BaseException | None) -> None:
        """A guarded call that ``pool`` let pass has ended.

        What interrupts a task is no failure of what it called. Raises ``GuardedCallError`` if its failure has opened
        the breaker.
        """
        failure: str | None = None
        try:
            if error is None or (isinstance(error, Exception) and not self.is_system_error(error)):
                failure = ""
                self._tell("success")
            elif isinstance(error, Exception):
                failure = f"a guarded call raised {type(error).__name__}"
                self._tell("failure", error)
        finally:
            if call is not None and pool is self._pool:  # else a fork came in between, and nobody here would count it
                _count(pool, call, failure)
        if call is not None and call.has_opened:
            raise self._error(pool, "this guarded call has failed once too often") from error

    def _error(self, pool: SteeredEngine, words: str) -> GuardedCallError:
        breaker, now = pool.dispatcher.breaker, pool.runtime.monotonic()
        state, cause, since = _STATES[breaker.state], breaker.cause, max(0.0, now - breaker.opened_at)
        after, when, hint = None, "", "Try again in a moment"
        if state == pybreaker.STATE_OPEN:
            after = max(0.0, breaker.probe_at - now)
            when, hint = f"; the next probe may leave in {after:.1f} s", "Try again then"
        because = f" ({cause})" if cause else ""
        return GuardedCallError(
            f"{words}: the breaker is {state}{because}{when}", state=state, cause=cause, opened_for=since,
            retry_after=after, hint=hint,
        )  # fmt: skip

    # -- what has happened ----------------------------------------------------------------------------

    def mirror(self, what: str) -> None:
        """Note for listeners a ``success`` or ``failure`` of the pool's own, or a move: ``open`` and the like."""
        state = _MOVES.get(what)
        if state is None:
            if self._told:  # else it is not worth the time
                self._told.tell("before_call", self, _token_request)
                self._told.tell(what, self, *([AttemptFailedError("no token")] if what == act.FAILURE else []))
        elif state != self._told_state:
            old = self._told_state
            self._told.tell("state_change", self, self._state_objects[old], self._state_objects[state])
            self._told_state = state  # after it: an interrupt has it told twice rather than never

    def deliver(self) -> None:
        """Have listeners told what has happened, in a task of their own."""
        self._told.deliver()

    def begin_anew(self) -> None:
        """For a new dispatcher, in a forked child for one: it is closed. Listeners stay, untold."""
        self._told.begin_anew()
        self._told_state = CLOSED

    def _tell(self, what: str, /, *args: Any, **kwargs: Any) -> None:
        if self._told:
            self._told.tell(what, self, *args, **kwargs)
            self._told.deliver()


class _Guard:
    """Stands around one guarded call, and says how it ended."""

    def __init__(self, breaker: PoolBreaker, pool: SteeredEngine, call: GuardedCall | None) -> None:
        self._breaker = breaker
        self._pool = pool
        self._call = call
        self._outer: tuple[GuardedCall, ...] | None = None  # the trials around this one, if it is one
        self._is_handed_over = False

    def hand_over(self) -> _Guard:
        """Return a guard that goes on in the place of this one."""
        self._is_handed_over = True
        return _Guard(self._breaker, self._pool, self._call)

    def __enter__(self) -> _Guard:
        if self._call is not None and self._call.is_trial:
            self._outer = _own_trials.get()
            _own_trials.set((*self._outer, self._call))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._outer is not None:
            _own_trials.set(self._outer)
        if not self._is_handed_over:
            self._breaker.guard_ended(self._pool, self._call, error)


def _admitted(pool: SteeredEngine) -> GuardedCall:
    """A call that counts, which passes or not."""
    dispatcher = pool.dispatcher
    call = dispatcher.guarded.arrive()
    if not call.passes:
        pool.driver.submit_and_wait(lambda at: dispatcher.admit_guarded(call, at))
    return call


def _count(pool: SteeredEngine, call: GuardedCall, failure: str | None) -> None:
    dispatcher = pool.dispatcher
    pool.driver.submit_and_wait(lambda at: dispatcher.guarded_ended(call, failure, at))


def _generator(guard: _Guard, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    with guard:
        return (yield from generator)


async def _coroutine(guard: _Guard, coroutine: Coroutine[Any, Any, Any]) -> Any:
    with guard:
        return await coroutine


def _block() -> None:
    """What listeners are told is called by ``with breaker.calling()``."""


def _token_request() -> None:
    """What listeners are told is called when the pool asks for a token."""
