"""Which pools there are, by name, and their numbers at one moment: what both exporters are fed with."""

from __future__ import annotations

import weakref
from _thread import RLock  # gevent's own is not for threads, and nobody who has this one waits
from typing import Any, Protocol

from .._core.catalog import MAX, METRICS, MIN
from .._core.events import Event
from .._core.journal import Journal, Series
from .._shell.fork import renew_in_children
from .._shell.observe import Observation

_MAX_NAMES = 64
_OTHER = "_other"  # a name made of something without bound must not fill a Prometheus
_MODES = {metric.name: metric.mode for metric in METRICS}


class Source(Protocol):
    """A pool, as an exporter sees it."""

    journal: Journal

    def observe(self) -> Observation:
        """One moment."""

    def later(self, delay: float, fn: Any) -> object:
        """Call ``fn()`` after ``delay`` seconds, in a task of the pool's runtime."""


class Row:
    """All pools of one name at one moment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.journal = Journal()
        self.gauges: dict[str, Series] = {}

    def count(self, journal: Journal, running: dict[str, Series]) -> None:
        """Add what one pool has counted, and what is still running."""
        self.journal.absorb(journal)
        self.journal.grow(running)

    def gauge(self, gauges: dict[str, Series]) -> None:
        """Merge the gauges of one pool, each by its mode."""
        for metric, series in gauges.items():
            mine = self.gauges.setdefault(metric, {})
            for labels, value in series.items():
                mine[labels] = value if labels not in mine else _merged(_MODES[metric], mine[labels], value)


def _merged(mode: str, one: float, other: float) -> float:
    return max(one, other) if mode == MAX else min(one, other) if mode == MIN else one + other


class Exporter:
    """Pools by name. A pool that is gone leaves what it has counted, and no gauge."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.errors = 0
        self._lock = RLock()  # guards _ended and _live
        self._ended: dict[str, Journal] = {}  # what pools that are gone have counted
        self._live: dict[str, list[tuple[weakref.ref[Source], Journal]]] = {}
        renew_in_children(self)

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
        running = pool.observe().running
        with self._lock:
            live = self._live.get(name, [])
            rest = [entry for entry in live if entry[0]() is not pool]
            if len(rest) < len(live):
                self._live[name] = rest
                self._ended[name].absorb(pool.journal)
                self._ended[name].grow(running)

    def note(self, event: Event, pool: Source) -> None:
        """``pool`` has counted ``event``."""

    def rows(self) -> list[Row]:
        """The numbers of every name."""
        with self._lock:
            self._bury()
            names = [(name, ended, list(self._live.get(name, []))) for name, ended in self._ended.items()]
        rows = []
        for name, ended, live in names:
            row = Row(name)
            row.count(ended, {})
            for ref, journal in live:
                self._read(row, ref(), journal)
            rows.append(row)
        return rows

    def _read(self, row: Row, pool: Source | None, journal: Journal) -> None:
        if pool is None:
            return
        try:
            seen = pool.observe()
        except Exception:  # noqa: BLE001 - one pool that cannot be read must not hide the others
            self.errors += 1
            return
        row.count(journal, seen.running)
        row.gauge(seen.gauges)

    def _bury(self) -> None:
        """Pools that were collected without being closed; the lock is held."""
        for name, live in self._live.items():
            for entry in [entry for entry in live if entry[0]() is None]:
                self._ended[name].absorb(entry[1])
                live.remove(entry)

    def _after_fork(self) -> None:
        """In a forked child: the parent goes on with what was counted so far, and its lock may have been held."""
        self._lock = RLock()
        self._ended = {name: Journal() for name in self._ended}
