"""The presenter: plays the demo before whoever is there, and hands out the figures at its end."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .. import __version__
from .live import Lines, LiveView
from .plan import ALONE, POOL, SCALE, TITLES, DemoError, Plan
from .report import page
from .score import Score, rows, score
from .stage import Stage, deaf, opened
from .words import notes


def present(plan: Plan, report: Path | None, *, as_json: bool) -> None:
    """Run the demo and print its table (or JSON); write the report.

    Raises:
        DemoError: it cannot run, or the report cannot be written.
        KeyboardInterrupt: Ctrl-C; everything that was started has ended.
    """
    if report is not None and not report.absolute().parent.is_dir():
        raise DemoError(f"--report {report}: there is no such folder")
    console = Console(stderr=as_json, highlight=False)
    pool, alone = _perform(plan, console)
    if report is not None:
        try:
            report.write_text(page(plan, pool, alone), encoding="utf-8")
        except OSError as error:
            raise DemoError(f"--report {report}: {(error.strerror or 'cannot be written').lower()}") from None
    if as_json:
        print(json.dumps(_as_dict(plan, pool, alone)))
        return
    console.print(_table(plan, pool, alone))
    console.print(f"[dim]{notes(plan)}[/dim]")
    if report is not None:
        console.print(f"The chart: {report}", soft_wrap=True)


def _perform(plan: Plan, console: Console) -> tuple[Score, Score]:
    console.print(_headline(plan))
    stack = opened(plan)
    stage = stack.__enter__()
    try:
        _announce(stage, console)
        if console.is_terminal:
            with LiveView(plan, console) as view:
                stage.play(view.show)
        else:
            stage.play(Lines(console).show)
        pool, alone = (score(plan, side) for side in stage.sides)
    finally:
        with deaf():
            stack.__exit__(None, None, None)
    return pool, alone


def _headline(plan: Plan) -> str:
    return (
        f"[bold]colony-pool {__version__} demo[/bold]: {plan.agents} agents on each side ({plan.chosen_runtime}), "
        f"loopback HTTP, an hour's outage in 20 s"
    )


def _announce(stage: Stage, console: Console) -> None:
    for side in stage.sides:
        if side.metrics_port is not None:
            console.print(f"The pool's metrics: http://127.0.0.1:{side.metrics_port}/metrics", soft_wrap=True)


def _table(plan: Plan, pool: Score, alone: Score) -> Table:
    table = Table(title=f"One outage, {plan.agents} agents, two ways", title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column(TITLES[POOL], justify="right", style="green")
    table.add_column(TITLES[ALONE], justify="right", style="red")
    for row in rows(plan, pool, alone):
        table.add_row(*row)
    return table


def _as_dict(plan: Plan, pool: Score, alone: Score) -> dict[str, object]:
    return {
        "agents": plan.agents,
        "seed": plan.seed,
        "runtime": plan.chosen_runtime,
        "scale": SCALE,
        "rate": plan.rate,
        "ideal": plan.ideal,
        POOL: pool.as_dict(),
        ALONE: alone.as_dict(),
    }
