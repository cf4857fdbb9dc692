"""Handles come and go: a pool keeps what is of use; and how long an API call waits for its token."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import colony_pool as cp
from colony_pool.testing import FakeColony, SimRuntime
from tests.support.private import agents_of

MANY = 2_000


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


def pool_on(colony: FakeColony, **options: Any) -> cp.ColonyPool:
    return cp.ColonyPool(colony.base_url, **{"token_cache": None, "registry": None, **options})


def crowd(pool: cp.ColonyPool) -> None:
    """Keys that are asked for once and never again, as a gateway's users send them."""
    for number in range(MANY):
        pool.agent(f"col_passing_{number}")
    gc.collect()


def test_handles_that_nobody_holds_are_forgotten(colony: FakeColony) -> None:
    with pool_on(colony) as pool:
        held = pool.agent("col_held")
        crowd(pool)
        assert pool.status().agents < MANY / 2
        assert pool.agent("col_held") is held


def test_g16_a_token_outlives_its_handle(colony: FakeColony) -> None:
    with pool_on(colony) as pool:
        jwt = pool.agent("col_a").token()
        crowd(pool)
        assert jwt == pool.agent("col_a").token()
        assert 1 == colony.count("/auth/token")


def test_a_handle_that_got_its_token_late_is_kept(colony: FakeColony) -> None:
    """It was of no use when the others were let go, and held by its caller alone."""
    with pool_on(colony) as pool:
        agent = pool.agent("col_a")
        crowd(pool)
        jwt = agent.token()
        del agent
        crowd(pool)
        assert jwt == pool.agent("col_a").token()
        assert 1 == colony.count("/auth/token")


def test_g14_a_refusal_outlives_its_handle(colony: FakeColony) -> None:
    with pool_on(colony) as pool:
        colony.behave("status", status=401, only="/auth/token")
        with pytest.raises(cp.ColonyAuthError):
            pool.agent("col_a").token()
        crowd(pool)
        with pytest.raises(cp.ColonyAuthError):
            pool.agent("col_a").token()
        assert 1 == colony.count("/auth/token")


def test_a_call_outlives_its_handle(colony: FakeColony) -> None:
    sim = SimRuntime(seed=1)
    with pool_on(colony, runtime=sim) as pool:
        colony.behave("status", status=502, only="/auth/token")
        call = sim.task(lambda: pool.agent("col_a").token())
        sim.run(until=sim.monotonic() + 5.0)
        crowd(pool)
        colony.behave("healthy")
        sim.run(until=sim.monotonic() + 60.0)
        assert call.result()


def test_forget_lets_go_of_a_key(colony: FakeColony, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path))
    with pool_on(colony, token_cache="disk") as pool:
        held = pool.agent("col_a")
        jwt = held.token()
        assert pool.forget("col_a")
        assert not pool.forget("col_a")
        assert not pool.forget("no key at all")
        assert 0 == pool.status().agents
        assert pool.agent("col_a") is not held
        assert jwt == held.token(), "its holder may go on"
    with pool_on(colony, token_cache="disk") as pool:
        assert jwt == pool.agent("col_a").token(), "its entry on disk stays"
    assert 1 == colony.count("/auth/token")


def test_g14_forget_forgets_a_refusal(colony: FakeColony) -> None:
    with pool_on(colony) as pool:
        colony.behave("status", status=401, only="/auth/token")
        for _ in range(2):
            with pytest.raises(cp.ColonyAuthError):
                pool.agent("col_a").token()
            pool.forget("col_a")
        assert 2 == colony.count("/auth/token")


def test_forget_on_asyncio(colony: FakeColony) -> None:
    async def main() -> None:
        async with cp.AsyncColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
            await pool.agent("col_a").token()
            assert pool.forget("col_a")
            assert not pool.forget("col_a")
            await pool.agent("col_a").token()

    asyncio.run(main())
    assert 2 == colony.count("/auth/token")


@pytest.mark.parametrize(
    ("options", "seconds"),
    [({}, 122.0), ({"max_wait": 10.0}, 10.0), ({"timeout": 20.0}, 20.0), ({"timeout": 20.0, "max_wait": 40.0}, 40.0)],
)
def test_g9_an_api_call_waits_for_its_token_as_long_as_it_says(
    colony: FakeColony, options: dict[str, float], seconds: float
) -> None:
    """Without ``max_wait``, ``timeout`` bounds it: a call of five seconds does not stand for two minutes."""
    sim = SimRuntime(seed=1)
    with pool_on(colony, runtime=sim) as pool:
        colony.behave("status", status=502, only="/auth/token")
        ends: list[float] = []
        began = sim.monotonic()

        def call() -> None:
            with pytest.raises(cp.ColonyServerError):
                pool.agent("col_a").get("/users/me", **options)  # type: ignore[arg-type] # floats, by name
            ends.append(sim.monotonic() - began)

        task = sim.task(call)
        sim.run(until=began + 300.0)
        task.result()
        assert ends[0] <= seconds * 1.02
        assert 0 == colony.count("/users/me")


def test_g9_an_api_call_that_may_not_wait_fails_at_once_while_the_breaker_is_open(colony: FakeColony) -> None:
    async def awaited() -> None:
        async with cp.AsyncColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
            pool.pool.breaker.open()
            with pytest.raises(cp.CircuitOpenError):
                await pool.agent("col_a").get("/users/me", max_wait=0)

    with pool_on(colony) as pool:
        pool.breaker.open()
        with pytest.raises(cp.CircuitOpenError):
            pool.agent("col_a").post("/posts", json={}, max_wait=0)
        with pytest.raises(ValueError, match="max_wait=-1"):
            pool.agent("col_a").get("/users/me", max_wait=-1)
    asyncio.run(awaited())
    assert 0 == colony.count("/auth/token")


def test_status_counts_each_token_by_its_age(colony: FakeColony) -> None:
    sim = SimRuntime(seed=1)
    with pool_on(colony, runtime=sim) as pool:
        agents = [pool.agent(f"col_{number}") for number in range(6)]
        tasks = [sim.task(agent.token) for agent in agents]
        sim.run(until=sim.monotonic() + 10.0)
        assert all(task.result() for task in tasks)
        tokens = pool.status().tokens
        assert (6, 0, 0) == (tokens.fresh, tokens.soft, tokens.expired)
        assert tokens.earliest_expiry is not None
        sim.run(until=sim.monotonic() + 0.9 * 86_400.0)
        tokens = pool.status().tokens
        assert (0, 6, 0) == (tokens.fresh, tokens.soft, tokens.expired)
        sim.step_wall(86_400.0)
        tokens = pool.status().tokens
        assert (0, 0, 6, None) == (tokens.fresh, tokens.soft, tokens.expired, tokens.earliest_expiry)


def test_a_handle_is_found_by_its_key_and_an_unknown_key_is_not_told(colony: FakeColony) -> None:
    with pool_on(colony) as pool:
        agent = pool.agent("col_a")
        assert (agents_of(pool)["col_a"], len(agents_of(pool))) == (agent, 1)
        with pytest.raises(KeyError) as caught:
            agents_of(pool)["col_secret"]
        assert "secret" not in str(caught.value)
