"""One-time codes before the permit, our own trouble, and the lone agent's schedule: the desk by itself."""

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
)
from tests.support.desk import DOWN_502, FOREVER, GOOD, Desk, cancel, nothing_left, opened
from tests.support.private import LOCAL, Account, Outcome, from_stranger, unreadable

PASSING = Outcome(LOCAL, detail="no free connection", passing=True)
WAIT = Outcome(LOCAL, detail="spent", wait_for_totp=True)


def slow_codes(desk: Desk) -> Desk:
    """Callables that have not returned until the test says so."""
    desk.gives_codes = False
    return desk


def gives(desk: Desk, account: Account) -> None:
    desk.asked.remove(account)
    desk.feed(desk.desk.code_given(account, desk.moment))


def fails(desk: Desk, account: Account, outcome: Outcome) -> None:
    desk.asked.remove(account)
    desk.feed(desk.desk.code_missing(account, outcome, desk.moment))


def test_g15_a_code_is_asked_for_before_the_permit_and_once_at_a_time() -> None:
    desk, account = slow_codes(Desk()), Account(totp=True)
    first = desk.ask(account)
    hasty = desk.ask(account, patience=5.0)  # moves its flight in the queue
    assert ([account], []) == (desk.asked, desk.out)
    desk.ask()
    assert 1 == len(desk.out), "another key starts meanwhile"
    desk.answer(desk.out[0], GOOD)
    gives(desk, account)
    desk.answer(desk.out[0], GOOD)
    assert first.token is not None
    assert hasty.token is not None
    assert nothing_left(desk)


def test_g15_who_waits_for_a_code_is_told_what_for() -> None:
    desk, account = slow_codes(Desk()), Account(totp=True)
    waiter = desk.ask(account, patience=5.0)
    desk.at(6.0)
    assert waiter.failure is not None
    assert waiter.failure.error is ColonyTwoFactorRequiredError
    assert "totp() was called 5 s ago" in waiter.failure.message
    gives(desk, account)  # nobody wants it any more
    assert [] == desk.out
    fresh = desk.ask(account)
    desk.answer(desk.out[0], GOOD)
    assert fresh.token is not None, "a code that came late is good until its window ends"


def test_g15_a_callable_that_gives_nothing_is_asked_again_or_ends_its_calls() -> None:
    desk, account = slow_codes(Desk()), Account(totp=True)
    waiter = desk.ask(account)
    fails(desk, account, PASSING)
    desk.at(0.1)
    fails(desk, account, PASSING)
    assert [] == desk.asked
    desk.at(0.31)
    fails(desk, account, WAIT)
    desk.at(25.0)
    assert [account] == desk.asked, "the next window of 30 s"
    fails(desk, account, Outcome(LOCAL, local_error=RuntimeError("mine")))
    assert waiter.failure is not None
    assert "mine" in str(waiter.failure.exception())
    desk.ask(account)
    fails(desk, account, Outcome(LOCAL, detail="no code", code="AUTH_2FA_REQUIRED"))
    assert nothing_left(desk)
    assert desk.desk.breaker.failures == 0
    cancel(desk, desk.ask(account))
    fails(desk, account, PASSING)
    assert nothing_left(desk), "nobody wants it any more"


def test_g15_at_a_window_of_one_a_callable_that_hangs_lets_the_next_be_asked_after_a_second() -> None:
    desk, one, other = slow_codes(Desk()), Account(totp=True), Account(totp=True)
    desk.ask(one)
    desk.ask(other)
    assert [one] == desk.asked
    desk.at(1.0)
    assert [one, other] == desk.asked


def test_g15_the_probe_waits_a_second_for_its_code_and_then_goes_to_another() -> None:
    desk, account = slow_codes(opened()), Account(totp=True)
    desk.ask(account, FOREVER)
    due = desk.desk.breaker.probe_at
    desk.at(due)
    assert ([account], []) == (desk.asked, desk.out)
    desk.ask(patience=FOREVER)
    assert [] == desk.out
    desk.at(due + 1.0)
    assert 1 == len(desk.out)
    assert desk.out[0].is_probe
    desk.answer(desk.out[0], PASSING)
    assert desk.desk.breaker.state == "half_open"


def test_g15_when_every_candidate_waits_for_a_code_the_first_that_comes_probes() -> None:
    desk, one, other = slow_codes(opened()), Account(totp=True), Account(totp=True)
    desk.ask(one, FOREVER)
    desk.ask(other, FOREVER)
    desk.at(desk.desk.breaker.probe_at + 5.0)
    assert 2 == len(desk.asked)
    desk.ask(one, patience=600.0)  # moves its flight in the queue
    assert (2, []) == (len(desk.asked), desk.out)
    gives(desk, other)
    assert [other] == [permit.account for permit in desk.out]


def test_g11_a_probe_given_back_rests_longer_each_time_and_grows_no_delay() -> None:
    desk = opened()
    waiter = desk.ask(patience=FOREVER)
    level = desk.desk.breaker.level
    probe = desk.to_probe()
    desk.ask(patience=FOREVER)  # what this host lacks, its flight lacks as well
    for rest in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        at = desk.now
        desk.answer(probe, PASSING)
        probe = desk.to_probe()
        assert rest == pytest.approx(desk.now - at)
    assert level == desk.desk.breaker.level
    desk.answer(probe, GOOD)
    assert waiter.token is not None


def test_g11_a_permit_that_never_got_a_connection_is_no_evidence() -> None:
    desk = opened()
    waiter = desk.ask(patience=60.0)
    probe = desk.to_probe()
    desk.not_begun.add(probe)
    desk.at(probe.deadline)
    assert (0, 0) == (desk.desk.breaker.lost_probes, desk.desk.breaker.failures)
    again = desk.to_probe()
    assert again.timeout == probe.timeout
    desk.answer(again, GOOD)
    assert waiter.token is not None


def test_g11_calls_that_may_not_wait_are_told_that_nothing_was_sent() -> None:
    desk = Desk()
    waiter = desk.ask(patience=0.0)
    desk.answer(desk.out[0], PASSING)
    assert waiter.failure is not None
    assert waiter.failure.error is ColonyNetworkError
    assert "nothing was sent (no free connection)" in waiter.failure.message


def test_g9_retries_without_a_delay_park_nobody() -> None:
    desk = Desk(retry=RetryConfig(max_retries=2, base_delay=0.0, max_delay=0.0))
    waiter = desk.ask(patience=0.0)
    for _ in range(3):
        desk.answer(desk.out[0], DOWN_502)
        desk.at(desk.now + 0.1)
    assert waiter.failure is not None
    assert waiter.failure.error is ColonyServerError
    assert 3 == len(desk.started)


def test_g8_a_success_that_ends_a_short_outage_forgives_those_who_sleep() -> None:
    """Failures of several keys in a row that luck does not explain, too few to open the breaker."""
    desk = Desk()
    for _ in range(40):
        desk.ask()
        desk.answer(desk.out[0], GOOD)
        desk.at(desk.now + 0.01)
    desk.at(desk.now + 10.0)
    sleepers = [desk.ask() for _ in range(6)]
    while desk.out:
        desk.answer(desk.out[0], DOWN_502)
        desk.at(desk.now + 0.01)
    assert desk.desk.breaker.state == "closed"
    desk.ask()
    for _ in range(16):  # each would sleep for two seconds
        desk.at(desk.now + 0.1)
        while desk.out:
            desk.answer(desk.out[0], GOOD)
    assert all(waiter.token is not None for waiter in sleepers), "none of them has slept on"


def test_a_lone_agents_schedule_goes_on_while_the_breaker_is_open() -> None:
    retry = RetryConfig(max_retries=30, base_delay=0.5, max_delay=0.5)
    desk = Desk(retry=retry, retry_budget=RetryBudgetConfig(reserve=30))
    waiter = desk.ask(patience=15.0)
    times = []
    while not waiter.done:
        if desk.out:
            times.append(desk.now)
            desk.answer(desk.out[0], DOWN_502)
        else:
            desk.at(desk.wake)
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
    assert words in failure.hint
    assert failure.extra["retry_after"] == after


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, ColonyServerError), (403, ColonyAuthError), (418, ColonyAPIError), (502, ColonyServerError)],
)
def test_g22_an_answer_that_cannot_be_read_keeps_the_class_of_its_status(
    status: int, error: type[ColonyAPIError]
) -> None:
    assert error is unreadable(status, "the body broke off", "GET /x").error
