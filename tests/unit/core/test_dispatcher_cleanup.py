"""The corners of keys, holds and tokens, and that nothing is left behind. Virtual time, no shell."""

from __future__ import annotations

import pytest

from colony_pool.config import RetryBudgetConfig
from colony_pool.errors import ColonyRateLimitError
from tests.support.dispatcher_harness import (
    COUNTING,
    DOWN_502,
    FOREVER,
    GOOD,
    MINE,
    REFUSED,
    SILENCE,
    WALL,
    DispatcherHarness,
    cancel,
    nothing_left,
    opened,
)
from tests.support.private import LOCAL, SERVER_ERROR, Account, Flight, Outcome, Waiter


def test_g12_a_given_back_retry_costs_nothing() -> None:
    harness = DispatcherHarness(retry_budget=RetryBudgetConfig(ratio=0.0, reserve=1))
    account = Account(totp=True)
    harness.ask(account, FOREVER)
    harness.answer(harness.out[0], DOWN_502)
    for _ in range(3):
        while not harness.out:
            harness.at(harness.wake)
        harness.answer(harness.out[0], Outcome(LOCAL, wait_for_totp=True))
    assert harness.dispatcher.retry_budget.balance(harness.now) == 1.0


def test_g13_a_pause_longer_than_a_call_may_sleep_sends_all_away_and_serves_holders() -> None:
    harness, holder = DispatcherHarness(), Account()
    harness.ask(holder)
    harness.answer(harness.out[0], GOOD)
    harness.at(86_400.0 - 30.0)
    harness.ask()
    harness.answer(harness.out[0], Outcome("throttled", 429, retry_after=600.0))
    refused = harness.ask(patience=FOREVER)
    assert refused.failure is not None
    assert refused.failure.error is ColonyRateLimitError
    assert harness.ask(holder).token is holder.token
    harness.at(harness.now + 545.0)
    waits = harness.ask(patience=FOREVER)
    assert not waits.done, "less than a minute is left"


def test_g13_a_pause_while_half_open_delays_the_probe() -> None:
    harness = opened()
    for _ in range(3):
        harness.ask(patience=FOREVER)
    harness.answer(harness.to_probe(), COUNTING)
    harness.feed(harness.dispatcher.force("half_open", harness.moment))
    assert harness.out == []
    assert harness.to_probe().started == pytest.approx(harness.dispatcher.rate_limit.paused_until)


def test_g13_a_refused_key_that_is_back_in_the_queue_is_held_twice_as_long_all_the_same() -> None:
    harness, culprit, busy = DispatcherHarness(maxsize=1), Account(), Account()
    harness.ask(culprit)
    harness.answer(harness.out[0], REFUSED)
    harness.feed(harness.dispatcher.invalidate(culprit, harness.moment))  # its key was put right
    harness.ask(busy)
    hasty, patient = harness.ask(culprit, 40.0), harness.ask(culprit, FOREVER)
    harness.answer(harness.out[0], COUNTING)
    assert hasty.failure is not None
    assert hasty.failure.error is ColonyRateLimitError
    harness.at(59.0)
    assert (harness.out, patient.done) == ([], False)
    harness.at(60.0)
    assert [culprit] == [permit.account for permit in harness.out]


def test_g13_a_refresh_of_a_refused_key_is_held_twice_as_long_too() -> None:
    harness, culprit = DispatcherHarness(maxsize=1), Account()
    harness.ask(culprit)
    harness.answer(harness.out[0], GOOD)
    harness.at(60_000.0)  # past its soft point
    harness.dispatcher.denials._last = (harness.now, culprit)
    harness.ask()
    harness.feed(harness.dispatcher.refresh(culprit, harness.moment))
    harness.answer(harness.out[0], COUNTING)
    harness.at(60_000.0 + 59.0)
    assert harness.out == []
    harness.at(60_000.0 + 60.0)
    assert [culprit] == [permit.account for permit in harness.out]


def test_g14_mass_denial_of_a_probe_is_a_failed_probe() -> None:
    harness = DispatcherHarness()
    accounts = [Account() for _ in range(6)]
    for account in accounts:
        harness.ask(account)
        harness.answer(harness.out[0], GOOD)
        account.token = None
    for account in accounts[:4]:
        harness.ask(account)
        harness.answer(harness.out[0], REFUSED)
    harness.feed(harness.dispatcher.force("open", harness.moment))
    harness.ask(accounts[4], FOREVER)
    harness.answer(harness.to_probe(), REFUSED)
    assert harness.dispatcher.breaker.state == "open"
    assert not any(account.denial for account in accounts)


def test_g15_a_burnt_code_stays_burnt_when_the_server_is_at_fault() -> None:
    harness = DispatcherHarness()
    accounts = [Account(totp=True) for _ in range(5)]
    for account in accounts:
        account.has_succeeded = True
    consumed = Outcome("denied", 401, "no", totp_consumed=True)
    for account in accounts:
        harness.ask(account)
        harness.answer(harness.out[0], consumed)
    assert [harness.now + 30.0 - harness.moment.wall % 30.0] * 5 == [account.next_code_at for account in accounts]


def test_g16_a_call_that_was_overtaken_by_a_fresh_token_starts_no_refresh() -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(account)
    harness.answer(harness.out[0], GOOD)
    assert harness.ask(account).token is account.token
    harness.feed(harness.dispatcher.refresh(account, harness.moment))
    assert len(harness.started) == 1


@pytest.mark.parametrize("outcome", [DOWN_502, SILENCE, COUNTING, MINE, Outcome(SERVER_ERROR, 500, "HTTP 500")])
def test_g17_a_refresh_that_fails_in_any_way_rests_and_is_not_told(outcome: Outcome) -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(account)
    harness.answer(harness.out[0], GOOD)
    woken = len(harness.done)
    harness.at(60_000.0)
    harness.feed(harness.dispatcher.refresh(account, harness.moment))
    harness.answer(harness.out[0], outcome)
    assert 300.0 <= account.refresh_not_before - harness.now <= 600.0
    assert woken == len(harness.done)
    assert nothing_left(harness)


@pytest.mark.parametrize("state", ["open", "half_open"])
def test_g18_a_token_in_its_margin_is_served_at_once_in_every_state(state: str) -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(account)
    harness.answer(harness.out[0], GOOD)
    harness.at(86_400.0 - 30.0)
    harness.feed(harness.dispatcher.force(state, harness.moment))
    assert harness.ask(account, 0.0).token is account.token
    assert harness.moment.wall < WALL + 86_400.0


def test_g3_the_last_caller_leaves_while_its_attempt_is_out() -> None:
    for outcome in (GOOD, DOWN_502, SILENCE, REFUSED, COUNTING, MINE, Outcome(LOCAL, wait_for_totp=True)):
        harness, account = DispatcherHarness(), Account()
        cancel(harness, harness.ask(account))
        assert len(harness.dispatcher.in_flight.permits) == 1
        harness.answer(harness.out[0], outcome)
        assert nothing_left(harness)
        assert (outcome is GOOD) == (account.token is not None)


def test_g3_a_caller_killed_before_it_asked_was_never_counted() -> None:
    harness = DispatcherHarness()
    cancel(harness, Waiter(Account(), 1.0))
    assert nothing_left(harness)


def test_g3_ten_thousand_callers_that_come_and_go_leave_nothing_behind() -> None:
    harness, account = opened(), Account()
    harness.ask(account, FOREVER)
    flight = harness.dispatcher.waiters.flights.get(account)
    assert isinstance(flight, Flight)
    for _ in range(10_000):
        cancel(harness, harness.ask(account, 3600.0))
        harness.ask(Account(), 0.0)
    queue = harness.dispatcher.queue
    assert max(len(flight._heap or ()), len(queue._ready), len(queue._sleeping), len(queue._expiry)) < 1000


def test_g3_ten_thousand_waiters_of_one_flight_are_one_entry_of_each_heap() -> None:
    harness, account = opened(), Account()
    for i in range(10_000):
        harness.ask(account, FOREVER + i)
    assert (len(harness.dispatcher.queue._ready), len(harness.dispatcher.queue._expiry)) == (1, 1)
