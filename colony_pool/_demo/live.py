"""What the demo shows while it runs: both fleets side by side, or plain lines without a terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from .. import ColonyPool
from .run import GIVE_UP, SCALE, Outcome, Plan, Run

STYLES = {"closed": "bold green", "half_open": "bold yellow", "open": "bold red"}
_BARS = " ▁▂▃▄▅▆▇█"


class View:
    """Draws the two runs. ``step`` is called a few times a second."""

    def __init__(self, console: Console, plan: Plan, runs: tuple[Run, Run], pool: ColonyPool) -> None:
        self.console = console
        self._plan, self._runs, self._pool = plan, runs, pool
        self._start = time.monotonic()
        self._before = [0, 0]
        self._rates: list[deque[float]] = [deque([0.0] * 40, 40), deque([0.0] * 40, 40)]
        self._last = self._start
        self._said = -10.0
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(bar_width=None), expand=True)
        self._bar = self._progress.add_task("", total=plan.back_at + 7.0)
        live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._live = live

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def step(self) -> None:
        """Look and draw."""
        now = time.monotonic()
        width = max(now - self._last, 1e-3)
        self._last = now
        for side, run in enumerate(self._runs):
            total = run.colony.stats().requests
            self._rates[side].append((total - self._before[side]) / width)
            self._before[side] = total
        at = now - self._start
        if self._live is not None:
            self._live.update(self._picture(at))
        elif at - self._said >= 2.0:
            self._said = at
            self.console.print(self._line(at), highlight=False, soft_wrap=True)

    def phase(self, at: float) -> str:
        """What the server is doing."""
        if at < self._plan.down_at:
            return "healthy"
        return "outage" if at < self._plan.back_at else "recovery"

    def _line(self, at: float) -> str:
        status = self._pool.status()
        ours, alone = self._runs
        return (
            f"{at:5.1f} s  {self.phase(at):8}  pool: breaker {status.breaker.state:9} {status.waiters:4} waiting "
            f"{self._rates[0][-1]:5.0f} req/s {ours.holding:4} tokens   alone: {alone.lost:4} lost "
            f"{self._rates[1][-1]:5.0f} req/s {alone.holding:4} tokens"
        )

    def _picture(self, at: float) -> Group:
        words = {"healthy": "[green]the server is healthy", "outage": "[red]OUTAGE: 502 to everybody"}
        text = words.get(self.phase(at), "[yellow]recovery: a quarter of the agents per second, or it falls over")
        self._progress.update(self._bar, completed=at, description=f"{text}[/]  {at:4.1f} s")
        grid = Table.grid(expand=True)
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(self._side_pool(), self._side_alone())
        return Group(grid, self._progress)

    def _side_pool(self) -> Panel:
        status = self._pool.status()
        state = status.breaker.state
        rows = self._rows(0)
        rows.add_row("breaker", Text(state.replace("_", "-"), STYLES[state]))
        probe = status.breaker.next_probe_in
        rows.add_row("next probe in", "-" if probe is None else f"{probe:.2f} s")
        rows.add_row("calls waiting", str(status.waiters))
        return Panel(rows, title="[bold]one colony_pool", border_style="cyan")

    def _side_alone(self) -> Panel:
        rows = self._rows(1)
        rows.add_row("breaker", Text("none", "dim"))
        rows.add_row("agents lost", Text(str(self._runs[1].lost), "bold red" if self._runs[1].lost else ""))
        rows.add_row("knock-outs", str(self._runs[1].colony.stats().knocks))
        return Panel(rows, title="[bold]each agent alone (the SDK's schedule)", border_style="magenta")

    def _rows(self, side: int) -> Table:
        run, rates = self._runs[side], self._rates[side]
        rows = Table.grid(padding=(0, 2))
        rows.add_row("tokens held", f"{run.holding} of {run.n}")
        top = max(*self._rates[0], *self._rates[1], 1.0)
        spark = "".join(_BARS[min(8, int(8 * (rate / top) ** 0.5 + 0.999))] for rate in rates)
        rows.add_row("requests/s", f"{rates[-1]:5.0f}")
        rows.add_row("", Text(spark, "cyan" if side == 0 else "magenta"))
        return rows


_ROWS: tuple[tuple[str, Callable[[Outcome], str]], ...] = (
    ("requests during the outage", lambda o: f"{o.attempts_during_outage:,}"),
    ("burst at recovery (in 0.1 s)", lambda o: f"{o.burst_per_100ms:,}"),
    ("times the server was knocked over", lambda o: f"{o.knocks:,}"),
    ("agents lost", lambda o: f"{o.agents_lost:,} of {o.agents:,}"),
    (
        "until the last agent was back",
        lambda o: (
            f"{o.last_back_s:.1f} s" if not o.never_back else f"over {GIVE_UP:.0f} s ({o.never_back} still out)"
        ),
    ),
)


def rows(ours: Outcome, alone: Outcome) -> list[tuple[str, str, str]]:
    """The comparison: ``(what, one pool, alone)``."""
    return [(name, show(ours), show(alone)) for name, show in _ROWS]


def table(ours: Outcome, alone: Outcome) -> Table:
    """The comparison, for the terminal."""
    title = f"{ours.agents} agents, an outage of {ours.outage_s:.0f} s (an hour, all schedules / {SCALE:.0f})"
    view = Table(title=title, title_style="bold", header_style="bold")
    view.add_column("counted by the server")
    view.add_column("one colony_pool", justify="right", style="cyan")
    view.add_column("each agent alone", justify="right", style="magenta")
    for row in rows(ours, alone):
        view.add_row(*row)
    return view
