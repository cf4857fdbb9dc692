"""``colony-pool reset``: ends what the processes of a host, or of a fleet, remember of an outage."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from .._store.protocol import StoreUnavailable
from .exit_codes import MISUSED, UNAVAILABLE, Failed
from .host_status import HostStatus, read_host_status
from .render import render, span
from .store_option import HOST, BaseUrlOption, StoreOption, describe_store, open_endpoint_store, with_user

HELP = """Close the breaker of this host, or of a fleet, and end its rate limit and its refusals.

All processes that share the record learn of it within seconds, and waiting calls go on at the pace of a recovery. \
You rarely need it: all three end by themselves. If the server still limits the rate, ending the limit here prolongs \
it; if the server is still down, the breakers open again. Each user of a host has a record of their own, so run it \
as the user whose agents they are.

With --rate-limit only the rate limit ends, as with clear_rate_limit() of a pool: for when the server named hours, \
and you know better. One attempt starts next. A pool with shared=None is reached by its own clear_rate_limit() only.

Example: colony-pool reset --rate-limit --yes
"""
EXIT_CODES = (
    "Exit codes: 0 ok, 2 misused or not confirmed, 5 the shared record cannot be reached, 130 Ctrl-C. "
    "A URL with a password belongs in COLONY_POOL_SHARED."
)


def command(
    shared: StoreOption = HOST,
    base_url: BaseUrlOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    rate_limit: Annotated[bool, typer.Option("--rate-limit", help="End only the rate limit.")] = False,
) -> None:
    """Carry out ``colony-pool reset``; ``HELP`` says what it does."""
    store, api = open_endpoint_store(shared, base_url)
    outcome = "Nothing was reset"
    try:
        before = read_host_status(store, api, shared)
        if not yes:
            console = Console(stderr=True)
            console.print(render(before.as_report(), console))
            _confirm("End the rate limit?" if rate_limit else "Reset it?")
        if store.fallback is not None:  # a server may carry out a request after we stopped waiting for its answer
            outcome = "It may have been reset nevertheless: see colony-pool status"
        if rate_limit:
            store.clear_hold()
        else:
            store.reset()
    except StoreUnavailable as error:
        raise Failed(UNAVAILABLE, f"unavailable: {error}", hint=outcome) from None
    finally:
        store.close()
    done = "rate limit cleared" if rate_limit else "reset"
    print(f"{api}: {done} for {with_user(describe_store(shared))}; {_ended(before)}")


def _ended(before: HostStatus) -> str:
    if before.hold_for is None:
        return "there was no rate limit"
    return f"a rate limit with {span(before.hold_for)} to go was ended ({before.hold_cause})"


def _confirm(question: str) -> None:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""  # closed: nobody can answer
    if answer.strip().lower() not in ("y", "yes"):
        raise Failed(MISUSED, "not confirmed, and nothing was reset", hint="Answer y, or pass --yes")
