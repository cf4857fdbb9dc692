"""``colony-pool demo``: what the pool is good for, in half a minute."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console

from .exits import BROKEN, MISUSED, Failed

if TYPE_CHECKING:
    from .._demo.play import Result

HELP = """An hour's outage in 15 seconds: agents behind one pool, next to the same agents each alone.

Starts two servers on loopback and as many real agents against each. Both servers are healthy, then answer 502, then \
come back with room for a quarter of the agents a second. All schedules run 240 times as fast as in life; the whole \
takes half a minute. Nothing leaves this machine.
"""
EXIT_CODES = "Exit codes: 0 ok, 1 the pool lost an agent (it must not), 2 misused, 130 Ctrl-C."


def command(
    agents: Annotated[int, typer.Option(metavar="N", min=1, max=5000, help="How many agents on each side.")] = 200,
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
            help="Serve the pool's Prometheus metrics meanwhile; 0 picks a port.",
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
    if report is not None:
        _check_writable(report)
    chosen = _runtime(runtime)
    console = Console(file=_lenient(sys.stderr if as_json else sys.stdout))
    result = _play(agents, chosen, console, metrics_port, report)
    if as_json:
        print(json.dumps(result.as_dict()))
    if result.ours.agents_lost or result.ours.never_back:
        raise typer.Exit(BROKEN)


def _play(agents: int, runtime: str, console: Console, metrics_port: int | None, report: Path | None) -> Result:
    from .._demo.play import play
    from .._demo.report import page
    from .._demo.stage import DemoError
    from .._demo.table import show

    try:
        result = play(agents, runtime, console, metrics_port=metrics_port)
    except DemoError as error:
        raise Failed(MISUSED, str(error)) from None
    if report is not None:
        report.write_text(page(result), encoding="utf-8")
    show(result, console, report)
    return result


def _check_writable(report: Path) -> None:
    """Half a minute later would be a bad time to find out."""
    folder = report.parent
    if not folder.is_dir():
        raise Failed(MISUSED, f"--report {report}: there is no folder {folder}")
    if report.is_dir() or not os.access(report if report.exists() else folder, os.W_OK):
        raise Failed(MISUSED, f"--report {report}: cannot be written")


def _runtime(wanted: str) -> str:
    from .._runtime.select import make_runtime

    if wanted not in ("auto", "gevent", "threads"):
        raise Failed(MISUSED, f"--runtime {wanted}: must be auto, gevent or threads")
    try:
        return make_runtime(wanted).name
    except ImportError as error:
        raise Failed(MISUSED, str(error)) from None


def _lenient(stream: TextIO) -> TextIO:
    """A terminal that knows no block characters shows question marks; it must not end the demo."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return stream
