"""Which pools there are, by name, and their numbers at one moment: what both exporters are fed with."""

from __future__ import annotations

import weakref
from _thread import RLock  # gevent's own is not for threads, and nobody who has this one waits
from collections.abc import Callable
from typing import Any, Protocol

from .._core.events import Event
from .._fork import notice_fork, renew_in_children
from .._log import Lines
from .._metrics.catalog import MAX, METRICS, MIN
from .._metrics.counters import Counters, Series
from .._metrics.snapshot import Snapshot

_MAX_NAMES = 64
_OTHER = "_other"  # a name made of something without bound must not fill a Prometheus
_LOOKS = 3
_MODES = {metric.name: metric.mode for metric in METRICS}


class Source(Protocol):
    """A pool, as an exporter sees it."""

    counters: Counters
    lines: Lines

    def take_snapshot(self) -> Snapshot:
        """One moment."""

    def later(self, delay: float, fn: Any) -> object:
        """Call ``fn()`` after ``delay`` seconds, in a task of the pool's runtime."""


class Row:
    """All pools of one name at one moment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counters = Counters()
        self.gauges: dict[str, Series] = {}

    def gauge(self, gauges: dict[str, Series]) -> None:
        """Merge the gauges of one pool, each by its mode."""
        for metric, series in gauges.items():
            mine = self.gauges.setdefault(metric, {})
            for labels, value in series.items():
                mine[labels] = value if labels not in mine else _merged(_MODES[metric], mine[labels], value)


def _merged(mode: str, one: float, other: float) -> float:
    return max(one, other) if mode == MAX else min(one, other) if mode == MIN else one + other


class Live:
    """One pool that is exported, for as long as there is one."""

    def __init__(self, pool: Source) -> None:
        self.pool = weakref.ref(pool)
        self.counters = pool.counters
        self._reported: dict[str, Series] = {}  # counters with a running part, as they were told last
        self.is_over = False  # nothing runs any more: it has been counted for good

    def take_snapshot(self, pool: Source, into: Counters) -> Snapshot:
        """Observe ``pool`` and count it. A change of state in between would be counted twice: then look again."""
        for _ in range(_LOOKS):
            since = self.counters.state_since
            seen = pool.take_snapshot()
            totals = self._totals(seen.in_progress)
            if since == self.counters.state_since:
                break
        self._reported = totals
        into.absorb(self.counters, instead=totals)
        return seen

    def count(self, into: Counters) -> None:
        """Count what it had when it was last looked at, and what it has written down since."""
        into.absorb(self.counters, instead=self._totals({name: {} for name in self._reported}))

    def _totals(self, in_progress: dict[str, Series]) -> dict[str, Series]:
        """Counters that have a running part, with it; none goes back."""
        totals = {}
        for name, more in in_progress.items():
            reported = self._reported.get(name, {})
            totals[name] = {
                labels: max(counted + more.get(labels, 0.0), reported.get(labels, 0.0))
                for labels, counted in self.counters.totals[name].items()
            }
        return totals


class Exporter:
    """Pools by name. A pool that is gone leaves what it has counted, and no gauge."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.errors = 0
        self._lock = RLock()  # guards _names, and what each pool was told to have counted
        # By name: what pools that are gone have counted, and those that live. An entry is replaced, never changed:
        # who reads it sees a pool that ends meanwhile on one side or on the other, not on both and not on neither.
        self._names: dict[str, tuple[Counters, tuple[Live, ...]]] = {}
        renew_in_children(self)

    def add(self, name: str, pool: Source) -> str:
        """Export ``pool`` and return the name that it goes by."""
        notice_fork()
        with self._lock:
            if name not in self._names and len(self._names) >= _MAX_NAMES:
                name = _OTHER
            ended, live = self._names.get(name) or (Counters(), ())
            self._names[name] = (ended, (*live, Live(pool)))
        return name

    def end(self, name: str, pool: Source) -> None:
        """Keep what ``pool`` has counted; its gauges go."""
        notice_fork()
        with self._lock:
            self._reap(name, lambda live: live.pool() is pool)

    def note(self, event: Event, pool: Source) -> None:
        """``pool`` has counted ``event``."""

    def rows(self) -> list[Row]:
        """The numbers of every name."""
        notice_fork()
        with self._lock:
            for name in list(self._names):
                self._reap(name, lambda live: live.pool() is None)
            names = list(self._names.items())
        rows = []
        for name, (ended, pools) in names:
            row = Row(name)
            row.counters.absorb(ended)
            for live in pools:
                seen = self._observe(live, row.counters)
                row.gauge(seen.gauges if seen is not None else {})
            rows.append(row)
        return rows

    def _observe(self, live: Live, into: Counters) -> Snapshot | None:
        """Count one pool; one that cannot be read must not hide the others, nor what it has counted so far."""
        with self._lock:
            pool = live.pool()
            if pool is not None and not live.is_over:
                try:
                    return live.take_snapshot(pool, into)
                except Exception:  # noqa: BLE001 - whatever it is
                    self.errors += 1
            live.count(into)
        return None

    def _reap(self, name: str, is_gone: Callable[[Live], bool]) -> None:
        """Keep what pools have counted that are closed, or were collected without that; the lock is held."""
        ended, pools = self._names.get(name) or (Counters(), ())
        gone = [live for live in pools if is_gone(live)]
        if not gone:
            return
        total = Counters()
        total.absorb(ended)
        for live in gone:
            self._observe(live, total)
            live.is_over = True
        self._names[name] = (total, tuple(live for live in pools if live not in gone))

    def _after_fork(self) -> None:
        """In a forked child: the parent goes on with what was counted so far, and its lock may have been held."""
        self._lock = RLock()
        self.errors = 0
        for name, (_, pools) in list(self._names.items()):
            alive = [pool for live in pools if (pool := live.pool()) is not None]
            self._names[name] = (Counters(), tuple(map(Live, alive)))
