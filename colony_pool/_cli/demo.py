"""``colony-pool demo``: what the pool is good for, in half a minute."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console

from .exit_codes import BROKEN, MISUSED, Failed

if TYPE_CHECKING:
    from .._demo.demo import DemoResult

HELP = """An hour's outage in 15 seconds: agents behind one pool, next to the same agents each alone.

Starts a server on loopback for each side and as many real agents against each. The servers are healthy, then answer \
502, then come back with room for a quarter of the agents a second. All schedules run 240 times as fast as in life; \
the whole takes half a minute. Nothing leaves this machine.

With --processes 4 the agents behind the pool are dealt out to four real processes that share one door \
(shared="host"), and a third side is played: the same four processes with a door each.
"""
EXIT_CODES = (
    "Exit codes: 0 ok, 1 an agent behind the pool was lost (only who kills a process may lose any), 2 misused, "
    "130 Ctrl-C."
)
_MOST = 16  # processes of a side


def command(
    agents: Annotated[int, typer.Option(metavar="N", min=1, max=5000, help="How many agents on each side.")] = 200,
    processes: Annotated[
        int, typer.Option(metavar="N", help=f"How many processes share the pool's door, 1 to {_MOST}.")
    ] = 1,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write one self-contained HTML page with the charts.", show_default=False),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Serve the pool's Prometheus metrics meanwhile, of all processes together; 0 picks a port.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        str, typer.Option(help="auto (gevent if installed), gevent or threads.", metavar="auto|gevent|threads")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON; the rest goes to stderr.")
    ] = False,
) -> None:
    """Carry out ``colony-pool demo``; ``HELP`` says what it does."""
    _check_processes(processes, agents)
    if report is not None:
        _check_writable(report)
    chosen = _runtime(runtime)
    console = Console(file=_lenient(sys.stderr if as_json else sys.stdout))
    result = _play(agents, chosen, console, processes, metrics_port, report)
    if as_json:
        print(json.dumps(result.as_dict()))
    ours = result.ours.counts
    if ours.agents_lost or ours.never_back:
        raise typer.Exit(BROKEN)


def _play(
    agents: int, runtime: str, console: Console, processes: int, metrics_port: int | None, report: Path | None
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
    """Half a minute later would be a bad time to find out."""
    folder = report.parent
    if not folder.is_dir():
        raise Failed(MISUSED, f"--report {report}: there is no folder {folder}")
    if report.is_dir() or not os.access(report if report.exists() else folder, os.W_OK):
        raise Failed(MISUSED, f"--report {report}: cannot be written")


def _runtime(wanted: str) -> str:
    """Which one the agents' processes are to use: greenlets, if there are any. This process needs none."""
    from .._runtime.select import make_runtime

    if wanted not in ("auto", "gevent", "threads"):
        raise Failed(MISUSED, f"--runtime {wanted}: must be auto, gevent or threads")
    if wanted == "threads":
        return wanted
    try:
        return make_runtime("gevent").name
    except ImportError as error:
        if wanted == "auto":
            return "threads"
        raise Failed(MISUSED, str(error)) from None


def _lenient(stream: TextIO) -> TextIO:
    """A terminal that knows no block characters shows question marks; it must not end the demo."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return stream
