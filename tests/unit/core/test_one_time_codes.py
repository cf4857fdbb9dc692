"""One-time codes before the permit, our own trouble, and the lone agent's schedule: the dispatcher by itself."""

from __future__ import annotations

import pytest

from colony_pool.config import RetryBudgetConfig, RetryConfig
from colony_pool.errors import (
    ColonyAPIError,
    ColonyAuthError,
    ColonyNetworkError,
    ColonyNotFoundError,
    ColonyRateLimitError,
    ColonyServerError,
    ColonyTwoFactorRequiredError,
    ColonyValidationError,
)
from tests.support.dispatcher_harness import (
    DOWN_502,
    FOREVER,
    GOOD,
    SILENCE,
    DispatcherHarness,
    cancel,
    nothing_left,
    opened,
)
from tests.support.private import LOCAL, UNAVAILABLE, Account, Outcome, Waiter, from_stranger, unreadable
from tests.support.private import actions as act

PASSING = Outcome(LOCAL, detail="no free connection", is_transient=True)
WAIT = Outcome(LOCAL, detail="spent", wait_for_totp=True)


def slow_codes(harness: DispatcherHarness) -> DispatcherHarness:
    """Callables that have not returned until the test says so."""
    harness.gives_codes = False
    return harness


def gives(harness: DispatcherHarness, account: Account) -> None:
    harness.asked.remove(account)
    harness.feed(harness.dispatcher.code_given(account, harness.moment))


def fails(harness: DispatcherHarness, account: Account, outcome: Outcome) -> None:
    harness.asked.remove(account)
    harness.feed(harness.dispatcher.code_missing(account, outcome, harness.moment))


def test_g15_a_code_is_asked_for_before_the_permit_and_once_at_a_time() -> None:
    harness, account = slow_codes(DispatcherHarness()), Account(totp=True)
    first = harness.ask(account)
    hasty = harness.ask(account, patience=5.0)  # moves its flight in the queue
    assert ([account], []) == (harness.asked, harness.out)
    harness.ask()
    assert 1 == len(harness.out), "another key starts meanwhile"
    harness.answer(harness.out[0], GOOD)
    gives(harness, account)
    harness.answer(harness.out[0], GOOD)
    assert first.token is not None
    assert hasty.token is not None
    assert nothing_left(harness)


def test_g15_a_code_is_asked_for_in_the_context_of_who_has_waited_longest() -> None:
    harness, account = slow_codes(DispatcherHarness()), Account(totp=True)
    waiter = Waiter(account, 60.0)
    actions = harness.dispatcher.demand(waiter, harness.moment)
    assert act.AskCode(account, waiter) in actions


def test_g15_a_code_goes_with_one_attempt_and_the_next_one_needs_another() -> None:
    harness, account = slow_codes(DispatcherHarness()), Account(totp=True)
    harness.ask(account)
    gives(harness, account)
    harness.answer(harness.out[0], DOWN_502)
    harness.at(2.5)
    assert ([account], []) == (harness.asked, harness.out)


def test_g9_g15_a_call_that_never_parks_waits_for_a_code_that_is_being_asked_for() -> None:
    harness, account = slow_codes(DispatcherHarness()), Account(totp=True)
    waiter = harness.ask(account, patience=0.0)
    harness.feed(harness.dispatcher.force("open", harness.moment))
    assert not waiter.done


def test_g15_who_waits_for_a_code_is_told_what_for() -> None:
    harness, account = slow_codes(DispatcherHarness()), Account(totp=True)
    harness.at(100.0)
    waiter = harness.ask(account, patience=5.0)
    harness.at(106.0)
    assert waiter.failure is not None
    assert waiter.failure.error is ColonyTwoFactorRequiredError
    assert "totp() was called 5 s ago" in waiter.failure.message
    gives(harness, account)  # nobody wants it any more
    assert [] == harness.out
    fresh = harness.ask(account)
    harness.answer(harness.out[0], GOOD)
    assert fresh.token is not None, "a code that came late is good until its window ends"


def test_g15_a_callable_that_gives_nothing_is_asked_again_or_ends_its_calls() -> None:
    harness, account = slow_codes(DispatcherHarness()), Account(totp=True)
    waiter = harness.ask(account)
    fails(harness, account, PASSING)
    harness.at(0.1)
    fails(harness, account, PASSING)
    assert [] == harness.asked
    harness.at(0.31)
    fails(harness, account, WAIT)
    harness.at(25.0)
    assert [account] == harness.asked, "the next window of 30 s"
    fails(harness, account, Outcome(LOCAL, local_error=RuntimeError("mine")))
    assert waiter.failure is not None
    assert "mine" in str(waiter.failure.exception())
    harness.ask(account)
    fails(harness, account, Outcome(LOCAL, detail="no code", code="AUTH_2FA_REQUIRED"))
    assert nothing_left(harness)
    assert harness.dispatcher.breaker.failures == 0
    cancel(harness, harness.ask(account))
    fails(harness, account, PASSING)
    assert nothing_left(harness), "nobody wants it any more"


def test_g15_at_a_window_of_one_a_callable_that_hangs_lets_the_next_be_asked_after_a_second() -> None:
    harness, one, other = slow_codes(DispatcherHarness()), Account(totp=True), Account(totp=True)
    harness.ask(one)
    harness.ask(other)
    assert [one] == harness.asked
    harness.at(1.0)
    assert [one, other] == harness.asked


def test_g15_the_probe_waits_a_second_for_its_code_and_then_goes_to_another() -> None:
    harness, account = slow_codes(opened()), Account(totp=True)
    harness.ask(account, FOREVER)
    due = harness.dispatcher.breaker.probe_at
    harness.at(due)
    assert ([account], []) == (harness.asked, harness.out)
    harness.ask(patience=FOREVER)
    assert [] == harness.out
    harness.at(due + 1.0)
    assert 1 == len(harness.out)
    assert harness.out[0].is_probe
    harness.answer(harness.out[0], PASSING)
    assert harness.dispatcher.breaker.state == "half_open"


def test_g15_when_every_candidate_waits_for_a_code_the_first_that_comes_probes() -> None:
    harness, one, other = slow_codes(opened()), Account(totp=True), Account(totp=True)
    harness.ask(one, FOREVER)
    harness.ask(other, FOREVER)
    harness.at(harness.dispatcher.breaker.probe_at + 5.0)
    assert 2 == len(harness.asked)
    harness.ask(one, patience=600.0)  # moves its flight in the queue
    assert (2, []) == (len(harness.asked), harness.out)
    gives(harness, other)
    assert [other] == [permit.account for permit in harness.out]


def test_g11_a_probe_given_back_rests_longer_each_time_and_grows_no_delay() -> None:
    harness = opened()
    waiter = harness.ask(patience=FOREVER)
    level = harness.dispatcher.breaker.level
    probe = harness.to_probe()
    harness.ask(patience=FOREVER)  # what this host lacks, its flight lacks as well
    for rest in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        at = harness.now
        harness.answer(probe, PASSING)
        probe = harness.to_probe()
        assert rest == pytest.approx(harness.now - at)
    assert level == harness.dispatcher.breaker.level
    harness.answer(probe, GOOD)
    assert waiter.token is not None


def test_g11_a_permit_that_never_got_a_connection_is_no_evidence() -> None:
    harness = opened()
    waiter = harness.ask(patience=60.0)
    probe = harness.to_probe()
    harness.not_begun.add(probe)
    harness.at(probe.deadline)
    assert (0, 0) == (harness.dispatcher.breaker.lost_probes, harness.dispatcher.breaker.failures)
    again = harness.to_probe()
    assert again.timeout == probe.timeout
    harness.answer(again, GOOD)
    assert waiter.token is not None


def test_g11_calls_that_may_not_wait_are_told_that_nothing_was_sent() -> None:
    harness = DispatcherHarness()
    waiter = harness.ask(patience=0.0)
    harness.answer(harness.out[0], PASSING)
    assert waiter.failure is not None
    assert waiter.failure.error is ColonyNetworkError
    assert "nothing was sent (no free connection)" in waiter.failure.message


def test_g9_retries_without_a_delay_park_nobody() -> None:
    harness = DispatcherHarness(retry=RetryConfig(max_retries=2, base_delay=0.0, max_delay=0.0))
    waiter = harness.ask(patience=0.0)
    for _ in range(3):
        harness.answer(harness.out[0], DOWN_502)
        harness.at(harness.now + 0.1)
    assert waiter.failure is not None
    assert waiter.failure.error is ColonyServerError
    assert 3 == len(harness.started)


def test_g9_retries_without_a_delay_keep_nobody_whom_a_503_asks_to_wait_for_longer_than_it_may() -> None:
    harness = DispatcherHarness(retry=RetryConfig(max_retries=2, base_delay=0.0, max_delay=0.0))
    hasty, patient = (harness.ask(patience=seconds) for seconds in (10.0, 100.0))
    harness.answer(harness.out[0], Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=60.0))
    assert (True, False) == (hasty.done, patient.done)


def test_g8_a_success_that_ends_a_short_outage_forgives_those_who_sleep() -> None:
    """Failures of several keys in a row that luck does not explain, too few to open the breaker."""
    harness = DispatcherHarness()
    for _ in range(40):
        harness.ask()
        harness.answer(harness.out[0], GOOD)
        harness.at(harness.now + 0.01)
    harness.at(harness.now + 10.0)
    sleepers = [harness.ask() for _ in range(6)]
    while harness.out:
        harness.answer(harness.out[0], DOWN_502)
        harness.at(harness.now + 0.01)
    assert harness.dispatcher.breaker.state == "closed"
    harness.ask()
    for _ in range(16):  # each would sleep for two seconds
        harness.at(harness.now + 0.1)
        while harness.out:
            harness.answer(harness.out[0], GOOD)
    assert all(waiter.token is not None for waiter in sleepers), "none of them has slept on"


@pytest.mark.parametrize("outcome", [DOWN_502, SILENCE], ids=["502", "no answer"])
def test_a_lone_agents_schedule_goes_on_while_the_breaker_is_open(outcome: Outcome) -> None:
    retry = RetryConfig(max_retries=30, base_delay=0.5, max_delay=0.5, retry_network_errors=True)
    harness = DispatcherHarness(retry=retry, retry_budget=RetryBudgetConfig(reserve=30))
    waiter = harness.ask(patience=15.0)
    times = []
    while not waiter.done:
        if harness.out:
            times.append(harness.now)
            harness.answer(harness.out[0], outcome)
        else:
            harness.at(harness.wake)
    assert [pytest.approx(0.5 * number) for number in range(31)] == times


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, ColonyAuthError, "A gateway, a proxy or a firewall may have sent this; no key or token is at fault"),
        (403, ColonyAuthError, "A gateway, a proxy or a firewall"),
        (404, ColonyNotFoundError, "Check the path, or base_url"),
        (418, ColonyAPIError, "A gateway"),
    ],
)
def test_g11_what_is_not_the_apis_keeps_the_class_of_its_status(
    status: int, error: type[ColonyAPIError], words: str
) -> None:
    failure = from_stranger(status, {"content-type": "text/html"}, b"<html>", None, "GET /x")
    assert (error, status) == (failure.error, failure.status)
    assert f"GET /x: HTTP {status}, an HTML page, not The Colony's answer" in failure.message
    assert words in failure.hint


@pytest.mark.parametrize(("after", "words"), [(None, "try again later"), (7.0, "try again in 7 s, not sooner")])
def test_g13_a_gateways_429_says_when(after: float | None, words: str) -> None:
    failure = from_stranger(429, {}, b"", after, "GET /x")
    assert failure.error is ColonyRateLimitError
    message = "GET /x: HTTP 429, an empty body, not The Colony's answer"
    assert (429, message) == (failure.status, failure.message)
    assert words in failure.hint
    assert failure.extra["retry_after"] == after


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, ColonyServerError),
        (400, ColonyValidationError),
        (500, ColonyServerError),
        (403, ColonyAuthError),
        (418, ColonyAPIError),
        (502, ColonyServerError),
    ],
)
def test_g22_an_answer_that_cannot_be_read_keeps_the_class_of_its_status(
    status: int, error: type[ColonyAPIError]
) -> None:
    failure = unreadable(status, "the body broke off", "GET /x")
    assert (error, "GET /x: the body broke off", status) == (failure.error, failure.message, failure.status)
