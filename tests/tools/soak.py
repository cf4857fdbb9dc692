"""Steady load with everything that goes wrong, round after round: nothing may grow.

``python -m tests.tools.soak --minutes 10 --runtime gevent`` (or ``--rounds 30``; runtimes as for scenarios). A round
is the same work each time: callers ask for tokens and use them while the server is healthy, refuses tokens, answers
502, resets, hangs, talks nonsense, closes idle connections; some callers are killed, the others have little patience.
After each round everybody goes home, and what is left is counted. It fails if a call ends in anything but a
documented error, or if one of the counts grows; it prints a table either way.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import argparse
import gc
import os
import random
import resource
import tempfile
from collections import Counter
from dataclasses import astuple, dataclass, fields
from statistics import median
from typing import Any

from colony_pool import ColonyAPIError, RetryConfig, Timeout
from tests.scenarios import RUNTIMES, World
from tests.support.private import engine_of

CALLERS, CALLS, KEYS, MAXSIZE = 12, 2, 20, 8
GARBAGE = "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{"
PHASES: list[tuple[str, dict[str, Any]]] = [
    ("healthy", {}), ("status", {"status": 502, "only": "/auth/token"}), ("flaky", {"ratio": 0.5}),
    ("reset", {}), ("raw", {"data": GARBAGE}), ("hang", {"only": "/users/me"}), ("close_idle", {"seconds": 0.001}),
    ("silence", {}), ("status", {"status": 503, "headers": {"Retry-After": "0"}}), ("gzip_bomb", {"size": 100_000}),
]  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """What is there between two rounds."""

    kib: int  # of memory, resident
    blocks: int  # of Python's allocator
    objects: int  # of this library's own classes
    threads: int
    greenlets: int
    descriptors: int
    sockets: int


ALLOWED = Sample(kib=4096, blocks=3000, objects=20, threads=4, greenlets=8, descriptors=8, sockets=8)


def growth(samples: list[Sample]) -> list[str]:
    """What has grown beyond ``ALLOWED`` from the middle third of the run to the last; the first warms up."""
    third = max(1, len(samples) // 3)
    found = []
    for number, field in enumerate(fields(Sample)):
        rows = [astuple(sample)[number] for sample in samples]
        before, after = median(rows[third : 2 * third]), median(rows[-third:])
        if after - before > astuple(ALLOWED)[number]:
            found.append(f"{field.name} grew from {before:g} to {after:g}")
    return found


def take(w: World) -> Sample:
    """Count."""
    gc.collect()
    everything = gc.get_objects()
    names = Counter(str(type(thing).__module__).partition(".")[0] for thing in everything)
    page = resource.getpagesize() // 1024
    with open("/proc/self/statm", encoding="ascii") as statm:
        resident = int(statm.read().split()[1]) * page
    return Sample(
        kib=resident,
        blocks=sys.getallocatedblocks(),
        objects=names["colony_pool"],
        threads=w.threads(),
        greenlets=sum(type(thing).__name__ in ("Greenlet", "greenlet") for thing in everything),
        descriptors=len(os.listdir("/proc/self/fd")),
        sockets=w.sockets(),
    )


class Soak:
    """The load."""

    def __init__(self, w: World) -> None:
        self.ends: Counter[str] = Counter()
        self._w = w
        self._threads = w.threads()
        self._dice = random.Random(5)
        quick = RetryConfig(max_retries=1, base_delay=0.005, max_delay=0.01)
        timeout = Timeout(connect=0.2, read=0.1, total=0.2)
        self.pool = w.fast(200.0, maxsize=MAXSIZE, retry=quick, timeout=timeout, token_cache="disk", max_wait=0.1)
        self._agents = [self.pool.agent(f"col_soak_{number}") for number in range(KEYS)]

    def round(self) -> None:
        """All phases once, and everybody home."""
        w, pool = self._w, self.pool
        for name, options in PHASES:
            w.colony.behave(name, **options)
            if name == "flaky":
                w.colony.revoke_tokens()
            tasks = [w.spawn(self._caller) for _ in range(CALLERS)]
            if w.kind != "threads":
                for task in tasks[::4]:
                    w.pause(self._dice.random() * 0.02)
                    task.kill()
            for task in tasks:
                if task.join().error is not None:
                    self._count(task.error)
            w.colony.behave("healthy")
        w.until(lambda: pool.status().waiters == 0 and pool.status().in_flight == 0, "permits and waiters come back")
        w.until(lambda: engine_of(pool).network.bulkhead.in_use == 0, "slots come back")
        w.until(lambda: w.threads() <= self._threads, "idle threads end")
        w.colony.reset_stats()

    def _caller(self) -> None:
        for _ in range(CALLS):
            agent = self._dice.choice(self._agents)
            try:
                if self._dice.random() < 0.5:
                    agent.invalidate()
                    agent.token()
                agent.get("/users/me")
                self.ends["served"] += 1
            except ColonyAPIError as error:
                self.ends[type(error).__name__] += 1

    def _count(self, error: BaseException | None) -> None:
        if type(error).__name__ not in ("GreenletExit", "CancelledError"):
            raise AssertionError("not a documented error") from error
        self.ends["killed"] += 1


def table(samples: list[Sample]) -> None:
    """Print the counts after each third of the run."""
    places = [len(samples) * third // 3 for third in (1, 2, 3)]
    print(f"{'after round':>12}", *(f"{place:>10}" for place in places))
    for number, field in enumerate(fields(Sample)):
        print(f"{field.name:>12}", *(f"{astuple(samples[place - 1])[number]:>10}" for place in places))


def run(w: World, *, rounds: int, minutes: float) -> list[str]:
    """Soak until both are over; print what was seen, and return what has grown."""
    samples: list[Sample] = []
    start = w.colony.now()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COLONY_SDK_TOKEN_CACHE_DIR"] = folder
        soak = Soak(w)
        while len(samples) < rounds or w.colony.now() - start < minutes * 60.0:
            soak.round()
            samples.append(take(w))
        assert len(os.listdir(folder)) <= KEYS, "files grow"
    print(f"{len(samples)} rounds on {w.kind}, {w.colony.now() - start:.0f} s:", dict(soak.ends))
    table(samples)
    assert soak.ends["served"] > 10 * len(samples), soak.ends
    return growth(samples)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.soak")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runtime", choices=[kind for kind in RUNTIMES if kind != "gevent-late"], default="threads")
    options = parser.parse_args()
    w = World(options.runtime)
    try:
        grown = run(w, rounds=options.rounds, minutes=options.minutes)
    finally:
        w.close()
    print("\n".join(grown) or "nothing has grown")
    return len(grown)


if __name__ == "__main__":
    sys.exit(main())
