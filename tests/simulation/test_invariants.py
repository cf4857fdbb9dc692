"""A seeded driver plays anything that can happen against the dispatcher and checks it after every input."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable

import pytest

from colony_pool.config import BreakerConfig, DispatcherConfig, RetryBudgetConfig
from tests.support.dispatcher_harness import COUNTING, DOWN_502, GOOD, REFUSED, SILENCE, WALL
from tests.support.private import (
    LOCAL,
    OK,
    SERVER_ERROR,
    UNAVAILABLE,
    Account,
    Dispatcher,
    Instant,
    Outcome,
    Permit,
    Waiter,
)
from tests.support.private import actions as act
from tests.support.private import events as ev

OUTCOMES = [
    DOWN_502, DOWN_502, DOWN_502, REFUSED, COUNTING, SILENCE, Outcome(SERVER_ERROR, 500, "HTTP 500"),
    Outcome(LOCAL, wait_for_totp=True), Outcome(LOCAL, local_error=RuntimeError()), Outcome("throttled", 429),
    Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=5.0), Outcome(OK, 200, jwt="x", life=90.0, exhausted_for=3.0),
    Outcome("denied", 401, "no", "AUTH_2FA_INVALID", totp_consumed=True),
    Outcome("throttled", 429, retry_after=300.0),
]  # fmt: skip
SHORT = Outcome(OK, 200, jwt="y", life=100.0)
KINDS = ("demand",) * 6 + ("result",) * 8 + ("cancel", "cancel", "time", "time", "time") + ("rare",)
SMALL = DispatcherConfig(
    maxsize=5,
    breaker=BreakerConfig(fail_max=4, min_failure_time=0.2),
    retry_budget=RetryBudgetConfig(ratio=0.5, reserve=3),
)


class Driver:
    """Holds the dispatcher to its invariants after every input."""

    def __init__(self, seed: int, config: DispatcherConfig) -> None:
        self.dice = random.Random(seed)
        self.dispatcher = Dispatcher(config, self.dice.random)
        self.config = config
        self.accounts = [Account(jitter_hash=self.dice.random(), totp=i % 5 == 0) for i in range(12)]
        self.waiters: list[Waiter] = []
        self.cancelled: set[int] = set()
        self.woken: Counter[int] = Counter()
        self.wire: list[Permit] = []  # attempts whose result is still to come, given up or not
        self.starts: list[tuple[float, bool]] = []
        self.now = 0.0
        self.wake = math.inf
        self.good = 0.3
        self.asked: list[Account] = []

    @property
    def moment(self) -> Instant:
        return Instant(self.now, WALL + self.now)

    def feed(self, step: Callable[[], list[act.Action]]) -> None:
        for action in step():
            if isinstance(action, act.StartAttempt):
                self.started(action.permit)
            elif isinstance(action, act.Wake):
                self.woken[id(action.waiter)] += 1
            elif isinstance(action, act.WakeAt):
                self.wake = action.at
                assert action.at > self.now, "WakeAt <= now spins"
            elif isinstance(action, act.AskCode):
                self.asked.append(action.account)
        self.check()
        while self.asked:
            self.answers_code(self.asked.pop(0), self.dice.random())

    def answers_code(self, account: Account, chance: float) -> None:
        """A callable returns: a code as a rule, sometimes the spent one, or its task was ended."""
        if chance < self.good or chance < 0.8:
            self.feed(lambda: self.dispatcher.code_given(account, self.moment))
            return
        outcome = Outcome("local", detail="no code", wait_for_totp=chance < 0.9, is_transient=chance >= 0.9)
        self.feed(lambda: self.dispatcher.code_missing(account, outcome, self.moment))

    def started(self, permit: Permit) -> None:
        core = self.dispatcher
        self.wire.append(permit)
        assert core.rate_limit.paused_until <= self.now, "nothing starts during a hold"
        assert permit.is_probe == (core.breaker.state != ev.CLOSED), "while open only the probe starts"
        if not permit.is_probe:
            self.starts.append((self.now, permit.is_retry))
            retries = sum(retry for t, retry in self.starts if t > self.now - 60.0)
            firsts = sum(not retry for t, retry in self.starts if t > self.now - 60.0)
            assert retries <= self.config.retry_budget.ratio * firsts + self.config.retry_budget.reserve

    def check(self) -> None:
        core = self.dispatcher
        probes = [p for p in core.in_flight.permits if p.is_probe]
        assert len(probes) <= 1
        assert core.in_flight.probe is (probes[0] if probes else None)
        assert len(core.in_flight.permits) <= self.config.maxsize
        assert len({p.account.serial for p in core.in_flight.permits}) == len(core.in_flight.permits)
        assert all(p.alive and p.deadline > self.now for p in core.in_flight.permits)
        assert core.waiters.count == sum(not w.done for w in self.waiters)
        assert core.waiters.count == sum(len(f.waiters) for f in core.waiters.flights.values())
        counted = [p for p in core.in_flight.permits if not p.is_probe and p.generation == core.breaker.generation]
        if core.breaker.state == ev.CLOSED:
            assert len(counted) == core.limiter.active, "permits come back"
        for flight in core.waiters.flights.values():
            assert core.waiters.flights.get(flight.account) is flight
            assert flight.permit is None or flight.permit in core.in_flight.permits
            assert not any(w.done for w in flight.waiters)
        for waiter in self.waiters[-50:]:
            finished = waiter.token is not None or waiter.failure is not None
            assert waiter.done == (finished or id(waiter) in self.cancelled)
            assert self.woken[id(waiter)] == int(finished)

    def wall(self) -> float:
        return WALL + self.now

    def pass_time(self, until: float) -> None:
        ticks = 0
        while self.wake <= until:
            self.now = max(self.now, self.wake)
            self.feed(lambda: self.dispatcher.tick(self.moment))
            ticks += 1
            assert ticks < 20_000, "livelock"
        self.now = until

    def step(self) -> None:
        kind = self.dice.choice(KINDS)
        account = self.dice.choice(self.accounts)
        if kind == "demand":
            waiter = Waiter(account, self.dice.choice([0.0, 0.3, 5.0, 40.0, 122.0, 3600.0]))
            self.waiters.append(waiter)
            self.feed(lambda: self.dispatcher.demand(waiter, self.moment))
        elif kind == "result" and self.wire:
            permit = self.wire.pop(self.dice.randrange(len(self.wire)))
            outcome = SHORT if self.dice.random() < self.good else self.dice.choice(OUTCOMES)
            self.feed(lambda: self.dispatcher.result(permit, outcome, self.moment))
        elif kind == "cancel" and self.waiters:
            waiter = self.dice.choice(self.waiters[-20:])
            if not waiter.done:
                self.cancelled.add(id(waiter))
            self.feed(lambda: self.dispatcher.cancel(waiter, self.moment))
        elif kind == "time":
            self.pass_time(self.now + self.dice.choice([0.0, 0.05, 0.5, 0.5, 2.0, 7.0, 35.0]))
        else:
            self.rare(account)

    def rare(self, account: Account) -> None:
        self.good = self.dice.choice([0.0, 0.2, 0.9])
        what = self.dice.randrange(7)
        token = account.token
        if what < 3:
            state = (ev.OPEN, ev.HALF_OPEN, ev.CLOSED)[what]
            self.feed(lambda: self.dispatcher.force(state, self.moment))
        elif what == 3:
            self.feed(lambda: self.dispatcher.invalidate(account, self.moment))
        elif what == 4 and token is not None:
            self.feed(lambda: self.dispatcher.token_refused(account, token, self.moment))
        elif what == 5 and token is not None:
            self.feed(lambda: self.dispatcher.adopt(self.dice.choice(self.accounts), token, self.moment))
        else:
            self.feed(lambda: self.dispatcher.refresh(account, self.moment))

    def recover(self) -> None:
        """The endpoint answers everybody at last: nobody is forgotten, nothing leaks."""
        for _ in range(2000):
            while self.wire:
                permit = self.wire.pop()
                self.feed(lambda p=permit: self.dispatcher.result(p, GOOD, self.moment))  # type: ignore[misc]
            if not (self.dispatcher.waiters.flights or self.dispatcher.waiters.count):
                break
            self.pass_time(min(max(self.wake, self.now), self.now + 60.0))
        core = self.dispatcher
        assert (0, {}, set(), None, {}) == (
            core.waiters.count,
            core.waiters.flights,
            core.in_flight.permits,
            core.in_flight.probe,
            core.waiters._nonblocking,
        )
        assert all(w.done for w in self.waiters)


@pytest.mark.parametrize("config", [DispatcherConfig(), SMALL], ids=["defaults", "small"])
@pytest.mark.parametrize("block", range(10))
def test_g1_g3_g5_g12_g13_whatever_happens_in_whatever_order(block: int, config: DispatcherConfig) -> None:
    for seed in range(block * 30, block * 30 + 30):
        driver = Driver(seed, config)
        for _ in range(250):
            driver.step()
        driver.recover()


@pytest.mark.parametrize("seed", range(40))
def test_g26_close_ends_everything_at_any_moment(seed: int) -> None:
    driver = Driver(seed, SMALL)
    for _ in range(driver.dice.randrange(10, 200)):
        driver.step()
    driver.feed(lambda: driver.dispatcher.close(driver.moment))
    core = driver.dispatcher
    assert (0, {}, set(), None) == (
        core.waiters.count,
        core.waiters.flights,
        core.in_flight.permits,
        core.in_flight.probe,
    )
    while driver.wire:
        driver.feed(lambda: core.result(driver.wire.pop(), GOOD, driver.moment))
    for account in driver.accounts:
        account.token = None
        waiter = Waiter(account, 5.0)
        driver.waiters.append(waiter)
        driver.feed(lambda w=waiter: core.demand(w, driver.moment))  # type: ignore[misc]
        assert waiter.failure is not None
    assert core.waiters.flights == {}
