"""What the demo shows while it runs: a table of the contestants, and their requests over time.

On a terminal it is redrawn in place, ten times a second, with a chart for each contestant. Everywhere else (a pipe, a
dumb or tiny terminal) the same table is printed every few seconds. The phases and bars can be told apart without
colour, and on a terminal that knows only ASCII.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .agents import SCALE, Schedule, capacity, some_agents
from .contestant import Contestant
from .processes import ALONE, SEPARATE, SHARED, AgentProcess

COLOURS = {SHARED: "cyan", SEPARATE: "blue", ALONE: "magenta"}
_PHASES = {"healthy": "green", "outage": "red", "recovery": "yellow"}
_STATES = {"closed": "green", "half_open": "yellow", "open": "red"}
_EVERY = 5.0  # seconds between two tables where nothing is redrawn
_WIDEST = 120  # columns; wider bars get no clearer
_SMALLEST = (44, 16)  # columns and lines of a terminal that is redrawn
_ROOMY, _ROOMY_MANY = 76, 98  # columns for the whole table, and for that of several processes
_TALLEST = 7  # lines of a chart


class Screen:
    """Shows the contestants. ``step`` is called ten times a second."""

    def __init__(self, console: Console, schedule: Schedule, contestants: Sequence[Contestant]) -> None:
        self._console, self._schedule, self._contestants = console, schedule, contestants
        self._marks = _Marks(ascii_only=console.options.ascii_only)
        self._next_table = 0.0
        self._last_phase = ""
        self._announced: set[str] = set()
        columns, lines = _SMALLEST
        live = console.is_terminal and not console.is_dumb_terminal
        live = live and console.width >= columns and console.height >= lines
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def step(self, at: float) -> None:
        """Show the state ``at`` seconds from the start, and say once of each process that it died."""
        for words in (words for one in self._contestants for words in one.deaths() if words not in self._announced):
            self._announced.add(words)
            self._console.print(words, highlight=False, markup=False, soft_wrap=True)
        phase = self._schedule.phase(at)
        if self._live is not None:
            self._live.update(self._picture(at), refresh=True)
        elif at >= self._next_table or phase != self._last_phase:
            self._next_table, self._last_phase = at + _EVERY, phase
            self._console.print(Group(self._heading(at), self._table(0), Text("")))

    def _picture(self, at: float) -> RenderableType:
        """Heading, table and charts, as high as the terminal."""
        many = len(self._contestants) > 2
        count = len(self._contestants)
        free = self._console.height - 2 - 2 - count - 2  # heading, header, contestants, foot and the last line
        processes = sum(one.processes for one in self._contestants if one.kind != ALONE) if many else 0
        if processes and free - processes < 3 * count:
            processes = 0  # no room for them beside the charts
        rows = min(_TALLEST, (free - processes) // count - 2)
        charts = self._charts(at, min(self._console.width, _WIDEST) - 2, rows) if rows >= 1 else []
        foot = " Charts: requests/s on a square-root scale. Ctrl-C ends the demo."
        if processes:
            foot += f" {self._marks.probe} has just sent a probe."
        return Group(self._heading(at), self._table(processes), *charts, Text(foot, "dim", no_wrap=True))

    def _heading(self, at: float) -> Text:
        phase = self._schedule.phase(at)
        agents = self._contestants[0].n
        words = {
            "healthy": "every agent gets a token; the endpoint will soon go down",
            "outage": f"502 for everyone: an hour in {self._schedule.outage:.0f} s; the tokens run out",
            "recovery": f"the server can serve {capacity(agents):,.0f} requests/s; more knock it over",
        }[phase]
        text = Text(f" {some_agents(agents)} on each side, {SCALE:.0f} times as fast as real time. {at:4.1f} s\n ")
        text.append(f" {phase.upper()} ", f"bold reverse {_PHASES[phase]}").append(f" {words}", "bold")
        return text

    def _table(self, processes: int) -> Table:
        """A row for each contestant, and for each of its processes if there is room for so many rows."""
        many = len(self._contestants) > 2
        roomy = self._console.width >= (_ROOMY_MANY if many else _ROOMY)
        columns = ["breaker", "waiting", "tokens", "lost", "knocked over", "requests/s"]
        if many:
            columns[4:4] = ["probes"]
        shown = [name for name in columns if roomy or name not in ("waiting", "knocked over")]
        table = Table(box=None, pad_edge=True, header_style="bold", padding=(0, 1))
        table.add_column("")
        for name in shown:
            table.add_column(name, justify="left" if name == "breaker" else "right", no_wrap=True)
        for one in self._contestants:
            cells = _cells(one)
            table.add_row(Text(one.title, f"bold {COLOURS[one.kind]}"), *(cells[name] for name in shown))
            for process in one.members if processes and one.kind != ALONE else ():
                cells = _process_cells(process)
                mark = self._marks.probe if process.probed_just_now else " "
                number = Text(f" {mark} #{process.assignment.number + 1}", "bold" if mark.strip() else "dim")
                table.add_row(number, *(cells.get(name, Text("")) for name in shown))
        return table

    def _charts(self, at: float, width: int, rows: int) -> list[Text]:
        """The requests of the whole run, for each contestant: bars above a line of the phases, all on one scale."""
        step = self._schedule.end / width
        so_far = min(width, int(at / step) + 1)
        rates = [[one.history.between(i * step, (i + 1) * step) for i in range(so_far)] for one in self._contestants]
        top = max(1.0, *(rate for mine in rates for rate in mine))
        line = Text(" ")
        for i in range(width):
            phase = self._schedule.phase(i * step)
            line.append(self._marks.phases[phase], _PHASES[phase] if i < so_far else "bright_black")
        lines = []
        for one, mine in zip(self._contestants, rates, strict=True):
            lines.append(Text(f" {one.title}", COLOURS[one.kind]))
            lines += [*self._marks.bars(mine, top, rows, COLOURS[one.kind]), line]
        return lines


class _Marks:
    """The characters that a terminal can show."""

    def __init__(self, *, ascii_only: bool) -> None:
        self.probe = "*" if ascii_only else "●"
        self.phases = dict(zip(_PHASES, "-=~" if ascii_only else "─━┄", strict=True))
        self._levels = " .:-=+*%#" if ascii_only else " ▁▂▃▄▅▆▇█"

    def bars(self, rates: Sequence[float], top: float, rows: int, style: str) -> list[Text]:
        """Bars of ``rows`` lines, from the top down, on a square-root scale: one request can still be seen."""
        heights = [0 if rate <= 0 else max(1, round(8 * rows * math.sqrt(rate / top))) for rate in rates]
        return [
            Text(" " + "".join(self._levels[min(8, max(0, height - 8 * row))] for height in heights), style)
            for row in reversed(range(rows))
        ]


def _cells(one: Contestant) -> dict[str, Text]:
    knocks = one.history.knocks
    alone = one.kind == ALONE
    return {
        "breaker": _breaker(one),
        "waiting": Text("-") if alone else Text(f"{one.waiters:,}"),
        "tokens": Text(f"{one.with_token:,}"),
        "lost": Text(f"{one.lost:,}", "bold red" if one.lost else ""),
        "probes": Text("-") if alone else Text(f"{one.probes:,}"),
        "knocked over": Text(f"{knocks} x", "bold red") if knocks else Text("never"),
        "requests/s": Text(f"{one.history.rate:,.0f}", "bold"),
    }


def _breaker(one: Contestant) -> Text:
    if one.kind == ALONE:
        return Text("none", "dim")
    if one.kind == SEPARATE:
        return Text(f"{one.not_closed} of {one.processes} open", _STATES["open" if one.not_closed else "closed"])
    return Text(one.state.replace("_", "-"), f"bold {_STATES[one.state]}")


def _process_cells(process: AgentProcess) -> dict[str, Text]:
    if process.died:
        return {"breaker": Text("died", "bold red")}
    last = process.last
    return {
        "breaker": Text(last.state.replace("_", "-"), _STATES[last.state]),
        "waiting": Text(f"{last.waiters:,}"),
        "tokens": Text(f"{last.with_token:,}"),
        "probes": Text(f"{last.probes:,}"),
    }
