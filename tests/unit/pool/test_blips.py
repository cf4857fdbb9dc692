"""Blips, forgiveness and the exact count of attempts, through the public API in virtual time."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from colony_pool import ColonyAPIError, ColonyPool, ColonyServerError, RetryConfig
from colony_pool.testing import SimRuntime
from tests.support.private import CancelToken, RawResponse
from tests.support.virtual import VirtualTransport

LONG = 500.0


class Endpoint(VirtualTransport):
    """Answers 502 when ``bad(now)`` says so, and by bad luck."""

    def __init__(self, sim: SimRuntime, latency: float = 0.003) -> None:
        super().__init__()
        self._sim, self._latency = sim, latency
        self.bad: Callable[[float], bool] = lambda now: False
        self.loss = 0.0
        self.status = 502
        self.starts: defaultdict[str, list[float]] = defaultdict(list)

    def token(self, fields: dict[str, str], total: float, cancel: CancelToken) -> RawResponse:
        now = self._sim.monotonic()
        self.starts[fields["api_key"]].append(now)
        bad = self.bad(now) or self._sim.random() < self.loss
        self._sim.sleep(self._latency)
        if bad:
            return RawResponse(self.status, {}, b"")
        return RawResponse(200, {}, json.dumps({"access_token": "a-token", "expires_in": 86_400}).encode())

    def most_within_a_second(self) -> int:
        """Attempts of one key."""
        return max(
            sum(at <= other < at + 1.0 for other in starts) for starts in self.starts.values() for at in starts
        )


class World:
    """One pool, and what its callers got: seconds, or the class of an error."""

    def __init__(self, seed: int = 0, latency: float = 0.003, **options: Any) -> None:
        self.sim = SimRuntime(seed=seed)
        self.endpoint = Endpoint(self.sim, latency)
        self.pool = ColonyPool(
            "https://x.example/api/v1", runtime=self.sim, transport=self.endpoint, token_cache=None,
            registry=None, **options,
        )  # fmt: skip
        self.got: list[float | str] = []

    def ask(self, key: str, after: float = 0.0) -> None:
        got = self.got

        def call() -> None:
            self.sim.sleep(after)
            since = self.sim.monotonic()
            try:
                self.pool.agent(key).token()
                got.append(self.sim.monotonic() - since)
            except ColonyAPIError as error:
                got.append(type(error).__name__)

        self.sim.task(call)

    def passes(self, seconds: float) -> None:
        self.sim.run(until=self.sim.monotonic() + seconds)

    def ends(self) -> None:
        self.pool.close()
        self.passes(10.0)


def _cold(world: World) -> None: ...


def _warm(world: World) -> None:
    world.ask("col_before")
    world.passes(0.5)


def _lossy(world: World) -> None:
    world.endpoint.loss = 0.3
    for i in range(360):
        world.ask(f"col_before_{i}", 10.0 * i)
    world.passes(3599.0)
    world.endpoint.loss = 0.0
    world.ask("col_before_last")
    world.passes(1.0)


def _outage(world: World) -> None:
    world.endpoint.bad = lambda now: now < 60.0
    for i in range(5):
        world.ask(f"col_before_{i}")
    world.passes(100.0)
    world.ask("col_before_last")
    world.passes(0.5)


@pytest.mark.parametrize("before", [_cold, _warm, _lossy, _outage])
@pytest.mark.parametrize("callers", [1, 2, 3, 5, 10])
def test_g8_a_blip_costs_seconds_whatever_happened_before(before: Callable[[World], None], callers: int) -> None:
    """The schedule is 2, 6, 14 s from the first failure; a few callers wait no longer than one alone by much."""
    longest = {1.0: 2.0, 2.0: 2.0, 4.0: 6.0, 5.0: 6.0, 10.0: 14.0}
    for blip, alone in longest.items():
        world = World(seed=callers)
        before(world)
        since = world.sim.monotonic()
        world.endpoint.bad = lambda now, since=since, blip=blip: now < since + blip - 0.05  # type: ignore[misc]
        world.got = []
        for i in range(callers):
            world.ask(f"col_in_it_{i}")
        world.passes(LONG)
        waits = [wait for wait in world.got if isinstance(wait, float)]
        assert callers == len(waits), world.got
        assert max(waits) <= alone + (0.1 if callers == 1 else 3.5 if blip >= 5.0 else 1.5), (blip, waits)
        assert world.endpoint.most_within_a_second() <= 3
        world.ends()


@pytest.mark.parametrize("seed", range(40))
def test_g8_in_a_blip_of_four_seconds_nobody_waits_for_more_than_seven_and_a_half(seed: int) -> None:
    for callers in range(1, 11):
        world = World(seed=seed)
        _warm(world)
        since = world.sim.monotonic()
        world.endpoint.bad = lambda now, since=since: now < since + 3.95  # type: ignore[misc]
        world.got = []
        for i in range(callers):
            world.ask(f"col_in_it_{i}")
        world.passes(LONG)
        assert max(wait if isinstance(wait, float) else LONG for wait in world.got) <= (6.1 if callers == 1 else 7.5)
        world.ends()


@pytest.mark.parametrize(
    ("agents", "outage", "loss"), [(3, 45.0, 0.2), (4, 60.0, 0.2), (4, 60.0, 0.4), (6, 60.0, 0.2)]
)
def test_g8_g12_failures_of_an_outage_do_not_count_after_it(agents: int, outage: float, loss: float) -> None:
    """A balancer comes back with some of its servers still broken: nobody is lost for failures that are forgiven."""
    for seed in range(40):
        world = World(seed=seed, latency=0.02)
        recovered: list[float] = []

        def bad(now: float, recovered: list[float] = recovered, world: World = world) -> bool:
            if now >= outage and not recovered:
                recovered.append(now)
                return False
            return now < outage or world.sim.random() < loss

        world.endpoint.bad = bad
        for i in range(agents):
            world.ask(f"col_{i}", 0.5 * i)
        world.passes(outage + 200.0)
        assert agents == sum(isinstance(wait, float) for wait in world.got), world.got
        world.ends()


@pytest.mark.parametrize("agents", [2, 5, 10])
def test_g8_one_failure_after_an_outage_is_the_first_of_its_key(agents: int) -> None:
    world = World(seed=1, latency=0.02, max_wait=3600.0)
    seen: set[str] = set()
    ends: list[float] = []
    token = world.endpoint.token

    def again(fields: dict[str, str], total: float, cancel: CancelToken) -> RawResponse:
        now, key = world.sim.monotonic(), fields["api_key"]
        world.endpoint.status = 502
        world.endpoint.bad = lambda now: now < 600.0
        if now >= 600.0 and ends and key not in seen:
            seen.add(key)
            world.endpoint.bad = lambda now: True
        elif now >= 600.0 and not ends:
            ends.append(now)
        return token(fields, total, cancel)

    world.endpoint.token = again  # type: ignore[method-assign]
    for i in range(agents):
        world.ask(f"col_{i}")
    world.passes(1200.0)
    waits = [wait for wait in world.got if isinstance(wait, float)]
    assert agents == len(waits)
    assert max(waits) - ends[0] < 2.0
    world.ends()


@pytest.mark.parametrize("retries", [0, 1, 2, 6, 13, 17, 30, 200])
@pytest.mark.parametrize("schedule", [(0.0, 0.0), (0.0, 1.0), (0.0001, 0.0001), (0.02, 0.6), (1.0, 1.0), (2.0, 60.0)])
@pytest.mark.parametrize("jitter", [0.0, 1.0])
@pytest.mark.parametrize("warm", [False, True])
def test_g9_a_lone_agent_makes_as_many_attempts_as_its_schedule_has(
    retries: int, schedule: tuple[float, float], jitter: float, warm: bool
) -> None:
    """Exactly ``max_retries`` + 1, on time, though the window shrinks, the budget ends and the breaker opens."""
    retry = RetryConfig(
        max_retries=retries, base_delay=schedule[0], max_delay=schedule[1], jitter=jitter, retry_on=frozenset({502})
    )
    world = World(auth_token_retry=retry)
    if warm:
        world.ask("col_lone")
        world.passes(0.5)
        world.pool.agent("col_lone").invalidate()
        world.endpoint.starts.clear()
    world.endpoint.bad = lambda now: True
    world.ask("col_lone")
    world.passes(20_000.0)
    starts = world.endpoint.starts["col_lone"]
    assert retries + 1 == len(starts)
    assert world.got[-1] in ("ColonyServerError", "CircuitOpenError")
    if jitter == 0.0:
        gaps = [later - earlier - 0.003 for earlier, later in itertools.pairwise(starts)]
        assert [retry.delay(n + 1) for n in range(retries)] == pytest.approx(gaps, abs=1e-3)
    world.ends()


def test_g9_g10_the_breaker_of_a_lone_agent_opens_and_a_status_that_is_not_retried_ends_its_call() -> None:
    world = World(auth_token_retry=RetryConfig(max_retries=30, base_delay=0.02, max_delay=0.6))
    world.endpoint.bad = lambda now: True
    world.ask("col_lone")
    world.passes(14.0)
    assert "open" in world.pool.breaker.current_state.replace("half-open", "open")
    world.passes(LONG)
    assert 31 == len(world.endpoint.starts["col_lone"])
    world.ends()
    world = World(auth_token_retry=RetryConfig(max_retries=30, base_delay=0.02, retry_on=frozenset({503})))
    world.endpoint.bad = lambda now: True
    world.ask("col_lone")
    world.passes(LONG)
    assert (1, [ColonyServerError.__name__]) == (len(world.endpoint.starts["col_lone"]), world.got)
    world.ends()


@pytest.mark.parametrize("loss", [0.1, 0.3, 0.6])
def test_g8_at_most_three_attempts_of_one_key_within_a_second(loss: float) -> None:
    world = World(seed=3)
    world.endpoint.loss = loss
    world.endpoint.bad = lambda now: 20.0 <= now < 23.0
    for i in range(600):
        world.ask(f"col_{i}", 0.06 * i)
    world.passes(LONG)
    assert 600 == sum(isinstance(wait, float) for wait in world.got)
    assert world.endpoint.most_within_a_second() <= 3
    world.ends()
