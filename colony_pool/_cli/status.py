"""``colony-pool status``: what the processes of this host, or of a fleet, or a metrics endpoint know."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from .._store.protocol import Store, StoreUnavailable
from .exit_codes import MISUSED, UNAVAILABLE, Failed
from .host_status import read_host_status
from .render import Report, render
from .scraper import EXAMPLE, Scraper, check_addresses
from .store_option import HOST, BaseUrlOption, StoreOption, open_endpoint_store

HELP = f"""Show the state of the breaker, the next probe, rate limits, waiting calls, refused keys and tokens.

Without --url it reads what the processes of this host, or those of a fleet, have recorded: pools with shared="host" \
or shared=URL, and "colony-pool token". Each user of a host has a record of their own, so run it as the user whose \
agents they are.

With --url it reads one or more metrics endpoints, such as the port of pool.start_metrics_server() or of \
"colony-pool metrics serve". That works for every pool, and also shows rates from the second reading on (--watch).

It sends nothing to the API, and shows no key and no token.

Examples: colony-pool status --watch; colony-pool status --watch --url {EXAMPLE}
"""
EXIT_CODES = (
    "Exit codes: 0 ok, whatever the state is; 2 misused; 5 the shared record or a metrics endpoint cannot be read; "
    "130 Ctrl-C. A URL with a password belongs in COLONY_POOL_SHARED."
)
_SHORTEST, _LONGEST = 0.2, 3600.0  # seconds between two readings


def command(
    context: typer.Context,
    shared: StoreOption = HOST,
    base_url: BaseUrlOption = None,
    url: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="URL", help="Read this metrics endpoint; may be repeated.", show_default=False),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="Time between two readings.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per reading.")] = False,
) -> None:
    """Carry out ``colony-pool status``; ``HELP`` says what it does."""
    if not _SHORTEST <= interval <= _LONGEST:
        raise Failed(MISUSED, f"--interval {interval:g}: must be from {_SHORTEST:g} to {_LONGEST:g} seconds")
    if url:
        _check_alone(context)
        _show(Scraper(check_addresses(url)).read, watch, interval, as_json=as_json)
        return
    store, api = open_endpoint_store(shared, base_url)
    try:
        _show(lambda: _host_report(store, api, shared), watch, interval, as_json=as_json)
    finally:
        store.close()


def _check_alone(context: typer.Context) -> None:
    """``--url`` names all that is read. A variable of the environment is not a wish for something else."""
    for name in ("shared", "base_url"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise Failed(MISUSED, f"--url: cannot be combined with --{name.replace('_', '-')}")


def _host_report(store: Store, api: str, shared: str) -> Report:
    try:
        return read_host_status(store, api, shared).as_report()
    except StoreUnavailable as error:
        hint = "" if store.fallback is None else "This host goes on alone meanwhile: see --shared host"
        facts = {"at": time.time(), "error": f"unavailable: {error}", "hint": hint}
        return Report([], facts, [f"{api}: {error}"], hint)


def _show(read: Callable[[], Report], watch: bool, interval: float, *, as_json: bool) -> None:
    console = Console()
    if watch:
        _watch(read, interval, console, as_json=as_json)
    report = read()
    if report.sections:
        _print(report, console, as_json=as_json)
    if report.problems:
        raise Failed(UNAVAILABLE, f"unavailable: {report.problems[0]}", hint=report.hint, retry_after=interval)


def _watch(read: Callable[[], Report], interval: float, console: Console, *, as_json: bool) -> None:
    """Read until Ctrl-C. What cannot be read for a while is part of what is shown."""
    pause = threading.Event()
    if as_json or not console.is_terminal or console.is_dumb_terminal:
        while True:
            _print(read(), console, as_json=as_json)
            pause.wait(interval)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(render(read(), console), refresh=True)
            pause.wait(interval)


def _print(report: Report, console: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.facts), flush=True)
    else:
        console.print(render(report, console))
