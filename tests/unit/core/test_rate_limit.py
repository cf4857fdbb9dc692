"""Holds by the server: how long, for whom, and what those hear who cannot wait for their end (G13)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colony_pool.config import PolicyConfig, RetryConfig
from tests.support.desk import COUNTING, DOWN_502, FOREVER, GOOD, REFUSED, nothing_left
from tests.support.private import Account, Outcome, Waiter
from tests.support.told import Told, served


def words(waiter: Waiter) -> str:
    assert waiter.failure is not None
    return waiter.failure.message


def test_g13_who_cannot_wait_for_the_end_of_a_hold_is_told_of_it() -> None:
    desk = Told()
    desk.ask()
    desk.later(0.5, COUNTING)
    assert "rate limited for 30 s (HTTP 429 from the rate limit)" in words(desk.ask(patience=10.0))


def test_g13_a_key_that_is_held_longer_is_told_why() -> None:
    desk, culprit = Told(), Account()
    desk.ask(culprit)
    desk.later(0.5, REFUSED)
    culprit.denial = None
    desk.ask()
    desk.later(0.5, COUNTING)
    desk.at(33.0)
    assert "rate limited for 29 s (this key was refused just before)" in words(desk.ask(culprit, 10.0))


@pytest.mark.parametrize(("seconds", "factor"), [(59.5, 60.0), (60.0, 60.0), (60.5, 0.0)])
def test_g13_only_a_refusal_within_the_last_minute_is_blamed(seconds: float, factor: float) -> None:
    desk, culprit = Told(), Account()
    desk.ask(culprit)
    desk.later(0.5, REFUSED)
    refused_at = desk.now
    desk.at(refused_at + seconds)
    desk.ask()
    desk.answer(desk.out[0], COUNTING)
    assert max(0.0, culprit.cooldown_until - desk.now) == pytest.approx(factor)
    assert (desk.desk.denials._last is None) == (factor > 0.0)


def test_g13_the_key_that_is_throttled_itself_is_told_of_the_429() -> None:
    desk, culprit = Told(), Account(totp=True)
    culprit.cooldown_until = -1.0
    desk.desk.denials._last = (desk.now, culprit)
    waiter = desk.ask(culprit, 40.0)
    desk.later(0.5, COUNTING)
    assert words(waiter).startswith("/auth/token: HTTP 429")
    assert culprit.cooldown_until == desk.now + 60.0
    assert culprit not in desk.desk.waiters.flights


def test_g13_a_refused_key_in_the_queue_whose_callers_cannot_wait_leaves_nothing() -> None:
    desk, culprit = Told(maxsize=1), Account()
    desk.desk.denials._last = (desk.now, culprit)
    desk.ask()
    waiter = desk.ask(culprit, 40.0)
    desk.later(0.5, COUNTING)
    assert "this key was refused just before" not in words(waiter), "the hold of all is the first reason"
    assert nothing_left(desk)


def test_g13_a_shorter_hold_shortens_none() -> None:
    desk, _ = served()
    for _ in range(2):
        desk.ask(patience=FOREVER)
    desk.later(0.5, COUNTING)
    until = desk.desk.rate_limit.paused_until
    desk.later(0.5, Outcome("throttled", 429, retry_after=1.0))
    assert until == desk.desk.rate_limit.paused_until


NOW = Outcome("throttled", 429, retry_after=0.0)


def test_g13_a_hold_of_no_length_lasts_a_second_doubling_while_it_repeats() -> None:
    desk, holds = Told(), []
    for _ in range(9):
        waiter = desk.ask(patience=FOREVER)
        desk.answer(desk.out[0], NOW)
        holds.append(desk.desk.rate_limit.paused_until - desk.now)
        assert waiter.failure is None or waiter.failure.extra["retry_after"] == pytest.approx(holds[-1])
        desk.at(desk.desk.rate_limit.paused_until)
    assert holds == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0])


def test_g13_a_hold_of_no_length_is_a_second_again_once_a_request_was_served() -> None:
    desk = Told()
    steps = [(NOW, 1.0), (NOW, 2.0), (GOOD, None), (NOW, 1.0), (NOW, 2.0), (REFUSED, None), (NOW, 1.0)]
    for outcome, seconds in steps:
        desk.at(max(desk.now, desk.desk.rate_limit.paused_until) + 1.0)
        desk.ask(patience=FOREVER)
        desk.answer(desk.out[0], outcome)
        assert seconds is None or desk.desk.rate_limit.paused_until - desk.now == pytest.approx(seconds)


def test_g13_answers_to_attempts_of_before_a_hold_of_no_length_do_not_double_it() -> None:
    desk = Told()
    for state in ("open", "closed"):
        desk.force(state)
    desk.desk.limiter.limit = 8.0
    for _ in range(8):
        desk.ask(patience=FOREVER)
    for permit in list(desk.out):
        desk.at(desk.now + 0.1)
        desk.answer(permit, NOW)
    assert desk.desk.rate_limit.paused_until - desk.now <= 1.0


def test_g13_a_served_request_that_leaves_none_until_now_holds_nobody() -> None:
    desk = Told()
    desk.ask()
    desk.later(0.5, replace(GOOD, exhausted_for=0.0))
    assert desk.desk.rate_limit.paused_until < desk.now
    assert not [event for event in desk.hear() if type(event).__name__ == "HoldStarted"]


def test_g13_a_hold_that_begins_as_another_ends_is_a_new_one() -> None:
    desk = Told()
    desk.ask()
    desk.ask(patience=FOREVER)
    desk.later(0.5, COUNTING)
    desk.at(31.5)
    desk.hear()
    desk.answer(desk.out[0], COUNTING)
    assert "HoldStarted" in [type(event).__name__ for event in desk.hear()]


def test_g13_a_hold_ends_with_one_attempt_and_what_is_still_out_is_history() -> None:
    desk = Told()
    for state in ("open", "closed"):
        desk.force(state)
    desk.desk.limiter.limit = 8.0
    for _ in range(20):
        desk.ask(patience=FOREVER)
    before, generation = len(desk.started), desk.desk.breaker.generation
    desk.later(0.5, COUNTING)
    desk.at(desk.desk.rate_limit.paused_until)
    assert (8, 9) == (before, len(desk.started))
    assert generation + 1 == desk.desk.breaker.generation == desk.started[-1].generation
    desk.replayed()
    desk.answer(desk.started[1], DOWN_502)
    assert ([], 0) == (desk.replayed(), desk.desk.breaker.failures)


def test_g13_without_a_hold_the_first_attempt_is_of_the_first_generation() -> None:
    desk = Told()
    desk.ask()
    assert [0] == [permit.generation for permit in desk.out]


def test_g13_no_hold_is_believed_to_last_for_ever() -> None:
    desk = Told(policy=PolicyConfig(rate_limit_max=100.0))
    desk.ask()
    desk.later(0.5, Outcome("throttled", 429, retry_after=1e6))
    assert desk.desk.rate_limit.paused_until == desk.now + 100.0


def test_g13_a_429_that_says_nothing_holds_for_a_minute() -> None:
    desk = Told(policy=PolicyConfig(rate_limit_default=60.0))
    desk.ask()
    desk.later(0.5, Outcome("throttled", 429))
    assert desk.desk.rate_limit.paused_until == desk.now + 60.0


@pytest.mark.parametrize(("seconds", "stays"), [(60.0, True), (60.1, False)])
def test_g13_a_hold_is_slept_for_a_minute_at_most(seconds: float, stays: bool) -> None:
    desk = Told(retry=RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0, max_retry_after=60.0))
    desk.ask()
    waiter = desk.ask(patience=FOREVER)
    desk.later(0.5, Outcome("throttled", 429, retry_after=seconds))
    assert stays == (not waiter.done)
