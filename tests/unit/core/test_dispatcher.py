"""The corners of the desk: what happens when two things happen at once. Virtual time, no shell."""

from __future__ import annotations

import pytest

from colony_pool.config import BreakerConfig
from colony_pool.errors import CircuitOpenError, ColonyServerError
from tests.support.desk import DOWN_502, FOREVER, GOOD, MINE, REFUSED, START, Desk, cancel, nothing_left, opened
from tests.support.private import UNAVAILABLE, Account, Outcome
from tests.support.private import actions as act
from tests.support.private import events as ev


@pytest.mark.parametrize("keys", [1, 7, 1000])
def test_g1_one_probe_for_any_number_of_waiters_of_any_number_of_keys(keys: int) -> None:
    desk, accounts = opened(), [Account() for _ in range(keys)]
    for i in range(2000):
        desk.ask(accounts[i % keys], FOREVER)
    for _ in range(6):
        probe = desk.to_probe()
        desk.at(desk.now + 1.0)
        assert [probe] == desk.out
        desk.answer(probe, DOWN_502)
        assert desk.out == []


@pytest.mark.parametrize("state", ["half_open", "open"])
def test_g1_an_operator_cannot_put_a_second_probe_on_the_wire(state: str) -> None:
    desk = opened(probe_timeout=20.0)
    for _ in range(5):
        desk.ask(patience=FOREVER)
    probe = desk.to_probe()
    desk.feed(desk.desk.force(state, desk.moment))
    desk.at(desk.now + 15.0)
    assert [probe] == desk.out
    desk.at(probe.deadline + 3.0)
    assert [p for p in desk.out if p.alive] == desk.started[1:], "its lease ran out: the next one leaves"


def test_g1_half_open_by_an_operator_while_a_probe_is_out_is_that_probe() -> None:
    desk = opened()
    waiter = desk.ask(patience=FOREVER)
    probe = desk.to_probe()
    desk.feed(desk.desk.force("half_open", desk.moment))
    desk.answer(probe, GOOD)
    assert (desk.desk.breaker.state, waiter.token is not None) == ("closed", True)


def test_g1_half_open_with_nobody_waiting_lets_the_next_caller_probe_at_once() -> None:
    desk = opened()
    desk.feed(desk.desk.force("half_open", START))
    assert desk.out == []
    for _ in range(3):
        desk.ask()
    assert [permit.is_probe for permit in desk.out] == [True]


def test_while_nobody_waits_an_open_breaker_wakes_nobody() -> None:
    assert opened().wake == float("inf"), "an idle pool does nothing"


def test_g1_a_probe_needs_a_free_slot_too_and_gets_one_when_a_lease_ends() -> None:
    desk = Desk(maxsize=2)
    for _ in range(9):
        desk.ask(patience=FOREVER)
    desk.answer(desk.out[0], GOOD)
    desk.feed(desk.desk.force("open", desk.moment))
    assert len(desk.out) == 2
    desk.at(20.0)
    assert len(desk.desk.in_flight.permits) == 2
    desk.at(40.0)
    assert [p for p in desk.desk.in_flight.permits if p.is_probe] == list(desk.desk.in_flight.permits)


def test_g4_a_void_probe_counts_as_failed_in_the_counter_and_in_the_state() -> None:
    desk = opened()
    desk.ask(patience=FOREVER)
    probe = desk.to_probe()
    desk.at(probe.deadline)
    assert desk.replays[-2:] == ["failure", "open"]
    assert desk.desk.breaker.failures == 1
    assert [e.result for e in desk.events if isinstance(e, ev.ProbeFinished)] == ["lost"]


def test_g5_a_stale_verdict_after_an_operators_close_moves_nothing() -> None:
    desk = opened()
    waiter = desk.ask(patience=FOREVER)
    probe = desk.to_probe()
    desk.feed(desk.desk.force("closed", desk.moment))
    before = (desk.desk.breaker.generation, desk.desk.breaker.failures, list(desk.replays))
    desk.answer(probe, DOWN_502)
    assert before == (desk.desk.breaker.generation, desk.desk.breaker.failures, desk.replays)
    desk.at(desk.now + 5.0)
    desk.answer(desk.out[0], GOOD)
    assert waiter.token
    assert nothing_left(desk)


def test_g5_a_late_token_serves_whoever_waits_by_then() -> None:
    desk, account = opened(), Account()
    first = desk.ask(account, 30.0)
    probe = desk.to_probe()
    desk.at(probe.deadline)
    cancel(desk, first)
    second = desk.ask(account, FOREVER)
    assert desk.desk.waiters.flights.get(second.account) is not probe.flight
    desk.answer(probe, GOOD)
    assert second.token is account.token is not None
    assert nothing_left(desk)


def test_g5_g16_a_late_token_leaves_the_second_attempt_of_its_flight_the_only_one() -> None:
    desk, account = opened(), Account()
    first = desk.ask(account, FOREVER)
    lost = desk.to_probe()
    desk.at(lost.deadline)
    second = desk.to_probe()
    desk.answer(lost, GOOD)
    assert first.token is account.token is not None
    desk.feed(desk.desk.force("closed", desk.moment))
    desk.feed(desk.desk.token_refused(account, account.token, desk.moment))
    late = desk.ask(account)
    assert [second] == desk.out, "one attempt of one key"
    desk.answer(second, GOOD)
    assert late.token is account.token is not None
    assert nothing_left(desk)


def test_g5_a_late_success_in_an_open_period_does_not_shorten_the_delay() -> None:
    desk, account = Desk(), Account()
    desk.ask(account, FOREVER)
    for _ in range(4):
        desk.feed(desk.desk.force("open", desk.moment))
    level = desk.desk.breaker.level
    desk.answer(desk.out[0], GOOD)
    assert nothing_left(desk)
    assert level == desk.desk.breaker.level == 4


def test_g6_a_probe_waits_for_the_later_of_the_delay_and_its_own_backoff() -> None:
    desk = Desk(breaker=BreakerConfig(fail_max=1, min_failure_time=0.0, jitter=0.0, open_delay=1.0))
    desk.ask(patience=FOREVER)
    desk.answer(desk.out[0], DOWN_502)
    assert desk.to_probe().started == 2.0, "the flight's own 2 s, not the breaker's 1 s"
    desk.answer(desk.out[0], DOWN_502)
    assert desk.to_probe().started == 6.0


def test_g7_a_poisoned_key_never_probes_while_another_can() -> None:
    desk, poisoned = opened(), Account()
    poisoned._failures = 1
    desk.ask(poisoned, FOREVER)
    desk.ask(patience=FOREVER)
    assert desk.to_probe().account is not poisoned
    desk.answer(desk.out[0], MINE)
    assert [poisoned] == [permit.account for permit in desk.out], "better than nobody"


@pytest.mark.parametrize("outcome", [REFUSED, GOOD])
def test_g7_g8_a_living_endpoint_forgives_every_backoff(outcome: Outcome) -> None:
    desk = Desk()
    waiters = desk.trip(40)
    for _ in range(5):
        desk.answer(desk.to_probe(), DOWN_502)
    desk.answer(desk.to_probe(), outcome)
    at = desk.now
    while desk.out:
        desk.answer(desk.out[0], GOOD)
    assert (at, 39 if outcome is REFUSED else 40) == (desk.now, sum(w.token is not None for w in waiters))


def test_g8_callers_without_a_token_come_before_refreshes() -> None:
    desk, holder = Desk(maxsize=1), Account()
    desk.ask(holder)
    desk.answer(desk.out[0], GOOD)
    desk.at(60_000.0)
    busy = desk.ask()
    desk.feed(desk.desk.refresh(holder, desk.moment))
    late = desk.ask()
    order = []
    while desk.out:
        order.append(desk.out[0].account)
        desk.answer(desk.out[0], GOOD)
    assert [busy.account, late.account, holder] == order


def test_g9_calls_that_never_park_alone_still_end_an_outage() -> None:
    desk = opened()
    assert desk.ask(patience=0.0).failure is not None, "before the delay is over"
    desk.at(2.0)
    probe, second = desk.ask(patience=0.0), desk.ask(patience=0.0)
    assert [permit.is_probe for permit in desk.out] == [True]
    assert (probe.done, second.done) == (False, True)
    desk.answer(desk.out[0], GOOD)
    assert (desk.desk.breaker.state, probe.token is not None) == ("closed", True)


def test_g9_a_call_that_never_parks_and_probes_in_vain_is_told_at_once() -> None:
    desk = opened()
    desk.at(2.0)
    probe = desk.ask(patience=0.0)
    desk.answer(desk.out[0], DOWN_502)
    assert probe.failure is not None
    assert probe.failure.error is CircuitOpenError
    assert nothing_left(desk)


def test_g9_a_call_that_never_parks_does_not_join_a_flight_that_sleeps() -> None:
    desk, account = Desk(), Account()
    parked = desk.ask(account)
    desk.answer(desk.out[0], DOWN_502)
    hasty = desk.ask(account, 0.0)
    assert hasty.failure is not None
    assert hasty.failure.error is ColonyServerError
    assert not parked.done


def test_g9_the_default_patience_leaves_when_the_next_probe_lies_beyond_it() -> None:
    desk = opened()
    waiter = desk.ask(patience=122.0)
    while not waiter.done:
        if desk.out:
            desk.answer(desk.out[0], DOWN_502)
        else:
            desk.at(desk.wake)
    assert waiter.failure is not None
    assert waiter.failure.error is CircuitOpenError
    assert 50.0 < desk.now < 123.3
    assert waiter.failure.extra["retry_after"] > 0.0


def test_g9_a_call_stays_while_another_keys_probe_may_end_the_outage() -> None:
    """Its own backoff is longer than its patience, but the end of an outage forgives that (G8)."""
    desk = opened()
    hasty, patient = desk.ask(patience=20.0), desk.ask(patience=3600.0)
    desk.desk.waiters.flights[hasty.account].failures = 5
    probe = desk.to_probe()
    assert probe.account is hasty.account
    desk.answer(probe, DOWN_502)
    assert not hasty.done
    desk.answer(desk.to_probe(), GOOD)
    desk.answer(desk.out[0], GOOD)
    assert (True, True) == (hasty.token is not None, patient.token is not None)


def test_g6_g9_a_503_is_waited_for_as_long_as_a_probe_waits_and_no_longer() -> None:
    """A day is asked for: the breaker believes 900 s, and so does the call that was told."""
    desk = opened()
    waiter = desk.ask(patience=3600.0)
    desk.answer(desk.to_probe(), Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=86_400.0))
    assert not waiter.done
    probe = desk.to_probe()
    assert 900.0 <= desk.now - probe.flight.created_at <= 910.0
    desk.answer(probe, GOOD)
    assert waiter.token is not None


def test_g26_close_gives_attempts_up_in_the_order_of_their_flights() -> None:
    """The desk is deterministic: a set of attempts, in the order of their addresses, would not be."""
    desk = Desk()
    desk.desk.limiter.limit = 40.0
    for _ in range(40):
        desk.ask()
    actions = desk.desk.close(desk.moment)
    assert desk.out == [action.permit for action in actions if isinstance(action, act.CancelAttempt)]


def test_an_operators_opening_has_no_status_of_its_own() -> None:
    desk = Desk()
    desk.desk.breaker.last_status = 502
    desk.feed(desk.desk.force("open", desk.moment))
    assert ("opened by an operator", 0) == (desk.desk.breaker.cause, desk.desk.breaker.last_status)
    refused = desk.ask(patience=1.0)
    assert refused.failure is not None
    assert refused.failure.status == 503
