"""Real processes at one record: one wins, nothing is lost, and who dies within a verb has done it or not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.private import HostStore, OpenState, Store, StoreUnavailable, open_store
from tests.support.servers import KINDS, Server
from tests.support.shell import patient

from .conftest import LONG

PROCESSES, ROUNDS = 4, 25
OPENING = OpenState(0.0, 1, 0.0, "502", 502)
Deed = Callable[[Store, str], object]
_T = TypeVar("_T")
_fork = multiprocessing.get_context("fork")


@pytest.fixture(params=["host", *KINDS])
def shared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("COLONY_POOL_STATE_DIR", str(tmp_path / "state"))
    if request.param == "host":
        yield "host"
        return
    server = Server(request.param, tmp_path)
    yield server.url
    server.kill()


def insist(verb: Callable[[], _T]) -> _T:
    """Until the store answers: on a machine that is busy it may not, and that is another promise's matter."""
    while True:
        try:
            return verb()
        except StoreUnavailable:
            pass


def race(shared: str, deed: Deed) -> list[list[object]]:
    """Do it in all processes at the same moment, each round on a record of its own; what came of it, by rounds."""

    def child(number: int, start: Barrier, said: Connection) -> None:
        for n in range(ROUNDS):
            store = open_store(shared, f"https://api.example/{n}")
            assert store is not None
            start.wait()
            said.send(deed(store, f"owner {number}"))
            store.close()

    start, pipes = _fork.Barrier(PROCESSES), [_fork.Pipe(duplex=False) for _ in range(PROCESSES)]
    processes = [_fork.Process(target=child, args=(n, start, pipes[n][1])) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    results = [[ours.recv() for ours, _ in pipes] for _ in range(ROUNDS)]
    for process in processes:
        process.join()
    return results


def test_one_process_gets_the_lease(shared: str) -> None:
    """G1: all open and claim at once, where there was not even a record."""

    def deed(store: Store, owner: str) -> object:
        insist(lambda: store.open(owner, 0, OPENING))
        return insist(lambda: store.claim_probe(owner, LONG))[0]

    for round_ in race(shared, deed):
        assert 1 == sum(fence is not None for fence in round_), round_


def test_one_process_gets_the_key(shared: str) -> None:
    """G16."""

    def deed(store: Store, owner: str) -> object:
        return insist(lambda: store.claim_key(owner, "k", LONG)).mine

    for round_ in race(shared, deed):
        assert 1 == sum(map(bool, round_)), round_


def test_no_process_undoes_what_another_does(shared: str) -> None:
    def deed(store: Store, owner: str) -> object:
        for n in range(5):
            insist(lambda n=n: store.join(f"{owner}.{n}", LONG))  # type: ignore[misc]
        return True

    race(shared, deed)
    for n in range(ROUNDS):
        store = open_store(shared, f"https://api.example/{n}")
        assert store is not None
        assert PROCESSES * 5 == insist(store.look).members
        store.close()


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Process id of somebody who stands in the middle of a verb."""
    monkeypatch.setenv("COLONY_POOL_STATE_DIR", str(tmp_path / "state"))

    def child(said: Connection) -> None:
        with HostStore("u")._writing() as transaction:
            transaction.endpoint.hold_until, transaction.endpoint.hold_cause = transaction.now + LONG, "half done"
            said.send("within")
            signal.pause()

    ours, theirs = _fork.Pipe(duplex=False)
    process = _fork.Process(target=child, args=(theirs,))
    process.start()
    assert "within" == ours.recv()
    assert process.pid is not None
    yield process.pid
    process.kill()
    process.join()


def test_a_process_killed_within_a_verb_has_done_nothing(writer: int) -> None:
    store = HostStore("u")
    os.kill(writer, signal.SIGKILL)
    assert 1 == insist(lambda: store.join("a", LONG)).members
    assert 0.0 == store.look().hold_for
    store.close()


def test_a_process_stopped_within_a_verb_is_not_waited_for(writer: int) -> None:
    """They read on, they are told at once that they cannot write, and all goes on when it does."""
    store = HostStore("u")
    os.kill(writer, signal.SIGSTOP)
    assert 0.0 == store.look().hold_for
    with pytest.raises(StoreUnavailable, match="locked"):
        store.join("a", LONG)
    os.kill(writer, signal.SIGKILL)
    assert 1 == insist(lambda: store.join("a", LONG)).members
    store.close()


def test_a_corrupt_file_is_put_aside_once_by_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All find it at the same moment; the record that they then agree on is one."""
    monkeypatch.setenv("COLONY_POOL_STATE_DIR", str(tmp_path / "state"))
    for n in range(ROUNDS):
        store = HostStore(f"https://api.example/{n}")
        store.look()
        store.close()
        assert store._path is not None
        store._path.write_bytes(b"no database at all " * 500)

    def deed(store: Store, owner: str) -> object:
        return insist(lambda: store.claim_key(owner, "k", LONG)).mine

    for round_ in race("host", deed):
        assert 1 == sum(map(bool, round_)), round_


def under_gevent(module: str, shared: str, tmp_path: Path) -> str:
    """What a process that gevent has patched says."""
    command = [sys.executable, "-m", f"tests.support.programs.{module}", shared]
    env = patient(dict(os.environ), tmp_path)
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=100)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_greenlets_and_threads_may_share_a_store(shared: str, tmp_path: Path) -> None:
    """In a process that gevent has patched its own locks would wait for ever where these meet."""
    assert "40\n" == under_gevent("gevent_threads", shared, tmp_path)


def test_threads_that_end_under_gevent_leave_no_descriptor(shared: str, tmp_path: Path) -> None:
    """Each has a hub of its own, and in an hour's outage there are a thousand of them."""
    assert "0\n" == under_gevent("gevent_descriptors", shared, tmp_path)
