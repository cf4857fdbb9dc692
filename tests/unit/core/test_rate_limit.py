"""Holds by the server: how long, for whom, and what those hear who cannot wait for their end (G13)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colony_pool.config import PolicyConfig, RetryConfig
from tests.support.dispatcher_harness import COUNTING, DOWN_502, FOREVER, GOOD, REFUSED, nothing_left
from tests.support.private import Account, Outcome, RateLimit, Waiter
from tests.support.recording_harness import RecordingHarness, served


def words(waiter: Waiter) -> str:
    assert waiter.failure is not None
    return waiter.failure.message


def test_g13_who_cannot_wait_for_the_end_of_a_pause_is_told_of_it() -> None:
    harness = RecordingHarness()
    harness.ask()
    harness.later(0.5, COUNTING)
    assert "rate limited for 30 s (HTTP 429 from the rate limit)" in words(harness.ask(patience=10.0))


def test_g13_a_key_that_is_held_longer_is_told_why() -> None:
    harness, culprit = RecordingHarness(), Account()
    harness.ask(culprit)
    harness.later(0.5, REFUSED)
    culprit.denial = None
    harness.ask()
    harness.later(0.5, COUNTING)
    harness.at(33.0)
    assert "rate limited for 29 s (this key was refused just before)" in words(harness.ask(culprit, 10.0))


@pytest.mark.parametrize(("seconds", "factor"), [(59.5, 60.0), (60.0, 60.0), (60.5, 0.0)])
def test_g13_only_a_refusal_within_the_last_minute_is_blamed(seconds: float, factor: float) -> None:
    harness, culprit = RecordingHarness(), Account()
    harness.ask(culprit)
    harness.later(0.5, REFUSED)
    refused_at = harness.now
    harness.at(refused_at + seconds)
    harness.ask()
    harness.answer(harness.out[0], COUNTING)
    assert max(0.0, culprit.cooldown_until - harness.now) == pytest.approx(factor)
    assert (harness.dispatcher.denials._last is None) == (factor > 0.0)


def test_g13_the_key_that_is_throttled_itself_is_told_of_the_429() -> None:
    harness, culprit = RecordingHarness(), Account(totp=True)
    culprit.cooldown_until = -1.0
    harness.dispatcher.denials._last = (harness.now, culprit)
    waiter = harness.ask(culprit, 40.0)
    harness.later(0.5, COUNTING)
    assert words(waiter).startswith("/auth/token: HTTP 429")
    assert culprit.cooldown_until == harness.now + 60.0
    assert culprit not in harness.dispatcher.waiters.flights


def test_g13_a_refused_key_in_the_queue_whose_callers_cannot_wait_leaves_nothing() -> None:
    harness, culprit = RecordingHarness(maxsize=1), Account()
    harness.dispatcher.denials._last = (harness.now, culprit)
    harness.ask()
    waiter = harness.ask(culprit, 40.0)
    harness.later(0.5, COUNTING)
    assert "this key was refused just before" not in words(waiter), "the hold of all is the first reason"
    assert nothing_left(harness)


def test_g13_a_shorter_pause_shortens_none() -> None:
    harness, _ = served()
    for _ in range(2):
        harness.ask(patience=FOREVER)
    harness.later(0.5, COUNTING)
    until = harness.dispatcher.rate_limit.paused_until
    harness.later(0.5, Outcome("throttled", 429, retry_after=1.0))
    assert until == harness.dispatcher.rate_limit.paused_until


NOW = Outcome("throttled", 429, retry_after=0.0)


def test_g13_a_pause_of_no_length_lasts_a_second_doubling_while_it_repeats() -> None:
    harness, pauses = RecordingHarness(), []
    for _ in range(9):
        waiter = harness.ask(patience=FOREVER)
        harness.answer(harness.out[0], NOW)
        pauses.append(harness.dispatcher.rate_limit.paused_until - harness.now)
        assert waiter.failure is None or waiter.failure.extra["retry_after"] == pytest.approx(pauses[-1])
        harness.at(harness.dispatcher.rate_limit.paused_until)
    assert pauses == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0])


def test_g13_a_pause_of_no_length_is_a_second_again_once_a_request_was_served() -> None:
    harness = RecordingHarness()
    steps = [(NOW, 1.0), (NOW, 2.0), (GOOD, None), (NOW, 1.0), (NOW, 2.0), (REFUSED, None), (NOW, 1.0)]
    for outcome, seconds in steps:
        harness.at(max(harness.now, harness.dispatcher.rate_limit.paused_until) + 1.0)
        harness.ask(patience=FOREVER)
        harness.answer(harness.out[0], outcome)
        assert seconds is None or harness.dispatcher.rate_limit.paused_until - harness.now == pytest.approx(seconds)


def test_g13_answers_to_attempts_of_before_a_pause_of_no_length_do_not_double_it() -> None:
    harness = RecordingHarness()
    for state in ("open", "closed"):
        harness.force(state)
    harness.dispatcher.limiter.limit = 8.0
    for _ in range(8):
        harness.ask(patience=FOREVER)
    for permit in list(harness.out):
        harness.at(harness.now + 0.1)
        harness.answer(permit, NOW)
    assert harness.dispatcher.rate_limit.paused_until - harness.now <= 1.0


def test_g13_a_served_request_that_leaves_none_until_now_holds_nobody() -> None:
    harness = RecordingHarness()
    harness.ask()
    harness.later(0.5, replace(GOOD, exhausted_for=0.0))
    assert harness.dispatcher.rate_limit.paused_until < harness.now
    assert not [event for event in harness.hear() if type(event).__name__ == "HoldStarted"]


def test_g13_a_pause_that_begins_as_another_ends_is_a_new_one() -> None:
    harness = RecordingHarness()
    harness.ask()
    harness.ask(patience=FOREVER)
    harness.later(0.5, COUNTING)
    harness.at(31.5)
    harness.hear()
    harness.answer(harness.out[0], COUNTING)
    assert "HoldStarted" in [type(event).__name__ for event in harness.hear()]


def test_g13_a_pause_ends_with_one_attempt_and_what_is_still_out_is_history() -> None:
    harness = RecordingHarness()
    for state in ("open", "closed"):
        harness.force(state)
    harness.dispatcher.limiter.limit = 8.0
    for _ in range(20):
        harness.ask(patience=FOREVER)
    before, generation = len(harness.started), harness.dispatcher.breaker.generation
    harness.later(0.5, COUNTING)
    harness.at(harness.dispatcher.rate_limit.paused_until)
    assert (8, 9) == (before, len(harness.started))
    assert generation + 1 == harness.dispatcher.breaker.generation == harness.started[-1].generation
    harness.replayed()
    harness.answer(harness.started[1], DOWN_502)
    assert ([], 0) == (harness.replayed(), harness.dispatcher.breaker.failures)


def test_g13_without_a_pause_the_first_attempt_is_of_the_first_generation() -> None:
    harness = RecordingHarness()
    harness.ask()
    assert [0] == [permit.generation for permit in harness.out]


def test_g13_no_pause_is_believed_to_last_for_ever() -> None:
    harness = RecordingHarness(policy=PolicyConfig(rate_limit_max=100.0))
    harness.ask()
    harness.later(0.5, Outcome("throttled", 429, retry_after=1e6))
    assert harness.dispatcher.rate_limit.paused_until == harness.now + 100.0


def test_g13_a_429_that_says_nothing_holds_for_a_minute() -> None:
    harness = RecordingHarness(policy=PolicyConfig(rate_limit_default=60.0))
    harness.ask()
    harness.later(0.5, Outcome("throttled", 429))
    assert harness.dispatcher.rate_limit.paused_until == harness.now + 60.0


@pytest.mark.parametrize(("seconds", "stays"), [(60.0, True), (60.1, False)])
def test_g13_a_pause_is_slept_for_a_minute_at_most(seconds: float, stays: bool) -> None:
    harness = RecordingHarness(retry=RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0, max_retry_after=60.0))
    harness.ask()
    waiter = harness.ask(patience=FOREVER)
    harness.later(0.5, Outcome("throttled", 429, retry_after=seconds))
    assert stays == (not waiter.done)


# -- by itself -----------------------------------------------------------------------------------------------------


def limit() -> RateLimit:
    return RateLimit(PolicyConfig())


def test_g13_a_new_rate_limit_has_no_past() -> None:
    new = limit()
    assert ("", False, 0.0, 0.0) == (new.cause, new.is_paused(0.0), new.left(0.0), new.longest_left(0.0))
    assert not new.has_ended(0.0)
    assert not new.can_be_cleared(0.0, 0.0)


def test_g13_a_pause_that_ends_before_another_one_changes_nothing() -> None:
    paused = limit()
    assert paused.pause(60.0, "long", 0.0) == (60.0, True, True)
    assert paused.pause(10.0, "short", 20.0) == (40.0, False, False)
    assert ("long", 60.0) == (paused.cause, paused.paused_until)
    assert limit().pause(0.0, "none", 20.0) == (0.0, False, False)


@pytest.mark.parametrize(("seconds", "since"), [(30.5, 0.0), (31.0, 0.0), (31.5, 10.0)])
def test_g13_pauses_whose_ends_are_within_a_second_are_one_and_began_with_the_first(
    seconds: float, since: float
) -> None:
    paused = limit()
    paused.pause(40.0, "first", 0.0)
    assert paused.pause(seconds, "second", 10.0) == (seconds, False, True)
    assert (since, 10.0 + seconds) == (paused.paused_since, paused.paused_until)


def test_g13_a_pause_that_another_process_met_began_when_it_did() -> None:
    paused = limit()
    paused.pause(40.0, "theirs", 10.0, since=7.0)
    assert paused.paused_since == 7.0


def test_g13_a_429_that_asks_for_a_second_is_taken_at_its_word() -> None:
    paused = limit()
    assert [1.0, 1.0, 1.5] == [paused.seconds_for(asked, 0.0, 0.0) for asked in (1.0, 1.0, 1.5)]


def test_g13_a_429_that_says_now_to_an_attempt_that_began_as_the_last_pause_did_doubles_it() -> None:
    paused = limit()
    began = (5.0, 5.0, 4.9)
    assert [1.0, 2.0, 2.0] == [paused.seconds_for(0.0, started, 5.0) for started in began]


@pytest.mark.parametrize(("since", "newer"), [(4.9, False), (5.0, False), (5.1, True)])
def test_g13_a_pause_of_before_a_clearing_is_over(since: float, newer: bool) -> None:
    paused = limit()
    paused.clear(5.0, 5.0)
    assert newer == paused.is_newer_than_clear(since)


@pytest.mark.parametrize(("cleared_at", "can"), [(2.9, False), (3.0, False), (3.1, True), (5.0, True), (5.1, False)])
def test_g13_only_a_clearing_since_the_pause_began_ends_it(cleared_at: float, can: bool) -> None:
    paused = limit()
    paused.pause(30.0, "held", 3.0)
    assert can == paused.can_be_cleared(cleared_at, 5.0)


def test_g13_a_key_that_rests_can_be_cleared_without_a_pause_and_one_that_has_rested_is_left_alone() -> None:
    paused, early, late = limit(), Account(), Account()
    paused.cool_down(early, 10.0, 0.0)
    paused.cool_down(late, 20.0, 0.0)
    assert paused.can_be_cleared(5.0, 10.0)
    assert [late] == paused.clear(10.0, 10.0)
    assert (10.0, 10.0) == (early.cooldown_until, late.cooldown_until)
