"""The corners of the dispatcher: what happens when two things happen at once. Virtual time, no shell."""

from __future__ import annotations

import pytest

from colony_pool.config import BreakerConfig
from colony_pool.errors import CircuitOpenError, ColonyServerError
from tests.support.dispatcher_harness import (
    DOWN_502,
    FOREVER,
    GOOD,
    MINE,
    REFUSED,
    START,
    DispatcherHarness,
    cancel,
    nothing_left,
    opened,
)
from tests.support.private import UNAVAILABLE, Account, Outcome
from tests.support.private import actions as act
from tests.support.private import events as ev


@pytest.mark.parametrize("keys", [1, 7, 1000])
def test_g1_one_probe_for_any_number_of_waiters_of_any_number_of_keys(keys: int) -> None:
    harness, accounts = opened(), [Account() for _ in range(keys)]
    for i in range(2000):
        harness.ask(accounts[i % keys], FOREVER)
    for _ in range(6):
        probe = harness.to_probe()
        harness.at(harness.now + 1.0)
        assert [probe] == harness.out
        harness.answer(probe, DOWN_502)
        assert harness.out == []


@pytest.mark.parametrize("state", ["half_open", "open"])
def test_g1_an_operator_cannot_put_a_second_probe_on_the_wire(state: str) -> None:
    harness = opened(probe_timeout=20.0)
    for _ in range(5):
        harness.ask(patience=FOREVER)
    probe = harness.to_probe()
    harness.feed(harness.dispatcher.force(state, harness.moment))
    harness.at(harness.now + 15.0)
    assert [probe] == harness.out
    harness.at(probe.deadline + 3.0)
    assert [p for p in harness.out if p.alive] == harness.started[1:], "its lease ran out: the next one leaves"


def test_g1_half_open_by_an_operator_while_a_probe_is_out_is_that_probe() -> None:
    harness = opened()
    waiter = harness.ask(patience=FOREVER)
    probe = harness.to_probe()
    harness.feed(harness.dispatcher.force("half_open", harness.moment))
    harness.answer(probe, GOOD)
    assert (harness.dispatcher.breaker.state, waiter.token is not None) == ("closed", True)


def test_g1_half_open_with_nobody_waiting_lets_the_next_caller_probe_at_once() -> None:
    harness = opened()
    harness.feed(harness.dispatcher.force("half_open", START))
    assert harness.out == []
    for _ in range(3):
        harness.ask()
    assert [permit.is_probe for permit in harness.out] == [True]


def test_while_nobody_waits_an_open_breaker_wakes_nobody() -> None:
    assert opened().wake == float("inf"), "an idle pool does nothing"


def test_g1_a_probe_needs_a_free_slot_too_and_gets_one_when_a_lease_ends() -> None:
    harness = DispatcherHarness(maxsize=2)
    for _ in range(9):
        harness.ask(patience=FOREVER)
    harness.answer(harness.out[0], GOOD)
    harness.feed(harness.dispatcher.force("open", harness.moment))
    assert len(harness.out) == 2
    harness.at(20.0)
    assert len(harness.dispatcher.in_flight.permits) == 2
    harness.at(40.0)
    assert [p for p in harness.dispatcher.in_flight.permits if p.is_probe] == list(
        harness.dispatcher.in_flight.permits
    )


def test_g4_a_void_probe_counts_as_failed_in_the_counter_and_in_the_state() -> None:
    harness = opened()
    harness.ask(patience=FOREVER)
    probe = harness.to_probe()
    harness.at(probe.deadline)
    assert harness.replays[-2:] == ["failure", "open"]
    assert harness.dispatcher.breaker.failures == 1
    assert [e.result for e in harness.events if isinstance(e, ev.ProbeFinished)] == ["lost"]


def test_g5_a_stale_verdict_after_an_operators_close_moves_nothing() -> None:
    harness = opened()
    waiter = harness.ask(patience=FOREVER)
    probe = harness.to_probe()
    harness.feed(harness.dispatcher.force("closed", harness.moment))
    before = (harness.dispatcher.breaker.generation, harness.dispatcher.breaker.failures, list(harness.replays))
    harness.answer(probe, DOWN_502)
    assert before == (harness.dispatcher.breaker.generation, harness.dispatcher.breaker.failures, harness.replays)
    harness.at(harness.now + 5.0)
    harness.answer(harness.out[0], GOOD)
    assert waiter.token
    assert nothing_left(harness)


def test_g5_a_late_token_serves_whoever_waits_by_then() -> None:
    harness, account = opened(), Account()
    first = harness.ask(account, 30.0)
    probe = harness.to_probe()
    harness.at(probe.deadline)
    cancel(harness, first)
    second = harness.ask(account, FOREVER)
    assert harness.dispatcher.waiters.flights.get(second.account) is not probe.flight
    harness.answer(probe, GOOD)
    assert second.token is account.token is not None
    assert nothing_left(harness)


def test_g5_g16_a_late_token_leaves_the_second_attempt_of_its_flight_the_only_one() -> None:
    harness, account = opened(), Account()
    first = harness.ask(account, FOREVER)
    lost = harness.to_probe()
    harness.at(lost.deadline)
    second = harness.to_probe()
    harness.answer(lost, GOOD)
    assert first.token is account.token is not None
    harness.feed(harness.dispatcher.force("closed", harness.moment))
    harness.feed(harness.dispatcher.token_refused(account, account.token, harness.moment))
    late = harness.ask(account)
    assert [second] == harness.out, "one attempt of one key"
    harness.answer(second, GOOD)
    assert late.token is account.token is not None
    assert nothing_left(harness)


def test_g5_a_late_success_in_an_open_period_does_not_shorten_the_delay() -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(account, FOREVER)
    for _ in range(4):
        harness.feed(harness.dispatcher.force("open", harness.moment))
    level = harness.dispatcher.breaker.level
    harness.answer(harness.out[0], GOOD)
    assert nothing_left(harness)
    assert level == harness.dispatcher.breaker.level == 4


def test_g6_a_probe_waits_for_the_later_of_the_delay_and_its_own_backoff() -> None:
    harness = DispatcherHarness(breaker=BreakerConfig(fail_max=1, min_failure_time=0.0, jitter=0.0, open_delay=1.0))
    harness.ask(patience=FOREVER)
    harness.answer(harness.out[0], DOWN_502)
    assert harness.to_probe().started == 2.0, "the flight's own 2 s, not the breaker's 1 s"
    harness.answer(harness.out[0], DOWN_502)
    assert harness.to_probe().started == 6.0


def test_g7_a_poisoned_key_never_probes_while_another_can() -> None:
    harness, poisoned = opened(), Account()
    poisoned._failures = 1
    harness.ask(poisoned, FOREVER)
    harness.ask(patience=FOREVER)
    assert harness.to_probe().account is not poisoned
    harness.answer(harness.out[0], MINE)
    assert [poisoned] == [permit.account for permit in harness.out], "better than nobody"


@pytest.mark.parametrize("outcome", [REFUSED, GOOD])
def test_g7_g8_a_living_endpoint_forgives_every_backoff(outcome: Outcome) -> None:
    harness = DispatcherHarness()
    waiters = harness.trip(40)
    for _ in range(5):
        harness.answer(harness.to_probe(), DOWN_502)
    harness.answer(harness.to_probe(), outcome)
    at = harness.now
    while harness.out:
        harness.answer(harness.out[0], GOOD)
    assert (at, 39 if outcome is REFUSED else 40) == (harness.now, sum(w.token is not None for w in waiters))


def test_g8_callers_without_a_token_come_before_refreshes() -> None:
    harness, holder = DispatcherHarness(maxsize=1), Account()
    harness.ask(holder)
    harness.answer(harness.out[0], GOOD)
    harness.at(60_000.0)
    busy = harness.ask()
    harness.feed(harness.dispatcher.refresh(holder, harness.moment))
    late = harness.ask()
    order = []
    while harness.out:
        order.append(harness.out[0].account)
        harness.answer(harness.out[0], GOOD)
    assert [busy.account, late.account, holder] == order


def test_g9_calls_that_never_park_alone_still_end_an_outage() -> None:
    harness = opened()
    assert harness.ask(patience=0.0).failure is not None, "before the delay is over"
    harness.at(2.0)
    probe, second = harness.ask(patience=0.0), harness.ask(patience=0.0)
    assert [permit.is_probe for permit in harness.out] == [True]
    assert (probe.done, second.done) == (False, True)
    harness.answer(harness.out[0], GOOD)
    assert (harness.dispatcher.breaker.state, probe.token is not None) == ("closed", True)


def test_g9_a_call_that_never_parks_and_probes_in_vain_is_told_at_once() -> None:
    harness = opened()
    harness.at(2.0)
    probe = harness.ask(patience=0.0)
    harness.answer(harness.out[0], DOWN_502)
    assert probe.failure is not None
    assert probe.failure.error is CircuitOpenError
    assert nothing_left(harness)


def test_g9_a_call_that_never_parks_does_not_join_a_flight_that_sleeps() -> None:
    harness, account = DispatcherHarness(), Account()
    parked = harness.ask(account)
    harness.answer(harness.out[0], DOWN_502)
    hasty = harness.ask(account, 0.0)
    assert hasty.failure is not None
    assert hasty.failure.error is ColonyServerError
    assert not parked.done


def test_g9_the_default_patience_leaves_when_the_next_probe_lies_beyond_it() -> None:
    harness = opened()
    waiter = harness.ask(patience=122.0)
    while not waiter.done:
        if harness.out:
            harness.answer(harness.out[0], DOWN_502)
        else:
            harness.at(harness.wake)
    assert waiter.failure is not None
    assert waiter.failure.error is CircuitOpenError
    assert 50.0 < harness.now < 123.3
    assert waiter.failure.extra["retry_after"] > 0.0


def test_g9_a_call_stays_while_another_keys_probe_may_end_the_outage() -> None:
    """Its own backoff is longer than its patience, but the end of an outage forgives that (G8)."""
    harness = opened()
    hasty, patient = harness.ask(patience=20.0), harness.ask(patience=3600.0)
    harness.dispatcher.waiters.flights[hasty.account].failures = 5
    probe = harness.to_probe()
    assert probe.account is hasty.account
    harness.answer(probe, DOWN_502)
    assert not hasty.done
    harness.answer(harness.to_probe(), GOOD)
    harness.answer(harness.out[0], GOOD)
    assert (True, True) == (hasty.token is not None, patient.token is not None)


def test_g6_g9_a_503_is_waited_for_as_long_as_a_probe_waits_and_no_longer() -> None:
    """A day is asked for: the breaker believes 900 s, and so does the call that was told."""
    harness = opened()
    waiter = harness.ask(patience=3600.0)
    harness.answer(harness.to_probe(), Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=86_400.0))
    assert not waiter.done
    probe = harness.to_probe()
    assert 900.0 <= harness.now - probe.flight.created_at <= 910.0
    harness.answer(probe, GOOD)
    assert waiter.token is not None


def test_g26_close_gives_attempts_up_in_the_order_of_their_flights() -> None:
    """The dispatcher is deterministic: a set of attempts, in the order of their addresses, would not be."""
    harness = DispatcherHarness()
    harness.dispatcher.limiter.limit = 40.0
    for _ in range(40):
        harness.ask()
    actions = harness.dispatcher.close(harness.moment)
    assert harness.out == [action.permit for action in actions if isinstance(action, act.CancelAttempt)]


def test_an_operators_opening_has_no_status_of_its_own() -> None:
    harness = DispatcherHarness()
    harness.dispatcher.breaker.last_status = 502
    harness.feed(harness.dispatcher.force("open", harness.moment))
    assert ("opened by an operator", 0) == (harness.dispatcher.breaker.cause, harness.dispatcher.breaker.last_status)
    refused = harness.ask(patience=1.0)
    assert refused.failure is not None
    assert refused.failure.status == 503
