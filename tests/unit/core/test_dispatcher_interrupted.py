"""G3: what an exception from outside has left half done is mended. All lines are struck in ``test_interrupted``."""

from __future__ import annotations

import pytest

from tests.simulation.interrupted import PLAYS, strike
from tests.support.dispatcher_harness import GOOD, DispatcherHarness
from tests.support.private import Account


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
