"""What a verdict does to its key and its flight: who rests, who is retried, and when (G6, G11, G12, G17)."""

from __future__ import annotations

import pytest

from colony_pool.config import AUTH_TOKEN_RETRY, BreakerConfig, RetryConfig
from tests.support.desk import COUNTING, DOWN_502, FOREVER, GOOD, REFUSED, SILENCE, WALL, cancel, nothing_left
from tests.support.private import LOCAL, UNAVAILABLE, Account, Instant, Outcome
from tests.support.private import actions as act
from tests.support.private import events as ev
from tests.support.told import QUICK, Told, served

BUSY_503 = Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=20.0)
JITTERY = RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0, retry_on=frozenset({502, 503, 504}), jitter=0.5)


@pytest.mark.parametrize(("rand", "rest"), [(0.0, 300.0), (0.5, 450.0)])
@pytest.mark.parametrize("outcome", [DOWN_502, REFUSED, COUNTING, SILENCE])
def test_g17_a_failed_refresh_rests_for_a_while(outcome: Outcome, rand: float, rest: float) -> None:
    desk, account = served()
    desk.at(60_000.0)
    desk.rand = lambda: rand
    desk.refresh(account)
    desk.later(0.5, outcome)
    assert account.refresh_not_before == desk.now + rest
    account.denial = None
    desk.at(account.refresh_not_before - 0.1)
    desk.refresh(account)
    assert desk.out == []
    desk.at(account.refresh_not_before)
    desk.refresh(account)
    assert [account] == [permit.account for permit in desk.out]


def test_g15_a_refresh_without_a_code_does_not_rest() -> None:
    desk, account = served(account=Account(totp=True))
    desk.at(60_000.0)
    desk.refresh(account)
    desk.later(0.5, Outcome(LOCAL, wait_for_totp=True))
    assert account.refresh_not_before == -float("inf")


def test_a_call_that_waits_rests_no_refresh() -> None:
    desk, account = Told(), Account()
    desk.ask(account)
    desk.later(0.5, DOWN_502)
    assert account.refresh_not_before == -float("inf")


def test_g12_a_local_end_was_no_attempt() -> None:
    desk, account = Told(), Account(totp=True)
    desk.feed(desk.desk.force("open", Instant(1.0, WALL + 1.0)))
    desk.feed(desk.desk.force("closed", Instant(1.0, WALL + 1.0)))
    desk.feed(desk.desk.force("open", Instant(1.0, WALL + 1.0)))
    desk.feed(desk.desk.force("closed", Instant(1.0, WALL + 1.0)))
    desk.ask(account, FOREVER)
    flight = desk.desk.waiters.flights.get(account)
    assert flight is not None
    desk.later(0.5, Outcome(LOCAL, wait_for_totp=True))
    assert (0, True) == (flight.attempts, flight.last_generation < 0)
    balance = desk.desk.retry_budget.balance(desk.now)
    desk.at(account.next_code_at)
    assert [False] == [permit.is_retry for permit in desk.out]
    assert balance < desk.desk.retry_budget.balance(desk.now), "a first attempt"


def test_g12_a_retry_that_was_none_is_given_back() -> None:
    desk, account = Told(), Account(totp=True)
    desk.ask(account, FOREVER)
    desk.later(0.5, DOWN_502)
    desk.at(3.5)
    balance = desk.desk.retry_budget.balance(desk.now)
    assert [True] == [permit.is_retry for permit in desk.out]
    desk.later(0.5, Outcome(LOCAL, wait_for_totp=True))
    assert desk.desk.retry_budget.balance(desk.now) == balance + 1.0
    desk.at(account.next_code_at)
    assert [True] == [permit.is_retry for permit in desk.out], "it is still one"


def test_a_failure_is_counted_on_its_key_and_its_flight() -> None:
    desk, account = Told(), Account()
    account._failures = 3
    desk.ask(account, FOREVER)
    flight = desk.desk.waiters.flights.get(account)
    assert flight is not None
    desk.later(0.5, DOWN_502)
    assert (4, 1, DOWN_502) == (account._failures, flight.failures, flight.last)
    desk.later(2.0, GOOD)
    assert (0, True) == (account._failures, account.has_succeeded)


@pytest.mark.parametrize(("wanted", "parked"), [(True, True), (False, False)])
def test_g11_a_network_error_is_retried_if_that_is_asked_for(wanted: bool, parked: bool) -> None:
    retry = RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0, retry_network_errors=wanted)
    desk = Told(retry=retry)
    waiter = desk.ask()
    desk.later(0.5, SILENCE)
    assert parked == (not waiter.done)


@pytest.mark.parametrize(("status", "parked"), [(502, True), (503, False)])
def test_g11_what_is_retried_is_what_retry_on_says(status: int, parked: bool) -> None:
    retry = RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0, retry_on=frozenset({502}))
    desk = Told(retry=retry)
    waiter = desk.ask()
    desk.later(0.5, Outcome(UNAVAILABLE, status, f"HTTP {status}"))
    assert parked == (not waiter.done)


def test_g9_without_retries_nobody_parks() -> None:
    desk = Told(retry=RetryConfig(max_retries=0))
    waiter = desk.ask(patience=FOREVER)
    desk.later(0.5, DOWN_502)
    assert waiter.done


def test_g9_while_closed_whose_backoff_is_beyond_its_patience_leaves_though_others_wait() -> None:
    desk = Told()
    hasty, other = desk.ask(patience=1.0), desk.ask(patience=FOREVER)
    desk.later(0.5, DOWN_502)
    assert (True, False) == (hasty.done, other.done)


def again(desk: Told, outcome: Outcome, fails: int = 0) -> float:
    """How long a flight rests after this outcome."""
    account = Account()
    account._failures = fails
    desk.ask(account, FOREVER)
    desk.later(0.0, outcome)
    return desk.desk.waiters.flights[account].not_before - desk.now


@pytest.mark.parametrize(("since", "rest"), [(5.0, "round trip"), (5.1, "backoff")])
def test_g8_while_others_are_served_a_failure_goes_back_after_a_round_trip(since: float, rest: str) -> None:
    desk, _ = served()
    desk.at(1.5 + since)
    assert again(desk, DOWN_502) == pytest.approx({"round trip": desk.desk.limiter.rtt, "backoff": 2.0}[rest])


@pytest.mark.parametrize(
    ("fails", "loss", "rest"), [(0, 0.0, 0.5), (2, 0.0, 0.5), (3, 0.0, 2.0), (3, 0.5, 0.5), (40, 0.5, 2.0)]
)
def test_g7_a_key_that_fails_beyond_luck_rests_though_others_are_served(fails: int, loss: float, rest: float) -> None:
    desk, _ = served()
    desk.desk.losses._known = loss
    assert again(desk, DOWN_502, fails) == pytest.approx(rest)


@pytest.mark.parametrize(("fails", "rest"), [(2, 2.0), (3, 2.0)])
def test_g8_of_its_own_successes_a_key_alone_learns_nothing(fails: int, rest: float) -> None:
    desk, account = served()
    account._failures, account.token = fails, None
    desk.ask(account, FOREVER)
    desk.force("closed")  # a verdict of an older generation teaches nothing
    desk.later(0.0, DOWN_502)
    assert desk.desk.waiters.flights[account].not_before == desk.now + rest


def test_g6_a_failure_while_open_rests_by_its_own_backoff() -> None:
    desk, _ = served(breaker=BreakerConfig(fail_max=1, min_failure_time=0.0, jitter=0.0))
    assert again(desk, DOWN_502) == 2.0


@pytest.mark.parametrize(("outcome", "rest"), [(DOWN_502, 2.0), (BUSY_503, 20.0), (Outcome(UNAVAILABLE, 503), 2.0)])
def test_g6_a_503_may_ask_for_a_longer_rest(outcome: Outcome, rest: float) -> None:
    assert rest == again(Told(), outcome)


def test_g6_only_a_503_may_ask_and_for_a_quarter_of_an_hour_at_most() -> None:
    assert again(Told(), Outcome(UNAVAILABLE, 502, "HTTP 502", retry_after=20.0)) == 2.0
    assert again(Told(), Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=1e6)) == 900.0


def test_a_backoff_is_jittered_as_the_options_say() -> None:
    desk = Told(retry=JITTERY)
    desk.rand = lambda: 0.5
    assert again(desk, DOWN_502) == 1.5


def test_the_default_schedule_is_the_sdks() -> None:
    assert [2.0, 4.0, 8.0, 16.0, 32.0, 60.0] == [AUTH_TOKEN_RETRY.delay(n) for n in range(1, 7)]


def test_an_attempts_replay_and_actions_come_in_order() -> None:
    desk = Told(breaker=QUICK)
    desk.ask(patience=FOREVER)
    actions = desk.desk.result(desk.out[0], DOWN_502, Instant(1.5, WALL + 1.5))
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
    desk, _ = served()
    desk.desk.losses._known = 1.0
    assert again(desk, DOWN_502, fails=1_000_000) == pytest.approx(desk.desk.limiter.rtt)


def test_a_failure_that_asks_for_nothing_rests_as_long_as_the_schedule_says() -> None:
    assert again(Told(retry=RetryConfig(base_delay=0.5)), DOWN_502) == 0.5


def test_g11_a_fault_is_told_to_the_probes_caller_with_all_its_attempts() -> None:
    desk = Told(breaker=QUICK)
    waiter = desk.ask(patience=FOREVER)
    permit = desk.out[0]
    desk.later(0.5, DOWN_502)
    assert permit.alive is False
    desk.at(3.5)
    desk.later(0.5, Outcome("fault", 500, "HTTP 500"))
    assert waiter.failure is not None
    assert waiter.failure.message == "/auth/token: HTTP 500 in 2 attempts"


def test_g15_a_probe_without_a_code_says_so() -> None:
    desk, account = Told(), Account(totp=True)
    desk.force("half_open")
    waiter = desk.ask(account, 10.0)
    desk.later(0.5, Outcome(LOCAL, detail="spent", wait_for_totp=True))
    assert waiter.failure is not None
    assert waiter.failure.message == "/auth/token: spent"


def test_g3_a_retry_without_a_code_and_without_callers_ends_its_flight() -> None:
    desk, account = Told(), Account(totp=True)
    waiter = desk.ask(account, FOREVER)
    desk.later(0.5, DOWN_502)
    desk.at(3.5)
    cancel(desk, waiter)
    desk.hear()
    desk.later(0.5, Outcome(LOCAL, wait_for_totp=True))
    assert ev.RefreshFinished("miss", "failure", 3.0) in desk.hear()
    assert nothing_left(desk)
