"""Plays the demo: two fleets at the same time, the pool's in this process."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from rich.console import Console

from .. import ColonyPool
from ..prometheus import CollectorRegistry
from ..testing import FakeColony, FakeColonyError
from .beside import Beside
from .fleets import maker_of, pooled
from .run import LATENCY, SCALE, Outcome, Plan, Run, spawner
from .stage import DemoError, Stage, allow_sockets
from .view import View

_LAST_WORD = 5.0  # seconds that the other process may take to count


@dataclass(frozen=True, slots=True)
class Result:
    """Both outcomes, and how truly they were come by.

    Attributes:
        ours: the agents on one pool.
        theirs: the same agents, each alone.
        plan: when what happened.
        runtime: ``"gevent"`` or ``"threads"``.
        late: seconds by which the pool's process was late at worst: all share one machine.
        late_alone: the same of the other process.
    """

    ours: Outcome
    theirs: Outcome
    plan: Plan
    runtime: str
    late: float
    late_alone: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "runtime": self.runtime,
            "scale": SCALE,
            "colony_pool": {**self.ours.as_dict(), "late_s": round(self.late, 2)},
            "alone": {**self.theirs.as_dict(), "late_s": round(self.late_alone, 2)},
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
    logger = logging.getLogger("colony_pool")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False  # the view shows what the log would tell
    allow_sockets(2 * agents + 256)
    plan = Plan()
    with Interrupt() as interrupt, Beside(agents, runtime) as alone, _server() as colony:
        alone.ready()
        interrupt.check()
        with pooled(colony.base_url, registry=CollectorRegistry(), runtime=runtime) as pool:
            if metrics_port is not None:
                console.print(f"metrics: http://127.0.0.1:{_serve(pool, metrics_port)}/metrics", highlight=False)
            run = Run("colony_pool", colony, maker_of(pool), agents, plan)
            spawn = spawner(runtime)
            stage = Stage(run, plan, spawn)
            with View(console, plan, pool, (run, stage.history), (alone, alone.history)) as view:

                def tick(at: float) -> None:
                    interrupt.check()
                    view.step(at)

                joined = alone.begin(spawn)
                stage.direct(tick, over=lambda: alone.over)
                joined(_LAST_WORD)
                interrupt.check()
            return Result(run.outcome(), alone.outcome(), plan, runtime, stage.late, alone.late)


@contextlib.contextmanager
def _server() -> Iterator[FakeColony]:
    try:
        with FakeColony() as colony:
            colony.latency(LATENCY)
            yield colony
    except FakeColonyError as error:
        raise DemoError(f"the demo's server ended: {error}") from error


def _serve(pool: ColonyPool, port: int) -> int:
    try:
        return pool.start_metrics_server(port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DemoError(f"--metrics-port {port}: {reason}; 0 picks a free one") from error
