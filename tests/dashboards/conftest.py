"""One Prometheus for all of these tests: it holds the virtual night, and scrapes a real pool over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import colony_pool as cp
from colony_pool.testing import FakeColony

from .history import History, play
from .prom import Prometheus, until
from .tools import need, run


@pytest.fixture(scope="session")
def history() -> History:
    """The night of 2026-05-21 on virtual time."""
    return play()


@pytest.fixture(scope="session")
def live() -> Iterator[int]:
    """The port of a real pool that has seen an outage over real sockets."""
    registry = CollectorRegistry()
    with FakeColony() as colony, cp.ColonyPool(
        colony.base_url, registry=registry, token_cache=None, name="live",
        breaker=cp.BreakerConfig(fail_max=1, quiet=0),
    ) as pool:  # fmt: skip
        pool.agent("col_first").token()
        colony.behave("status", status=502, only="/auth/token")
        with contextlib.suppress(cp.ColonyAPIError):
            pool.agent("col_second").token(max_wait=0.0)
        yield pool.start_metrics_server(0)


@pytest.fixture(scope="session")
def tools() -> None:
    """Asked for first: without them nothing else need be made."""
    need("promtool")
    need("prometheus")


@pytest.fixture(scope="session")
def prometheus(
    tools: None, history: History, live: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A server with the night in its storage, that scrapes the live pool."""
    data: Path = tmp_path_factory.mktemp("prometheus")
    (data / "night.om").write_text(history.openmetrics())
    made = run(need("promtool"), "tsdb", "create-blocks-from", "openmetrics", data / "night.om", data / "tsdb")
    assert made.returncode == 0, made.stderr
    server = Prometheus(data, live)
    try:
        until(lambda: any(target["health"] == "up" for target in server.ask("targets")["activeTargets"]), "a scrape")
        yield server
    finally:
        server.close()
