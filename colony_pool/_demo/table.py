"""What the demo prints at its end: the contestants next to each other, and what the figures mean."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .agents import SCALE, capacity, some_agents
from .clients import MAX_WAIT
from .demo import DemoResult
from .screen import COLOURS
from .timeline import Counts

_LATE = 0.25  # seconds: a minute of real time


def _back(counts: Counts) -> str:
    if counts.never_back:
        return f"{counts.never_back:,} still out"
    return f"{counts.last_back_s:.1f} s"


def title(result: DemoResult) -> str:
    """What was played."""
    times = "twice" if len(result.results) == 2 else "three times"
    return f"{some_agents(result.ours.counts.agents)}, one outage, {times}"


def rows(result: DemoResult) -> list[tuple[str, ...]]:
    """The comparison: a topic, then a cell for each contestant."""
    contestants = [contestant.counts for contestant in result.results]
    table = {"requests during the outage": [f"{o.attempts_during_outage:,}" for o in contestants]}
    if result.processes > 1:
        table["half-open probes"] = [
            f"{sum(contestant.probes):,}" if contestant.probes else "-" for contestant in result.results
        ]
        table["most by one process"] = [
            f"{max(contestant.probes):,}" if contestant.probes else "-" for contestant in result.results
        ]
    table |= {
        "burst at recovery (in 0.1 s)": [f"{o.burst_per_100ms:,}" for o in contestants],
        "server knocked over": [f"{o.knocks:,} x" if o.knocks else "never" for o in contestants],
        "agents lost": [f"{o.agents_lost:,} of {o.agents:,}" for o in contestants],
        "last agent back after": [_back(o) for o in contestants],
    }
    return [(what, *cells) for what, cells in table.items()]


def notes(result: DemoResult) -> list[str]:
    """What a reader must know to judge the figures."""
    agents, schedule = result.ours.counts.agents, result.schedule
    rate = capacity(agents)
    lines = [death for contestant in result.results for death in contestant.deaths]
    if result.ours.undecided:
        lines.append("The shared record was not available at times; the processes decided alone meanwhile.")
    lines += [
        f"An hour's outage in {schedule.outage:.0f} s: all schedules run {SCALE:.0f} times as fast, network and "
        "server at normal speed. The servers counted the requests, the agents their losses.",
        f"The server came back with a capacity of {rate:,.0f} requests/s, so {agents / rate:.1f} s is the best "
        f"possible; the demo ended {schedule.give_up:.0f} s after the outage.",
        f"In real time: the pool has max_wait={MAX_WAIT:.0f}; an agent alone makes 7 attempts in 122 s, and is "
        "restarted a minute after it is lost.",
    ]
    if result.processes > 1:
        lines.append(
            f'One breaker: ColonyPool(shared="host") in all {result.processes} processes; '
            f"{result.processes} breakers: the same without it."
        )
    if result.late > _LATE:
        lines.append(
            f"This machine was busy, up to {result.late:.1f} s late: fewer --agents give more accurate figures."
        )
    return lines


def show(result: DemoResult, console: Console, report: Path | None = None) -> None:
    """Print the table, its notes, and what to try next."""
    console.print(_table(result))
    for note in notes(result):
        console.print(Padding(Text(note, "dim"), (0, 1)))
    charts = f"charts    {report}" if report else "charts    colony-pool demo --report demo.html"
    pool = 'ColonyPool(shared="host")' if result.processes > 1 else "ColonyPool()"
    steps = (
        charts,
        f'Python    pool = {pool}; pool.agent("col_...").token()',
        "shell     colony-pool token --help",
    )
    console.print()
    for step in steps:
        console.print(f" {step}", highlight=False, markup=False, soft_wrap=True)


def _table(result: DemoResult) -> Table:
    table = Table(title=title(result), title_style="bold", title_justify="left", header_style="bold")
    table.add_column("")
    between = " " if result.processes == 1 else "\n"
    for contestant in result.results:
        table.add_column(between.join(contestant.name), justify="right", style=COLOURS[contestant.kind])
    for row in rows(result):
        table.add_row(*row)
    return table
