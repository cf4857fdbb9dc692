"""What the endpoint has done, and whether failures in a row are bad luck (G8, G10)."""

from __future__ import annotations

import math

import pytest

from tests.support.private import EndpointHistory, LossHistory


@pytest.mark.parametrize("known_good", [False, True])
def test_an_address_is_known_good_if_somebody_says_so_or_once_it_has_given_a_token(known_good: bool) -> None:
    assert EndpointHistory().known_good is False
    history = EndpointHistory(known_good=known_good)
    assert (known_good, -math.inf, "") == (history.known_good, history.granted_at, history.last_failure)
    history.granted(5.0)
    assert (True, 5.0) == (history.known_good, history.granted_at)


def test_another_processes_token_makes_an_address_known_good_too() -> None:
    history = EndpointHistory()
    history.token_found()
    assert (True, -math.inf) == (history.known_good, history.granted_at)


def test_the_last_failure_is_known_until_the_api_has_answered() -> None:
    history = EndpointHistory()
    history.failed("HTTP 502")
    assert history.last_failure == "HTTP 502"
    history.answered()
    assert history.last_failure == ""


def test_g8_a_closing_and_a_success_that_ends_a_short_outage_each_begin_a_life() -> None:
    losses = LossHistory()
    lives = [losses.schedule_epoch]
    losses.restart()
    lives.append(losses.schedule_epoch)
    for key in range(1, 9):
        losses.failed(key)
    assert losses.succeeded(9, 1.0)
    lives.append(losses.schedule_epoch)
    assert not losses.succeeded(9, 2.0)
    lives.append(losses.schedule_epoch)
    assert [1, 2, 3, 3] == lives


def test_g8_a_success_after_failures_that_luck_explains_ends_no_outage() -> None:
    losses = LossHistory()
    losses.failed(1)
    losses.failed(2)
    assert not losses.succeeded(3, 1.0)
    assert losses.schedule_epoch == 1


def test_g8_how_often_an_attempt_fails_by_bad_luck_is_what_was_lost_before_the_last_success_and_a_little_more() -> (
    None
):
    losses = LossHistory()
    assert losses.likely == 1 / 16
    losses.failed(1)
    assert losses.likely == 1 / 17, "a run of failures does not excuse itself"
    losses.succeeded(2, 1.0)
    lost = 1 / 17 * 17 / 18
    assert losses.likely == pytest.approx(lost + math.sqrt(lost / 18) + 1 / 18)


@pytest.mark.parametrize(("successes", "most"), [(0, 3), (100, 2)])
def test_g8_so_many_failures_in_a_row_are_excused_while_nothing_was_lost(successes: int, most: int) -> None:
    losses = LossHistory()
    for now in range(successes):
        losses.succeeded(1, float(now))
    assert [True] * most + [False] == [losses.excuses(fails) for fails in range(1, most + 2)]
