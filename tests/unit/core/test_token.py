"""A token and its ages, by either clock (G17, G18, G20)."""

from __future__ import annotations

import pytest

from colony_pool.config import PolicyConfig
from tests.support.dispatcher_harness import START
from tests.support.private import Instant, Token, issue

WALL = 1_000_000_000.0


def token(life: float = 1000.0, age: float = 0.0, spread: float = 0.5, now: float = 0.0) -> Token:
    return issue("j", life, age, spread, Instant(now, WALL + now), PolicyConfig())


def test_g17_the_ages_of_a_token_on_both_clocks() -> None:
    made = token(now=100.0)
    assert ("j", 60.0) == (made.jwt, made.margin)
    assert (800.0, 1040.0, 1100.0) == (made.refresh_at, made.mandatory_at, made.ends)
    assert made.ends_wall == WALL + 1100.0


@pytest.mark.parametrize(
    ("now", "age"),
    [(0.0, "fresh"), (699.9, "fresh"), (700.0, "soft"), (939.9, "soft"), (940.0, "margin"), (999.9, "margin"),
     (1000.0, "expired")],
)  # fmt: skip
def test_g17_g18_it_ages_at_its_points_and_not_before(now: float, age: str) -> None:
    made = token()
    assert age == made.age(Instant(now, WALL + now))
    assert (age in ("fresh", "soft")) == made.is_usable(Instant(now, WALL + now))
    assert (age != "expired") == made.is_valid(Instant(now, WALL + now))
    assert (age != "fresh") == made.is_refresh_due(Instant(now, WALL + now))


@pytest.mark.parametrize("seconds", [0.0, 699.9, 700.0, 939.9, 940.0, 999.9, 1000.0])
def test_g20_each_clock_alone_ages_it(seconds: float) -> None:
    made = token()
    assert (
        made.age(Instant(seconds, WALL))
        == made.age(Instant(0.0, WALL + seconds))
        == made.age(Instant(seconds, WALL + seconds))
    )


def test_g17_a_restart_leaves_the_soft_point_where_it_was() -> None:
    assert token(life=1000.0).refresh_at == token(life=700.0, age=300.0, now=300.0).refresh_at == 700.0


def test_g18_the_margin_is_a_minute_or_a_fifth_of_a_short_life() -> None:
    assert [10.0, 60.0, 60.0] == [token(life=life).margin for life in (50.0, 300.0, 86_400.0)]
    assert token(life=50.0, age=50.0).margin == 20.0, "a fifth of its whole life"


def test_g17_a_soft_point_is_never_later_than_the_margin() -> None:
    short = token(life=10.0, age=990.0)
    assert short.refresh_at == -290.0
    config = PolicyConfig(refresh_after=1.0, refresh_jitter=0.2)
    made = issue("j", 1000.0, 0.0, 0.5, START, config)
    assert made.refresh_at == made.mandatory_at == 940.0
