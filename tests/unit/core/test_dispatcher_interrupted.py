"""G3: what an exception from outside has left half done is mended. All lines are struck in ``test_interrupted``."""

from __future__ import annotations

import pytest

from tests.simulation.interrupted import PLAYS, strike
from tests.support.desk import GOOD, Desk
from tests.support.private import Account


@pytest.mark.parametrize("name", PLAYS)
def test_g3_an_exception_at_some_lines_of_a_decision_loses_nothing(name: str) -> None:
    strikes, wrong = strike(name, every=29)
    assert [] == wrong
    assert strikes > 50


def test_g3_a_call_that_was_taken_out_of_its_flight_and_not_told_waits_again() -> None:
    desk = Desk()
    waiter = desk.ask()
    flight = desk.desk.waiters.flights.get(waiter.account)
    assert flight is not None
    flight.take_all()
    desk.feed(desk.desk.mend([waiter], (), desk.moment))
    assert (1, True) == (desk.desk.waiters.count, flight.has(waiter))
    desk.answer(desk.out[0], GOOD)
    assert waiter.token is not None


def test_g15_a_key_that_is_being_asked_for_its_code_is_not_asked_twice() -> None:
    desk = Desk()
    desk.gives_codes = False
    waiter = desk.ask(Account(totp=True))
    for asked, times in (({waiter.account}, 1), (set[Account](), 2)):
        desk.feed(desk.desk.mend([waiter], asked, desk.moment))
        assert [waiter.account] * times == desk.asked


def test_g3_a_call_that_was_told_and_not_taken_out_of_its_flight_is_woken_and_leaves() -> None:
    desk = Desk()
    waiter = desk.ask()
    flight = desk.desk.waiters.flights.get(waiter.account)
    assert flight is not None
    waiter.done = True
    desk.feed(desk.desk.mend([waiter], (), desk.moment))
    assert ([waiter], []) == (desk.done, flight.waiters)
