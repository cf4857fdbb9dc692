"""Prometheus metrics of pools: the only importer of ``prometheus_client``.

``REGISTRY`` and ``CollectorRegistry`` are ``prometheus_client``'s own, for ``ColonyPool(registry=...)``. Everything
else here is for the other modules of this library.

Names, labels and meanings are those of the catalogue (``_metrics/catalog.py``). The label ``pool`` is the pool's
name. All series exist from the first scrape on. The token path touches no metric: each pool counts in plain numbers,
which an exporter reads.

* One process: a pull-time collector (``_collector.py``).
* ``PROMETHEUS_MULTIPROC_DIR`` set, for pre-fork servers: the same numbers, mirrored once a second and at every change
  of the breaker into the files that ``prometheus_client`` shares between processes (``_mirror.py``), and a sidecar
  that serves them and removes the files of processes that have ended (``_sidecar.py``).

Several pools of one name, in one process or in many, at a time or one after the other, are one: counters add up and
go on, gauges are the sum (or the earliest, or the latest, as the catalogue says) over those that live.
"""

from __future__ import annotations

import errno
import os
import weakref
from contextlib import suppress

from prometheus_client import REGISTRY, CollectorRegistry

from ._collector import Collector
from ._mirror import Mirror
from ._pools import Exporter, Source
from ._server import MetricsServer

__all__ = ["REGISTRY", "CollectorRegistry"]

# One exporter per registry: two that yield the same families would make the exposition invalid.
_exporters: weakref.WeakKeyDictionary[CollectorRegistry, Exporter] = weakref.WeakKeyDictionary()
# One mirror per process, whatever the registries: two would overwrite each other's numbers in the same files.
_mirrors: dict[str, Mirror] = {}


def watch(registry: CollectorRegistry, name: str, pool: Source, version: str) -> tuple[Exporter, str]:
    """Export ``pool`` as ``name`` from now on; return its exporter, and the name that it got there."""
    exporter = _mirror(version) if "PROMETHEUS_MULTIPROC_DIR" in os.environ else _collector(registry, version)
    return exporter, exporter.add(name, pool)


def _mirror(version: str) -> Exporter:
    mirror = _mirrors.get("the one")
    if mirror is None:
        made = Mirror(version)
        mirror = _mirrors.setdefault("the one", made)  # in one step: two threads may make their first pools at once
        if mirror is made:
            made.begin()
    return mirror


def _collector(registry: CollectorRegistry, version: str) -> Exporter:
    exporter = _exporters.get(registry)
    if exporter is None:
        made = Collector(version)
        exporter = _exporters.setdefault(registry, made)
        if exporter is made:
            registry.register(made)
    return exporter


def serve(port: int, addr: str, registry: CollectorRegistry) -> MetricsServer:
    """Serve ``registry`` at ``http://addr:port/metrics``.

    With ``PROMETHEUS_MULTIPROC_DIR``, what is served is what all processes of that directory have counted.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from ._sidecar import shared_registry

        registry = shared_registry(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    return MetricsServer(addr, port, registry)


class MetricsServers:
    """The servers of one pool: started one by one, closed together."""

    def __init__(self) -> None:
        self._servers: list[MetricsServer] = []

    def start(self, port: int, addr: str, registry: CollectorRegistry | None) -> int:
        """Serve ``registry`` and return the port. Raises ``RuntimeError`` without one."""
        if registry is None:
            raise RuntimeError("start_metrics_server: this pool was made with registry=None and has no metrics")
        try:
            server = serve(port, addr, registry)
        except OSError as error:
            words = f"start_metrics_server(port={port}, addr={addr!r}): {error.strerror}"
            if error.errno == errno.EADDRINUSE:
                words += "; processes that are to share a port have `colony-pool metrics serve`"
            raise OSError(error.errno, words) from None
        self._servers.append(server)
        return server.port

    def close(self, within: float) -> None:
        """End all of them, each thread within so many seconds."""
        for server in list(self._servers):
            server.end(within)
            with suppress(ValueError):  # another call has ended it, too
                self._servers.remove(server)

    def forget(self) -> None:
        """In a forked child: they are the parent's, and so is the port."""
        while self._servers:
            self._servers.pop().forget()
