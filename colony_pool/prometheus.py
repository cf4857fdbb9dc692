"""Prometheus metrics of pools: the only importer of ``prometheus_client``.

A pull-time collector over the plain numbers of each pool's journal: the token path touches no metric, and a scrape
reads without a lock of the pool and changes nothing. Names, labels and meanings are those of the catalogue
(``_core/catalog.py``); the label ``pool`` is the pool's name. All series exist from the first scrape on.

Several pools of one name, at a time or one after the other, are one: counters add up and go on, gauges are the sum
(or the earliest, or the latest, as the catalogue says) over those that live. A closed pool leaves its counters and no
gauge. Beyond ``_MAX_NAMES`` names the rest is ``_other``: a name made of something unbounded must not fill a
Prometheus.
"""

from __future__ import annotations

import platform
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from ._core.catalog import COUNTER, GAUGE, MAX, METRICS, MIN, PREFIX, Metric
from ._core.journal import Journal, Series
from ._shell.fork import renew_in_children
from ._shell.observe import Observation

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

__all__ = ["REGISTRY", "CollectorRegistry", "forget", "serve", "watch"]

_MAX_NAMES = 64
_OTHER = "_other"


class Source(Protocol):
    """A pool, as a scrape sees it."""

    journal: Journal

    def observe(self) -> Observation:
        """One moment."""


class _Collector:
    """All pools of one registry: one family per metric, however many pools there are."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._lock = threading.Lock()  # guards _ended and _live
        self._ended: dict[str, Journal] = {}  # by name: what pools that are gone have counted
        self._live: dict[str, list[tuple[weakref.ref[Source], Journal]]] = {}
        self._errors = 0

    def add(self, name: str, pool: Source) -> str:
        """Export ``pool`` and return the name that it goes by."""
        with self._lock:
            if name not in self._ended and len(self._ended) >= _MAX_NAMES:
                name = _OTHER
            self._ended.setdefault(name, Journal())
            self._live.setdefault(name, []).append((weakref.ref(pool), pool.journal))
        return name

    def end(self, name: str, pool: Source) -> None:
        """Keep what ``pool`` has counted; its gauges go."""
        with self._lock:
            last = pool.observe().running
            rest = [(ref, journal) for ref, journal in self._live.get(name, []) if ref() is not pool]
            if len(rest) < len(self._live.get(name, [])):
                self._live[name] = rest
                self._ended[name].absorb(pool.journal)
                for metric, series in last.items():
                    for labels, value in series.items():
                        self._ended[name].add(metric, *labels, by=value)

    def _after_fork(self) -> None:
        """In a forked child: the parent goes on with what was counted so far, and its lock may have been held."""
        self._lock = threading.Lock()
        self._ended = {name: Journal() for name in self._ended}

    def describe(self) -> Iterable[Any]:
        """Nothing: ``register`` would otherwise run a scrape."""
        return []

    def collect(self) -> Iterator[Any]:
        """All families of the catalogue, and the two about the exporter itself."""
        rows = self._rows()
        for metric in METRICS:
            yield _family(metric, rows)
        info = GaugeMetricFamily(PREFIX + "build_info", "1, and which versions run.", labels=["version", "python"])
        info.add_metric([self._version, platform.python_version()], 1.0)
        yield info
        errors = CounterMetricFamily(PREFIX + "collect_errors", "Pools that a scrape could not read.")
        errors.add_metric([], self._errors)
        yield errors

    def _rows(self) -> list[_Row]:
        with self._lock:
            self._bury()
            names = {name: (self._ended[name], list(self._live.get(name, []))) for name in self._ended}
        rows = []
        for name, (ended, live) in names.items():
            row = _Row(name)
            row.count(ended, {})
            for ref, journal in live:
                pool = ref()
                if pool is None:
                    continue
                try:
                    seen = pool.observe()
                except Exception:  # noqa: BLE001 - one pool that cannot be read must not hide the others
                    self._errors += 1
                    continue
                row.count(journal, seen.running)
                row.gauge(seen.gauges)
            rows.append(row)
        return rows

    def _bury(self) -> None:
        """Pools that were collected without being closed; the lock is held."""
        for name, live in self._live.items():
            for ref, journal in [entry for entry in live if entry[0]() is None]:
                self._ended[name].absorb(journal)
                live.remove((ref, journal))


class _Row:
    """One pool name at one scrape."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.journal = Journal()
        self.gauges: dict[str, Series] = {}

    def count(self, journal: Journal, running: dict[str, Series]) -> None:
        self.journal.absorb(journal)
        for metric, series in running.items():
            for labels, value in series.items():
                self.journal.add(metric, *labels, by=value)

    def gauge(self, gauges: dict[str, Series]) -> None:
        for metric, series in gauges.items():
            mine = self.gauges.setdefault(metric, {})
            for labels, value in series.items():
                mine[labels] = value if labels not in mine else _merged(metric, mine[labels], value)


_MODES = {metric.name: metric.mode for metric in METRICS}


def _merged(metric: str, one: float, other: float) -> float:
    mode = _MODES[metric]
    return max(one, other) if mode == MAX else min(one, other) if mode == MIN else one + other


def _family(metric: Metric, rows: list[_Row]) -> Any:
    labels = ["pool", *metric.label_names]
    if metric.kind == COUNTER:
        family: Any = CounterMetricFamily(metric.full_name.removesuffix("_total"), metric.help, labels=labels)
        for row in rows:
            for values, number in row.journal.counters[metric.name].items():
                family.add_metric([row.name, *values], number)
        return family
    if metric.kind == GAUGE:
        family = GaugeMetricFamily(metric.full_name, metric.help, labels=labels)
        for row in rows:
            for values, number in row.gauges.get(metric.name, {}).items():
                family.add_metric([row.name, *values], number)
        return family
    family = HistogramMetricFamily(metric.full_name, metric.help, labels=labels)
    for row in rows:
        histogram = row.journal.histograms[metric.name]
        family.add_metric([row.name], buckets=histogram.cumulative(), sum_value=histogram.total)
    return family


# One collector per registry: two that yield the same families would make the exposition invalid.
_collectors: weakref.WeakKeyDictionary[CollectorRegistry, _Collector] = weakref.WeakKeyDictionary()


def watch(registry: CollectorRegistry, name: str, pool: Source, version: str) -> str:
    """Export ``pool`` as ``name`` from now on; return the name that it got."""
    collector = _collectors.get(registry)
    if collector is None:
        collector = _collectors[registry] = _Collector(version)
        renew_in_children(collector)
        registry.register(collector)
    return collector.add(name, pool)


def forget(registry: CollectorRegistry, name: str, pool: Source) -> None:
    """``pool``, exported as ``name``, is closed."""
    collector = _collectors.get(registry)
    if collector is not None:
        collector.end(name, pool)


def serve(port: int, addr: str, registry: CollectorRegistry) -> tuple[WSGIServer, Any]:
    """Serve ``registry`` at ``http://addr:port/metrics`` and return the server and its thread."""
    return start_http_server(port, addr, registry)
