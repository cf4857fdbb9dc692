"""The sections: for each its table, and the processes that measure it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.tools import outage
from tests.tools.bench import memory, stores
from tests.tools.bench.peers import NAMES
from tests.tools.bench.report import FAILED, Column, Row, Table, higher, lower, rows_of

SIZES = (10, 100, 1_000, 10_000)
RUNTIMES = ("threads", "gevent")
LIMIT = 150.0  # seconds that one process may take
LATE = 8.0  # seconds after the last agent can be back at which all stop trying

FLEETS = (
    ("colony_pool, 1 process of 800", 1, 800, "--shared", "none"),
    ("colony_pool, 8 of 100, each alone", 8, 100, "--shared", "none"),
    ('colony_pool, 8 of 100, `shared="host"`', 8, 100, "--shared", "host"),
    ("colony_pool, 3 hosts of 267, one Redis", 3, 267, "--shared", "redis", "--networks"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says: sizes of the outage's fleets."""

    sizes: tuple[int, ...] = SIZES


Run = Callable[[Options], Iterator[Row]]


def _child(*argv: str, limit: float = LIMIT, **known: object) -> list[Row]:
    """Rows of one process, each with what is ``known``; one that says why when there are none."""
    command = [sys.executable, "-m", *argv]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=limit)
        rows = rows_of(done.stdout)
        if done.returncode or not rows:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            rows.append({FAILED: last[:200]})
    except subprocess.TimeoutExpired as late:
        rows = [*rows_of(_text(late.stdout)), {FAILED: f"gave up after {limit:.0f} s"}]
    return [{**known, **row} for row in rows]


def _text(output: str | bytes | None) -> str:
    """What a process had printed when its time was up: bytes, whatever was asked for."""
    return output.decode() if isinstance(output, bytes) else output or ""


def _each_runtime(section: str) -> Run:
    def run(options: Options) -> Iterator[Row]:
        for runtime in RUNTIMES:
            yield from _child(f"tests.tools.bench.{section}", runtime, runtime=runtime)

    return run


def _once(section: str, limit: float = LIMIT) -> Run:
    def run(options: Options) -> Iterator[Row]:
        yield from _child(f"tests.tools.bench.{section}", limit=limit)

    return run


def _stores(options: Options) -> Iterator[Row]:
    for store in stores.KINDS:
        yield from _child("tests.tools.bench.stores", store, store=store)


def _fleet(options: Options) -> Iterator[Row]:
    for fleet, processes, agents, *more in FLEETS:
        argv = ("--processes", str(processes), "--agents", str(agents), *more)
        yield from _child("tests.tools.scale.play", *argv, client=fleet)


def _memory(options: Options) -> Iterator[Row]:
    for client, n in memory.CASES:
        yield from _child("tests.tools.bench.memory", client, str(n), client=client, agents=n)


def _outage(options: Options) -> Iterator[Row]:
    for n in options.sizes:
        together = 11 if n <= 10 else 2 if n <= 100 else 1  # small fleets leave the machine idle
        with ThreadPoolExecutor(together) as running:
            yield from running.map(_one_outage, _clients(n))


@dataclass(frozen=True, slots=True)
class _Fleet:
    client: str
    name: str
    agents: int
    patience: float | None = None


def _clients(n: int) -> list[_Fleet]:
    pool, *peers = NAMES
    return [
        _Fleet("colony_pool, `max_wait` covers it", pool, n, patience=60.0),
        _Fleet("colony_pool, default patience", pool, n),
        *(_Fleet(name, name, n) for name in peers),
    ]


def _one_outage(fleet: _Fleet) -> Row:
    give_up = fleet.agents / outage.rate(fleet.agents) + LATE
    argv = ["--client", fleet.name, "--agents", str(fleet.agents), "--runtime", "gevent", "--give-up", str(give_up)]
    if fleet.patience is not None:
        argv += ["--patience", str(fleet.patience)]
    return {**_child("tests.tools.outage", *argv)[0], "client": fleet.client, "agents": fleet.agents}


_NAME, _RUNTIME = Column("client", "client"), Column("runtime", "runtime")

SECTIONS: dict[str, tuple[Table, Run]] = {
    "hot": (
        Table(
            "A fresh token out of memory, no network",
            (_NAME, _RUNTIME, lower("ns", "ns a call", "{:,.0f}"), lower("ratio", "x the floor", "{:.2f}")),
            group="runtime",
            note="The floor is `if monotonic() < exp: return tok` in a plain function.",
        ),
        _each_runtime("hot"),
    ),
    "get": (
        Table(
            "An authenticated GET, one after the other",
            (_NAME, _RUNTIME, higher("rate", "requests a second", "{:,.0f}"), higher("ratio", "x bare", "{:.2f}")),
            group="runtime",
        ),
        _each_runtime("get"),
    ),
    "cold": (
        Table(
            "1,000 cold agents on a healthy server",
            (_NAME, _RUNTIME, lower("seconds", "seconds", "{:.2f}"), lower("ratio", "x bare", "{:.2f}")),
            group="runtime",
        ),
        _each_runtime("cold"),
    ),
    "scrape": (
        Table(
            "A scrape of one pool with 1,000 agents",
            (Column("ms", "ms", "{:.2f}"), Column("read_ms", "of it reading", "{:.2f}"), Column("bytes", "bytes")),
        ),
        _once("scrape"),
    ),
    "stores": (
        Table(
            "The verbs of a store that processes share",
            (
                Column("store", "store"), *(Column(verb, f"`{verb}`, µs", "{:.0f}")
                  for verb in ("look", "claim_probe", "claim_key", "release_key", "join")),
            ),
            note="Servers on loopback. `claim_probe` finds another one's lease; the rest do what they say.",
        ),
        _stores,
    ),
    "fleet": (
        Table(
            "Several processes in an outage of an hour in 20 s (all schedules / 180), then a server that can be "
            "knocked over",
            (
                Column("client", "who"), lower("attempts_in_outage", "requests in the outage"),
                lower("burst_per_100ms", "burst in 0.1 s"), lower("knocks", "knock-outs"),
                lower("agents_lost", "agents lost"), lower("last_back_s", "all back, s", "{:.1f}"),
                Column("store_calls", "calls of the store", "{:,}"),
            ),
            note="The server then bears N/4 requests a second. Half of the processes are on gevent. Those of one "
            "host claim each key before they exchange it, which is most of their calls; those of three hosts do not, "
            "since the Redis carries no tokens.",
        ),
        _fleet,
    ),
    "growth": (
        Table(
            "What the dispatcher takes as the number of keys grows",
            (
                Column("case", "input"), *(Column(str(n), f"{n:,} keys, µs", "{:.1f}") for n in (10, 1_000, 100_000)),
                Column("ratio", "100,000 / 10", "{:.2f} x"), Column("log", "log N", "{:.1f} x"),
            ),
            note="Microseconds an input, or a flight where one input concerns all of them.",
        ),
        _once("growth", limit=600.0),
    ),
    "memory": (
        Table(
            "A caller that waits for the endpoint to come back: bytes beyond its greenlet",
            (_NAME, Column("agents", "agents", "{:,}"), lower("bytes", "bytes a waiter")),
            note="Against the same greenlets, each parked on a bare event of its own with a time limit. What an "
            "agent has while it does not wait is not counted.",
        ),
        _memory,
    ),
    "outage": (
        Table(
            "An outage of an hour in 20 s (all schedules / 180), then a server that can be knocked over; gevent",
            (
                _NAME, Column("agents", "N", "{:,}"), lower("attempts_during_outage", "requests in the outage"),
                lower("burst_per_100ms", "burst in 0.1 s"),
                lower("requests_per_token", "requests per token", "{:.2f}"),
                lower("knocks", "knock-outs"), lower("agents_lost", "agents lost"),
                lower("without_token", "without a token at the end"),
                *(lower(f"{part}_back_s", f"{words} back, s", "{:.1f}", "never")
                  for part, words in (("p50", "half"), ("p99", "99 %"), ("all", "all"))),
                Column("ideal_s", "the best there is, s", "{:.1f}"), lower("cpu_s", "CPU s", "{:.1f}"),
                lower("kib_per_agent", "KiB an agent", "{:.0f}"),
            ),
            group="agents",
            note=f"The server then bears N/4 requests a second, from 20 to {outage.MOST:.0f}; {LATE:.0f} s after the "
            "best there is, all stop trying. From N = 1,000 on the peers send what this machine can, and would send "
            "more. Requests per token count from the recovery on. Memory is with the greenlet, the HTTP client and "
            "its sockets.",
        ),
        _outage,
    ),
}  # fmt: skip
