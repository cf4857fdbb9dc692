"""What ten thousand agents cost: no input of the dispatcher more than log N, a waiter a kibibyte, an outage the same.

Nothing is timed. What an input costs is the number of executed lines of the deciding code, with the heaps in plain
Python, so that their log N is seen, too: a loop over all keys, even within one line, is a line a turn.
"""

from __future__ import annotations

import gc
import heapq
import importlib.util
import math
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

import colony_pool
import tests.support.loaded_harness
from colony_pool.config import BreakerConfig, DispatcherConfig
from tests.support.loaded_harness import LoadedHarness, backing_off, behind_open, callers, half_open, keys, queued
from tests.tools.growth import CASES
from tests.tools.law_world import World

CORE = str(Path(colony_pool.__file__).parent / "_core")
SIZES = (100, 1_000, 10_000)  # the benchmark goes on to a hundred thousand
FLEETS = (10, 100, 1_000, 10_000)
HOUR = 3600.0


@pytest.fixture(autouse=True)
def _no_collections() -> Iterator[None]:
    """Spare the collector ten thousand keys that stay: most of the time would be its own."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def _plain_heaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the deciding code use heaps whose work is lines."""
    plain = _plain_heapq()
    for name, module in list(sys.modules.items()):
        if name.startswith("colony_pool._core."):
            for verb in ("heappush", "heappop", "heapify"):
                if hasattr(module, verb):
                    monkeypatch.setattr(module, verb, getattr(plain, verb))


def _plain_heapq() -> ModuleType:
    """The standard library's ``heapq`` as it is without its accelerator."""
    spec = importlib.util.find_spec("heapq")
    assert spec is not None
    assert spec.loader is not None
    plain = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "_heapq", None)
        spec.loader.exec_module(plain)
    return plain


def lines_of(work: Callable[[], int]) -> float:
    """Lines of the deciding code and its heaps that ``work`` executes, for each that it says it was for."""
    lines = 0
    files = (CORE, heapq.__file__)

    def count(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        return count if frame.f_code.co_filename.startswith(files) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        shared_by = work()
    finally:
        sys.settrace(before)
    assert lines > 0
    return lines / shared_by


@pytest.mark.parametrize("name", CASES)
def test_no_input_costs_more_than_log_n(name: str) -> None:
    costs = {n: lines_of(CASES[name](n)) for n in SIZES}
    least = costs[SIZES[0]]
    too_dear = {n: cost for n, cost in costs.items() if cost > least * (math.log(n) / math.log(SIZES[0]))}
    assert {} == too_dear, costs


HARNESSES: dict[str, Callable[[int], object]] = {
    "queued in a closed pool": queued,
    "backing off": backing_off,
    "behind an open breaker": behind_open,
    "behind a probe": half_open,
    "all for one key": callers,
}


def _held_by(make: Callable[[], object]) -> int:
    """Bytes that what ``make`` returns holds of dispatcher and callers: other threads of the process run on."""
    gc.collect()
    tracemalloc.start()
    try:
        made = make()
        gc.collect()
        files = [
            tracemalloc.Filter(True, f"{CORE}/*"),
            tracemalloc.Filter(True, tests.support.loaded_harness.__file__),
        ]
        held = tracemalloc.take_snapshot().filter_traces(files)
    finally:
        tracemalloc.stop()
    assert made is not None
    return sum(trace.size for trace in held.traces)


@pytest.mark.parametrize("name", HARNESSES)
def test_a_waiter_takes_a_kibibyte_at_most(name: str) -> None:
    """With its key's account and flight, and its places in the queue; without the greenlet or thread that waits."""
    n = 10_000
    HARNESSES[name](1)
    assert _held_by(lambda: HARNESSES[name](n)) <= 1024 * n


def _cancelled(n: int) -> LoadedHarness:
    harness, waiters = queued(n)
    harness.cancel(waiters)
    return harness


def _served(n: int) -> LoadedHarness:
    harness = LoadedHarness()
    harness.serve(keys(n))
    return harness


def _closed(n: int) -> LoadedHarness:
    harness, _ = behind_open(n)
    harness.feed(harness.dispatcher.close(harness.moment))
    return harness


ENDS: dict[str, Callable[[int], LoadedHarness]] = {"cancelled": _cancelled, "served": _served, "closed": _closed}


@pytest.mark.parametrize("name", ENDS)
def test_what_a_waiter_took_is_given_back(name: str) -> None:
    """G3, G26: ten thousand at once leave nothing behind but the table that a dictionary of ten thousand had."""
    n = 10_000

    def over() -> LoadedHarness:
        harness = ENDS[name](n)
        harness.out.clear()
        return harness

    assert _held_by(over) < 40 * n


def _attempts(n: int, seed: int, *, jitter: float) -> int:
    """Requests of ``n`` agents that ask within two seconds and wait through an hour's outage."""
    world = World(seed, config=DispatcherConfig(breaker=BreakerConfig(jitter=jitter)))
    world.server.script = lambda now: 502
    for _ in range(n):
        world.arrive(world.sim.random() * 2.0, patience=36_000.0)
    world.sim.run(until=HOUR)
    assert n == world.dispatcher.waiters.count
    return len(world.server.arrivals)


@pytest.mark.parametrize("seed", range(3))
def test_an_hours_outage_costs_any_number_of_agents_the_same(seed: int) -> None:
    """G6: sixteen attempts to open, then a probe each 2, 4, 8, 16, 32, 60 s: to the attempt, when nothing jitters."""
    assert dict.fromkeys(FLEETS, 79) == {n: _attempts(n, seed, jitter=0.0) for n in FLEETS}


@pytest.mark.parametrize("seed", range(3))
def test_an_hours_outage_costs_any_number_of_agents_the_same_but_for_the_jitter(seed: int) -> None:
    """G6: delays are shortened by a fifth at most, so there is a quarter more probes at most."""
    for n in FLEETS:
        assert 79 <= _attempts(n, seed, jitter=0.2) <= 16 + 63 / 0.8
