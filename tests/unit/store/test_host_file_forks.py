"""Forked children of a process that has the file of its host open: SQLite counts locks by process."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.private import HostStore, lock, sqlite

from .conftest import LONG, URL, Make

_fork = multiprocessing.get_context("fork")


@pytest.fixture
def child(store: HostStore) -> Iterator[Any]:
    """The way to a forked child that uses the same store: it looks when it is told to, and says what it has seen."""

    def run(said: Any) -> None:
        while said.recv():
            said.send((store.look().hold_cause, store.join("child", LONG).members))

    ours, theirs = _fork.Pipe()
    process = _fork.Process(target=run, args=(theirs,))
    process.start()
    yield ours
    ours.send(False)
    process.join()


def test_a_forked_child_makes_a_connection_of_its_own(store: HostStore, child: Any) -> None:
    """G24."""
    child.send(True)
    assert ("429", 1) == child.recv()
    assert 2 == store.join("parent", LONG).members


def test_g24_a_forked_child_shares_the_record_on_when_its_parent_has_left_it(
    store: HostStore, child: Any, make: Make
) -> None:
    """The parent was the first at the file, and its leaving must not take the journal from under the child."""
    child.send(True)
    child.recv()
    store.close()
    make(URL).hold(2 * LONG, "more")
    child.send(True)
    assert ("more", 1) == child.recv()
    assert 2 == make(URL).join("other", LONG).members


def test_g24_a_fork_waits_for_the_verb_of_another_thread(store: HostStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the child would find the file locked as long as it lives."""
    inside, go_on = threading.Event(), threading.Event()

    def verb() -> None:
        with store._writing():
            inside.set()
            go_on.wait()

    def step(seconds: float) -> None:
        del seconds
        go_on.set()
        thread.join()

    thread = threading.Thread(target=verb)
    thread.start()
    inside.wait()
    monkeypatch.setattr(lock, "time", SimpleNamespace(monotonic=time.monotonic, sleep=step))
    process = _fork.Process(target=store.join, args=("child", LONG))
    process.start()
    process.join()
    assert 0 == process.exitcode
    assert 2 == store.join("parent", LONG).members


def test_g24_a_fork_is_not_kept_waiting_by_threads_that_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    shared, others = lock.SharedLock(0.0), []
    assert shared.take(0.0)

    def step(seconds: float) -> None:
        del seconds
        shared.release()
        others.append(shared.take(0.0))

    monkeypatch.setattr(lock, "time", SimpleNamespace(monotonic=time.monotonic, sleep=step))
    assert shared.take_first(60.0)
    assert [False] == others


def test_g24_a_verb_that_hangs_holds_no_fork_up(store: HostStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_VERB", 0.0)
    with store._lock:  # as if another thread were at it
        process = _fork.Process(target=store.join, args=("child", LONG))
        process.start()
        process.join()
    assert 0 == process.exitcode
    assert 2 == store.join("parent", LONG).members
