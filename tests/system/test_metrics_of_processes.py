"""Metrics of many processes: real forks, a real gunicorn with gevent workers, real kills."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from colony_pool.testing import FakeColony
from tests.support.private import METRICS, PREFIX

WORKERS = 4


class Host:
    """Workers behind gunicorn, and the sidecar that serves their metrics."""

    def __init__(self, directory: Path, colony: FakeColony) -> None:
        self.directory = directory
        env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory), "COLONY_BASE_URL": colony.base_url}
        self.http = urllib3.PoolManager(retries=False)
        self._sidecar = _spawn(
            [sys.executable, "-m", "colony_pool", "metrics", "serve", "--dir", str(directory), "--port", "0"], env
        )
        self.metrics_url = _line(self._sidecar, "http://").split()[-1]
        bind = directory.parent / "app.sock"
        self._app = _spawn(
            [sys.executable, "-m", "gunicorn", "--preload", "-k", "gevent", "-w", str(WORKERS), "-b", f"unix:{bind}",
             "--graceful-timeout", "2", "tests.support.programs.metrics_app:app"], env,
        )  # fmt: skip
        self._bind = bind
        until(lambda: _listens(bind))

    def ask(self, path: str) -> tuple[int, str]:
        """``(pid of the worker, what it said)``, on a connection of its own."""
        pid, words = _over_unix(self._bind, path).split()
        return int(pid), words

    def spread(self, path: str, workers: int = WORKERS) -> set[int]:
        """Ask until every worker has answered; return their pids."""
        pids: set[int] = set()
        for number in range(2000):
            pids.add(self.ask(path.format(number))[0])
            if len(pids) >= workers:
                return pids
        raise AssertionError(f"only {pids} answer")

    def values(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        text = self.http.request("GET", self.metrics_url).data.decode()
        families = text_string_to_metric_families(text)
        return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}

    def value(self, name: str, **labels: str) -> float:
        return self.values().get((PREFIX + name, tuple(sorted({"pool": "app", **labels}.items()))), -1.0)

    def states(self) -> dict[str, float]:
        return {state: self.value("breaker_state", state=state) for state in ("closed", "open", "half_open")}

    def close(self) -> None:
        for process in (self._app, self._sidecar):
            process.terminate()
            process.communicate(timeout=20)
        self.http.clear()


def _spawn(command: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _line(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    raise AssertionError("it ended without a word")


def _listens(path: Path) -> bool:
    """Whether somebody accepts there: the file is there before that."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def _over_unix(path: Path, target: str) -> str:
    class Unix(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(30)
            self.sock.connect(str(path))

    with closing(Unix("localhost", timeout=30)) as connection:
        connection.request("GET", target, headers={"Connection": "close"})
        with connection.getresponse() as response:
            return response.read().decode()


def until(condition: Callable[[], Any], what: str = "a condition") -> None:
    for _ in range(1200):
        if condition():
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"{what} never came true")


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, colony: FakeColony) -> Iterator[Host]:
    directory = tmp_path / "metrics"
    directory.mkdir()
    running = Host(directory, colony)
    yield running
    running.close()


def test_gunicorn_workers_add_up_and_a_killed_one_leaves_nothing(host: Host, colony: FakeColony) -> None:
    pids = host.spread("/token/col_key_{}")
    until(
        lambda: host.states() == {"closed": 4.0, "open": 0.0, "half_open": 0.0},
        "all four are seen, the parent is not",
    )
    issued = colony.stats().tokens_issued
    until(lambda: host.value("attempts_total", outcome="ok") == issued, "every attempt is counted once")
    found = {name for name, _ in host.values()}
    for metric in METRICS:
        wanted = metric.full_name + ("_bucket" if metric.buckets else "")
        assert metric.lazy or wanted in found, metric.name

    assert host.spread("/open") == pids
    until(lambda: host.states() == {"closed": 0.0, "open": 4.0, "half_open": 0.0}, "all are open")
    assert host.value("breaker_next_probe_timestamp_seconds") > 1e9
    before = host.values()
    victim = min(pids)
    os.kill(victim, signal.SIGKILL)
    until(lambda: _is_gone(victim), "gunicorn buries it")
    until(lambda: host.states()["open"] == 3.0, "its state is gone with the next scrape")
    assert host.states()["closed"] == 0.0

    fresh = host.spread("/token/col_after_{}") - pids
    assert len(fresh) == 1
    until(lambda: sum(host.states().values()) == 4.0, "its successor is seen")
    after = host.values()
    for key, value in before.items():
        if key[0].startswith(PREFIX) and key[0].endswith(("_total", "_bucket", "_count", "_sum")):
            assert after[key] >= value, f"{key} went back"


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_fork_counts_once_and_says_nothing_of_its_parent(tmp_path: Path, colony: FakeColony) -> None:
    script = """
import os
from colony_pool import ColonyPool
from tests.support.private import shared_registry
from prometheus_client import generate_latest

pool = ColonyPool(token_cache=None, name="app")
for number in range(5):
    pool.agent(f"col_parent_{number}").token()
for child in range(3):
    pid = os.fork()
    if pid == 0:
        pool.agent("col_child").token()
        pool.close()
        os._exit(0)
    os.waitpid(pid, 0)
pool.close()
print(generate_latest(shared_registry(os.environ["PROMETHEUS_MULTIPROC_DIR"])).decode())
"""
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "COLONY_BASE_URL": colony.base_url}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, check=True, capture_output=True, text=True, timeout=60
    )
    assert 'colony_pool_attempts_total{outcome="ok",pool="app"} 8.0' in done.stdout
    assert "Inf" not in "".join(line for line in done.stdout.splitlines() if "_bucket" not in line)


def test_the_sidecar_refuses_a_directory_that_is_none(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "colony_pool",
        "metrics",
        "serve",
        "--dir",
        str(tmp_path / "none"),
        "--port",
        "0",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no such directory" in done.stderr


def test_several_workers_of_a_single_process_collector_are_warned_about(colony: FakeColony) -> None:
    script = """
import os
from colony_pool import ColonyPool
from prometheus_client import CollectorRegistry, generate_latest

registry = CollectorRegistry()
pool = ColonyPool(token_cache=None, registry=registry)
pid = os.fork()
generate_latest(registry)
generate_latest(registry)
os._exit(0) if pid == 0 else os.waitpid(pid, 0)
"""
    env = {**os.environ, "COLONY_BASE_URL": colony.base_url}
    env.pop("PROMETHEUS_MULTIPROC_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.count("one of several workers") == 1, "the child warns, once; the parent does not"
