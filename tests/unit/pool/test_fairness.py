"""What the disk cache tells of how long a key has been without a token, and who is served first for it (G8, G21)."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from colony_pool import ColonyRateLimitError
from tests.simulation.scenario import WALL, Scenario, Weather
from tests.simulation.stage import BASE_URL, HOUR, Stage, accounts
from tests.simulation.users import key_name
from tests.simulation.world import disk
from tests.support.private import TokenCache, directory, state_of

KEY = "col_a"


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenCache]:
    monkeypatch.delenv("COLONY_SDK_NO_TOKEN_CACHE", raising=False)
    with disk():
        yield TokenCache(BASE_URL)


def test_g21_an_entry_tells_how_long_ago_its_token_ended(cache: TokenCache) -> None:
    cache.save(KEY, "jwt", WALL)
    assert [0.0, 0.0, 7200.0] == [cache.seconds_since_expiry(KEY, WALL + seconds) for seconds in (-50.0, 0.0, 7200.0)]
    assert cache.load(KEY, WALL + 7200.0) is None, "it serves nobody any more"


@pytest.mark.parametrize(
    "content", [None, "", '{"v": 2, "token": "a", "expiry": 1}', '{"v": 1, "token": "a", "expiry": NaN}']
)
def test_g21_who_has_left_no_trace_has_been_without_for_ever(cache: TokenCache, content: str | None) -> None:
    if content is not None:
        cache.save(KEY, "jwt", WALL)
        next(Path(directory()).iterdir()).write_text(content)
    assert math.inf == cache.seconds_since_expiry(KEY, WALL)


def test_g21_a_cache_that_is_off_tells_nothing(cache: TokenCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.save(KEY, "jwt", WALL - 100.0)
    monkeypatch.setenv("COLONY_SDK_NO_TOKEN_CACHE", "1")
    assert 0.0 == cache.seconds_since_expiry(KEY, WALL)


def served(stage: Stage) -> list[int]:
    """All agents ask, one a millisecond after the other: who is served, in the order in which they are?"""
    tally = len(stage.tally.answers)

    def ask(number: int) -> None:
        with suppress(ColonyRateLimitError):
            stage.pool.agent(key_name(number)).token()

    for number in range(len(stage.scenario.keys)):
        stage.sim.call_later(0.001 * number, functools.partial(ask, number))
    stage.sim.run(until=stage.now + 1.0)
    return [key for _, key, status in stage.tally.answers[tally:] if status == 200]


def stage_of(agents: int, allowed: int, token_cache: str | None = "disk") -> Stage:
    scenario = Scenario(1, "hunger", accounts(agents), (), (Weather(0.0, "limit"),), (), 0.0, latency=0.1)
    stage = Stage(scenario, token_cache=token_cache)
    stage.server.limit(allowed, HOUR)
    return stage


def test_g8_g21_a_restart_does_not_cost_a_starved_key_its_turn(cache: TokenCache) -> None:
    """Three may be served, and the first is out before the others come. No trace counts as one whole life."""
    for number, hours in ((1, 1.0), (2, 23.0), (3, 25.0)):
        cache.save(key_name(number), "jwt", WALL - hours * HOUR)
    assert [0, 3, 4] == served(stage_of(5, 3))


@pytest.mark.usefixtures("cache")
def test_g8_without_a_cache_nobody_is_taken_for_starved() -> None:
    stage = stage_of(3, 2, token_cache=None)
    state_of(stage.pool.agent(key_name(2))).account._ended_at = -HOUR  # the others have just come
    assert [0, 2] == served(stage)


@pytest.mark.usefixtures("cache")
def test_g8_g13_within_one_process_nobody_is_served_twice_before_others_once(cache: TokenCache) -> None:
    """Two tokens an hour, gone before the next one: all ask each hour, always in the same order.

    Who asks first is out before anybody else has come; all others take turns.
    """
    stage = stage_of(6, 2)
    turns = []
    for hour in range(10):
        stage.sim.run(until=hour * HOUR + 1.0)
        turns += served(stage)
    assert [0] * 10 == turns[::2]
    assert [1, 2, 3, 4, 5] == sorted(turns[1:10:2]) == sorted(turns[11::2])
