"""The corners of keys, holds and tokens, and that nothing is left behind. Virtual time, no shell."""

from __future__ import annotations

import pytest

from colony_pool.config import RetryBudgetConfig
from colony_pool.errors import ColonyRateLimitError
from tests.support.desk import (
    COUNTING,
    DOWN_502,
    FOREVER,
    GOOD,
    MINE,
    REFUSED,
    SILENCE,
    WALL,
    Desk,
    cancel,
    nothing_left,
    opened,
)
from tests.support.private import LOCAL, SERVER_ERROR, Account, Flight, Outcome, Waiter


def test_g12_a_given_back_retry_costs_nothing() -> None:
    desk = Desk(retry_budget=RetryBudgetConfig(ratio=0.0, reserve=1))
    account = Account(totp=True)
    desk.ask(account, FOREVER)
    desk.answer(desk.out[0], DOWN_502)
    for _ in range(3):
        while not desk.out:
            desk.at(desk.wake)
        desk.answer(desk.out[0], Outcome(LOCAL, wait_for_totp=True))
    assert desk.desk.retry_budget.balance(desk.now) == 1.0


def test_g13_a_hold_longer_than_a_call_may_sleep_sends_all_away_and_serves_holders() -> None:
    desk, holder = Desk(), Account()
    desk.ask(holder)
    desk.answer(desk.out[0], GOOD)
    desk.at(86_400.0 - 30.0)
    desk.ask()
    desk.answer(desk.out[0], Outcome("throttled", 429, retry_after=600.0))
    refused = desk.ask(patience=FOREVER)
    assert refused.failure is not None
    assert refused.failure.error is ColonyRateLimitError
    assert desk.ask(holder).token is holder.token
    desk.at(desk.now + 545.0)
    waits = desk.ask(patience=FOREVER)
    assert not waits.done, "less than a minute is left"


def test_g13_a_hold_while_half_open_delays_the_probe() -> None:
    desk = opened()
    for _ in range(3):
        desk.ask(patience=FOREVER)
    desk.answer(desk.to_probe(), COUNTING)
    desk.feed(desk.desk.force("half_open", desk.moment))
    assert desk.out == []
    assert desk.to_probe().started == pytest.approx(desk.desk.rate_limit.paused_until)


def test_g13_a_refused_key_that_is_back_in_the_queue_is_held_twice_as_long_all_the_same() -> None:
    desk, culprit, busy = Desk(maxsize=1), Account(), Account()
    desk.ask(culprit)
    desk.answer(desk.out[0], REFUSED)
    desk.feed(desk.desk.invalidate(culprit, desk.moment))  # its key was put right
    desk.ask(busy)
    hasty, patient = desk.ask(culprit, 40.0), desk.ask(culprit, FOREVER)
    desk.answer(desk.out[0], COUNTING)
    assert hasty.failure is not None
    assert hasty.failure.error is ColonyRateLimitError
    desk.at(59.0)
    assert (desk.out, patient.done) == ([], False)
    desk.at(60.0)
    assert [culprit] == [permit.account for permit in desk.out]


def test_g13_a_refresh_of_a_refused_key_is_held_twice_as_long_too() -> None:
    desk, culprit = Desk(maxsize=1), Account()
    desk.ask(culprit)
    desk.answer(desk.out[0], GOOD)
    desk.at(60_000.0)  # past its soft point
    desk.desk.denials._last = (desk.now, culprit)
    desk.ask()
    desk.feed(desk.desk.refresh(culprit, desk.moment))
    desk.answer(desk.out[0], COUNTING)
    desk.at(60_000.0 + 59.0)
    assert desk.out == []
    desk.at(60_000.0 + 60.0)
    assert [culprit] == [permit.account for permit in desk.out]


def test_g14_mass_denial_of_a_probe_is_a_failed_probe() -> None:
    desk = Desk()
    accounts = [Account() for _ in range(6)]
    for account in accounts:
        desk.ask(account)
        desk.answer(desk.out[0], GOOD)
        account.token = None
    for account in accounts[:4]:
        desk.ask(account)
        desk.answer(desk.out[0], REFUSED)
    desk.feed(desk.desk.force("open", desk.moment))
    desk.ask(accounts[4], FOREVER)
    desk.answer(desk.to_probe(), REFUSED)
    assert desk.desk.breaker.state == "open"
    assert not any(account.denial for account in accounts)


def test_g15_a_burnt_code_stays_burnt_when_the_server_is_at_fault() -> None:
    desk = Desk()
    accounts = [Account(totp=True) for _ in range(5)]
    for account in accounts:
        account.has_succeeded = True
    consumed = Outcome("denied", 401, "no", totp_consumed=True)
    for account in accounts:
        desk.ask(account)
        desk.answer(desk.out[0], consumed)
    assert [desk.now + 30.0 - desk.moment.wall % 30.0] * 5 == [account.next_code_at for account in accounts]


def test_g16_a_call_that_was_overtaken_by_a_fresh_token_starts_no_refresh() -> None:
    desk, account = Desk(), Account()
    desk.ask(account)
    desk.answer(desk.out[0], GOOD)
    assert desk.ask(account).token is account.token
    desk.feed(desk.desk.refresh(account, desk.moment))
    assert len(desk.started) == 1


@pytest.mark.parametrize("outcome", [DOWN_502, SILENCE, COUNTING, MINE, Outcome(SERVER_ERROR, 500, "HTTP 500")])
def test_g17_a_refresh_that_fails_in_any_way_rests_and_is_not_told(outcome: Outcome) -> None:
    desk, account = Desk(), Account()
    desk.ask(account)
    desk.answer(desk.out[0], GOOD)
    told = len(desk.done)
    desk.at(60_000.0)
    desk.feed(desk.desk.refresh(account, desk.moment))
    desk.answer(desk.out[0], outcome)
    assert 300.0 <= account.refresh_not_before - desk.now <= 600.0
    assert told == len(desk.done)
    assert nothing_left(desk)


@pytest.mark.parametrize("state", ["open", "half_open"])
def test_g18_a_token_in_its_margin_is_served_at_once_in_every_state(state: str) -> None:
    desk, account = Desk(), Account()
    desk.ask(account)
    desk.answer(desk.out[0], GOOD)
    desk.at(86_400.0 - 30.0)
    desk.feed(desk.desk.force(state, desk.moment))
    assert desk.ask(account, 0.0).token is account.token
    assert desk.moment.wall < WALL + 86_400.0


def test_g3_the_last_caller_leaves_while_its_attempt_is_out() -> None:
    for outcome in (GOOD, DOWN_502, SILENCE, REFUSED, COUNTING, MINE, Outcome(LOCAL, wait_for_totp=True)):
        desk, account = Desk(), Account()
        cancel(desk, desk.ask(account))
        assert len(desk.desk.in_flight.permits) == 1
        desk.answer(desk.out[0], outcome)
        assert nothing_left(desk)
        assert (outcome is GOOD) == (account.token is not None)


def test_g3_a_caller_killed_before_it_asked_was_never_counted() -> None:
    desk = Desk()
    cancel(desk, Waiter(Account(), 1.0))
    assert nothing_left(desk)


def test_g3_ten_thousand_callers_that_come_and_go_leave_nothing_behind() -> None:
    desk, account = opened(), Account()
    desk.ask(account, FOREVER)
    flight = desk.desk.waiters.flights.get(account)
    assert isinstance(flight, Flight)
    for _ in range(10_000):
        cancel(desk, desk.ask(account, 3600.0))
        desk.ask(Account(), 0.0)
    queue = desk.desk.queue
    assert max(len(flight._heap or ()), len(queue._ready), len(queue._sleeping), len(queue._expiry)) < 1000


def test_g3_ten_thousand_waiters_of_one_flight_are_one_entry_of_each_heap() -> None:
    desk, account = opened(), Account()
    for i in range(10_000):
        desk.ask(account, FOREVER + i)
    assert (len(desk.desk.queue._ready), len(desk.desk.queue._expiry)) == (1, 1)
