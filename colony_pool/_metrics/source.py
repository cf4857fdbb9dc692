"""What an exporter reads of a pool, and by what it waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .._log import Lines
from .._runtime.protocol import Runtime
from .counters import Counters
from .snapshot import Snapshot, SnapshotSource


class _Engine(Protocol):
    @property
    def snapshots(self) -> SnapshotSource: ...

    @property
    def runtime(self) -> Runtime: ...


class _Engines(Protocol):
    @property
    def current(self) -> _Engine: ...


class MetricsSource:
    """One pool, as exporters see it. It lives as long as its pool does."""

    def __init__(self, engines: _Engines, counters: Counters, lines: Lines) -> None:
        self._engines = engines
        self.counters = counters
        self.lines = lines

    def take_snapshot(self) -> Snapshot:
        """Return the gauges of one moment. Reads without a lock and changes nothing."""
        return self._engines.current.snapshots.take_snapshot()

    def later(self, delay: float, fn: Callable[[], object]) -> object:
        """Call ``fn()`` after ``delay`` seconds in a task of the pool's runtime."""
        return self._engines.current.runtime.call_later(delay, fn)
