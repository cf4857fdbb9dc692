"""What the demo shows while it runs: both fleets side by side, or plain lines without a terminal."""

from __future__ import annotations

import math
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .. import ColonyPool
from .run import GIVE_UP, SCALE, Plan, capacity, some_agents
from .stage import History

_STATES = {"closed": "bold green", "half_open": "bold yellow", "open": "bold red"}
_PHASES = {"healthy": "green", "outage": "red", "recovery": "yellow"}
_SIDES = ("cyan", "magenta")
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_WIDEST = 120  # columns; beyond it bars get no clearer
_EVERY = 2.0  # seconds between plain lines
_HEAD = (
    "                 -------- one colony_pool --------   ---- each alone ----\n"
    "  time  server   breaker   waiting  req/s  tokens    lost  req/s  tokens"
)


class Fleet(Protocol):
    """What the view must know of a fleet, here or in another process."""

    n: int
    holding: int

    @property
    def lost(self) -> int:
        """Agents that died at least once."""


class View:
    """Draws the two fleets. ``step`` is called a few times a second."""

    def __init__(self, console: Console, plan: Plan, pool: ColonyPool, *sides: tuple[Fleet, History]) -> None:
        self._console, self._plan, self._pool = console, plan, pool
        self._runs = [fleet for fleet, _ in sides]
        self._histories = [history for _, history in sides]
        self._end = plan.back_at + GIVE_UP
        self._next_line = 0.0
        live = console.is_terminal and not console.is_dumb_terminal and console.width >= 76 and console.height >= 18
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.__enter__()
        else:
            self._say(_HEAD)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def step(self, at: float) -> None:
        """Draw what is at ``at`` seconds from the start."""
        if self._live is not None:
            self._live.update(self._picture(at), refresh=True)
        elif at >= self._next_line:
            self._next_line += _EVERY
            self._say(self._line(at))

    # -- without a terminal -----------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _line(self, at: float) -> str:
        status = self._pool.status()
        ours, alone = self._runs
        rates = [history.rate for history in self._histories]
        return (
            f"{at:4.1f} s  {self._plan.phase(at):9}{status.breaker.state.replace('_', '-'):9} {status.waiters:7,} "
            f"{rates[0]:6,.0f} {ours.holding:7,}   {alone.lost:5,} {rates[1]:6,.0f} {alone.holding:7,}"
        )

    # -- on a terminal ----------------------------------------------------------------------------------

    def _picture(self, at: float) -> Any:
        width = min(self._console.width, _WIDEST)
        inner = width // 2 - 4
        rows = 4 if self._console.height <= 24 else 7
        sides = Table.grid()
        sides.add_column(width=width // 2)
        sides.add_column(width=width // 2)
        sides.add_row(
            Panel(
                Group(self._facts_pool(), *self._chart(0, at, inner, rows)),
                title="one colony_pool",
                border_style=_SIDES[0],
            ),
            Panel(
                Group(self._facts_alone(), *self._chart(1, at, inner, rows)),
                title="each agent alone",
                border_style=_SIDES[1],
            ),
        )
        foot = Text(" bars: requests/s, on a square root's scale. Ctrl-C ends it", "dim")
        return Group(*self._heading(at, width), sides, foot)

    def _heading(self, at: float, width: int) -> list[Text]:
        phase = self._plan.phase(at)
        told = {
            "healthy": "every agent fetches a token; the endpoint is about to go down",
            "outage": f"502 to everyone: an hour in {self._plan.outage:.0f} s; the tokens run out one by one",
            "recovery": f"it bears {capacity(self._runs[0].n):,.0f} requests/s; a herd knocks it over",
        }[phase]
        first = Text(
            f" {some_agents(self._runs[0].n)}, twice. All schedules {SCALE:.0f} times as fast as in life.", "bold"
        )
        first.append(f"{at:.1f} s ".rjust(max(0, width - len(first))), "default")
        second = Text(" ").append(f" {phase.upper()} ", f"bold reverse {_PHASES[phase]}").append(f"  {told}")
        return [first, second]

    def _facts_pool(self) -> Table:
        status = self._pool.status()
        breaker = status.breaker
        state = Text(breaker.state.replace("_", "-"), _STATES[breaker.state])
        if breaker.next_probe_in is not None:
            probe = "probing" if breaker.probing else f"probe in {breaker.next_probe_in:.2f} s"
            state.append(f"  {probe}", "default")
        return self._facts(0, "breaker", state, "calls waiting", Text(f"{status.waiters:,}"))

    def _facts_alone(self) -> Table:
        lost = self._runs[1].lost
        loss = Text(f"{lost:,} of {self._runs[1].n:,}", "bold red" if lost else "")
        return self._facts(1, "breaker", Text("none", "dim"), "agents lost", loss)

    def _facts(self, side: int, *cells: str | Text) -> Table:
        run, history = self._runs[side], self._histories[side]
        facts = Table.grid(padding=(0, 1))
        facts.add_column(width=13)
        facts.add_column(no_wrap=True)
        facts.add_row(*cells[:2])
        facts.add_row(*cells[2:])
        facts.add_row("tokens held", self._gauge(run.holding / run.n, _SIDES[side]).append(f" {run.holding:,}"))
        facts.add_row("requests/s", Text(f"{history.rate:,.0f}", "bold"))
        knocks = Text(f"{history.knocks} x", "bold red") if history.knocks else Text("never")
        facts.add_row("knocked over", knocks)
        return facts

    @staticmethod
    def _gauge(share: float, style: str) -> Text:
        full = round(12 * share)
        return Text("━" * full, style).append("━" * (12 - full), "bright_black")

    def _chart(self, side: int, at: float, width: int, rows: int) -> list[Text]:
        """Requests a second over the whole run: bars on a square root's scale, above a strip of the phases."""
        step = self._end / width
        bars = [[h.between(i * step, (i + 1) * step) for i in range(int(at / step) + 1)] for h in self._histories]
        top = max(*bars[0], *bars[1], 1.0)
        heights = [0 if bar <= 0 else max(1, round(8 * rows * math.sqrt(bar / top))) for bar in bars[side][:width]]
        lines = [
            Text("".join(_EIGHTHS[min(8, max(0, height - 8 * row))] for height in heights), _SIDES[side])
            for row in reversed(range(rows))
        ]
        strip = Text()
        for i in range(width):
            strip.append("▔", _PHASES[self._plan.phase(i * step)] if i < len(heights) else "bright_black")
        return [*lines, strip]
