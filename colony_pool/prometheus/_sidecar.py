"""The sidecar of many processes: serves what they have written, and buries those that have died.

A worker that is killed cannot say good-bye: its state would stay for ever. So before each scrape the gauges of
processes that no longer run are taken away; their counters stay, since they did happen.
"""

from __future__ import annotations

import glob
import logging
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from .._metrics.catalog import MAX, METRICS, MIN, PREFIX

log = logging.getLogger("colony_pool")

_LIVE_FILE = re.compile(r"gauge_live\w+_(\d+)\.db")
_SLACK = 2.0  # seconds by which a file may seem older than the process that made it
_MOMENTS = {metric.full_name for metric in METRICS if metric.mode in (MAX, MIN)}


class SharedCollector:
    """All that the processes of ``directory`` have counted, of colony_pool and of everybody else who writes there."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._damaged: set[str] = set()

    def describe(self) -> list[Any]:
        """Nothing: ``register`` would otherwise run a scrape."""
        return []

    def collect(self) -> Iterator[Any]:
        """Bury the dead, then read the files."""
        dead = reap(self._directory)
        metrics = self._read(dead)
        for name, metric in metrics.items():
            if name.startswith(PREFIX) and metric.type == "gauge":
                metric.samples = [sample for sample in metric.samples if _says_something(sample)]
        yield from MultiProcessCollector._accumulate_metrics(metrics, True)  # type: ignore[no-untyped-call]

    def _read(self, dead: list[int]) -> dict[str, Any]:
        paths = glob.glob(os.path.join(glob.escape(self._directory), "*.db"))
        paths = [path for path in paths if _live_pid(path) not in dead]  # it may not be ours to take away
        try:
            return _metrics_of(paths)
        except Exception:  # noqa: BLE001 - one is damaged, not there yet or not there any more: it must not hide the rest
            return self._read_each(paths)

    def _read_each(self, paths: list[str]) -> dict[str, Any]:
        metrics: dict[str, Any] = {}
        for path in paths:
            try:
                found = _metrics_of([path])
            except Exception as error:  # noqa: BLE001 - as above
                if path not in self._damaged:
                    self._damaged.add(path)
                    log.warning("colony_pool: %s cannot be read and is left out: %s", path, error)
                continue
            for name, metric in found.items():
                metrics.setdefault(name, metric)
                if metrics[name] is not metric:
                    metrics[name].samples.extend(metric.samples)
        return metrics


def _metrics_of(paths: list[str]) -> dict[str, Any]:
    metrics: dict[str, Any] = MultiProcessCollector._read_metrics(paths)  # type: ignore[no-untyped-call]
    return metrics


def _says_something(sample: Any) -> bool:
    """Whether a process has something to tell there: a file begins with noughts, and 1970 is no moment of ours."""
    return math.isfinite(sample.value) and (sample.value != 0.0 or sample.name not in _MOMENTS)


def reap(directory: str) -> list[int]:
    """Take away the live gauges of processes that have ended; return their pids."""
    dead: list[int] = []
    for path in glob.glob(os.path.join(glob.escape(directory), "gauge_live*.db")):
        pid = _live_pid(path)
        if pid is not None and pid not in dead and not _is_writer(pid, path):
            dead.append(pid)
            with suppress(OSError):  # another scrape buries it, too, or it is not ours to take away
                mark_process_dead(pid, directory)  # type: ignore[no-untyped-call] # it has no types
    return dead


def _live_pid(path: str) -> int | None:
    match = _LIVE_FILE.fullmatch(os.path.basename(path))
    return int(match[1]) if match else None


def shared_registry(directory: str) -> CollectorRegistry:
    """A registry that shows what the processes of ``directory`` have counted.

    Raises:
        ValueError: there is no such directory.
    """
    if not os.path.isdir(directory):
        raise ValueError(f"metrics directory {directory!r}: there is no such directory")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SharedCollector(directory))
    return registry


def serve_directory(directory: str, port: int, addr: str) -> tuple[Any, Any]:
    """Serve ``directory`` at ``http://addr:port/metrics`` and return the server and its thread."""
    return start_http_server(port, addr, shared_registry(directory))


def _is_writer(pid: int, path: str) -> bool:
    """Whether process ``pid`` runs, and is the one that wrote ``path``: a pid may have been given anew."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it runs, as somebody else
    born = _born(pid)
    try:
        return born is None or os.stat(path).st_mtime >= born - _SLACK
    except FileNotFoundError:
        return True  # somebody else has buried it meanwhile


def _born(pid: int) -> float | None:
    """Unix time at which ``pid`` began, ``None`` where the system does not tell; a zombie has yet to begin."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(rest[18])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return math.inf if state in "ZX" else time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")
