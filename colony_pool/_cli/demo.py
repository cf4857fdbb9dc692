"""``colony-pool demo``: what the pool does for its agents, in half a minute."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console

from .._runtime.select import RuntimeName, make_runtime
from .exit_codes import BROKEN, MISUSED, Failed

if TYPE_CHECKING:
    from .._demo.demo import DemoResult

HELP = """An hour's outage in 15 seconds: agents behind one pool, next to the same agents each alone.

Starts two servers on loopback, and as many real agents for each. The servers are healthy, then answer 502, then \
come back with a capacity of a quarter of the agents a second. All schedules run 240 times as fast as in real time, \
so the demo takes half a minute. Nothing leaves this machine.

With --processes 4 the agents behind the pool are divided among four real processes that share one breaker \
(shared="host"), and there is a third contestant: the same four processes with a breaker each.
"""
EXIT_CODES = (
    "Exit codes: 0 ok, 1 an agent behind the pool was lost (only if you kill its process), 2 misused, 130 Ctrl-C."
)
_MOST = 16  # processes


def command(
    agents: Annotated[
        int, typer.Option(metavar="N", min=1, max=5000, help="How many agents each contestant has.")
    ] = 200,
    processes: Annotated[
        int, typer.Option(metavar="N", help=f"How many processes share the pool's breaker, 1 to {_MOST}.")
    ] = 1,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a self-contained HTML page with charts.", show_default=False),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Serve the Prometheus metrics of all the pool's processes meanwhile; 0 picks a port.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        str, typer.Option(help="auto (gevent if installed), gevent or threads.", metavar="auto|gevent|threads")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON; all else goes to stderr.")
    ] = False,
) -> None:
    """Carry out ``colony-pool demo``; ``HELP`` says what it does."""
    _check_processes(processes, agents)
    if report is not None:
        _check_writable(report)
    chosen = _runtime(runtime)
    console = Console(file=_with_replacements(sys.stderr if as_json else sys.stdout))
    result = _play(agents, chosen, console, processes, metrics_port, report)
    if as_json:
        print(json.dumps(result.as_dict()))
    ours = result.ours.counts
    if ours.agents_lost or ours.never_back:
        raise typer.Exit(BROKEN)


def _play(
    agents: int, runtime: RuntimeName, console: Console, processes: int, metrics_port: int | None, report: Path | None
) -> DemoResult:
    from .._demo.demo import play
    from .._demo.processes import DemoError
    from .._demo.report import page
    from .._demo.table import show

    try:
        result = play(agents, runtime, console, processes=processes, metrics_port=metrics_port)
    except DemoError as error:
        raise Failed(MISUSED, str(error)) from None
    if report is not None:
        report.write_text(page(result), encoding="utf-8")
    show(result, console, report)
    return result


def _check_processes(processes: int, agents: int) -> None:
    if not 1 <= processes <= _MOST:
        raise Failed(MISUSED, f"--processes {processes}: must be from 1 to {_MOST}")
    if processes > agents:
        raise Failed(MISUSED, f"--processes {processes}: must be at most the number of agents, {agents}")


def _check_writable(report: Path) -> None:
    """Find out now rather than in half a minute."""
    folder = report.parent
    if not folder.is_dir():
        raise Failed(MISUSED, f"--report {report}: there is no folder {folder}")
    if report.is_dir() or not os.access(report if report.exists() else folder, os.W_OK):
        raise Failed(MISUSED, f"--report {report}: cannot be written")


def _runtime(wanted: str) -> RuntimeName:
    """Which runtime the processes with agents use: gevent if it is installed. This process uses none."""
    if wanted not in ("auto", "gevent", "threads"):
        raise Failed(MISUSED, f"--runtime {wanted}: must be auto, gevent or threads")
    if wanted == "threads":
        return "threads"
    try:
        make_runtime("gevent")
    except ImportError as error:
        if wanted == "auto":
            return "threads"
        raise Failed(MISUSED, str(error)) from None
    return "gevent"


def _with_replacements(stream: TextIO) -> TextIO:
    """Show question marks for characters that the terminal does not know, rather than end the demo."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return stream
