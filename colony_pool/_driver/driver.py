"""The driver: puts one input at a time to the dispatcher, and carries out what it answers.

``submit`` -> ``inbox.py`` decides -> actions are carried out -> ``notifier.py`` tells listeners what has happened.

An attempt is made by a worker, not by the caller that waits for it: killing a caller must not kill what others
wait for, too. Actions wait in a queue until somebody carries them out: a caller that is killed between a
decision and its execution loses nothing, since the next one through here picks the rest up.
"""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from .._core import actions as act
from .._core.account import Account
from .._core.dispatcher import Dispatcher
from .._core.flight import Permit, Waiter
from .._core.instant import Instant
from .._core.outcome import LOCAL, Outcome
from .._fork import pid_reader
from .._log import Lines
from .._runtime.protocol import Event, Runtime
from .._runtime.turn import Turn
from .attempt import AttemptRegistry
from .executor import BoundedExecutor
from .inbox import Inbox, Step
from .notifier import Notifier
from .wakeup import WakeupTimer

# Longest wait for a task that was interrupted between a decision and its execution, seconds.
_CARRIED_OUT_WITHIN = 1.0
_MOMENT = 0.01  # shortest wait between two looks of a call that no timer wakes, seconds

_FOR_STORE = act.ForStore.__args__
_CARRIED = frozenset({act.StartAttempt, act.AskCode, act.CancelAttempt, act.Wake, act.TokenChanged, *_FOR_STORE})


class Wakeable(Protocol):
    """What a caller waits for, in whatever way."""

    def set(self) -> None:
        """Wake it; from any task."""


class StoreGateway(Protocol):
    """The way to the store that processes share."""

    def submit(self, action: act.ForStore, reply: Callable[[Step], object]) -> None:
        """Have the store do it, and put what it answers to ``reply``; never waits."""


@dataclass(frozen=True, slots=True)
class Barrier:
    """Set ``event``: all actions of the same input that stand before this one have been carried out."""

    event: Event


@dataclass(frozen=True, slots=True)
class RunAfter:
    """Call ``fn()``, as above."""

    fn: Callable[[], object]


@dataclass(frozen=True, slots=True)
class _Caller:
    """A call that waits: what wakes it, and the context in which it lives, which is certainly alive."""

    event: Wakeable
    context: Hashable | None


_Carried = (
    act.StartAttempt
    | act.AskCode
    | act.CancelAttempt
    | act.Wake
    | act.TokenChanged
    | act.ForStore
    | Barrier
    | RunAfter
)
_FOR_DRIVER = _CARRIED | {Barrier, RunAfter}


class Driver:
    """Between the pure dispatcher and the world.

    Arguments:
        attempts: what is known of each attempt that is out.
        attempt: makes one attempt; must not raise.
        ask_code: asks a key's callable for a one-time code; says why there is none.
        token_changed: told of each new token, and of each that was lost.
        after: what is left to do once everybody was told of an outcome, in a task of its own: it may block.
        store: what processes share, if they do.
        lines: writes lines of the log, which must keep nobody.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        runtime: Runtime,
        notifier: Notifier,
        attempts: AttemptRegistry,
        attempt: Callable[[Permit], Outcome],
        *,
        ask_code: Callable[[Account], Outcome | None],
        token_changed: Callable[[act.TokenChanged], object],
        after: Callable[[Permit, Outcome], object] | None,
        store: StoreGateway | None,
        lines: Lines,
    ) -> None:
        self.dispatcher = dispatcher
        self._runtime = runtime
        self._notifier = notifier
        self._attempts = attempts
        self._attempt = attempt
        self._ask_code = ask_code
        self._token_changed = token_changed
        self._after = after
        self._store = store
        self._lines = lines
        self._inbox = Inbox(runtime, self._sort, self._mend, self._is_left_behind, lines)
        self._actions: deque[_Carried] = deque()  # to be carried out
        self._making: dict[Permit, Turn] = {}  # attempts that are being made: each by the task that has its turn
        self._asking: dict[Account, Turn] = {}  # keys whose callable is being asked for a code, as above
        self._tasks: set[object] = set()  # of ours: whoever closes waits for them
        self._callers: dict[Waiter, _Caller] = {}
        self._carriers = BoundedExecutor(runtime, 3, lines)
        self.executor = BoundedExecutor(runtime, 4, lines)  # for what blocks, of callers that must not
        self._is_stopping = False
        self._idle = runtime.event()
        self._wakeup = WakeupTimer(runtime, lambda: self.submit(dispatcher.tick))
        self._has_timer = True
        self._is_forked = False
        self._read_pid = pid_reader(greenlets=runtime.name == "gevent")
        self._pid = os.getpid()

    # -- inputs ---------------------------------------------------------------------------------------

    def submit(self, step: Step) -> None:
        """Put one input to the dispatcher; its actions are carried out here or by whoever is at it."""
        self._inbox.put(step)  # here: inputs of one thread must not overtake each other
        self._runtime.run_uninterrupted(self._work_off)

    def submit_async(self, step: Step) -> None:
        """As ``submit``, for a caller that must not block at all: another task carries it out."""
        self._inbox.put(step)
        self._carriers.submit(self._work_off)

    def submit_and_wait(self, step: Step) -> None:
        """``submit``, and return when its actions have been carried out, by whomever."""
        done = self._runtime.event()
        self.submit(lambda at: [*step(at), Barrier(done)])
        if self._runtime.may_wait():
            done.wait(_CARRIED_OUT_WITHIN)

    def request_token(
        self, waiter: Waiter, event: Wakeable, context: Hashable | None, *, tokenless_for: float = 0.0
    ) -> None:
        """Put the demand of ``waiter`` to the dispatcher; ``event`` is set when it is answered."""
        self._callers[waiter] = _Caller(event, context)
        self.submit(lambda at: self._demand(waiter, tokenless_for, at))

    def cancel(self, waiter: Waiter, submit: Callable[[Step], object]) -> None:
        """``waiter`` waits no longer: tell the dispatcher, by ``submit`` or ``submit_async``."""
        submit(lambda at: self._cancel(waiter, at))

    def recheck_within(self, seconds: float) -> float:
        """Seconds after which a call that waits looks for itself: sooner than ``seconds`` if no timer can wake it."""
        if self._has_timer:
            return seconds
        return max(_MOMENT, min(seconds, self._wakeup.at - self._runtime.monotonic()))

    def _demand(self, waiter: Waiter, tokenless_for: float, at: Instant) -> list[act.Action]:
        if not math.isnan(waiter.joined):  # the dispatcher was interrupted when it had heard it
            return []
        if waiter.done:  # gone before it was heard
            self._callers.pop(waiter, None)
            return []
        return self.dispatcher.demand(waiter, at, tokenless_for=tokenless_for)

    def _cancel(self, waiter: Waiter, at: Instant) -> list[act.Action]:
        self._callers.pop(waiter, None)  # here: its demand may come after it, or never
        return self.dispatcher.cancel(waiter, at)

    # -- decisions ------------------------------------------------------------------------------------

    def _work_off(self) -> None:
        try:
            self._inbox.work_off()
            self._carry_out()
        except BaseException:  # killed in here: what others have left to this task must not wait for the next one
            self._inbox.note_interrupt()
            self._inbox.work_off()
            self._carry_out()
            raise

    def _mend(self, at: Instant) -> list[act.Action]:
        for permit in [permit for permit, turn in tuple(self._making.items()) if not turn.locked()]:
            self._making.pop(permit, None)
        for account in [account for account, turn in tuple(self._asking.items()) if not turn.locked()]:
            self._asking.pop(account, None)
        return self.dispatcher.mend(tuple(self._callers), set(self._asking), at)

    def _sort(self, actions: list[act.Action]) -> None:
        for action in actions:
            kind = type(action)
            if kind is act.WakeAt:
                self._wakeup.set(action.at)  # type: ignore[union-attr]
            elif kind in _FOR_DRIVER:
                self._actions.append(action)  # type: ignore[arg-type]
            else:
                self._notifier.add(action)  # type: ignore[arg-type]

    # -- actions --------------------------------------------------------------------------------------

    def _carry_out(self, *, takes: Callable[[act.StartAttempt], bool] | None = None) -> act.StartAttempt | None:
        """Carry out what is due, but for one new attempt that this task ``takes``: that is returned."""
        mine: act.StartAttempt | None = None
        taken: list[_Carried] = []
        try:
            while self._actions and not self._is_left_behind():
                try:
                    taken.extend(islice(iter(self._actions.popleft, None), 1))  # all in C: nothing comes in between
                except IndexError:  # another task was faster
                    break
                action = taken[0]
                if takes is not None and mine is None and isinstance(action, act.StartAttempt) and takes(action):
                    mine = action
                else:
                    self._try(action)
                taken.clear()
        except BaseException:  # interrupted: the next one carries it out, twice rather than never
            self._inbox.note_interrupt()
            self._actions.extendleft(taken)
            raise
        if not self._is_left_behind():
            try:
                self._wakeup.arm()
                self._has_timer = True
            except RuntimeError:  # the system grants no thread: callers use ``recheck_within`` meanwhile
                self._has_timer = False
            self._notifier.notify()
        return mine

    def _try(self, action: _Carried) -> None:
        try:
            self._do(action)
        except Exception:  # noqa: BLE001 - a hub died with whoever waited in it, say: all others go on
            try:
                self._do(action)
            except Exception:  # noqa: BLE001 - as above
                self._lines.write(logging.DEBUG, "colony_pool: %s was not carried out", type(action).__name__)
            else:
                raise  # it came from outside, and so passes through

    def _do(self, action: _Carried) -> None:
        if isinstance(action, act.StartAttempt):
            self._start(action)
        elif isinstance(action, act.Wake):
            self._wake(action.waiter)
        elif isinstance(action, act.TokenChanged):
            self._token_changed(action)
        elif isinstance(action, act.AskCode):
            self._start_asking(action)
        elif isinstance(action, act.CancelAttempt):
            self._attempts.cancel(action.permit)
        elif isinstance(action, Barrier):
            action.event.set()
        elif isinstance(action, RunAfter):
            action.fn()
        elif self._store is not None:
            self._store.submit(action, self.submit)

    def _wake(self, waiter: Waiter) -> None:
        caller = self._callers.get(waiter)
        if caller is not None:
            caller.event.set()
            self._callers.pop(waiter, None)

    def _context_of(self, waiter: Waiter | None) -> Hashable | None:
        caller = self._callers.get(waiter) if waiter is not None else None
        return caller.context if caller is not None else None

    # -- one-time codes -------------------------------------------------------------------------------

    def _start_asking(self, action: act.AskCode) -> None:
        account = action.account
        try:
            self._runtime.spawn(self._ask, account, context=self._context_of(action.waiter))
        except RuntimeError as error:  # the system grants no thread, and so no timer to try again by
            outcome = Outcome(LOCAL, detail=f"no thread for totp(): {error}")
            self._inbox.put(lambda at: self.dispatcher.code_missing(account, outcome, at))
            self._inbox.work_off()

    def _ask(self, account: Account) -> None:
        """In a task of its own: the user's callable may take as long as it likes."""
        missing: Outcome | None = Outcome(LOCAL, detail="the task that called totp() was ended", is_transient=True)
        if not self._asking.setdefault(account, Turn()).acquire(False):  # it was carried out before
            return
        try:
            missing = self._ask_code(account)
        finally:
            self._asking.pop(account, None)
            if (why := missing) is None:
                self._inbox.put(lambda at: self.dispatcher.code_given(account, at))
            else:
                self._inbox.put(lambda at: self.dispatcher.code_missing(account, why, at))
            self._work_off()

    # -- attempts -------------------------------------------------------------------------------------

    def _start(self, action: act.StartAttempt) -> None:
        permit = action.permit
        if not permit.alive or ((turn := self._making.get(permit)) is not None and turn.locked()):
            return  # it was carried out before
        context = self._context_of(action.waiter)
        self._attempts.waits(permit)  # until there is a thread for it
        try:
            self._runtime.spawn(self._work, permit, context, context=context)
        except RuntimeError as error:  # the system grants no thread
            self._attempts.ended(permit)
            passes = permit.is_probe and not self._runtime.is_ending()
            outcome = Outcome(LOCAL, detail=f"no thread for an attempt: {error}", is_transient=passes)
            self._inbox.put(lambda at: self.dispatcher.result(permit, outcome, at))
            self._inbox.work_off()

    def _work(self, permit: Permit, context: Hashable | None) -> None:
        """A worker: makes attempts until there is none to take over."""
        worker = object()
        self._tasks.add(worker)
        try:
            while self._make_in_turn(permit, context):
                action = self._carry_out(takes=self._is_here)
                if action is None:
                    return
                permit, context = action.permit, self._context_of(action.waiter)
        except BaseException:  # killed: what it leaves must not wait for the next one
            self._inbox.note_interrupt()
            self._work_off()
            raise
        finally:
            self._tasks.discard(worker)
            self._note_idle()

    def _make_in_turn(self, permit: Permit, context: Hashable | None) -> bool:
        """Make an attempt, unless another task makes it; say whether it was made here."""
        if not permit.alive or not self._making.setdefault(permit, Turn()).acquire(False):
            self._attempts.ended(permit)
            return False
        try:
            self._attempts.begins(permit)
            self._make(permit, context)
        finally:
            self._making.pop(permit, None)
        return True

    def _make(self, permit: Permit, context: Hashable | None) -> None:
        """Make an attempt and put its outcome to the dispatcher."""
        outcome = Outcome(LOCAL, detail="the attempt was abandoned", is_transient=True)
        try:
            outcome = self._attempt(permit)
        finally:
            self._inbox.put(lambda at: self._on_outcome(permit, outcome, context, at))
            self._inbox.work_off()

    def _on_outcome(
        self, permit: Permit, outcome: Outcome, context: Hashable | None, at: Instant
    ) -> list[act.Action | RunAfter]:
        actions: list[act.Action | RunAfter] = [*self.dispatcher.result(permit, outcome, at)]
        self._attempts.ended(permit)
        if self._after is not None:  # not before: the dispatcher may have heard of it from another task
            actions.append(RunAfter(lambda: self._follow_up(permit, outcome, context)))
        return actions

    def _follow_up(self, permit: Permit, outcome: Outcome, context: Hashable | None) -> None:
        job = object()

        def do() -> None:
            assert self._after is not None  # noqa: S101 - else nothing follows
            try:
                self._after(permit, outcome)
            finally:
                self._tasks.discard(job)
                self._note_idle()

        self._tasks.add(job)  # before it begins
        try:
            self._runtime.spawn(do, context=context)
        except RuntimeError:  # the system grants no thread
            self._tasks.discard(job)
            self._note_idle()

    def _is_here(self, action: act.StartAttempt) -> bool:
        context = self._context_of(action.waiter)
        return context is None or context == self._runtime.current_context()

    # -- the end --------------------------------------------------------------------------------------

    def _note_idle(self) -> None:
        if self._is_stopping and not self._tasks:
            self._idle.set()

    def _is_left_behind(self) -> bool:
        """Whether this is a forked child, which may not have been told so yet, and not the driver's own process."""
        return self._is_forked or self._read_pid() != self._pid

    def stop(self, within: float = 0.0) -> None:
        """Wait ``within`` seconds for workers to come home, and cancel all timers."""
        self._is_stopping = True
        if self._tasks and within > 0.0 and self._runtime.may_wait():
            self._idle.wait(within)
        self._wakeup.cancel()

    def after_fork(self) -> None:
        """In a forked child: this driver, its timers and greenlets are the parent's, and stand still here."""
        self._is_forked = True
        self._notifier.end()
        self._runtime.after_fork()
        self._wakeup.cancel()
