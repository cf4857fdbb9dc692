"""What the demo says at its end: the two fleets side by side, and what the figures mean."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .fleets import MAX_WAIT
from .play import Result
from .run import GIVE_UP, SCALE, Outcome, capacity, some_agents

_LATE = 0.25  # seconds; a scaled minute


def _back(outcome: Outcome) -> str:
    if outcome.never_back:
        return f"{outcome.never_back:,} still out"
    return f"{outcome.last_back_s:.1f} s"


def title(result: Result) -> str:
    """What was played."""
    return f"{some_agents(result.ours.agents)}, one outage, twice"


def rows(result: Result) -> list[tuple[str, str, str]]:
    """The comparison: ``(what, one pool, each alone)``."""
    pair = (result.ours, result.theirs)
    table = {
        "requests during the outage": [f"{o.attempts_during_outage:,}" for o in pair],
        "burst at recovery (in 0.1 s)": [f"{o.burst_per_100ms:,}" for o in pair],
        "server knocked over": [f"{o.knocks:,} x" if o.knocks else "never" for o in pair],
        "agents lost": [f"{o.agents_lost:,} of {o.agents:,}" for o in pair],
        "last agent back after": [_back(o) for o in pair],
    }
    return [(what, a, b) for what, (a, b) in table.items()]


def notes(result: Result) -> list[str]:
    """What one must know to judge the figures."""
    rate = capacity(result.ours.agents)
    ideal = result.ours.agents / rate
    told = [
        f"An hour's outage in {result.plan.outage:.0f} s: all schedules {SCALE:.0f} times as fast, network and "
        "server at their own pace. The servers counted the requests, the agents their losses.",
        f"It came back with room for {rate:,.0f} requests/s, so {ideal:.1f} s is the best there is; "
        f"the curtain fell after {GIVE_UP:.0f} s.",
        f"In life: pool with max_wait={MAX_WAIT:.0f}; alone, 7 attempts in 122 s, restarted a minute after a loss.",
    ]
    late = max(result.late, result.late_alone)
    if late > _LATE:
        told.append(
            f"This machine was busy, up to {late:.1f} s late: with fewer --agents the figures get truer, "
            "on both sides."
        )
    return told


def show(result: Result, console: Console, report: Path | None = None) -> None:
    """Print the table, its notes, and what to do next."""
    console.print(_table(result))
    for note in notes(result):
        console.print(Padding(Text(note, "dim"), (0, 1)))
    charts = f"charts    {report}" if report else "charts    colony-pool demo --report demo.html"
    steps = (
        charts,
        'Python    pool = ColonyPool(); pool.agent("col_...").token()',
        "shell     colony-pool token --help",
    )
    console.print()
    for step in steps:
        console.print(f" {step}", highlight=False, markup=False, soft_wrap=True)


def _table(result: Result) -> Table:
    table = Table(title=title(result), title_style="bold", title_justify="left", header_style="bold")
    table.add_column("")
    table.add_column("one colony_pool", justify="right", style="cyan")
    table.add_column("each agent alone", justify="right", style="magenta")
    for row in rows(result):
        table.add_row(*row)
    return table
