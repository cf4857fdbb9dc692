"""The sidecar of many processes: serves what they have written, and buries those that have died.

A worker that is killed cannot say good-bye: its state would stay for ever. So before each scrape the gauges of
processes that no longer run are taken away; their counters stay, since they did happen.
"""

from __future__ import annotations

import glob
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from .._core.catalog import PREFIX

_LIVE_FILE = re.compile(r"gauge_live\w+_(\d+)\.db")
_SLACK = 2.0  # seconds by which a file may seem older than the process that made it


class SharedCollector:
    """All that the processes of ``directory`` have counted, of colony_pool and of everybody else who writes there."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._files: Any = MultiProcessCollector(None, directory)  # type: ignore[no-untyped-call] # it has no types

    def describe(self) -> list[Any]:
        """Nothing: ``register`` would otherwise run a scrape."""
        return []

    def collect(self) -> Iterator[Any]:
        """Bury the dead, then read the files."""
        reap(self._directory)
        for metric in self._files.collect():
            if metric.name.startswith(PREFIX) and metric.type == "gauge":
                metric.samples = [sample for sample in metric.samples if not math.isinf(sample.value)]
            yield metric


def reap(directory: str) -> list[int]:
    """Take away the live gauges of processes that have ended; return their pids."""
    dead = []
    for path in glob.glob(os.path.join(glob.escape(directory), "gauge_live*.db")):
        match = _LIVE_FILE.fullmatch(os.path.basename(path))
        if match and int(match[1]) not in dead and not _is_writer(int(match[1]), path):
            dead.append(int(match[1]))
            mark_process_dead(dead[-1], directory)  # type: ignore[no-untyped-call] # it has no types
    return dead


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
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, as somebody else
    born = _born(pid)
    try:
        return born is None or os.stat(path).st_mtime >= born - _SLACK
    except FileNotFoundError:
        return True  # somebody else has buried it meanwhile


def _born(pid: int) -> float | None:
    """Unix time at which ``pid`` began, ``None`` where the system does not tell."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")
