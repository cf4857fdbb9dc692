"""One Prometheus for all of these tests: it holds the virtual night, and scrapes a real pool over HTTP."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import colony_pool as cp
from colony_pool.testing import FakeColony
from tests.support.private import serve_directory

from .history import History, play
from .prom import Prometheus, until
from .tools import ROOT, need, run


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
        breaker=cp.BreakerConfig(fail_max=1, min_failure_time=0),
    ) as pool:  # fmt: skip
        pool.agent("col_first").token()
        colony.behave("status", status=502, only="/auth/token")
        with contextlib.suppress(cp.ColonyAPIError):
            pool.agent("col_second").token(max_wait=0.0)
        yield pool.start_metrics_server(0)


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the sidecar of three processes, of which one has its breaker open."""
    shared = tmp_path_factory.mktemp("shared")
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(shared)}
    with FakeColony() as colony, contextlib.ExitStack() as running:
        for state in ("closed", "open", "closed"):
            worker = running.enter_context(subprocess.Popen(
                [sys.executable, "-m", "tests.dashboards.worker", colony.base_url, state], env=env, cwd=ROOT,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            ))  # fmt: skip
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        server, thread = serve_directory(str(shared), 0, "127.0.0.1")
        yield server.server_port
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def tools() -> None:
    """Asked for first: without them nothing else need be made."""
    need("promtool")
    need("prometheus")


@pytest.fixture(scope="session")
def prometheus(
    tools: None, history: History, live: int, many: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A server with the night in its storage, that scrapes the live pool."""
    data: Path = tmp_path_factory.mktemp("prometheus")
    (data / "night.om").write_text(history.openmetrics())
    made = run(need("promtool"), "tsdb", "create-blocks-from", "openmetrics", data / "night.om", data / "tsdb")
    assert made.returncode == 0, made.stderr
    server = Prometheus(data, {"live": live, "many": many})
    try:
        until(
            lambda: ["up", "up"] == [target["health"] for target in server.ask("targets")["activeTargets"]], "scrapes"
        )
        yield server
    finally:
        server.close()
