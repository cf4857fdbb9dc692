"""``colony-pool status``: what the processes of this host, or of a fleet, know of the endpoint."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .._shared.store import StoreUnavailable
from .exit_codes import UNAVAILABLE, Failed
from .host_status import HostStatus, read_host_status, rows
from .store_option import HOST, BaseUrlOption, StoreOption, describe_store, open_endpoint_store, with_user

HELP = """Show what the processes of this host know of the token endpoint, or those of a fleet.

Whether the breaker is open, since when and why, when the next probe leaves or who sends it, a hold, how many \
processes wait, how many keys are refused, and how long the tokens on this host's disk last. It asks the API nothing \
and shows no key and no token. It knows what pools with shared="host" (or shared=URL) have told, and \
"colony-pool token"; for a pool that shares nothing, see "colony-pool top". Each user of a host has a record of his \
own: run it as the user whose agents they are.

Example: colony-pool status --watch
"""
EXIT_CODES = (
    "Exit codes: 0 ok, whatever the state is; 2 misused; 5 what is shared cannot be read; 130 Ctrl-C. "
    "A URL with a password belongs into COLONY_POOL_SHARED."
)
_STYLES = {True: "green", False: "bold yellow"}


def command(
    shared: StoreOption = HOST,
    base_url: BaseUrlOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, max=3600, help="Between two looks.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per look.")] = False,
) -> None:
    """Carry out ``colony-pool status``; ``HELP`` says what it does."""
    store, api = open_endpoint_store(shared, base_url)

    def look() -> HostStatus:
        try:
            return read_host_status(store, api, describe_store(shared), time.time())
        except StoreUnavailable as error:
            if store.fallback is None:
                raise
            words = str(error).rstrip(".")
            raise StoreUnavailable(f"{words}; this host goes on alone meanwhile, see --shared host") from None

    try:
        if watch:
            _watch(look, interval, as_json=as_json)
        else:
            _print(Console(), look(), as_json=as_json)
    except StoreUnavailable as error:
        raise Failed(UNAVAILABLE, f"unavailable: {error}", retry_after=interval) from None
    finally:
        store.close()


def _watch(look: Callable[[], HostStatus], interval: float, *, as_json: bool) -> None:
    """Look again and again; a store that cannot be read for a while is part of what is seen."""
    console, pause = Console(), threading.Event()
    if as_json or not console.is_terminal:
        while True:
            _print(console, _tried(look), as_json=as_json)
            pause.wait(interval)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(render(_tried(look)), refresh=True)
            pause.wait(interval)


def _tried(look: Callable[[], HostStatus]) -> HostStatus | str:
    try:
        return look()
    except StoreUnavailable as error:
        return f"unavailable: {error}"


def _print(console: Console, told: HostStatus | str, *, as_json: bool) -> None:
    if not as_json:
        console.print(render(told))
        return
    facts = {"at": time.time(), **({"error": told} if isinstance(told, str) else told.as_dict())}
    print(json.dumps(facts), flush=True)


def render(told: HostStatus | str) -> Group | Text:
    """What a person reads."""
    if isinstance(told, str):
        return Text(told, style="red")
    table = Table.grid(padding=(0, 2))
    for number, (name, words) in enumerate(rows(told)):
        table.add_row(Text(name, style="bold"), Text(words, style="" if number else _STYLES[told.calm]))
    return Group(Text(f"{told.api}, as {with_user(told.shared)} knows it"), table)
