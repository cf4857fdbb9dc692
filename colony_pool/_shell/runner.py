"""The runner: feeds the dispatcher one input at a time and carries out what it answers.

Nobody ever waits for the dispatcher. An input goes into an inbox; whoever gets the lock (a try, never a
wait) works the inbox off, everybody else goes on and waits for an event of its own. So no caller can block
another, no greenlet switches while it holds the lock, and a finaliser that runs in the middle of a decision
and cancels its call cannot deadlock with the decision it interrupted.

An attempt is made by a worker, not by the caller that waits for it: killing a caller must not kill what others
wait for, too.

Actions wait in queues of their own until somebody carries them out: a caller that is killed between a
decision and its execution loses nothing, since the next one through here picks the rest up. What listeners
and pybreaker are told is told in order, by one task at a time, with no lock held that anyone waits for.

An exception may come from outside at any step: a signal's handler raises, Dramatiq or ``func_timeout`` throws one
into a thread. In the middle of a decision it leaves that half made. The next one through here notices, has the
dispatcher mend what it knows, and puts the input to it once more; the exception passes through.
"""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from .._core import actions as act
from .._core.account import Account, Permit, Waiter
from .._core.dispatch import Dispatcher
from .._core.events import Event
from .._core.outcome import LOCAL, Outcome
from .._runtime import protocol
from .._runtime.protocol import Runtime
from .._runtime.turn import Turn
from .alarm import Alarm
from .errands import Errands
from .log import AT_ONCE, Lines
from .story import Breaker, Story

# Longest wait for a task that was interrupted between a decision and its execution, seconds.
_SETTLED = 1.0
_MOMENT = 0.01  # shortest wait between two looks of a call that no timer wakes, seconds

_FOR_STORE = act.ForStore.__args__
_ToDo = act.Start | act.AskCode | act.Abort | act.Done | act.Grant | act.ForStore
_TO_DO = frozenset({act.Start, act.AskCode, act.Abort, act.Done, act.Grant, *_FOR_STORE})

Step = Callable[[float, float], list[act.Action]]


class _Mark:
    """Stands at the end of an input's actions: whoever comes to it has carried them out."""

    def __init__(self, event: protocol.Event | _Then) -> None:
        self.event = event


class _Then:
    """Stands for a mark's event, where nobody waits but something follows."""

    def __init__(self, fn: Callable[[], object]) -> None:
        self.set = fn


class Runner:
    """Between the pure dispatcher and the world.

    Arguments:
        attempt: makes one attempt; must not raise.
        ask_code: asks a key's callable for a one-time code; says why there is none.
        breaker: pybreaker, if there is one to tell.
        listeners: told of each event.
        after: what is left to do once everybody was told of an outcome, in a task of its own: it may block.
        lines: writes lines of the log, which must keep nobody.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        runtime: Runtime,
        attempt: Callable[[Permit], Outcome],
        breaker: Breaker | None = None,
        listeners: list[Callable[[Event], object]] | None = None,
        after: Callable[[Permit, Outcome], object] | None = None,
        ask_code: Callable[[Account], Outcome | None] = lambda account: None,
        lines: Lines = AT_ONCE,
    ) -> None:
        self.dispatcher = dispatcher
        self.runtime = runtime
        self.carry: Callable[[act.ForStore], object] = lambda action: None  # to the store that processes share
        self.story = Story(runtime, breaker, listeners if listeners is not None else [], lines)
        self._attempt = attempt
        self._ask_code = ask_code
        self._after = after
        self._inbox: deque[Step] = deque()
        self._todo: deque[_ToDo] = deque()
        self._deciding = runtime.lock()  # guards dispatcher
        self._working: dict[Permit, Turn] = {}  # attempts that are being made: each by the task that has its turn
        self._following: set[object] = set()  # what is left to do after an outcome
        self._callers: set[Waiter] = set()  # calls that wait
        self._asked: dict[Account, Turn] = {}  # keys whose callable is being asked for a code, as above
        self._lines = lines
        self._hands = Errands(runtime, 3, lines)
        self.errands = Errands(runtime, 4, lines)  # what blocks, for callers that must not
        self._stopping = False
        self._idle = runtime.event()
        self._alarm = Alarm(runtime, lambda: self.feed(dispatcher.tick))
        self._disowned = False
        self._has_timer = True
        self._whole = True  # no decision was cut short
        self._struck = False  # a task was interrupted that may have had something to carry out
        self._failed: Step | None = None  # an input that has raised once
        self._pid = os.getpid()

    def feed(self, step: Step) -> None:
        """Put one input to the dispatcher; its actions are carried out here or by whoever is at it."""
        self._inbox.append(step)  # here: inputs of one thread must not overtake each other
        self.runtime.unhurried(self._work_off)

    def post(self, step: Step) -> None:
        """As ``feed``, for a caller that must not block at all: another task carries it out."""
        self._inbox.append(step)
        self._hands.send(self._work_off)

    def demand(self, waiter: Waiter) -> None:
        """Put the demand of ``waiter`` to the dispatcher; another task makes the attempt that answers it."""
        self._callers.add(waiter)
        self.feed(lambda now, wall: self._demand(waiter, now, wall))

    def _demand(self, waiter: Waiter, now: float, wall: float) -> list[act.Action]:
        if not math.isnan(waiter.joined):  # the dispatcher was interrupted when it had heard it
            return []
        if waiter.done:  # gone before it was heard
            self._callers.discard(waiter)
            return []
        return self.dispatcher.demand(waiter, now, wall)

    def cancel(self, waiter: Waiter, by: Callable[[Step], object]) -> None:
        """``waiter`` waits no longer: tell the dispatcher ``by`` feeding or posting."""
        by(lambda now, wall: self._cancel(waiter, now, wall))

    def _cancel(self, waiter: Waiter, now: float, wall: float) -> list[act.Action]:
        self._callers.discard(waiter)  # here: its demand may come after it, or never
        return self.dispatcher.cancel(waiter, now, wall)

    def look_in(self, seconds: float) -> float:
        """Seconds after which a call that waits looks for itself: sooner than ``seconds`` if no timer can wake it."""
        if self._has_timer:
            return seconds
        return max(_MOMENT, min(seconds, self._alarm.at - self.runtime.monotonic()))

    def settle(self, step: Step) -> None:
        """``feed``, and return when its actions have been carried out, by whomever."""
        done = self.runtime.event()
        mark: Any = _Mark(done)
        self.feed(lambda now, wall: [*step(now, wall), act.Done(mark)])
        if self.runtime.may_wait():
            done.wait(_SETTLED)

    def _work_off(self) -> None:
        try:
            self._decide()
            self._carry_out()
        except BaseException:  # killed in here: what others have left to this task must not wait for the next one
            self._struck = True
            self._decide()
            self._carry_out()
            raise

    def _decide(self) -> None:
        foreign: Exception | None = None
        while (self._inbox or self._struck) and not self._is_left_behind() and self._deciding.acquire(False):
            try:
                broken = self._struck or not self._whole
                self._whole = self._struck = False
                if broken:
                    self._mend()
                while self._inbox:
                    self._sort(self._inbox[0](self.runtime.monotonic(), self.runtime.now()))
                    self._inbox.popleft()  # not before: after an interrupt it is put again
                self._whole = True
            except Exception as error:  # noqa: BLE001 - the next input must not suffer for it
                foreign = self._blame(error)
            finally:
                self._deciding.release()
        if foreign is not None:
            raise foreign

    def _mend(self) -> None:
        for table in (self._working, self._asked):
            for each in [each for each, turn in tuple(table.items()) if not turn.locked()]:
                table.pop(each, None)  # type: ignore[call-overload]
        callers, asked = tuple(self._callers), set(self._asked)
        self._sort(self.dispatcher.mend(callers, asked, self.runtime.monotonic(), self.runtime.now()))

    def _blame(self, error: Exception) -> Exception | None:
        """``error`` if it came from outside: then the input, put once more, does not raise it again."""
        step = self._inbox[0] if self._inbox else None
        if step is None or step is not self._failed:
            self._failed = step
            return error
        self._failed = None
        self._inbox.popleft()
        self._lines.raised("the dispatcher failed; this is a bug, please report it", error)
        return None

    def _sort(self, actions: list[act.Action]) -> None:
        for action in actions:
            kind = type(action)
            if kind is act.WakeAt:
                self._alarm.at = action.at  # type: ignore[union-attr]
            elif kind in _TO_DO:
                self._todo.append(action)  # type: ignore[arg-type]
            else:
                self.story.add(action)  # type: ignore[arg-type]

    def _carry_out(self, *, takes: Callable[[Permit], bool] | None = None) -> Permit | None:
        """Carry out what is due, but for one new attempt that this task ``takes``: that is returned."""
        mine: Permit | None = None
        taken: list[_ToDo] = []
        try:
            while self._todo and not self._is_left_behind():
                try:
                    taken.extend(islice(iter(self._todo.popleft, None), 1))  # all in C: nothing comes in between
                except IndexError:  # another task was faster
                    break
                action = taken[0]
                if takes is not None and mine is None and isinstance(action, act.Start) and takes(action.permit):
                    mine = action.permit
                else:
                    self._try(action)
                taken.clear()
        except BaseException:  # interrupted: the next one carries it out, twice rather than never
            self._struck = True
            self._todo.extendleft(taken)
            raise
        if not self._is_left_behind():
            try:
                self._alarm.arm()
                self._has_timer = True
            except RuntimeError:  # the system grants no thread: callers use ``look_in`` meanwhile
                self._has_timer = False
            self.story.tell()
        return mine

    def _try(self, action: _ToDo) -> None:
        try:
            self._do(action)
        except Exception:  # noqa: BLE001 - a hub died with whoever waited in it, say: all others go on
            try:
                self._do(action)
            except Exception:  # noqa: BLE001 - as above
                self._lines.write(logging.DEBUG, "colony_pool: %s was not carried out", type(action).__name__)
            else:
                raise  # it came from outside, and so passes through

    def _do(self, action: _ToDo) -> None:
        if isinstance(action, act.Start):
            self._start(action.permit)
        elif isinstance(action, act.AskCode):
            self._start_asking(action)
        elif isinstance(action, act.Done):
            action.waiter.event.set()
            self._callers.discard(action.waiter)
        elif isinstance(action, act.Abort):
            cancel_token = action.permit.shell
            if cancel_token is not None:
                cancel_token.cancel()
        elif not isinstance(action, act.Grant):
            self.carry(action)
        elif action.account.listener is not None:
            action.account.listener(action)

    def _start(self, permit: Permit) -> None:
        if not permit.alive or ((turn := self._working.get(permit)) is not None and turn.locked()):
            return  # it was carried out before
        permit.began = False  # until there is a thread for it
        try:
            self.runtime.spawn(self._work, permit, home=permit.home)
        except RuntimeError as error:  # the system grants no thread
            passes = permit.is_probe and not self.runtime.is_ending()
            outcome = Outcome(LOCAL, detail=f"no thread for an attempt: {error}", passing=passes)
            self._inbox.append(lambda now, wall: self.dispatcher.result(permit, outcome, now, wall))
            self._decide()

    def _start_asking(self, action: act.AskCode) -> None:
        try:
            self.runtime.spawn(self._ask, action.account, home=action.home)
        except RuntimeError as error:  # the system grants no thread, and so no timer to try again by
            outcome = Outcome(LOCAL, detail=f"no thread for totp(): {error}")
            self._inbox.append(lambda now, wall: self.dispatcher.code_missing(action.account, outcome, now, wall))
            self._decide()

    def _ask(self, account: Account) -> None:
        """In a task of its own: the user's callable may take as long as it likes."""
        missing: Outcome | None = Outcome(LOCAL, detail="the task that called totp() was ended", passing=True)
        if not self._asked.setdefault(account, Turn()).acquire(False):  # it was carried out before
            return
        try:
            missing = self._ask_code(account)
        finally:
            self._asked.pop(account, None)
            if (why := missing) is None:
                self._inbox.append(lambda now, wall: self.dispatcher.code_given(account, now, wall))
            else:
                self._inbox.append(lambda now, wall: self.dispatcher.code_missing(account, why, now, wall))
            self._work_off()

    def _work(self, permit: Permit) -> None:
        if not permit.alive or not self._working.setdefault(permit, Turn()).acquire(False):
            return  # it was carried out before
        permit.began = True
        try:
            self._make_all(permit)
        finally:
            self._working.pop(permit, None)
            self._rest()

    @property
    def _at_work(self) -> bool:
        return bool(self._working or self._following)

    def _rest(self) -> None:
        if self._stopping and not self._at_work:
            self._idle.set()

    def _make_all(self, permit: Permit | None) -> None:
        """Make attempts until there is none to take over."""
        try:
            while permit is not None:
                self._make(permit)
                permit = self._carry_out(takes=self._is_here)
        except BaseException:  # killed: what it leaves must not wait for the next one
            self._struck = True
            self._work_off()
            raise

    def _make(self, permit: Permit) -> None:
        """Make an attempt and put its outcome to the dispatcher."""
        outcome = Outcome(LOCAL, detail="the attempt was abandoned", passing=True)
        try:
            outcome = self._attempt(permit)
        finally:
            self._inbox.append(lambda now, wall: self._hear(permit, outcome, now, wall))
            self._decide()

    def _hear(self, permit: Permit, outcome: Outcome, now: float, wall: float) -> list[act.Action]:
        actions = self.dispatcher.result(permit, outcome, now, wall)
        if self._after is not None:  # not before: the dispatcher may have heard of it from another task
            mark: Any = _Mark(_Then(lambda: self._follow_up(permit, outcome)))
            actions.append(act.Done(mark))
        return actions

    def _follow_up(self, permit: Permit, outcome: Outcome) -> None:
        job = object()

        def do() -> None:
            assert self._after is not None  # noqa: S101 - else nothing follows
            try:
                self._after(permit, outcome)
            finally:
                self._following.discard(job)
                self._rest()

        self._following.add(job)  # before it begins: whoever closes waits for it
        try:
            self.runtime.spawn(do, home=permit.home)
        except RuntimeError:  # the system grants no thread
            self._following.discard(job)
            self._rest()

    def _is_here(self, permit: Permit) -> bool:
        return permit.home is None or permit.home == self.runtime.home()

    def _is_left_behind(self) -> bool:
        """Whether this is a forked child, which may not have been told so yet, and not the runner's own process."""
        return self._disowned or os.getpid() != self._pid

    def stop(self, within: float = 0.0) -> None:
        """Wait ``within`` seconds for workers to come home, and cancel all timers."""
        self._stopping = True
        if self._at_work and within > 0.0 and self.runtime.may_wait():
            self._idle.wait(within)
        self._alarm.cancel()

    def after_fork(self) -> None:
        """In a forked child: this runner, its timers and greenlets are the parent's, and stand still here."""
        self._disowned = True
        self.story.end()
        self.runtime.after_fork()
        self._alarm.cancel()
