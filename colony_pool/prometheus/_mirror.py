"""Many processes: the pools' numbers, mirrored into the files that ``prometheus_client`` shares between processes.

A custom collector does not show in its multi-process mode, so each process keeps a copy of its numbers in ordinary
counters, gauges and histograms: written once a second, at every change of the breaker or a hold, when a pool closes,
and at exit. A worker that is killed loses at most its last second of counting.

What a process has nothing to tell about (no hold, no token) is written as an infinity that loses every comparison
between processes: a gauge cannot be taken away in this mode, and a 0 of one worker would hide the others' moments.
The sidecar leaves infinities out. Nothing is written before a pool's first event, so that a parent which only loads
the application (``--preload``) is not counted as a worker.

No agent fails or waits for the sake of a metric: who counts leaves the writing to whoever is at it, a directory that
is gone or full is a line in the log, and only who closes a pool, or ends, waits for a moment.

A fork waits for whoever is writing. ``prometheus_client`` has one lock for all files, and a child that inherits it
taken, be it by the application, would wait for it for ever, its agents with it: the child has one of its own.
"""

from __future__ import annotations

import atexit
import errno
import glob
import logging
import math
import os
import platform
import sys
import threading
import time
import weakref
from _thread import RLock
from collections import deque
from contextlib import suppress
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, values

from .._core.events import Event, HoldCleared, HoldStarted, StateChanged
from .._fork import drop_before_forks, notice_fork
from .._log import AT_ONCE, Lines
from .._metrics.catalog import COUNTER, GAUGE, MAX, METRICS, MIN, PREFIX
from .._metrics.counters import Series
from ._pools import Exporter, Row, Source

_TICK = 1.0  # seconds
_LATE = 3.0  # ticks whose hub or thread is gone are begun again after this many seconds
_WRITING = 1.0  # seconds; longer than it takes to write, unless the disk hangs
_UNWRITTEN = 65_536  # observations that are kept while nothing can be written
_ROOM = 1 << 18  # bytes that must be free for a new name: to write to a page without room is SIGBUS, and the end
_NOT_WRITTEN = "colony_pool: metrics cannot be written, agents go on without: %s"
_NOTHING = {MAX: -math.inf, MIN: math.inf}


class Mirror(Exporter):
    """The pools of this process, in the shared files."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        # Guards what follows; gevent's own is not for threads, and who writes does not wait.
        self._writing: Any = RLock()
        self._again = False  # somebody has come while another was writing
        self._forks: int | None = None  # the thread that keeps the lock as it forks
        self._ticked = -math.inf
        self._ticks: object = None  # whose ticks are the ones that count
        self._heard: deque[tuple[str, str, float]] = deque(maxlen=_UNWRITTEN)  # pool, metric, observed
        self._objects: dict[str, Any] = {}  # by metric; empty until something is written
        self._named: set[str] = set()  # pools that have a place in the files
        self._written: dict[tuple[str, ...], float] = {}  # counters as they stand in the files
        self._fails = False

    def begin(self) -> None:
        """Be the one of this process."""
        atexit.register(self._end)
        drop_before_forks(self)

    def add(self, name: str, pool: Source) -> str:
        """Mirror ``pool``; nothing is written yet."""
        name = super().add(name, pool)
        pool.counters.heard = lambda metric, value: self._heard.append((name, metric, value))
        return name

    def end(self, name: str, pool: Source) -> None:
        """Keep what ``pool`` has counted; its gauges say nothing from now on."""
        super().end(name, pool)
        if self._objects:
            self.write(_WRITING)
        self._ticked = -math.inf  # it may have been the one that ticked: the next event of another begins anew

    def note(self, event: Event, pool: Source) -> None:
        """Begin to tick; write changes of state at once."""
        if time.monotonic() - self._ticked > _LATE:
            self._ticked = time.monotonic()
            self.write()
            self._go_on(pool)
        elif isinstance(event, (StateChanged, HoldStarted, HoldCleared)):
            self.write()

    def write(self, within: float = 0.0) -> None:
        """Bring the shared files up to date, or leave it to whoever is at it and not done ``within`` seconds."""
        notice_fork()
        self._again = True
        if self._writing._is_owned():  # a signal's handler closes a pool in the midst of writing
            return
        try:
            while self._writing.acquire(timeout=within):  # whoever is at it may have begun with this and not be done
                while self._again:
                    self._again = False
                    self._try_to_write()
                self._writing.release()
                if not self._again:
                    break
        finally:
            if self._writing._is_owned():
                self._writing.release()

    def _try_to_write(self) -> None:
        try:
            self._write_all()
        except Exception as error:  # noqa: BLE001 - gone, full, read-only: no agent may fail for that
            if not self._fails:
                self._lines().write(logging.ERROR, _NOT_WRITTEN, _words(error))
            self._fails = True
        else:
            self._fails = False

    def _lines(self) -> Lines:
        """Those of a pool that lives: who writes may be a caller of its. Without one nobody waits."""
        pools = (live.pool() for _, lives in list(self._names.values()) for live in lives)
        return next((pool.lines for pool in pools if pool is not None), AT_ONCE)

    def _write_all(self) -> None:
        if not self._objects:
            self._make()
        rows = self.rows()
        for row in rows:
            self._write_row(row)
        while self._heard:
            name, metric, value = self._heard.popleft()
            self._objects[metric].labels(name).observe(value)
        before, self._written["errors",] = self._written.get(("errors",), 0.0), float(self.errors)
        self._objects["errors"].inc(self.errors - before)

    def _go_on(self, pool: Source) -> None:
        """Have ``pool`` tick, and no other."""
        mine = self._ticks = object()
        known = weakref.ref(pool)  # a pool that nobody has any more must not live on for its ticks
        pool.later(_TICK, lambda: self._tick(mine, known()))

    def _tick(self, ticks: object, pool: Source | None) -> None:
        if ticks is not self._ticks:
            return
        self._ticked = time.monotonic()
        self.write()
        alive = [other for _, pools in list(self._names.values()) for live in pools if (other := live.pool())]
        if alive:
            self._go_on(pool if pool is not None and pool in alive else alive[0])

    def _make(self) -> None:
        _make_young(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        objects: dict[str, Any] = {}
        for metric in METRICS:
            labels = ["pool", *metric.label_names]
            if metric.kind == COUNTER:
                made: Any = Counter(metric.full_name, metric.help, labels, registry=None)
            elif metric.kind == GAUGE:
                mode: Any = metric.mode
                made = Gauge(metric.full_name, metric.help, labels, registry=None, multiprocess_mode=mode)
            else:
                made = Histogram(metric.full_name, metric.help, labels, registry=None, buckets=metric.buckets)
            objects[metric.name] = made
        names = ["version", "python"]
        info = Gauge(
            PREFIX + "build_info", "1, and which versions run.", names, registry=None, multiprocess_mode="livemax"
        )
        info.labels(self.version, platform.python_version()).set(1.0)
        objects["errors"] = Counter(PREFIX + "collect_errors", "Pools that a scrape could not read.", registry=None)
        self._objects = objects
        _at_the_end_of_a_child(self._end)

    def _end(self) -> None:
        self.write(_WRITING)

    def _make_room(self, name: str) -> None:
        """See that ``name`` has room in the files."""
        directory = os.environ["PROMETHEUS_MULTIPROC_DIR"]
        disk = os.statvfs(directory)
        if disk.f_blocks and disk.f_bavail * disk.f_frsize < _ROOM:  # a file system without an end has no blocks
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), directory)
        for metric in METRICS:
            made = self._objects[metric.name]
            for labels in metric.series():
                made.labels(name, *labels)
        self._named.add(name)

    def _write_row(self, row: Row) -> None:
        if row.name not in self._named:
            self._make_room(row.name)
        for metric in METRICS:
            made = self._objects[metric.name]
            if metric.kind == COUNTER:
                self._grow(made, metric.name, row.name, row.counters.totals[metric.name])
            elif metric.kind == GAUGE:
                told = row.gauges.get(metric.name, {})
                series = {labels: told.get(labels, _NOTHING.get(metric.mode, 0.0)) for labels in metric.series()}
                # What a breaker is now before what it is no more: who reads in between sees two states, not none.
                for labels in sorted(series, key=series.__getitem__, reverse=True):
                    made.labels(row.name, *labels).set(series[labels])

    def _grow(self, made: Any, metric: str, pool: str, series: Series) -> None:
        for labels, value in series.items():
            key = (metric, pool, *labels)
            before = self._written.get(key, 0.0)
            if value > before:
                self._written[key] = value  # first: what Ctrl-C strikes in between must not be counted twice
                made.labels(pool, *labels).inc(value - before)

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
        self._again = self._fails = False
        self._ticked = -math.inf
        self._ticks = None
        self._heard.clear()
        self._objects = {}
        self._named = set()
        self._written = {}
        _renew_lock_of_files()


def _words(error: Exception) -> str:
    """What went wrong with a file, which is no secret."""
    return str(error) if isinstance(error, OSError) else type(error).__name__


def _make_young(directory: str) -> None:
    """What an earlier process of this number has left is ours now: the sidecar must not bury it as that one's."""
    for path in glob.glob(os.path.join(glob.escape(directory), f"gauge_live*_{os.getpid()}.db")):
        with suppress(FileNotFoundError):  # it has been buried
            os.utime(path)


def _renew_lock_of_files() -> None:
    """In a forked child: the lock of ``prometheus_client``'s files anew.

    It cannot be asked: a thread that waits for a lock has it before the interpreter knows.
    """
    write: Any = values.ValueClass.inc
    inside = dict(zip(write.__code__.co_freevars, write.__closure__ or (), strict=True))
    if "lock" in inside:
        inside["lock"].cell_contents = getattr(values, "Lock", threading.Lock)()


def _at_the_end_of_a_child(fn: Any) -> None:
    """Call ``fn()`` when a child of ``multiprocessing`` returns: it calls nothing that ``atexit`` was told before."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, fn, exitpriority=0)
