"""The runner: feeds the dispatcher one input at a time and carries out what it answers.

Nobody ever waits for the dispatcher. An input goes into an inbox; whoever gets the lock (a try, never a
wait) works the inbox off, everybody else goes on and waits for an event of its own. So no caller can block
another, no greenlet switches while it holds the lock, and a finaliser that runs in the middle of a decision
and cancels its call cannot deadlock with the decision it interrupted.

Actions wait in queues of their own until somebody carries them out: a caller that is killed between a
decision and its execution loses nothing, since the next one through here picks the rest up. What listeners
and pybreaker are told is told in order, by one task at a time, with no lock held that anyone waits for.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from .._core import actions as act
from .._core.account import Permit
from .._core.dispatch import Dispatcher
from .._core.events import Event
from .._core.outcome import LOCAL, Outcome
from .._runtime.protocol import Runtime, Timer

log = logging.getLogger("colony_pool")

Step = Callable[[float, float], list[act.Action]]


class Breaker(Protocol):
    """What the runner needs of pybreaker."""

    def replay(self, what: str) -> None:
        """Tell it what the desk has decided."""

    @property
    def listeners(self) -> Sequence[object]:
        """Whom ``deliver`` would tell."""

    def deliver(self) -> None:
        """Tell users' listeners; one may call back into the pool, and wait there."""


class Runner:
    """Between the pure dispatcher and the world. ``attempt`` makes one attempt and must not raise."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        runtime: Runtime,
        attempt: Callable[[Permit], Outcome],
        breaker: Breaker | None = None,
        listeners: list[Callable[[Event], object]] | None = None,
        after: Callable[[Permit, Outcome], object] | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.runtime = runtime
        self.listeners = listeners if listeners is not None else []
        self._attempt = attempt
        self._after = after  # what is left to do once everybody was told
        self._breaker = breaker
        self._inbox: deque[Step] = deque()
        self._todo: deque[act.Start | act.Abort | act.Done | act.Grant] = deque()
        self._story: deque[act.Replay | act.Emit] = deque()
        self._deciding = runtime.lock()  # guards dispatcher
        self._telling = runtime.lock()  # guards the order in which _story is told
        self._working: set[int] = set()
        self._stopping = False
        self._idle = runtime.event()
        self._wake_at = math.inf
        self._timers: dict[Hashable | None, tuple[float, Timer]] = {}

    def feed(self, step: Step) -> None:
        """Put one input to the dispatcher; its actions are carried out here or by whoever is at it."""
        self._inbox.append(step)
        try:
            self._decide()
            self._carry_out()
        except BaseException:  # killed in here: what others have left to this task must not wait for the next one
            self._decide()
            self._carry_out()
            raise

    def _decide(self) -> None:
        while self._inbox and self._deciding.acquire(False):
            try:
                while self._inbox:
                    step = self._inbox.popleft()
                    self._sort(step(self.runtime.monotonic(), self.runtime.now()))
            except Exception:
                log.exception("colony_pool: the dispatcher failed; this is a bug, please report it")
            finally:
                self._deciding.release()

    def _sort(self, actions: list[act.Action]) -> None:
        for action in actions:
            kind = type(action)
            if kind is act.WakeAt:
                self._wake_at = action.at  # type: ignore[union-attr]
            elif kind is act.Emit or kind is act.Replay:
                self._story.append(action)  # type: ignore[arg-type]
            else:
                self._todo.append(action)  # type: ignore[arg-type]

    def _carry_out(self, *, worker: Permit | None = None) -> Permit | None:
        """Carry out what is due. A ``worker`` that just finished takes one new attempt with it."""
        mine: Permit | None = None
        # A user's listener may wait for the pool, and this task tells it: then no attempt may wait for this task.
        takes_over = worker is not None and not (self._breaker is not None and self._breaker.listeners)
        while self._todo:
            try:
                action = self._todo.popleft()
            except IndexError:
                break
            if isinstance(action, act.Start):
                if takes_over and mine is None and action.permit.home in (None, self.runtime.home()):
                    mine = action.permit
                else:
                    self.runtime.spawn(self._work, action.permit, home=action.permit.home)
            elif isinstance(action, act.Done):
                action.waiter.event.set()
            elif isinstance(action, act.Abort):
                if action.permit.shell is not None:
                    action.permit.shell.abort()
            elif action.account.listener is not None:
                action.account.listener(action)
        self._arm()
        self._tell()
        return mine

    def _work(self, first: Permit) -> None:
        """Make attempts until there is none to take over."""
        self._working.add(id(first))
        try:
            self._chain(first)
        finally:
            self._working.discard(id(first))
            if self._stopping and not self._working:
                self._idle.set()

    def _chain(self, permit: Permit | None) -> None:
        while permit is not None:
            current = permit
            outcome = Outcome(LOCAL, detail="the attempt was abandoned")
            try:
                outcome = self._attempt(current)
            finally:
                self._inbox.append(
                    lambda now, wall, p=current, o=outcome: self.dispatcher.result(p, o, now, wall)  # type: ignore[misc]
                )
                self._decide()
            permit = self._carry_out(worker=current)
            if self._after is not None:
                self._after(current, outcome)

    def _arm(self) -> None:
        """Have a timer in this home that fires by the time the dispatcher wants to be woken.

        One timer per home: a hub may die with its thread, and the others must still be woken.
        """
        home = self.runtime.home()
        at = math.nan
        while at != self._wake_at:  # another thread may have moved it meanwhile
            at = self._wake_at
            timer = self._timers.get(home)
            if timer is not None:
                if timer[0] <= at < math.inf:
                    return
                self._timers.pop(home, None)
                timer[1].cancel()
            if at < math.inf:
                delay = max(0.0, at - self.runtime.monotonic())
                self._timers[home] = (at, self.runtime.call_later(delay, lambda: self._fire(home)))

    def _fire(self, home: Hashable | None) -> None:
        self._timers.pop(home, None)
        self.feed(self.dispatcher.tick)

    def _tell(self) -> None:
        while self._story and self._telling.acquire(False):
            try:
                while self._story:
                    item = self._story.popleft()
                    if isinstance(item, act.Replay):
                        if self._breaker is not None:
                            self._breaker.replay(item.what)
                    else:
                        self._notify(item.event)
            finally:
                self._telling.release()
        if self._breaker is not None:
            self._breaker.deliver()

    def _notify(self, event: Event) -> None:
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except Exception:
                log.exception("colony_pool: a listener raised on %s; it changes nothing", type(event).__name__)

    def stop(self, within: float = 0.0) -> None:
        """Wait ``within`` seconds for workers to come home, and cancel all timers."""
        self._stopping = True
        if self._working and within > 0.0:
            self._idle.wait(within)
        while self._timers:
            self._timers.popitem()[1][1].cancel()
