"""Many processes: the pools' numbers, mirrored into the files that ``prometheus_client`` shares between processes.

A custom collector does not show in its multi-process mode, so each process keeps a copy of its numbers in ordinary
counters, gauges and histograms: written once a second, at every change of the breaker or a hold, when a pool closes,
and at exit. A worker that is killed loses at most its last second of counting.

What a process has nothing to tell about (no hold, no token) is written as an infinity that loses every comparison
between processes: a gauge cannot be taken away in this mode, and a 0 of one worker would hide the others' moments.
The sidecar leaves infinities out. Nothing is written before a pool's first event, so that a parent which only loads
the application (``--preload``) is not counted as a worker.

A fork waits for whoever is writing. ``prometheus_client`` has one lock for all files, and a child that inherits it
taken would wait for it for ever, its agents with it.
"""

from __future__ import annotations

import atexit
import math
import os
import platform
import threading
import time
from _thread import RLock
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from .._core.catalog import COUNTER, GAUGE, HISTOGRAM, MAX, METRICS, MIN, PREFIX
from .._core.events import Event, HoldStarted, StateChanged
from .._core.journal import Series
from .._shell.fork import drop_before_forks
from ._pools import Exporter, Row, Source

_TICK = 1.0  # seconds
_LATE = 3.0  # ticks whose hub or thread is gone are begun again after this many seconds
_WRITING = 1.0  # seconds; longer than it takes to write, unless the disk hangs
_NOTHING = {MAX: -math.inf, MIN: math.inf}


class Mirror(Exporter):
    """The pools of this process, in the shared files."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self._writing = RLock()  # guards what follows; gevent's own is not for threads, and who writes does not wait
        self._at_it = self._again = False  # a signal's handler may close a pool in the midst of writing
        self._forks: int | None = None  # the thread that keeps the lock as it forks
        self._pid = os.getpid()
        self._ticked = -math.inf
        self._objects: dict[str, Any] = {}  # by metric; empty until something is written
        self._written: dict[tuple[str, ...], float] = {}  # counters as they stand in the files
        atexit.register(self.write)
        drop_before_forks(self)

    def add(self, name: str, pool: Source) -> str:
        """Mirror ``pool``; nothing is written yet."""
        name = super().add(name, pool)
        self._hear(name, pool)
        return name

    def end(self, name: str, pool: Source) -> None:
        """Keep what ``pool`` has counted; its gauges say nothing from now on."""
        super().end(name, pool)
        if self._objects:
            self.write()

    def note(self, event: Event, pool: Source) -> None:
        """Begin to tick; write changes of state at once."""
        now = time.monotonic()
        if now - self._ticked > _LATE:
            self._ticked = now
            self.write()
            pool.later(_TICK, lambda: self._tick(pool))
        elif isinstance(event, (StateChanged, HoldStarted)):
            self.write()

    def write(self) -> None:
        """Bring the shared files up to date."""
        if os.getpid() != self._pid:
            return
        with self._writing:
            self._again = True
            if self._at_it:
                return
            self._at_it = True
            try:
                while self._again:
                    self._again = False
                    self._write_all()
            finally:
                self._at_it = False

    def _write_all(self) -> None:
        if not self._objects:
            self._make()
        for row in self.rows():
            self._write_row(row)
        self._count_errors.inc(self.errors - self._written.get(("errors",), 0.0))
        self._written["errors",] = self.errors

    def _tick(self, pool: Source) -> None:
        self._ticked = time.monotonic()
        self.write()
        if any(self._live.values()):
            pool.later(_TICK, lambda: self._tick(pool))

    def _hear(self, name: str, pool: Source) -> None:
        def heard(metric: str, value: float) -> None:
            with self._writing:
                if not self._objects:
                    self._make()
                self._objects[metric].labels(name).observe(value)

        pool.journal.heard = heard

    def _make(self) -> None:
        for metric in METRICS:
            labels = ["pool", *metric.label_names]
            if metric.kind == COUNTER:
                made: Any = Counter(metric.full_name, metric.help, labels, registry=None)
            elif metric.kind == GAUGE:
                mode: Any = metric.mode
                made = Gauge(metric.full_name, metric.help, labels, registry=None, multiprocess_mode=mode)
            else:
                made = Histogram(metric.full_name, metric.help, labels, registry=None, buckets=metric.buckets)
            self._objects[metric.name] = made
        names = ["version", "python"]
        info = Gauge(
            PREFIX + "build_info", "1, and which versions run.", names, registry=None, multiprocess_mode="livemax"
        )
        info.labels(self.version, platform.python_version()).set(1.0)
        self._count_errors = Counter(PREFIX + "collect_errors", "Pools that a scrape could not read.", registry=None)

    def _write_row(self, row: Row) -> None:
        for metric in METRICS:
            made = self._objects[metric.name]
            if metric.kind == HISTOGRAM:
                made.labels(row.name)  # it exists from now on; observations come as they are made
            elif metric.kind == COUNTER:
                self._grow(made, metric.name, row.name, row.journal.counters[metric.name])
            else:
                told = row.gauges.get(metric.name, {})
                for labels in metric.series():
                    made.labels(row.name, *labels).set(told.get(labels, _NOTHING.get(metric.mode, 0.0)))

    def _grow(self, made: Any, metric: str, pool: str, series: Series) -> None:
        for labels, value in series.items():
            key = (metric, pool, *labels)
            before = self._written.get(key)
            if before is None or value > before:
                made.labels(pool, *labels).inc(max(0.0, value - (before or 0.0)))
                self._written[key] = value

    def _before_fork(self) -> None:
        if self._writing.acquire(timeout=_WRITING):
            self._forks = threading.get_ident()

    def _fork_is_over(self) -> None:
        if self._forks == threading.get_ident():  # else it is another thread's fork, or the disk hangs
            self._forks = None
            self._writing.release()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._writing, self._forks = RLock(), None
        self._at_it = self._again = False
        self._pid = os.getpid()
        self._ticked = -math.inf
        self._objects = {}
        self._written = {}
