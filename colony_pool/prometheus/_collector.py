"""One process: a collector that reads the pools when it is scraped, without a lock of theirs, and changes nothing."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from .._metrics.catalog import COUNTER, GAUGE, METRICS, PREFIX, Metric
from ._pools import Exporter, Row

log = logging.getLogger("colony_pool")

_SEVERAL = (
    "colony_pool: this process is one of several workers and serves its own metrics only: behind one port a scrape "
    "meets a random worker, and counters seem to go back. Set PROMETHEUS_MULTIPROC_DIR and run "
    "'colony-pool metrics serve'"
)


class Collector(Exporter):
    """All pools of one registry: one family per metric, however many pools there are."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self._pid = os.getpid()
        self._warned = False

    def describe(self) -> Iterable[Any]:
        """Nothing: ``register`` would otherwise run a scrape."""
        return []

    def collect(self) -> Iterator[Any]:
        """All families of the catalogue, and the two about the exporter itself."""
        if not self._warned and (os.getpid() != self._pid or _is_worker()):
            self._warned = True
            log.warning(_SEVERAL)
        rows = self.rows()
        for metric in METRICS:
            yield _family(metric, rows)
        info = GaugeMetricFamily(PREFIX + "build_info", "1, and which versions run.", labels=["version", "python"])
        info.add_metric([self.version, platform.python_version()], 1.0)
        yield info
        errors = CounterMetricFamily(PREFIX + "collect_errors", "Pools that a scrape could not read.")
        errors.add_metric([], self.errors)
        yield errors


def _is_worker() -> bool:
    """Whether this process is one of several that a pre-fork server runs."""
    if not {"gunicorn.arbiter", "uwsgi"} & set(sys.modules):
        return False
    parent = os.getppid()
    try:
        return len(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()) > 1
    except OSError:
        return True


def _family(metric: Metric, rows: list[Row]) -> Any:
    labels = ["pool", *metric.label_names]
    if metric.kind in (COUNTER, GAUGE):
        is_counter = metric.kind == COUNTER
        kind: Any = CounterMetricFamily if is_counter else GaugeMetricFamily
        family = kind(metric.full_name.removesuffix("_total"), metric.help, labels=labels)
        for row in rows:
            series = row.counters.totals[metric.name] if is_counter else row.gauges.get(metric.name, {})
            for values, number in series.items():
                family.add_metric([row.name, *values], number)
        return family
    family = HistogramMetricFamily(metric.full_name, metric.help, labels=labels)
    for row in rows:
        histogram = row.counters.histograms[metric.name]
        family.add_metric([row.name], buckets=histogram.cumulative(), sum_value=histogram.total)
    return family
