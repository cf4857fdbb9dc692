"""G3: what an exception from outside has left half done is mended. All lines are struck in ``test_interrupted``."""

from __future__ import annotations

import pytest

from colony_pool.config import PolicyConfig
from tests.simulation.interrupted import PLAYS, strike
from tests.support.dispatcher_harness import DOWN_502, FOREVER, GOOD, DispatcherHarness
from tests.support.private import Account, Waiter, issue
from tests.support.private import actions as act


@pytest.mark.parametrize("name", PLAYS)
def test_g3_an_exception_at_some_lines_of_a_decision_loses_nothing(name: str) -> None:
    strikes, wrong = strike(name, every=29)
    assert [] == wrong
    assert strikes > 50


def test_g3_a_call_that_was_taken_out_of_its_flight_and_not_told_waits_again() -> None:
    harness = DispatcherHarness()
    waiter = harness.ask()
    flight = harness.dispatcher.waiters.flights.get(waiter.account)
    assert flight is not None
    flight.take_all()
    harness.feed(harness.dispatcher.mend([waiter], (), harness.moment))
    assert (1, True) == (harness.dispatcher.waiters.count, flight.has(waiter))
    harness.answer(harness.out[0], GOOD)
    assert waiter.token is not None


def test_g15_a_key_that_is_being_asked_for_its_code_is_not_asked_twice() -> None:
    harness = DispatcherHarness()
    harness.gives_codes = False
    waiter = harness.ask(Account(totp=True))
    for asked, times in (({waiter.account}, 1), (set[Account](), 2)):
        harness.feed(harness.dispatcher.mend([waiter], asked, harness.moment))
        assert [waiter.account] * times == harness.asked


def test_g3_a_call_that_was_told_and_not_taken_out_of_its_flight_is_woken_and_leaves() -> None:
    harness = DispatcherHarness()
    waiter = harness.ask()
    flight = harness.dispatcher.waiters.flights.get(waiter.account)
    assert flight is not None
    waiter.done = True
    harness.feed(harness.dispatcher.mend([waiter], (), harness.moment))
    assert ([waiter], []) == (harness.done, flight.waiters)


def test_g3_g9_who_waits_in_its_flight_waits_no_longer_for_an_interrupt() -> None:
    harness = DispatcherHarness(maxsize=1)
    harness.ask(patience=1000.0)
    waiter = harness.ask(patience=10.0)
    harness.at(5.0)
    reported = len(harness.events)
    harness.feed(harness.dispatcher.mend([waiter], (), harness.moment))
    assert [] == harness.events[reported:], "nor is it told as another call"
    harness.at(10.2)
    assert waiter.done


@pytest.mark.parametrize(("at", "leaves"), [(5.0, 10.2), (20.0, 20.0)])
def test_g3_g9_who_was_taken_out_of_its_flight_waits_for_what_is_left_of_its_patience(
    at: float, leaves: float
) -> None:
    harness = DispatcherHarness(maxsize=1)
    harness.at(1.0)
    harness.ask(patience=1000.0)
    harness.now = 2.0
    waiter = harness.ask(patience=9.0)
    harness.dispatcher.waiters.flights[waiter.account].take_all()
    harness.now = 2.0 + at
    harness.feed(harness.dispatcher.mend([waiter], (), harness.moment))
    assert waiter.done == (at > 9.0)
    harness.at(2.0 + leaves)
    assert waiter.done


# -- what is derived anew ------------------------------------------------------------------------------------------


def mended(harness: DispatcherHarness, *callers: Waiter) -> list[act.Action]:
    actions = harness.dispatcher.mend(callers, (), harness.moment)
    harness.feed([action for action in actions if not isinstance(action, act.StartAttempt)])
    return actions


def test_g3_an_attempt_that_is_out_is_to_be_made_for_who_has_waited_longest() -> None:
    harness, account = DispatcherHarness(), Account()
    first, second = harness.ask(account), harness.ask(account)
    [made] = [action for action in mended(harness, first, second) if isinstance(action, act.StartAttempt)]
    assert (harness.out[0], first) == (made.permit, made.waiter)


@pytest.mark.parametrize(("moves", "active"), [([], 1), (["open"], 0), (["half_open"], 0)])
def test_g3_what_is_in_flight_counts_once_but_for_a_probe_and_what_is_history(moves: list[str], active: int) -> None:
    harness = DispatcherHarness()
    if moves != ["half_open"]:
        harness.ask(patience=FOREVER)
    for state in moves:
        harness.feed(harness.dispatcher.force(state, harness.moment))
    harness.ask(patience=FOREVER)
    harness.dispatcher.limiter.recount(7)
    mended(harness, *(waiter for flight in harness.dispatcher.waiters.flights.values() for waiter in flight.waiters))
    assert (1, active) == (len(harness.out), harness.dispatcher.limiter.active)


@pytest.mark.parametrize(("opened", "reported"), [(False, ["close"]), (True, ["open"])])
def test_g3_pybreakers_listeners_are_told_of_the_state(opened: bool, reported: list[str]) -> None:
    harness = DispatcherHarness()
    harness.dispatcher.breaker.failures = 2
    if opened:
        harness.feed(harness.dispatcher.force("open", harness.moment))
    harness.replays.clear()
    mended(harness)
    assert reported == harness.replays


def test_g3_g9_a_call_that_never_parks_still_does_not_and_what_is_gone_is_forgotten() -> None:
    harness, account = DispatcherHarness(), Account()
    stays, gone = harness.ask(account, 0.0), harness.ask(Account(), 0.0)
    del harness.dispatcher.waiters.flights[gone.account]
    mended(harness, stays)
    assert [[stays]] == [list(waiters) for waiters in harness.dispatcher.waiters._nonblocking.values()]
    harness.answer(harness.out[0], DOWN_502)
    assert stays.done


def test_g3_g17_a_refresh_in_the_queue_stays_there_and_a_flight_without_callers_does_not() -> None:
    harness, account = DispatcherHarness(maxsize=1), Account()
    harness.ask(account)
    harness.answer(harness.out[0], GOOD)
    harness.at(60_000.0)
    harness.ask(patience=FOREVER)
    harness.feed(harness.dispatcher.refresh(account, harness.moment))
    empty = harness.ask(patience=FOREVER)
    harness.dispatcher.waiters.flights[empty.account].take_all()
    mended(harness)
    assert [account] == [key for key, flight in harness.dispatcher.waiters.flights.items() if flight.permit is None]
    harness.answer(harness.out[0], GOOD)
    assert [account] == [permit.account for permit in harness.out]


def test_g3_who_was_not_yet_told_of_a_token_is_told_now() -> None:
    harness = DispatcherHarness(maxsize=1)
    harness.ask(patience=FOREVER)
    waiter = harness.ask(patience=FOREVER)
    waiter.account.take_token(issue("jwt", 3600.0, 0.0, 0.0, harness.moment, PolicyConfig()))
    mended(harness, waiter)
    assert waiter.token is waiter.account.token
    assert waiter.account not in harness.dispatcher.waiters.flights
