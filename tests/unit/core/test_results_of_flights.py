"""What a verdict does to its key and its flight: who rests, who is retried, and when (G6, G11, G12, G17)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colony_pool.config import AUTH_TOKEN_RETRY, BreakerConfig, PolicyConfig, RetryConfig
from tests.support.dispatcher_harness import (
    COUNTING,
    DOWN_502,
    FOREVER,
    GOOD,
    REFUSED,
    SILENCE,
    WALL,
    cancel,
    nothing_left,
)
from tests.support.private import LOCAL, UNAVAILABLE, Account, Instant, Outcome
from tests.support.private import actions as act
from tests.support.private import events as ev
from tests.support.recording_harness import QUICK, RecordingHarness, ended, served

BUSY_503 = Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=20.0)
JITTERY = RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0, retry_on=frozenset({502, 503, 504}), jitter=0.5)


@pytest.mark.parametrize(("rand", "rest"), [(0.0, 300.0), (0.5, 450.0)])
@pytest.mark.parametrize("outcome", [DOWN_502, REFUSED, COUNTING, SILENCE])
def test_g17_a_failed_refresh_rests_for_a_while(outcome: Outcome, rand: float, rest: float) -> None:
    harness, account = served()
    harness.at(60_000.0)
    harness.rand = lambda: rand
    harness.refresh(account)
    harness.later(0.5, outcome)
    assert account.refresh_not_before == harness.now + rest
    account.denial = None
    harness.at(account.refresh_not_before - 0.1)
    harness.refresh(account)
    assert harness.out == []
    harness.at(account.refresh_not_before)
    harness.refresh(account)
    assert [account] == [permit.account for permit in harness.out]


def test_g15_a_refresh_without_a_code_does_not_rest() -> None:
    harness, account = served(account=Account(totp=True))
    harness.at(60_000.0)
    harness.refresh(account)
    harness.later(0.5, Outcome(LOCAL, wait_for_totp=True))
    assert account.refresh_not_before == -float("inf")


def test_a_call_that_waits_rests_no_refresh() -> None:
    harness, account = RecordingHarness(), Account()
    harness.ask(account)
    harness.later(0.5, DOWN_502)
    assert account.refresh_not_before == -float("inf")


def test_g12_a_local_end_was_no_attempt() -> None:
    harness, account = RecordingHarness(), Account(totp=True)
    harness.feed(harness.dispatcher.force("open", Instant(1.0, WALL + 1.0)))
    harness.feed(harness.dispatcher.force("closed", Instant(1.0, WALL + 1.0)))
    harness.feed(harness.dispatcher.force("open", Instant(1.0, WALL + 1.0)))
    harness.feed(harness.dispatcher.force("closed", Instant(1.0, WALL + 1.0)))
    harness.ask(account, FOREVER)
    flight = harness.dispatcher.waiters.flights.get(account)
    assert flight is not None
    harness.later(0.5, Outcome(LOCAL, wait_for_totp=True))
    assert (0, True) == (flight.attempts, flight.last_generation < 0)
    balance = harness.dispatcher.retry_budget.balance(harness.now)
    harness.at(account.next_code_at)
    assert [False] == [permit.is_retry for permit in harness.out]
    assert balance < harness.dispatcher.retry_budget.balance(harness.now), "a first attempt"


def test_g12_a_retry_that_was_none_is_given_back() -> None:
    harness, account = RecordingHarness(), Account(totp=True)
    harness.ask(account, FOREVER)
    harness.later(0.5, DOWN_502)
    harness.at(3.5)
    balance = harness.dispatcher.retry_budget.balance(harness.now)
    assert [True] == [permit.is_retry for permit in harness.out]
    harness.later(0.5, Outcome(LOCAL, wait_for_totp=True))
    assert harness.dispatcher.retry_budget.balance(harness.now) == balance + 1.0
    harness.at(account.next_code_at)
    assert [True] == [permit.is_retry for permit in harness.out], "it is still one"


def test_a_failure_is_counted_on_its_key_and_its_flight() -> None:
    harness, account = RecordingHarness(), Account()
    account._failures = 3
    harness.ask(account, FOREVER)
    flight = harness.dispatcher.waiters.flights.get(account)
    assert flight is not None
    harness.later(0.5, DOWN_502)
    assert (4, 1, DOWN_502) == (account._failures, flight.failures, flight.last)
    harness.later(2.0, GOOD)
    assert (0, True) == (account._failures, account.has_succeeded)


@pytest.mark.parametrize(("wanted", "parked"), [(True, True), (False, False)])
def test_g11_a_network_error_is_retried_if_that_is_asked_for(wanted: bool, parked: bool) -> None:
    retry = RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0, retry_network_errors=wanted)
    harness = RecordingHarness(retry=retry)
    waiter = harness.ask()
    harness.later(0.5, SILENCE)
    assert parked == (not waiter.done)


@pytest.mark.parametrize(("status", "parked"), [(502, True), (503, False)])
def test_g11_what_is_retried_is_what_retry_on_says(status: int, parked: bool) -> None:
    retry = RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0, retry_on=frozenset({502}))
    harness = RecordingHarness(retry=retry)
    waiter = harness.ask()
    harness.later(0.5, Outcome(UNAVAILABLE, status, f"HTTP {status}"))
    assert parked == (not waiter.done)


def test_g9_without_retries_nobody_parks() -> None:
    harness = RecordingHarness(retry=RetryConfig(max_retries=0))
    waiter = harness.ask(patience=FOREVER)
    harness.later(0.5, DOWN_502)
    assert waiter.done


def test_g9_while_closed_whose_backoff_is_beyond_its_patience_leaves_though_others_wait() -> None:
    harness = RecordingHarness()
    hasty, other = harness.ask(patience=1.0), harness.ask(patience=FOREVER)
    harness.later(0.5, DOWN_502)
    assert (True, False) == (hasty.done, other.done)


def again(harness: RecordingHarness, outcome: Outcome, fails: int = 0) -> float:
    """How long a flight rests after this outcome."""
    account = Account()
    account._failures = fails
    harness.ask(account, FOREVER)
    harness.later(0.0, outcome)
    return harness.dispatcher.waiters.flights[account].not_before - harness.now


@pytest.mark.parametrize(("since", "rest"), [(5.0, "round trip"), (5.1, "backoff")])
def test_g8_while_others_are_served_a_failure_goes_back_after_a_round_trip(since: float, rest: str) -> None:
    harness, _ = served()
    harness.at(1.5 + since)
    assert again(harness, DOWN_502) == pytest.approx(
        {"round trip": harness.dispatcher.limiter.rtt, "backoff": 2.0}[rest]
    )


@pytest.mark.parametrize(
    ("fails", "loss", "rest"), [(0, 0.0, 0.5), (2, 0.0, 0.5), (3, 0.0, 2.0), (3, 0.5, 0.5), (40, 0.5, 2.0)]
)
def test_g7_a_key_that_fails_beyond_luck_rests_though_others_are_served(fails: int, loss: float, rest: float) -> None:
    harness, _ = served()
    harness.dispatcher.losses._known = loss
    assert again(harness, DOWN_502, fails) == pytest.approx(rest)


@pytest.mark.parametrize(("fails", "rest"), [(2, 2.0), (3, 2.0)])
def test_g8_of_its_own_successes_a_key_alone_learns_nothing(fails: int, rest: float) -> None:
    harness, account = served()
    account._failures, account.token = fails, None
    harness.ask(account, FOREVER)
    harness.force("closed")  # a verdict of an older generation teaches nothing
    harness.later(0.0, DOWN_502)
    assert harness.dispatcher.waiters.flights[account].not_before == harness.now + rest


def test_g8_of_its_own_good_probe_a_key_alone_learns_nothing() -> None:
    harness, account = RecordingHarness(), Account()
    harness.force("half_open")
    harness.ask(account)
    harness.later(0.5, GOOD)
    account.token = None
    harness.ask(account, FOREVER)
    harness.later(0.5, DOWN_502)
    assert harness.dispatcher.waiters.flights[account].not_before == harness.now + 2.0


@pytest.mark.parametrize(("fails", "rest"), [(0, 0.05), (1, 0.25), (2, 0.25)])
def test_g8_only_the_first_failure_of_a_key_goes_back_after_less_than_the_overload_spacing(
    fails: int, rest: float
) -> None:
    harness, _ = served()
    harness.dispatcher.limiter.rtt = 0.05
    assert again(harness, DOWN_502, fails) == pytest.approx(rest)


@pytest.mark.parametrize(("base_delay", "rest"), [(1.1, 1.1), (1.2, 0.5)])
def test_g8_a_schedule_that_is_quick_itself_goes_on_though_others_are_served(base_delay: float, rest: float) -> None:
    harness, _ = served(retry=RetryConfig(base_delay=base_delay))
    assert again(harness, DOWN_502) == pytest.approx(rest)


@pytest.mark.parametrize(("since", "reported"), [(5.0, False), (5.1, True)])
def test_the_first_failure_that_no_recent_success_precedes_is_told(since: float, reported: bool) -> None:
    harness, _ = served()
    harness.at(harness.now + since)
    harness.ask(patience=FOREVER)
    harness.later(0.0, DOWN_502)
    assert reported == any(isinstance(event, ev.StreakStarted) for event in harness.hear())


@pytest.mark.parametrize(("failed", "waits"), [(False, True), (True, False)])
def test_g8_only_a_lone_agents_schedule_is_faster_than_the_limiter_and_not_its_first_attempt(
    failed: bool, waits: bool
) -> None:
    harness, _ = served(policy=PolicyConfig(max_spacing=5.0))
    harness.at(harness.now + 60.0)
    if failed:
        harness.ask(patience=FOREVER)
        harness.later(0.0, DOWN_502)
        harness.at(harness.now + 1.9)
    harness.dispatcher.limiter.limit = 0.01
    harness.dispatcher.limiter._last_start = harness.now
    if not failed:
        harness.ask(patience=FOREVER)
    harness.at(harness.now + 0.1)
    assert waits == (harness.out == [])


def test_g8_a_schedule_begins_again_when_the_breaker_has_closed() -> None:
    harness, account = RecordingHarness(), Account()
    harness.ask(account, FOREVER)
    for seconds in (0.0, 2.0):
        harness.later(seconds, DOWN_502)
    assert harness.dispatcher.waiters.flights[account].not_before == harness.now + 4.0
    harness.force("open")
    harness.force("closed")
    harness.later(0.0, DOWN_502)
    assert harness.dispatcher.waiters.flights[account].not_before == harness.now + 2.0


def test_g6_who_fails_alone_after_others_have_failed_and_left_keeps_no_schedule_of_its_own() -> None:
    harness = RecordingHarness(
        breaker=replace(QUICK, fail_max=2), retry=RetryConfig(max_retries=30, base_delay=0.5, max_delay=0.5)
    )
    gone = harness.ask(patience=FOREVER)
    harness.later(0.0, DOWN_502)
    cancel(harness, gone)
    harness.ask(patience=FOREVER)
    while not harness.out:
        harness.at(harness.wake)
    harness.later(0.0, DOWN_502)
    assert ("open", harness.now + 2.0) == (harness.dispatcher.breaker.state, harness.dispatcher.breaker.probe_at)


def test_g6_a_failure_while_open_rests_by_its_own_backoff() -> None:
    harness, _ = served(breaker=BreakerConfig(fail_max=1, min_failure_time=0.0, jitter=0.0))
    assert again(harness, DOWN_502) == 2.0


@pytest.mark.parametrize(("outcome", "rest"), [(DOWN_502, 2.0), (BUSY_503, 20.0), (Outcome(UNAVAILABLE, 503), 2.0)])
def test_g6_a_503_may_ask_for_a_longer_rest(outcome: Outcome, rest: float) -> None:
    assert rest == again(RecordingHarness(), outcome)


def test_g6_only_a_503_may_ask_and_for_a_quarter_of_an_hour_at_most() -> None:
    assert again(RecordingHarness(), Outcome(UNAVAILABLE, 502, "HTTP 502", retry_after=20.0)) == 2.0
    assert again(RecordingHarness(), Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=1e6)) == 900.0


def test_a_backoff_is_jittered_as_the_options_say() -> None:
    harness = RecordingHarness(retry=JITTERY)
    harness.rand = lambda: 0.5
    assert again(harness, DOWN_502) == 1.5


def test_the_last_backoff_of_a_schedule_is_jittered_too() -> None:
    harness = RecordingHarness(retry=replace(JITTERY, max_retries=1))
    harness.rand = lambda: 0.5
    assert again(harness, DOWN_502) == 1.5


def test_the_default_schedule_is_the_sdks() -> None:
    assert [2.0, 4.0, 8.0, 16.0, 32.0, 60.0] == [AUTH_TOKEN_RETRY.delay(n) for n in range(1, 7)]


def test_an_attempts_replay_and_actions_come_in_order() -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.ask(patience=FOREVER)
    actions = harness.dispatcher.result(harness.out[0], DOWN_502, Instant(1.5, WALL + 1.5))
    names = [type(action).__name__ for action in actions]
    assert names == [
        "AttemptFinished",
        "WindowCut",
        "MirrorToPybreaker",
        "StateChanged",
        "MirrorToPybreaker",
        "WakeAt",
    ]
    assert actions[-1] == act.WakeAt(3.5)


def test_a_key_that_fails_for_ever_overflows_nothing() -> None:
    harness, _ = served()
    harness.dispatcher.losses._known = 1.0
    assert again(harness, DOWN_502, fails=1_000_000) == pytest.approx(harness.dispatcher.limiter.rtt)


def test_a_failure_that_asks_for_nothing_rests_as_long_as_the_schedule_says() -> None:
    assert again(RecordingHarness(retry=RetryConfig(base_delay=0.5)), DOWN_502) == 0.5


def test_g11_a_fault_is_told_to_the_probes_caller_with_all_its_attempts() -> None:
    harness = RecordingHarness(breaker=QUICK)
    waiter = harness.ask(patience=FOREVER)
    permit = harness.out[0]
    harness.later(0.5, DOWN_502)
    assert permit.alive is False
    harness.at(3.5)
    harness.later(0.5, Outcome("fault", 500, "HTTP 500"))
    assert waiter.failure is not None
    assert waiter.failure.message == "/auth/token: HTTP 500 in 2 attempts"


def test_g15_a_probe_without_a_code_says_so() -> None:
    harness, account = RecordingHarness(), Account(totp=True)
    harness.force("half_open")
    waiter = harness.ask(account, 10.0)
    harness.later(0.5, Outcome(LOCAL, detail="spent", wait_for_totp=True))
    assert waiter.failure is not None
    assert waiter.failure.message == "/auth/token: spent"


def test_g3_a_retry_without_a_code_and_without_callers_ends_its_flight() -> None:
    harness, account = RecordingHarness(), Account(totp=True)
    waiter = harness.ask(account, FOREVER)
    harness.later(0.5, DOWN_502)
    harness.at(3.5)
    cancel(harness, waiter)
    harness.hear()
    harness.later(0.5, Outcome(LOCAL, wait_for_totp=True))
    assert ev.RefreshFinished("miss", "failure", 3.0) in harness.hear()
    assert nothing_left(harness)


def test_g11_an_attempt_that_never_got_a_connection_is_told_as_lost_and_its_caller_what_was_missing() -> None:
    harness = RecordingHarness()
    waiter = harness.ask(patience=0.0)
    harness.not_begun.add(harness.out[0])
    harness.hear()
    harness.at(harness.out[0].deadline)
    assert ended("local", 0, 31.0, lost=True) in harness.hear()
    assert waiter.failure is not None
    expected = "/auth/token: nothing was sent (no free connection, thread or look-up here within 31 s)"
    assert expected == waiter.failure.message


def test_g4_attempts_that_run_out_in_the_same_moment_are_given_up_together() -> None:
    harness, _ = served()
    for _ in range(2):
        harness.ask(patience=FOREVER)
    permits = list(harness.out)
    harness.not_begun.update(permits)
    harness.now = permits[0].deadline
    harness.feed(harness.dispatcher.tick(harness.moment))
    assert permits == harness.aborted
