"""What the demo shows while it runs: the sides next to each other, or plain lines without a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .agents import SCALE, Schedule, capacity, some_agents
from .contestant import Contestant
from .lines import Lines
from .panels import PHASES, Panels

_WIDEST = 120  # columns; beyond it bars get no clearer
_EVERY = 2.0  # seconds between plain lines


class Screen:
    """Draws the sides. ``step`` is called a few times a second."""

    def __init__(self, console: Console, schedule: Schedule, sides: Sequence[Contestant]) -> None:
        self._console, self._schedule, self._sides = console, schedule, sides
        self._next_line = 0.0
        self._told: set[str] = set()
        self._panels = Panels(schedule, sides)
        self._lines = Lines(schedule, sides)
        live = console.is_terminal and not console.is_dumb_terminal and console.width >= 76 and console.height >= 18
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.__enter__()
        else:
            self._say(self._lines.head())
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def step(self, at: float) -> None:
        """Draw what is at ``at`` seconds from the start, and tell once of each process that has died."""
        for words in (words for side in self._sides for words in side.deaths() if words not in self._told):
            self._told.add(words)
            self._say(words)
        if self._live is not None:
            self._live.update(self._picture(at), refresh=True)
        elif at >= self._next_line:
            self._next_line += _EVERY
            self._say(self._lines.line(at))

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _picture(self, at: float) -> Any:
        width = min(self._console.width, _WIDEST)
        grid = Table.grid()
        each = width // len(self._sides)
        for _ in self._sides:
            grid.add_column(width=each)
        grid.add_row(*self._panels.drawn(at, each, self._console.height))
        foot = " bars: requests/s, on a square root's scale. Ctrl-C ends it"
        if len(self._sides) > 2:
            foot = " bars: requests/s, square root's scale. ● sent a probe just now. Ctrl-C ends it"
        return Group(*self._heading(at, width), grid, Text(foot, "dim"))

    def _heading(self, at: float, width: int) -> list[Text]:
        phase = self._schedule.phase(at)
        n = self._sides[0].n
        told = {
            "healthy": "every agent fetches a token; the endpoint is about to go down",
            "outage": f"502 to everyone: an hour in {self._schedule.outage:.0f} s; the tokens run out one by one",
            "recovery": f"it bears {capacity(n):,.0f} requests/s; a herd knocks it over",
        }[phase]
        times = "twice" if len(self._sides) == 2 else "three times"
        first = Text(f" {some_agents(n)}, {times}. All schedules {SCALE:.0f} times as fast as in life.", "bold")
        first.append(f"{at:.1f} s ".rjust(max(0, width - len(first))), "default")
        second = Text(" ").append(f" {phase.upper()} ", f"bold reverse {PHASES[phase]}").append(f"  {told}")
        return [first, second]
