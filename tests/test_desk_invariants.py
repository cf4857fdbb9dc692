"""What must hold after every input, whatever the order (Hypothesis draws it)."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from colony_pool._core.account import Account, Waiter
from colony_pool._core.budget import RetryBudget
from colony_pool._core.outcome import DOWN, FAULT, LOCAL, OK, Outcome
from colony_pool.config import RetryBudgetConfig
from tests.desk import COUNTING, DOWN_502, GOOD, REFUSED, SILENCE, Desk

OUTCOMES = [
    GOOD, GOOD, DOWN_502, DOWN_502, DOWN_502, REFUSED, COUNTING, SILENCE, Outcome(FAULT, 500, "HTTP 500"),
    Outcome(LOCAL, code_wait=True), Outcome(LOCAL, local_error=RuntimeError()),
    Outcome(DOWN, 503, "HTTP 503", retry_after=5.0), Outcome(OK, 200, jwt="x", life=30.0, exhausted_for=3.0),
]  # fmt: skip
STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**30)), min_size=1, max_size=150)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_g1_g3_g5_g13_invariants_hold_after_every_input(steps: list[tuple[int, int]]) -> None:
    desk = Desk()
    accounts = [Account(totp=i % 5 == 0) for i in range(8)]
    waiters: list[Waiter] = []
    for step, number in steps:
        before = len(desk.started)
        _apply(desk, accounts, waiters, step, number)
        _check(desk, waiters, desk.started[before:])
    for _ in range(3000):  # a healthy hour: nobody is forgotten
        if not (desk.desk.waiting or desk.desk.live or desk.desk.flights):
            break
        while desk.out:
            desk.answer(desk.out[0], GOOD)
        desk.at(min(desk.wake, desk.now + 60.0))
    assert (0, set(), {}) == (desk.desk.waiting, desk.desk.live, desk.desk.flights)
    assert all(waiter.done for waiter in waiters)
    finished = [waiter for waiter in waiters if waiter.token or waiter.failure]
    assert sorted(map(id, finished)) == sorted(map(id, desk.done)), "each is told exactly once"


def _apply(desk: Desk, accounts: list[Account], waiters: list[Waiter], step: int, number: int) -> None:
    account = accounts[number % len(accounts)]
    if step <= 3:
        waiters.append(desk.ask(account, [0.0, 1.0, 5.0, 122.0, 3600.0][number % 5]))
    elif step <= 6 and desk.out:
        desk.answer(desk.out[number % len(desk.out)], OUTCOMES[number % len(OUTCOMES)])
    elif step == 7 and waiters:
        desk.feed(desk.desk.cancel(waiters[number % len(waiters)], desk.now, desk.wall))
    elif step == 8:
        desk.at(desk.now + [0.01, 0.5, 3.0, 40.0, 400.0][number % 5])
    elif number % 7 == 0:
        desk.feed(desk.desk.force(["open", "closed", "half_open"][number % 3], desk.now))
    elif number % 7 == 1:
        desk.feed(desk.desk.invalidate(account, account.token, True, desk.now))
    else:
        desk.feed(desk.desk.refresh(account, desk.now, desk.wall))
    desk.out = [permit for permit in desk.out if permit.alive]


def _check(desk: Desk, waiters: list[Waiter], started: list[object]) -> None:
    core = desk.desk
    probes = [p for p in core.live if p.is_probe and p.generation == core.circuit.generation]
    assert len(probes) <= 1
    assert len(core.live) <= core.config.maxsize
    assert core.waiting == sum(not w.done for w in waiters)
    flying = [p.account.serial for p in core.live]
    assert len(flying) == len(set(flying)), "one attempt per key at a time"
    if core.hold_until > desk.now and core.hold_until - desk.now > 1.0:
        assert not [p for p in core.live if p.started > core.hold_until - 1e9 and p.started > desk.now]
    for flight in core.flights.values():
        assert flight.account.flight is flight
        assert not any(w.done for w in flight.waiters.values())
    assert core.window.active >= 0


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 3.0), st.integers(0, 12))
def test_g12_in_any_sixty_seconds_retries_stay_within_the_budget(seed: int, ratio: float, reserve: int) -> None:
    dice = random.Random(seed)
    budget = RetryBudget(RetryBudgetConfig(ratio=ratio, reserve=reserve))
    now, firsts, retries = 0.0, [], []
    for _ in range(300):
        now += dice.choice([0.0, 0.1, 1.0, 7.0, 30.0])
        if dice.random() < 0.4:
            budget.deposit(now)
            firsts.append(now)
        elif budget.withdraw(now):
            retries.append(now)
            within = [t for t in retries if t > now - 60.0]
            assert len(within) <= ratio * sum(t > now - 60.0 for t in firsts) + reserve
        assert budget.balance(now) == budget.balance_at(now)
