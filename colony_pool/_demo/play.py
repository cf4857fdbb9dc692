"""Directs the demo: two fleets, two servers, one script."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from rich.console import Console

from ..prometheus import CollectorRegistry
from ..testing import FakeColony, FakeColonyError
from .fleets import alone, maker_of, pooled
from .run import GIVE_UP, LATENCY, SCALE, Join, Outcome, Plan, Run, Spawn, spawner
from .view import History, View

_TICK = 0.1
_ENDING = 2.0  # seconds that the agents' last calls may take


class DemoError(Exception):
    """The demo cannot be played here; the message says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class Result:
    """Both outcomes, and how truly they were come by.

    Attributes:
        ours: the agents on one pool.
        theirs: the same agents, each alone.
        plan: when what happened.
        runtime: ``"gevent"`` or ``"threads"``.
        late: seconds by which this process was late at worst. All agents and both servers share the machine: when it
            is too slow for them, both sides suffer.
    """

    ours: Outcome
    theirs: Outcome
    plan: Plan
    runtime: str
    late: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "runtime": self.runtime,
            "scale": SCALE,
            "late_s": round(self.late, 2),
            "colony_pool": self.ours.as_dict(),
            "alone": self.theirs.as_dict(),
        }


class Interrupt:
    """Ctrl-C as a flag: an exception would strike whatever greenlet happens to run, and agents are greenlets."""

    def __init__(self) -> None:
        self._seen = False

    def __enter__(self) -> Interrupt:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        # Once is enough: a second one must not disturb what tidies up after the first.
        signal.signal(signal.SIGINT, signal.SIG_IGN if self._seen else self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen = True

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if there was one."""
        if self._seen:
            raise KeyboardInterrupt


def play(agents: int, runtime: str, console: Console, *, metrics_port: int | None = None) -> Result:
    """Play it, drawing on ``console``.

    Raises:
        DemoError: this machine cannot play it.
        KeyboardInterrupt: Ctrl-C; nothing that was started is left.
    """
    plan = Plan()
    logger = logging.getLogger("colony_pool")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False  # the view shows what the log would tell
    _allow_sockets(2 * agents + 256)
    with Interrupt() as interrupt, _servers() as (ours, theirs):
        interrupt.check()
        with pooled(ours.base_url, registry=CollectorRegistry(), runtime=runtime) as pool:
            if metrics_port is not None:
                console.print(f"metrics: http://127.0.0.1:{_serve(pool, metrics_port)}/metrics", highlight=False)
            runs = (
                Run("colony_pool", ours, maker_of(pool), agents, plan),
                Run("alone", theirs, alone(theirs.base_url), agents, plan),
            )
            with View(console, plan, runs, pool) as view:
                director = _Director(runs, plan, spawner(runtime), view, interrupt)
                director.direct()
            return Result(runs[0].outcome(), runs[1].outcome(), plan, runtime, director.late)


@contextlib.contextmanager
def _servers() -> Iterator[tuple[FakeColony, FakeColony]]:
    try:
        with FakeColony() as ours, FakeColony() as theirs:
            for colony in (ours, theirs):
                colony.latency(LATENCY)
            yield ours, theirs
    except FakeColonyError as error:
        raise DemoError(f"a server of the demo ended: {error}") from error


def _serve(pool: Any, port: int) -> int:
    try:
        return int(pool.start_metrics_server(port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DemoError(f"--metrics-port {port}: {reason}; 0 picks a free one") from error


class _Director:
    """Carries out the plan, and has the view drawn meanwhile."""

    def __init__(self, runs: tuple[Run, Run], plan: Plan, spawn: Spawn, view: View, interrupt: Interrupt) -> None:
        self._runs, self._plan, self._spawn, self._view, self._interrupt = runs, plan, spawn, view, interrupt
        self._over = False
        self._start = 0.0
        self.late = 0.0

    def direct(self) -> None:
        """From the first token to the last, or to ``GIVE_UP``."""
        joins: list[Join] = []
        plan, runs = self._plan, self._runs
        self._start = time.monotonic()
        try:
            for run, history in zip(runs, self._view.histories, strict=True):
                joins += self._begin(run, history)
            for at, act in ((plan.down_at, Run.go_down), (plan.back_at, Run.come_back)):
                while self._now() < at:
                    self._turn(at)
                for run in runs:
                    act(run)
            while any(run.back < run.n for run in runs) and self._now() < plan.back_at + GIVE_UP:
                self._turn(plan.back_at + GIVE_UP)
        finally:
            self._over = True
            for run in runs:
                run.stop()
        until = time.monotonic() + _ENDING  # not after Ctrl-C: then nobody waits for agents that wait for a token
        for join in joins:
            join(max(0.0, until - time.monotonic()))

    def _begin(self, run: Run, history: History) -> list[Join]:
        try:
            return [*run.begin(self._spawn), self._spawn(self._sample, run, history)]
        except RuntimeError as error:  # "can't start new thread"
            text = f"{error} for {run.n} agents: try fewer --agents, or greenlets (--runtime gevent)"
            raise DemoError(text) from error

    def _now(self) -> float:
        return time.monotonic() - self._start

    def _turn(self, until: float) -> None:
        """Draw, then wait for a tick at most."""
        self._interrupt.check()
        self._view.step(self._now())
        began = self._now()
        time.sleep(wait := max(0.0, min(_TICK, until - began)))
        self.late = max(self.late, self._now() - began - wait)

    def _sample(self, run: Run, history: History) -> None:
        """Ask the server for its counts; in a task of its own, since a busy server is slow to tell."""
        while not self._over:
            try:
                stats = run.colony.stats()
            except FakeColonyError:
                return  # closed meanwhile
            history.note(self._now(), stats.requests, stats.knocks)
            time.sleep(_TICK)


def _allow_sockets(wanted: int) -> None:
    """Agents on their own take a socket each, and many systems allow 1,024 or fewer unless they are asked."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted), hard)
        )
