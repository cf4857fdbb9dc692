"""Real processes behind one door, by a host's file or a Redis: one exchange, one probe, and a prober that dies or
stands still. Over Redis they have no disk in common, as on hosts of their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from colony_pool.testing import FakeColony
from tests.support.private import Store, open_store, redis
from tests.support.servers import Server, until
from tests.support.shell import environment, patient

Worker = subprocess.Popen[str]
Hire = Callable[[str], Worker]


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as colony:
        yield colony


@pytest.fixture(params=["host", "redis"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What the workers are told to share."""
    if request.param == "host":
        yield "host"
        return
    server = Server("redis", tmp_path)
    yield server.url
    server.kill()


@pytest.fixture
def store(tmp_path: Path, colony: FakeColony, shared: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The same, for the test to look into."""
    monkeypatch.setenv("COLONY_POOL_STATE_DIR", environment(tmp_path)["COLONY_POOL_STATE_DIR"])
    monkeypatch.setattr(redis, "TIMEOUT", 60.0)  # a busy machine is not what is tested
    store = open_store(shared, colony.base_url)
    assert store is not None
    yield store
    store.close()


@pytest.fixture
def hire(tmp_path: Path, colony: FakeColony, shared: str) -> Iterator[Hire]:
    """Start a worker for a key; all are ended in the end."""
    env = patient(environment(tmp_path), tmp_path)
    hired: list[Worker] = []

    def start(key: str) -> Worker:
        cache = tmp_path / ("cache" if shared == "host" else f"cache{len(hired)}")
        command = [sys.executable, "-m", "tests.support.programs.host_worker", colony.base_url, key, shared]
        worker = subprocess.Popen(
            command, env={**env, "COLONY_SDK_TOKEN_CACHE_DIR": str(cache)}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        hired.append(worker)
        return worker

    yield start
    for worker in hired:
        worker.kill()
        worker.communicate()


def send(worker: Worker, line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(f"{line}\n")
    worker.stdin.flush()


def hear(worker: Worker) -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline().strip()
    assert line, "the worker has died"
    return line


def probing(hire: Hire, colony: FakeColony, store: Store, count: int) -> tuple[Worker, list[Worker]]:
    """``count`` processes wait in an outage; the one that probes, without an answer, and the others."""
    workers = [hire(f"col_agent_{number}") for number in range(count)]
    assert {"ready"} == {hear(worker) for worker in workers}
    colony.behave("hang", only="/auth/token")
    send(workers[0], "open")
    until(lambda: store.look().opening is not None)
    for worker in workers:
        send(worker, "token")
    until(lambda: store.look().members == count)  # all of them are parked
    until(lambda: colony.stats().in_flight)
    prober = store.survey().prober
    assert prober is not None
    pid = int(prober.split("/")[-2])
    (one,) = [worker for worker in workers if worker.pid == pid]
    return one, [worker for worker in workers if worker is not one]


def test_g16_eight_processes_make_one_exchange_for_a_cold_key(hire: Hire, colony: FakeColony) -> None:
    colony.latency(0.3)
    workers = [hire("col_one") for _ in range(8)]
    assert {"ready"} == {hear(worker) for worker in workers}
    for worker in workers:
        send(worker, "token")
    assert 1 == len({hear(worker) for worker in workers})
    assert 1 == colony.count("/auth/token")


@pytest.mark.parametrize("shared", ["host"], indirect=True)
def test_g1_one_process_probes_for_all(hire: Hire, colony: FakeColony, store: Store) -> None:
    """An outage of several intervals: at no moment is there a second probe on the wire."""
    prober, others = probing(hire, colony, store, 4)
    colony.latency(0.1)
    colony.behave("status", status=502, only="/auth/token")
    until(lambda: colony.count("/auth/token", status=502) >= 3)
    assert 1 == colony.stats().max_in_flight
    colony.behave("healthy")
    assert 4 == len({hear(worker) for worker in [prober, *others]})


def test_g4_a_prober_that_is_killed_keeps_nobody_from_probing(hire: Hire, colony: FakeColony, store: Store) -> None:
    """Its lease ends, another process probes, and everybody is served: with one attempt each."""
    prober, others = probing(hire, colony, store, 4)
    os.kill(prober.pid, signal.SIGKILL)
    colony.behave("healthy")
    assert 3 == len({hear(worker) for worker in others})
    assert 3 == colony.count("/auth/token", status=200)
    assert None is store.look().opening


def test_g5_a_prober_that_stood_still_past_its_lease_changes_nothing(
    hire: Hire, colony: FakeColony, store: Store
) -> None:
    prober, others = probing(hire, colony, store, 3)
    os.kill(prober.pid, signal.SIGSTOP)
    colony.behave("healthy")
    assert 2 == len({hear(worker) for worker in others})
    closed = store.look()
    assert None is closed.opening
    os.kill(prober.pid, signal.SIGCONT)
    assert hear(prober)
    assert (closed.generation, None) == (store.look().generation, store.look().opening)
