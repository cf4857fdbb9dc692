"""What the headers say is left of the rate limit bounds the attempts that are out (G13)."""

from __future__ import annotations

import math

import pytest

from tests.support.private import Remaining, classify


def test_g13_while_nothing_is_known_nothing_is_bounded() -> None:
    assert [math.inf, math.inf] == [Remaining().at(0.0), Remaining().at(-1e9)]


def test_g13_what_is_left_counts_until_the_server_counts_anew() -> None:
    quota = Remaining()
    quota.update(3, 10.0, 5.0)
    assert [3.0, 3.0, math.inf] == [quota.at(5.0), quota.at(14.9), quota.at(15.0)]


def test_g13_of_answers_in_any_order_the_least_counts() -> None:
    quota = Remaining()
    for left in (3, 1, 2):
        quota.update(left, 10.0, 5.0)
    assert quota.at(5.0) == 1.0
    quota.update(9, 10.0, 15.0)
    assert quota.at(15.0) == 9.0, "a new count"


def test_g13_it_is_short_from_when_it_says_so_until_all_have_been_served() -> None:
    quota = Remaining()
    assert not quota.is_insufficient(1000, 0.0)
    quota.update(3, 10.0, 5.0)
    assert [False, True] == [quota.is_insufficient(wanted, 5.0) for wanted in (3, 4)]
    assert quota.is_insufficient(0, 100.0), "what is left then is not known"
    quota.reset()
    assert not quota.is_insufficient(1000, 100.0)
    quota.mark_exhausted()
    assert quota.is_insufficient(0, 100.0)


@pytest.mark.parametrize(
    ("remaining", "reset", "left"), [("3", "10", (3, 10.0)), ("0", "10", None), ("3", "", None), ("3", "0", None)]
)
@pytest.mark.parametrize("status", [200, 401, 502])
def test_g13_an_answer_says_what_is_left_if_it_says_for_how_long(
    status: int, remaining: str, reset: str, left: tuple[int, float] | None
) -> None:
    headers = {"x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset}
    assert left == classify(status, headers, b'{"access_token": "t", "error": "no"}', 0.0).remaining
