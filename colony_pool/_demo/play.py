"""Plays the demo: two fleets, two servers, one script."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from ..prometheus import CollectorRegistry
from ..testing import FakeColony
from .fleets import alone, maker_of, pooled
from .live import View, table
from .report import page
from .run import GIVE_UP, Outcome, Plan, Run, spawner

_TICK = 0.2


def play(
    agents: int, runtime: str, console: Console, *, metrics_port: int | None = None, plan: Plan | None = None
) -> tuple[Outcome, Outcome]:
    """Run both fleets at the same time and return what became of them: ``(one pool, each alone)``."""
    plan = plan or Plan()
    # The demo shows the state itself; what the pool would log goes to whoever asks for it.
    logging.getLogger("colony_pool").addHandler(logging.NullHandler())
    logging.getLogger("colony_pool").propagate = False
    spawn = spawner(runtime)
    with FakeColony() as ours, FakeColony() as theirs:
        for colony in (ours, theirs):
            colony.latency(0.01)
        with pooled(ours.base_url, max_wait=120.0, registry=CollectorRegistry(), runtime=runtime) as pool:
            if metrics_port is not None:
                port = pool.start_metrics_server(metrics_port)
                console.print(f"metrics: http://127.0.0.1:{port}/metrics", highlight=False)
            runs = (
                Run("colony_pool", ours, maker_of(pool), agents, plan),
                Run("alone", theirs, alone(theirs.base_url), agents, plan),
            )
            with View(console, plan, runs, pool) as view:
                _direct(runs, plan, spawn, view)
            return runs[0].outcome(), runs[1].outcome()


def _direct(runs: tuple[Run, Run], plan: Plan, spawn: Callable[..., Callable[[], None]], view: View) -> None:
    start = time.monotonic()
    joins = [join for run in runs for join in run.begin(spawn)]
    for at, act in ((plan.down_at, Run.go_down), (plan.back_at, Run.come_back)):
        while (left := start + at - time.monotonic()) > 0:
            time.sleep(min(_TICK, left))
            view.step()
        for run in runs:
            act(run)
    while any(run.back < run.n for run in runs) and time.monotonic() < start + plan.back_at + GIVE_UP:
        time.sleep(_TICK)
        view.step()
    for join in joins:
        join()


def show(ours: Outcome, theirs: Outcome, console: Console, report: Path | None, plan: Plan | None = None) -> None:
    """Print the table; write the page."""
    console.print(table(ours, theirs))
    if report is not None:
        report.write_text(page(ours, theirs, plan or Plan()), encoding="utf-8")
        console.print(f"report: {report}", highlight=False)
