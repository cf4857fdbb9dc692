"""The retry budget: in any 60 s, retries <= ratio x first attempts + reserve (G12)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colony_pool.config import RetryBudgetConfig
from tests.support.dispatcher_harness import DOWN_502, GOOD, DispatcherHarness
from tests.support.private import LOCAL, Account, Outcome, RetryBudget

GAPS = st.one_of(st.floats(0.0, 90.0), st.sampled_from([0.0, 0.001, 0.5, 1.0, 29.999, 59.0, 60.0, 61.0, 1e6]))
INPUTS = st.lists(st.tuples(GAPS, st.sampled_from(["first", "retry", "retry", "retry", "undo"])), max_size=120)


@settings(max_examples=400, deadline=None)
@given(INPUTS, st.floats(0.0, 3.0), st.integers(0, 6), st.floats(0.0, 1e9))
def test_g12_the_law_holds_in_every_window_that_ends_with_a_retry(
    inputs: list[tuple[float, str]], ratio: float, reserve: int, start: float
) -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio=ratio, reserve=reserve))
    now = start
    firsts: list[float] = []
    retries: list[float] = []
    for gap, what in inputs:
        now += gap
        if what == "first":
            budget.deposit(now)
            firsts.append(now)
        elif what == "undo":  # a retry that is not yet a minute old never reached the wire
            if retries and retries[-1] > now - 60.0:
                budget.refund(retries.pop())
        elif budget.withdraw(now):
            retries.append(now)
            seen = [t for t in retries if t > now - 60.0]
            assert len(seen) <= ratio * sum(t > now - 60.0 for t in firsts) + reserve
        assert budget.balance_at(now) == pytest.approx(budget.balance(now))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=60), st.integers(1, 5))
def test_g12_a_refused_retry_is_told_when_to_come_back_and_then_gets_it(gaps: list[float], reserve: int) -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio=0.0, reserve=reserve))
    now = 0.0
    for gap in gaps:
        now += gap
        asked = now
        while not budget.withdraw(now):
            again = budget.next_refill()
            assert again > now, "no livelock"
            now = again
        assert now - asked <= 62.0


def test_g12_the_reserve_is_for_those_who_come_first() -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio=0.2, reserve=3))
    assert [budget.withdraw(0.0) for _ in range(4)] == [True, True, True, False]
    for _ in range(5):
        budget.deposit(1.0)
    assert [budget.withdraw(1.0), budget.withdraw(1.0)] == [True, False]


def test_g12_a_refund_goes_back_to_its_own_moment() -> None:
    """A refund of an old retry must not make a newer one be forgotten a minute early."""
    budget = RetryBudget(RetryBudgetConfig(ratio=0.0, reserve=2))
    assert budget.withdraw(0.0)
    assert budget.withdraw(30.0)
    budget.refund(0.0)
    assert budget.withdraw(62.0)
    assert not budget.withdraw(63.0), "those of 30 s and 62 s are two within a minute"


def test_g12_with_no_retry_out_nothing_is_waited_for() -> None:
    assert RetryBudget(RetryBudgetConfig(ratio=0.0, reserve=0)).next_refill() == float("inf")


def test_g12_a_window_of_another_length_is_counted_in_its_own_sixtieths() -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio=0.0, reserve=2, window=120.0))
    assert budget.withdraw(1.0)
    assert budget.withdraw(3.0)
    assert not budget.withdraw(100.0)
    assert budget.next_refill() == 122.0
    assert not budget.withdraw(121.9)
    assert (0.0, 1.0) == (budget.balance_at(121.9), budget.balance_at(122.0))
    assert budget.withdraw(122.0)


def test_g12_a_refund_in_a_window_of_another_length_finds_its_moment() -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio=0.0, reserve=2, window=120.0))
    budget.withdraw(1.0)
    budget.withdraw(3.0)
    budget.refund(1.0)
    assert (1.0, 1.0, 2.0) == (budget.balance(3.0), budget.balance(122.0), budget.balance(124.0))


def test_g12_a_refund_of_what_is_forgotten_adds_nothing() -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio=0.0, reserve=2))
    budget.withdraw(0.0)
    assert budget.balance(100.0) == 2.0
    budget.refund(0.0)
    assert budget.balance(100.0) == 2.0


def test_g12_a_first_attempt_that_never_left_is_counted_when_it_does() -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio=2.0, reserve=10))
    budget.deposit(0.0)
    budget.cancel(0.0)
    assert budget.balance(1.0) == 10.0
    budget.deposit(1.0)
    assert budget.balance(1.0) == 12.0
    budget.deposit(2.0)
    assert budget.balance(200.0) == 10.0
    budget.cancel(2.0)
    assert budget.balance(200.0) == 10.0, "what is forgotten cannot be taken back"


def test_g12_an_attempt_without_an_unspent_code_deposits_nothing() -> None:
    harness = DispatcherHarness()
    harness.ask(Account(totp=True))
    harness.answer(harness.out[0], Outcome(LOCAL, wait_for_totp=True))
    assert harness.dispatcher.retry_budget.balance(harness.now) == harness.dispatcher.config.retry_budget.reserve


def test_g12_first_attempts_count_for_a_little_less_than_a_window() -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio=2.0, reserve=1, window=120.0))
    budget.deposit(2.0)
    assert (3.0, 3.0) == (budget.limit_at(121.9), budget.balance(121.9))
    assert (1.0, 1.0) == (budget.limit_at(122.0), budget.balance(122.0))


def test_g12_a_million_attempts_cost_sixty_numbers() -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio=1.0, reserve=1))
    for i in range(10_000):
        budget.deposit(i / 100.0)
        budget.withdraw(i / 100.0)
    assert (60, 61) == (len(budget._firsts), len(budget._retries))


def test_g12_g8_who_failed_as_the_outage_began_does_not_queue_for_the_reserve_when_it_is_over() -> None:
    harness = DispatcherHarness(retry_budget=RetryBudgetConfig(ratio=0.0, reserve=2))
    waiters = [harness.ask(patience=36_000.0) for _ in range(30)]
    while not all(
        flight.failures for flight in harness.dispatcher.waiters.flights.values()
    ):  # each fails once, by hand of an operator
        harness.feed(harness.dispatcher.force("closed", harness.moment))
        for permit in list(harness.out):
            harness.answer(permit, DOWN_502)
        harness.at(harness.now + 0.5)
    harness.feed(harness.dispatcher.force("open", harness.moment))
    harness.answer(harness.to_probe(), GOOD)
    over = harness.now
    while harness.out or not all(waiter.done for waiter in waiters):
        harness.at(harness.now + 0.02)
        for permit in list(harness.out):
            harness.answer(permit, GOOD)
    assert harness.now - over < 5.0
    assert all(waiter.token for waiter in waiters)
