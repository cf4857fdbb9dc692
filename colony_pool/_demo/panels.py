"""The demo on a terminal: a panel for each side, with its figures, its processes and its requests over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .agents import Schedule
from .contestant import Contestant, titled
from .processes import ALONE, OWN_DOORS, AgentProcess

PHASES = {"healthy": "green", "outage": "red", "recovery": "yellow"}
COLOURS = {"one_door": "cyan", "own_doors": "blue", "alone": "magenta"}
_STATES = {"closed": "bold green", "half_open": "bold yellow", "open": "bold red"}
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_AROUND = 12  # lines of the picture that are neither bars nor processes
_ROOMY = 30  # columns inside a panel from which on words are written out


class Panels:
    """Draws the sides at one moment."""

    def __init__(self, schedule: Schedule, sides: Sequence[Contestant]) -> None:
        self._schedule, self._sides = schedule, sides

    def drawn(self, at: float, width: int, height: int) -> list[Panel]:
        """A panel ``width`` columns wide for each side, in a terminal of ``height`` lines."""
        many = len(self._sides) > 2
        padding = 0 if many and width - 4 < _ROOMY else 1
        inner = width - 2 - 2 * padding
        processes = self._sides[0].processes if many else 0
        shown = max(0, min(processes, height - 1 - _AROUND - 2 - 2))  # two lines of bars at least, and a header
        rows = max(2, min(7, height - 1 - _AROUND - (shown + 1 if many else 0)))
        charts = self._charts(at, inner, rows)
        panels = []
        for side, chart in zip(self._sides, charts, strict=True):
            lines = _processes(side, shown, inner) if many else []
            body = Group(_facts(side, inner), *lines, *chart)
            panels.append(Panel(body, title=titled(side.name), border_style=COLOURS[side.kind], padding=(0, padding)))
        return panels

    def _charts(self, at: float, width: int, rows: int) -> list[list[Text]]:
        """Requests a second over the whole run: bars on a square root's scale, above a strip of the phases."""
        step = self._schedule.end / width
        so_far = min(width, int(at / step) + 1)
        bars = [[s.history.between(i * step, (i + 1) * step) for i in range(so_far)] for s in self._sides]
        top = max(1.0, *(bar for side in bars for bar in side))
        strip = Text()
        for i in range(width):
            strip.append("▔", PHASES[self._schedule.phase(i * step)] if i < so_far else "bright_black")
        return [
            [*_bars(mine, top, rows, COLOURS[side.kind]), strip] for side, mine in zip(self._sides, bars, strict=True)
        ]


def _bars(rates: Sequence[float], top: float, rows: int, style: str) -> list[Text]:
    heights = [0 if rate <= 0 else max(1, round(8 * rows * math.sqrt(rate / top))) for rate in rates]
    return [
        Text("".join(_EIGHTHS[min(8, max(0, height - 8 * row))] for height in heights), style)
        for row in reversed(range(rows))
    ]


def _facts(side: Contestant, width: int) -> Table:
    roomy = width >= _ROOMY
    start = "" if roomy else " "
    facts = Table.grid(padding=(0, 1))
    facts.add_column(width=13 if roomy else 11)
    facts.add_column(no_wrap=True)
    facts.add_row(start + "breaker", _breaker(side, roomy=roomy))
    if side.kind == ALONE:
        loss = Text(f"{side.lost:,} of {side.n:,}", "bold red" if side.lost else "")
        facts.add_row(start + ("agents lost" if roomy else "lost"), loss)
    else:
        facts.add_row(start + ("calls waiting" if roomy else "waiting"), Text(f"{side.waiters:,}"))
    gauge = _gauge(side.with_token / side.n, 12 if roomy else 6, COLOURS[side.kind])
    facts.add_row(start + ("tokens held" if roomy else "tokens"), gauge.append(f" {side.with_token:,}"))
    facts.add_row(start + "requests/s", Text(f"{side.history.rate:,.0f}", "bold"))
    knocks = side.history.knocks
    told = Text(f"{knocks} x", "bold red") if knocks else Text("never")
    facts.add_row(start + ("knocked over" if roomy else "knocked"), told)
    return facts


def _breaker(side: Contestant, *, roomy: bool) -> Text:
    if side.kind == ALONE:
        return Text("none", "dim")
    style = _STATES[side.state]
    if side.kind == OWN_DOORS:
        return Text(f"{side.not_closed} of {side.processes} open", style if side.not_closed else "bold green")
    state = Text(side.state.replace("_", "-"), style)
    if roomy and side.next_probe_in is not None:
        told = "probing" if side.state == "half_open" else f"probe in {side.next_probe_in:.2f} s"
        state.append(f"  {told}", "default")
    return state


def _gauge(ratio: float, width: int, style: str) -> Text:
    full = round(width * ratio)
    return Text("━" * full, style).append("━" * (width - full), "bright_black")


def _processes(side: Contestant, shown: int, width: int) -> list[Text]:
    """A line for each process, as many lines on every side."""
    if side.kind == ALONE:
        return [Text()] * (shown + 1)
    wide = len(str(side.processes))
    lines = [Text(f" {'#':>{wide}} {'breaker':<9}{'waits':>{7 - wide}}{'probe':>6}", "dim", no_wrap=True)]
    for worker in side.workers[:shown]:
        lines.append(_process(worker, wide))
    if shown < side.processes:
        lines[-1] = Text(f"  and {side.processes - max(0, shown - 1)} more", "dim")
    return lines


def _process(worker: AgentProcess, wide: int) -> Text:
    last = worker.last
    line = Text("●" if worker.probed_just_now else " ", "bold yellow", no_wrap=True)
    line.append(f"{worker.assignment.number + 1:>{wide}} ", "default")
    if worker.died:
        return line.append("died", "bold red")
    line.append(f"{last.state.replace('_', '-'):<9}", _STATES[last.state])
    return line.append(f"{last.waiters:>{7 - wide},}{last.probes:>6,}", "default")
