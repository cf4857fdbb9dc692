"""The link: nobody waits for a store longer than a moment, and no call of it stands in a task's way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

import pytest

from colony_pool import ColonyPool
from colony_pool.testing import FakeColony, SimRuntime
from tests.simulation.fleet.store import FaultyStore
from tests.support.private import (
    GeventRuntime,
    HostStore,
    LatencyBudget,
    MemoryStore,
    Runtime,
    SharedState,
    Store,
    StoreConnection,
    StoreHealth,
    StoreUnavailable,
    StoreWorker,
    ThreadRuntime,
    key_name,
    place,
    sqlite,
)
from tests.support.private import actions as act
from tests.support.private import health as health_module

NEVER = float("-inf")  # nobody has ever not waited


@pytest.fixture(params=["threads", "gevent"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    made: Runtime = ThreadRuntime() if request.param == "threads" else GeventRuntime()
    yield made
    made.close(1.0)


def test_calls_are_made_one_after_the_other_in_a_native_thread_and_answered(runtime: Runtime) -> None:
    here, seen = threading.get_ident(), []

    def verb(store: Store) -> int:
        seen.append(threading.get_ident())
        return len(seen)

    calls = StoreWorker(MemoryStore(), runtime, StoreHealth("p", runtime, LatencyBudget(runtime, lambda: NEVER)))
    begun = [calls.begin(verb) for _ in range(20)]
    for call in begun:
        assert call.done.wait(60.0)
    assert [[n] for n in range(1, 21)] == [call.answer for call in begun]
    assert here not in seen


def test_a_call_that_is_not_answered_in_time_is_given_up_and_one_behind_it_is_never_made(runtime: Runtime) -> None:
    go_on = threading.Event()
    made: list[int] = []
    health = StoreHealth("p", runtime, LatencyBudget(runtime, lambda: NEVER))
    calls = StoreWorker(MemoryStore(), runtime, health)
    stuck = calls.begin(lambda store: go_on.wait(60.0))
    behind = calls.begin(lambda store: made.append(1))
    with pytest.raises(StoreUnavailable):
        calls.wait(stuck)
    with pytest.raises(StoreUnavailable):
        calls.wait(behind)
    assert ("unavailable", {"slow": 1, "failed": 0}) == (health.state, health.failures)
    go_on.set()
    assert stuck.done.wait(60.0)
    assert [] == made
    assert "unavailable" == health.state, "an answer that came too late is none"


# -- in virtual time ----------------------------------------------------------------------------------------


def on_time(sim: SimRuntime, store: FaultyStore, pauses: list[float], *, idle: bool = False) -> list[str]:
    """Look after each pause, in somebody's way; say what came and how long it took.

    With ``idle`` there was a moment before each at which nobody waited.
    """
    health = StoreHealth("p", sim, LatencyBudget(sim, lambda: sim.monotonic() if idle else NEVER))
    calls = StoreWorker(store, sim, health)
    answers = []

    def run() -> None:
        for pause in pauses:
            sim.sleep(pause)
            start = sim.monotonic()
            try:
                came = type(calls.wait(calls.ask(lambda store: store.look()))).__name__
            except StoreUnavailable:
                came = "nothing"
            answers.append(f"{came} in {sim.monotonic() - start:.3f} s, {health.state}")

    sim.task(run)
    sim.run()
    return answers


def test_a_store_that_failed_is_asked_nothing_in_anybodys_way_until_a_poll_in_the_background_was_answered() -> None:
    sim = SimRuntime()
    store = FaultyStore(sim.monotonic, sim.sleep)
    store.failing.add("look")
    sim.call_later(1.5, store.failing.clear)
    assert [
        "nothing in 0.001 s, unavailable",
        "nothing in 0.000 s, unavailable",
        "nothing in 0.000 s, unavailable",
        "SharedState in 0.001 s, working",
    ] == on_time(sim, store, [0.0, 0.5, 2.0, 0.1])
    assert 3 == store.calls["look"]


def test_a_slow_store_costs_one_question_and_an_answer_that_is_late_makes_it_no_better() -> None:
    sim = SimRuntime()
    store = FaultyStore(sim.monotonic, sim.sleep, latency=5.0)
    answers = on_time(sim, store, [0.0, 0.1, *[6.0] * 20])
    assert "nothing in 0.100 s, unavailable" == answers[0]
    assert {"nothing in 0.000 s, unavailable"} == set(answers[1:])


def flapping(*, idle: bool) -> list[float]:
    """Seconds that each question costs, of a store that stands still for a while again and again."""
    sim = SimRuntime()
    store = FaultyStore(sim.monotonic, sim.sleep)

    def stand_still(seconds: float) -> None:
        store.latency = seconds
        sim.call_later(2.0, lambda: stand_still(0.001 if seconds > 0.001 else 5.0))

    sim.call_later(0.0, lambda: stand_still(5.0))
    health = StoreHealth("p", sim, LatencyBudget(sim, lambda: sim.monotonic() if idle else NEVER))
    calls = StoreWorker(store, sim, health)
    lost: list[float] = []

    def run() -> None:
        for _ in range(4000):
            sim.sleep(0.1)
            start = sim.monotonic()
            try:
                calls.wait(calls.ask(lambda store: store.look()))
            except StoreUnavailable:
                lost.append(sim.monotonic() - start)

    sim.task(run)
    sim.run(until=490.0)
    return [seconds for seconds in lost if seconds > 0.0]


def test_whoever_waits_on_loses_less_than_a_fifth_of_a_second_however_often_the_store_fails() -> None:
    lost = flapping(idle=False)
    assert len(lost) > 1
    assert sum(lost) <= 0.2


def test_whoever_comes_later_has_lost_nothing_yet() -> None:
    assert {0.1} == {round(seconds, 6) for seconds in flapping(idle=True)}


def test_when_a_store_fails_all_who_wait_for_it_are_told_at_once() -> None:
    sim = SimRuntime()
    store = FaultyStore(sim.monotonic, sim.sleep, latency=5.0)
    calls = StoreWorker(store, sim, StoreHealth("p", sim, LatencyBudget(sim, lambda: NEVER)))
    ended = []

    def run() -> None:
        with pytest.raises(StoreUnavailable):
            calls.wait(calls.ask(lambda store: store.look()))
        ended.append(round(sim.monotonic(), 6))

    for at in (0.0, 0.05, 0.1):
        sim.call_later(at, run)
    sim.run()
    assert [0.1] * 3 == ended


def test_the_pause_doubles_up_to_half_a_minute() -> None:
    sim = SimRuntime()
    store = FaultyStore(sim.monotonic, sim.sleep)
    store.failing.add("look")
    on_time(sim, store, [0.1] * 3000, idle=True)
    # 1, 2, 4, 8, 16, and then every 30 s, each up to a quarter less
    assert 14 <= store.calls["look"] <= 20


def test_a_bug_in_a_store_is_a_failure_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "colony_pool")
    sim = SimRuntime()
    store = FaultyStore(sim.monotonic, sim.sleep)
    store.look = lambda: SharedState(1 // 0)  # type: ignore[method-assign]
    assert ["nothing in 0.000 s, unavailable"] == on_time(sim, store, [0.0])
    (line,) = [record.getMessage() for record in caplog.records]
    assert "ZeroDivisionError" in line


def test_a_store_that_is_far_away_is_back_after_it_has_failed() -> None:
    """One answer is in time, two are not."""
    sim = SimRuntime()
    store = FaultyStore(sim.monotonic, sim.sleep, latency=0.06)
    store.failing = {"look", "join"}
    sim.call_later(1.5, store.failing.clear)
    health = StoreHealth("p", sim, LatencyBudget(sim, lambda: NEVER))
    connection, states = StoreConnection(store, "me", sim, health, claims=True), []

    def run() -> None:
        for _ in range(8):
            with suppress(StoreUnavailable):
                connection.worker.wait(connection.begin(act.PollStore(0, 0.0)))
            states.append(health.state)
            sim.sleep(1.0)

    sim.task(run)
    sim.run()
    assert ["unavailable", "working"] == [states[0], states[-1]]


def test_g26_a_store_that_is_too_slow_is_closed_with_the_client_all_the_same() -> None:
    """It has answered, and so there is a connection."""
    sim, closed = SimRuntime(), []
    store = FaultyStore(sim.monotonic, sim.sleep, latency=0.15)
    store.close = lambda: closed.append(sim.monotonic())  # type: ignore[method-assign]
    connection = StoreConnection(
        store, "me", sim, StoreHealth("p", sim, LatencyBudget(sim, lambda: NEVER)), claims=True
    )

    def run() -> None:
        with pytest.raises(StoreUnavailable):
            connection.worker.wait(connection.begin(act.PollStore(0, 0.0)))
        connection.close(for_good=True)

    sim.task(run)
    sim.run()
    assert [0.15] == closed


# -- through the front door -----------------------------------------------------------------------------------


def test_g16_pools_of_one_host_make_one_exchange_for_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((health_module, "PATIENCE"), (place, "BUSY"), (sqlite, "BUSY")):
        monkeypatch.setattr(module, name, 60.0)  # a busy machine is not what is tested
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with FakeColony() as colony:
        colony.latency(0.05)
        pools = [ColonyPool(colony.base_url, shared="host", registry=None, runtime="threads") for _ in range(4)]
        try:
            assert {"unknown"} == {pool.status().shared for pool in pools}
            tokens: list[str] = []
            tasks = [threading.Thread(target=lambda p=p: tokens.append(p.agent("col_one").token())) for p in pools]
            for task in tasks:
                task.start()
            for task in tasks:
                task.join()
            assert (4, 1) == (len(tokens), len(set(tokens)))
            assert 1 == len(colony.requests())
            assert "working" in {pool.status().shared for pool in pools}
        finally:
            for pool in pools:
                pool.close()


@pytest.mark.parametrize("no_cache", ["COLONY_SDK_NO_TOKEN_CACHE", None])
def test_who_would_find_nothing_on_disk_does_not_wait_for_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_cache: str | None
) -> None:
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLONY_POOL_STATE_DIR", str(tmp_path / "state"))
    if no_cache:
        monkeypatch.setenv(no_cache, "1")
    with FakeColony() as colony, closing(HostStore(colony.base_url)) as other:
        assert other.claim_key("other", key_name("col_one", colony.base_url), 1000.0).mine
        cache: Literal["disk"] | None = "disk" if no_cache else None
        with ColonyPool(colony.base_url, shared="host", registry=None, token_cache=cache) as pool:
            assert pool.agent("col_one").token(max_wait=0)


def test_a_pool_that_shares_nothing_says_so_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with FakeColony() as colony, ColonyPool(colony.base_url, registry=None, token_cache=None) as pool:
        pool.agent("col_one").token()
        assert "none" == pool.status().shared
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("shared", ["hots", "http://localhost", 7])
def test_shared_is_checked_when_the_pool_is_made(shared: object) -> None:
    with pytest.raises(ValueError, match="shared"):
        ColonyPool("http://127.0.0.1:9", registry=None, shared=shared)  # type: ignore[arg-type]
