"""Prometheus metrics of pools: the only importer of ``prometheus_client``.

A pull-time collector over the plain integers of each pool's journal: the token path touches no metric, and
a scrape reads without a lock and changes nothing. Labels are the pool's name and closed sets, never an
agent, a key or a URL. All series exist from the first scrape on; a pool that is made anew under the same
name goes on with the same series.

================================================== ========= ====================================================
metric                                             type      labels beside ``pool``
================================================== ========= ====================================================
``colony_pool_calls_total``                        counter   ``outcome``: ok ok_retried error error_retried
                                                             fast_fail cancelled
``colony_pool_attempts_total``                     counter   ``outcome``: ok down network fault throttled denied
                                                             local
``colony_pool_retries_total``                      counter
``colony_pool_retry_budget_tokens``                gauge     (and ``..._limit_tokens``)
``colony_pool_breaker_state``                      gauge     ``state``: closed open half_open; one of them is 1
``colony_pool_breaker_transitions_total``          counter   ``from_state``, ``to_state``
``colony_pool_breaker_state_seconds_total``        counter   ``state``
``colony_pool_breaker_probes_total``               counter   ``result``: success failure cancelled lost
``colony_pool_breaker_recovery_seconds``           histogram from open to closed
``colony_pool_waiters``                            gauge     ``kind``: probe hold flight
``colony_pool_wait_seconds``                       histogram of calls that had to wait
``colony_pool_attempt_duration_seconds``           histogram
``colony_pool_stale_results_total``                counter
``colony_pool_holds_total``                        counter
``colony_pool_denials_total``                      counter
``colony_pool_admission_window``                   gauge
================================================== ========= ====================================================
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from ._core.events import STATES
from ._core.journal import Histogram, Journal

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

__all__ = ["REGISTRY", "CollectorRegistry", "Snapshot", "serve", "watch"]

WAITER_KINDS = ("probe", "hold", "flight")


class Snapshot(NamedTuple):
    """What a scrape needs of a pool beside its journal."""

    state: str
    state_seconds: float
    waiters: int
    waiting_for: str
    window: float
    budget: float
    budget_limit: float


class Source(Protocol):
    """A pool, as a scrape sees it."""

    journal: Journal

    def snapshot(self) -> Snapshot:
        """One moment."""


class _Collector:
    """All pools of one registry: one family per metric, however many pools there are."""

    def __init__(self) -> None:
        self._pools: dict[str, weakref.ref[Any]] = {}
        self._journals: dict[str, Journal] = {}

    def add(self, name: str, pool: Source) -> None:
        """Show ``pool`` as ``name``; a new pool of an old name goes on with the old one's journal."""
        self._pools[name] = weakref.ref(pool)
        self._journals[name] = pool.journal

    def journal(self, name: str) -> Journal | None:
        return self._journals.get(name)

    def describe(self) -> Iterable[Any]:
        """Nothing: ``register`` would otherwise run a scrape."""
        return []

    def collect(self) -> Iterator[Any]:
        rows = []
        for name, journal in list(self._journals.items()):
            pool = self._pools[name]()
            rows.append((name, journal, pool.snapshot() if pool is not None else None))
        yield from _counters(rows)
        yield from _gauges(rows)
        yield from _histograms(rows)


_Rows = list[tuple[str, Journal, "Snapshot | None"]]


def _counters(rows: _Rows) -> Iterator[Any]:
    calls = CounterMetricFamily(
        "colony_pool_calls", "Calls for a token that had to wait, by how they ended.", labels=["pool", "outcome"]
    )
    attempts = CounterMetricFamily(
        "colony_pool_attempts", "Requests to the token endpoint, by class of answer.", labels=["pool", "outcome"]
    )
    retries = CounterMetricFamily(
        "colony_pool_retries", "Attempts of a flight that had failed before; probes are none.", labels=["pool"]
    )
    moves = CounterMetricFamily(
        "colony_pool_breaker_transitions",
        "Changes of the breaker's state.",
        labels=["pool", "from_state", "to_state"],
    )
    seconds = CounterMetricFamily(
        "colony_pool_breaker_state_seconds", "Seconds spent in each state of the breaker.", labels=["pool", "state"]
    )
    probes = CounterMetricFamily(
        "colony_pool_breaker_probes", "Half-open probes; lost: its lease ran out.", labels=["pool", "result"]
    )
    stale = CounterMetricFamily(
        "colony_pool_stale_results", "Verdicts of an older generation: they changed nothing.", labels=["pool"]
    )
    holds = CounterMetricFamily(
        "colony_pool_holds", "Times at which a rate limit put everybody on hold.", labels=["pool"]
    )
    denials = CounterMetricFamily("colony_pool_denials", "Refusals of a single key.", labels=["pool"])  # fmt: skip
    for name, journal, now in rows:
        for key, count in journal.calls.items():
            calls.add_metric([name, key], count)
        for key, count in journal.attempts.items():
            attempts.add_metric([name, key], count)
        for (old, new), count in journal.transitions.items():
            moves.add_metric([name, old, new], count)
        for key, total in journal.state_seconds.items():
            running = now.state_seconds if now is not None and key == now.state else 0.0
            seconds.add_metric([name, key], total + running)
        for key, count in journal.probes.items():
            probes.add_metric([name, key], count)
        retries.add_metric([name], journal.retries)
        stale.add_metric([name], journal.stale)
        holds.add_metric([name], journal.holds)
        denials.add_metric([name], journal.denials)
    yield from (calls, attempts, retries, moves, seconds, probes, stale, holds, denials)


def _gauges(rows: _Rows) -> Iterator[Any]:
    state = GaugeMetricFamily(
        "colony_pool_breaker_state", "1 for the state that the breaker is in.", labels=["pool", "state"]
    )
    waiters = GaugeMetricFamily(
        "colony_pool_waiters", "Calls that wait now, by what they wait for.", labels=["pool", "kind"]
    )
    window = GaugeMetricFamily(
        "colony_pool_admission_window", "Token attempts allowed in flight at once.", labels=["pool"]
    )
    budget = GaugeMetricFamily(
        "colony_pool_retry_budget_tokens", "Retries that the budget allows now.", labels=["pool"]
    )
    limit = GaugeMetricFamily("colony_pool_retry_budget_limit_tokens", "What the balance would be without any retry.", labels=["pool"])  # fmt: skip
    for name, _, now in rows:
        if now is None:  # the pool is gone: its counters stay, its gauges would be a lie
            continue
        for key in STATES:
            state.add_metric([name, key], float(key == now.state))
        for kind in WAITER_KINDS:
            waiters.add_metric([name, kind], float(now.waiters if kind == now.waiting_for else 0))
        window.add_metric([name], now.window)
        budget.add_metric([name], now.budget)
        limit.add_metric([name], now.budget_limit)
    yield from (state, waiters, window, budget, limit)


def _histograms(rows: _Rows) -> Iterator[Any]:
    recovery = HistogramMetricFamily(
        "colony_pool_breaker_recovery_seconds", "Seconds from open to closed.", labels=["pool"]
    )
    waits = HistogramMetricFamily(
        "colony_pool_wait_seconds", "Seconds that calls without a fresh token waited.", labels=["pool"]
    )
    attempts = HistogramMetricFamily("colony_pool_attempt_duration_seconds", "Seconds that one attempt took.", labels=["pool"])  # fmt: skip
    for name, journal, _ in rows:
        pairs: tuple[tuple[Any, Histogram], ...] = (
            (recovery, journal.recovery), (waits, journal.wait_seconds), (attempts, journal.attempt_seconds)
        )  # fmt: skip
        for family, histogram in pairs:
            family.add_metric([name], buckets=histogram.cumulative(), sum_value=histogram.total)
    yield from (recovery, waits, attempts)


# One collector per registry: two that yield the same families would make the exposition invalid.
_collectors: weakref.WeakKeyDictionary[CollectorRegistry, _Collector] = weakref.WeakKeyDictionary()


def watch(registry: CollectorRegistry, name: str, pool: Source) -> Journal:
    """Export ``pool`` as ``name`` and return the journal that it is to write."""
    collector = _collectors.get(registry)
    if collector is None:
        collector = _collectors[registry] = _Collector()
        registry.register(collector)  # type: ignore[arg-type]
    journal = collector.journal(name)
    if journal is not None:
        pool.journal = journal
    collector.add(name, pool)
    return pool.journal


def serve(port: int, addr: str, registry: CollectorRegistry) -> tuple[WSGIServer, Any]:
    """Serve ``registry`` at ``http://addr:port/metrics`` and return the server and its thread."""
    return start_http_server(port, addr, registry)
