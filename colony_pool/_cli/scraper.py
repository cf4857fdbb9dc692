"""``colony-pool top``: what the dashboard shows, in a terminal, for hosts without Grafana."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Annotated, Literal

import typer
import urllib3
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..prometheus._reader import read
from .exit_codes import MISUSED, UNAVAILABLE, Failed
from .pool_sample import PoolSample, Sample, advice, span, summarize

HELP = """Watch pools by their metrics: one or many /metrics addresses.

Shows for each pool whether its breaker is open and since when, who waits, when the next probe leaves, how many \
tokens are held and when the first ends, and what to do. Rates are of the time between two looks. Ctrl-C ends it.

Example: colony-pool top http://127.0.0.1:9464/metrics http://127.0.0.1:9465/metrics
"""
EXIT_CODES = "Exit codes: 0 ok, 2 misused, 5 with --once: an address did not answer, 130 Ctrl-C."

DEFAULT = "http://127.0.0.1:9464/metrics"
_STYLES = {"closed": "green", "half_open": "yellow", "open": "bold red", "gone": "dim"}
_COLUMNS = (
    "pool", "breaker", "since", "next probe", "waiting", "tokens", "first ends", "att/s", "calls ok", "budget",
)  # fmt: skip
_URGENT = 7  # so many of them are what one looks at first
_WIDE = 110  # characters that hold all of them
_TIMEOUT = 5.0
_MAX_PAGE = 32 * 1024 * 1024


def command(
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS]...", help=f"Default: {DEFAULT}", show_default=False)
    ] = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, max=3600, help="Between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look twice, an interval apart, print once, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per look.")] = False,
) -> None:
    """Carry out ``colony-pool top``; ``HELP`` says what it does."""
    watched = [_address(text) for text in addresses or [DEFAULT]]
    scraper = Scraper(watched)
    console = Console()
    pause = threading.Event()
    scraper.look()
    pause.wait(interval)
    if once:
        scraper.look()
        _print(scraper, console, as_json=as_json)
        if scraper.silent:
            where, why = next(iter(scraper.silent.items()))
            raise Failed(UNAVAILABLE, f"unavailable: {where}: {why}", retry_after=interval)
        return
    if as_json or not console.is_terminal:
        while True:
            scraper.look()
            _print(scraper, console, as_json=as_json)
            pause.wait(interval)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            scraper.look()
            live.update(render(scraper, console.width), refresh=True)
            pause.wait(interval)


@dataclass(slots=True)
class Scraper:
    """Looks at addresses, again and again."""

    addresses: list[str]
    pools: list[PoolSample] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)  # addresses that do not answer, and why
    _before: dict[tuple[str, str], Sample] = field(default_factory=dict)
    _http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=_TIMEOUT))

    def look(self) -> None:
        """Read every address once."""
        self.pools, self.silent, looks = [], {}, {}
        for address in self.addresses:
            try:
                found = [Sample(numbers, time.time()) for numbers in read(self._fetch(address))]
            except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:
                self.silent[address] = _reason(error)
                continue
            for now in found:
                key = (address, now.numbers.pool)
                looks[key] = now
                self.pools.append(summarize(address, now, self._before.get(key)))
        self._before = looks

    def _fetch(self, address: str) -> str:
        reply = self._http.request("GET", address, redirect=False, preload_content=False)
        try:
            page = reply.read(_MAX_PAGE)
        finally:
            reply.release_conn()
        if reply.status != 200:
            raise ValueError(f"HTTP {reply.status}")
        return page.decode("utf-8")

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        return {"at": time.time(), "pools": [pool.as_dict() for pool in self.pools], "silent": self.silent}


def _address(text: str) -> str:
    address = text if "://" in text else f"http://{text}"
    parts = urllib3.util.parse_url(address)
    if parts.scheme not in ("http", "https") or not parts.host:
        raise Failed(MISUSED, f"{text}: must be an http address, such as {DEFAULT}")
    return address if parts.path else f"{address}/metrics"


def _reason(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "connection refused" if "refused" in str(error) else "no connection"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return f"no answer within {_TIMEOUT:g} s"
    if isinstance(error, ValueError) and str(error).startswith("HTTP "):
        return str(error)
    return (
        "no connection"
        if isinstance(error, (urllib3.exceptions.HTTPError, OSError))
        else "what it says is no metrics"
    )


def _print(scraper: Scraper, console: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(scraper.as_dict()), flush=True)
    else:
        console.print(render(scraper, console.width))


def render(scraper: Scraper, width: int) -> Group:
    """The tables, and what to do. Where ``width`` characters do not hold one table, what can wait is in a second."""
    calm = not scraper.silent and all(pool.state == "closed" for pool in scraper.pools)
    line = Text(advice(scraper.pools, len(scraper.silent)), style="green" if calm else "bold yellow")
    pools = sorted(scraper.pools, key=lambda one: (one.state == "closed", one.address, one.pool))
    rows = [_row(pool, several=len(scraper.addresses) > 1) for pool in pools]
    silent = [Text(f"{address}: {why}", style="red") for address, why in scraper.silent.items()]
    parts = (_COLUMNS,) if width >= _WIDE else (_COLUMNS[:_URGENT], (_COLUMNS[0], *_COLUMNS[_URGENT:]))
    tables = [each for part in parts for each in (Text(""), _table(part, rows))] if rows else []
    return Group(line, *silent, *tables)


def _table(columns: tuple[str, ...], rows: list[list[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for name in columns:
        justify: Literal["left", "right"] = "left" if name in ("pool", "breaker") else "right"
        # A long name is folded, rather than that a number is cut.
        table.add_column(name, justify=justify, no_wrap=name != "pool", overflow="fold")
    for row in rows:
        table.add_row(*(row[_COLUMNS.index(name)] for name in columns))
    return table


def _row(pool: PoolSample, *, several: bool) -> list[Text]:
    state = pool.state.replace("_", "-")
    if pool.processes > 1:
        state += f" {pool.not_closed or pool.processes}/{pool.processes}"
    where = f" @{urllib3.util.parse_url(pool.address).netloc}" if several else ""
    hold = f"hold {span(pool.hold_ends_in)}" if pool.hold_ends_in else span(pool.next_probe_in)
    tokens = f"{pool.tokens}" + (f" (+{pool.expired} expired)" if pool.expired else "")
    budget = "-" if pool.budget is None else f"{pool.budget:.0f}/{pool.budget_limit or 0:.0f}"
    share = "-" if pool.calls_ok is None else f"{pool.calls_ok:.1%}"
    rate = "-" if pool.attempts_per_s is None else f"{pool.attempts_per_s:.1f}"
    cells = [pool.pool + where, state, span(pool.since), hold, str(pool.waiters), tokens, span(pool.first_ends_in)]
    style = _STYLES[pool.state]
    return [Text(cell, style if number == 1 else "") for number, cell in enumerate([*cells, rate, share, budget])]
