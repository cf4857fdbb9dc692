"""``colony-pool reset``: an operator knows better than what the host, or the fleet, remembers."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from .._shared.store import StoreUnavailable
from .exit_codes import MISUSED, UNAVAILABLE, Failed
from .host_status import HostStatus, read_host_status
from .pool_sample import span
from .status import render
from .store_option import HOST, BaseUrlOption, StoreOption, describe_store, open_endpoint_store, with_user

HELP = """Close the breaker of this host, or of a fleet, and end its hold and its refusals.

All processes that share it hear of it when they look the next time, within seconds, and whoever waits goes on at \
the pace of a recovery. It is rarely needed: all three end by themselves. If the server still counts requests, to \
end its hold prolongs it; if it is still down, the breakers open again. Each user of a host has a record of his own: \
run it as the user whose agents they are.

With --rate-limit only the hold ends, as by clear_rate_limit() of a pool: for when the server has said that \
it counts for hours, and you know better. One attempt leaves next. What has shared=None is reached by \
clear_rate_limit() alone.

Example: colony-pool reset --rate-limit --yes
"""
EXIT_CODES = (
    "Exit codes: 0 ok, 2 misused, or not confirmed; 5 what is shared cannot be reached; 130 Ctrl-C. "
    "A URL with a password belongs into COLONY_POOL_SHARED."
)


def command(
    shared: StoreOption = HOST,
    base_url: BaseUrlOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    rate_limit: Annotated[bool, typer.Option("--rate-limit", help="End the hold alone.")] = False,
) -> None:
    """Carry out ``colony-pool reset``; ``HELP`` says what it does."""
    store, api = open_endpoint_store(shared, base_url)
    nothing = "nothing was reset"
    try:
        before = read_host_status(store, api, describe_store(shared), time.time())
        if not yes:
            Console(stderr=True).print(render(before))
            _confirm("End the hold?" if rate_limit else "Reset it?")
        if store.fallback is not None:  # a server may do what it was asked for after nobody waits any more
            nothing = "it may have been reset all the same, see colony-pool status"
        if rate_limit:
            store.clear_hold()
        else:
            store.reset()
    except StoreUnavailable as error:
        raise Failed(UNAVAILABLE, f"unavailable: {error}; {nothing}") from None
    finally:
        store.close()
    done = "rate limit cleared" if rate_limit else "reset"
    print(f"{api}: {done} for {with_user(describe_store(shared))}; {_ended(before)}")


def _ended(before: HostStatus) -> str:
    if before.hold_for is None:
        return "there was no hold"
    return f"a hold with {span(before.hold_for)} to go was ended ({before.hold_cause})"


def _confirm(question: str) -> None:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""  # closed: nobody can answer
    if answer.strip().lower() not in ("y", "yes"):
        raise Failed(MISUSED, "not confirmed, and nothing was reset; answer y, or pass --yes")
