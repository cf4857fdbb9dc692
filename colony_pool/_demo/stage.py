"""One fleet on its stage: the plan carried out, and its server's counts asked for meanwhile."""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_left
from collections.abc import Callable

from ..testing import FakeColonyError
from .run import GIVE_UP, Join, Plan, Run, Spawn

_TICK = 0.1  # seconds
_ENDING = 2.0  # seconds that the agents' last calls may take


class DemoError(Exception):
    """The demo cannot be played here; the message says why and what to do instead."""


class History:
    """How many requests a server had counted at which time of the run, and how often it was knocked over."""

    def __init__(self) -> None:
        self._at = [0.0]
        self._total = [0]
        self.knocks = 0

    def note(self, at: float, total: int, knocks: int) -> None:
        """Add what the server says."""
        self._at.append(at)
        self._total.append(total)
        self.knocks = knocks

    @property
    def last(self) -> tuple[float, int, int]:
        """What was noted last."""
        return self._at[-1], self._total[-1], self.knocks

    @property
    def rate(self) -> float:
        """Requests a second during the last second."""
        now = self._at[-1]
        return self.between(now - 1.0, now)

    def between(self, start: float, stop: float) -> float:
        """Requests a second between two times."""
        first, last = self._before(start), self._before(stop)
        seconds = self._at[last] - self._at[first]
        return (self._total[last] - self._total[first]) / seconds if seconds > 0 else 0.0

    def _before(self, at: float) -> int:
        return min(bisect_left(self._at, at), len(self._at) - 1)


class Stage:
    """Plays ``run``. ``late`` is by how many seconds this process was late at worst."""

    def __init__(self, run: Run, plan: Plan, spawn: Spawn) -> None:
        self._run, self._plan, self._spawn = run, plan, spawn
        self._over = False
        self._start = 0.0
        self.history = History()
        self.late = 0.0

    def direct(self, tick: Callable[[float], object], over: Callable[[], bool]) -> None:
        """Play from the first token to the last, or to ``GIVE_UP``.

        Arguments:
            tick: called with the seconds since the start, ten times a second; what it raises ends the run.
            over: whether, when all agents of this run are back, there is nothing else to wait for.
        """
        plan, run = self._plan, self._run
        self._start = time.monotonic()
        try:
            joins = self._begin()
            while self._now() < plan.down_at:
                self._turn(tick, plan.down_at)
            run.go_down()
            end = plan.back_at + GIVE_UP
            while (run.back < run.n or not over()) and self._now() < end:
                self._turn(tick, end)
        finally:
            self._over = True
            run.stop()
        until = time.monotonic() + _ENDING  # not after Ctrl-C: then nobody waits for agents that wait for a token
        for join in joins:
            join(max(0.0, until - time.monotonic()))

    def _begin(self) -> list[Join]:
        try:
            return [*self._run.begin(self._spawn), self._spawn(self._sample)]
        except RuntimeError as error:  # "can't start new thread"
            text = f"{error} for {self._run.n} agents: try fewer --agents, or greenlets (--runtime gevent)"
            raise DemoError(text) from error

    def _now(self) -> float:
        return time.monotonic() - self._start

    def _turn(self, tick: Callable[[float], object], until: float) -> None:
        tick(self._now())
        began = self._now()
        time.sleep(wait := max(0.0, min(_TICK, until - began)))
        self.late = max(self.late, self._now() - began - wait)

    def _sample(self) -> None:
        """Ask the server for its counts; in a task of its own, since a busy server is slow to tell."""
        while not self._over:
            try:
                stats = self._run.colony.stats()
            except FakeColonyError:
                return  # closed meanwhile
            self.history.note(self._now(), stats.requests, stats.knocks)
            time.sleep(_TICK)


def allow_sockets(wanted: int) -> None:
    """Agents on their own take a socket each, and many systems allow 1,024 or fewer unless they are asked."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
