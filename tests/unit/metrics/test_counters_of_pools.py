"""Counters never go back and count nothing twice, whatever happens to pools while they are read."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from colony_pool.prometheus import watch
from tests.support.private import AT_ONCE, Collector, Counters, Series, Snapshot
from tests.support.private import events as ev


class FakeSource:
    """A pool of which one number is known: how long it has been closed."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.lines = AT_ONCE
        self.seconds = 0.0
        self.fails = False
        self.meanwhile: Any = None

    def take_snapshot(self) -> Snapshot:
        if self.fails:
            raise RuntimeError
        in_progress: Series = {(self.counters.state,): max(0.0, self.seconds - self.counters.state_since)}
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return Snapshot({"breaker_state": {("closed",): 1.0}}, {"breaker_state_seconds_total": in_progress})

    def move(self, event: ev.StateChanged) -> None:
        self.counters.note(event)

    def later(self, delay: float, fn: Any) -> object:
        raise AssertionError("nothing ticks here")


def counted(exporter: Collector) -> float:
    """Seconds in all states of all pools."""
    return sum(sum(row.counters.totals["breaker_state_seconds_total"].values()) for row in exporter.rows())


def test_a_pool_that_is_gone_takes_no_seconds_with_it() -> None:
    """A counter that goes back is taken for one that began anew: all of it is counted once more."""
    exporter, source = Collector("0"), FakeSource()
    exporter.add("p", source)
    source.seconds = 5.0
    assert counted(exporter) == 5.0
    source.fails = True
    assert (counted(exporter), exporter.errors) == (5.0, 1), "what cannot be read has not gone"
    del source
    gc.collect()
    assert counted(exporter) == 5.0


def test_a_pool_that_ends_in_the_midst_of_a_scrape_is_counted_once() -> None:
    exporter, first, second = Collector("0"), FakeSource(), FakeSource()
    for name, source in (("a", first), ("b", second)):
        source.seconds = 5.0
        exporter.add(name, source)
    first.meanwhile = lambda: exporter.end("b", second)
    assert counted(exporter) == 10.0
    assert counted(exporter) == 10.0


def test_a_change_of_state_in_the_midst_of_a_scrape_is_counted_once() -> None:
    exporter, source = Collector("0"), FakeSource()
    exporter.add("p", source)
    source.seconds = 5.0
    source.meanwhile = lambda: source.move(ev.StateChanged(ev.CLOSED, ev.OPEN, 5.0, "words"))
    assert counted(exporter) == 5.0


def test_two_threads_that_make_their_first_pools_at_once_have_one_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, both = CollectorRegistry(), threading.Barrier(2)

    class Slow(Collector):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            both.wait(10)

    monkeypatch.setattr("colony_pool.prometheus.Collector", Slow)
    sources = [FakeSource(), FakeSource()]
    threads = [threading.Thread(target=watch, args=(registry, "p", source, "0")) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert generate_latest(registry).count(b"# TYPE colony_pool_calls_total ") == 1
    assert registry.get_sample_value("colony_pool_breaker_state", {"pool": "p", "state": "closed"}) == 2
