"""A dispatcher that many wait at: brought to where a measurement begins, for as many keys as one likes."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from typing import Any

from colony_pool.config import BreakerConfig, DispatcherConfig, RetryConfig
from tests.support.private import (
    OK,
    RATE_LIMITED,
    REJECTED,
    UNAVAILABLE,
    Account,
    Dispatcher,
    Instant,
    Outcome,
    Permit,
    Waiter,
)
from tests.support.private import actions as act

GOOD = Outcome(OK, 200, jwt="jwt", life=86_400.0)
BAD = Outcome(UNAVAILABLE, 502, "HTTP 502")
REFUSED = Outcome(REJECTED, 401, "no")
COUNTING = Outcome(RATE_LIMITED, 429, retry_after=3600.0)

WALL = 1_000_000_000.0
PATIENT = 1e7


class LoadedHarness:
    """A dispatcher and the attempts that it has out."""

    def __init__(self, **options: Any) -> None:
        self.dispatcher = Dispatcher(DispatcherConfig(**options), random.Random(1).random)
        self.now, self.wake = 0.0, float("inf")
        self.out: deque[Permit] = deque()

    def feed(self, actions: Iterable[act.Action]) -> None:
        for action in actions:
            if isinstance(action, act.StartAttempt):
                self.out.append(action.permit)
            elif isinstance(action, act.WakeAt):
                self.wake = action.at

    def ask(self, account: Account | None = None, patience: float = PATIENT) -> Waiter:
        waiter = Waiter(account or Account(), patience)
        self.feed(self.dispatcher.demand(waiter, Instant(self.now, WALL + self.now)))
        return waiter

    def ask_all(self, accounts: Iterable[Account], patience: float = PATIENT) -> list[Waiter]:
        return [self.ask(account, patience) for account in accounts]

    def answer(self, outcome: Outcome) -> None:
        self.feed(self.dispatcher.result(self.out.popleft(), outcome, Instant(self.now, WALL + self.now)))

    def cancel(self, waiters: Iterable[Waiter]) -> None:
        for waiter in waiters:
            self.feed(self.dispatcher.cancel(waiter, Instant(self.now, WALL + self.now)))

    def tick(self, at: float) -> None:
        self.now = at
        self.feed(self.dispatcher.tick(Instant(at, WALL + at)))

    @property
    def moment(self) -> Instant:
        return Instant(self.now, WALL + self.now)

    def force(self, state: str) -> None:
        self.feed(self.dispatcher.force(state, self.moment))

    def to_attempt(self) -> None:
        """Go to the moment at which something leaves."""
        while not self.out:
            assert self.wake < float("inf"), "nothing will ever leave"
            self.tick(self.wake)

    def serve(self, accounts: list[Account]) -> None:
        """Have all of them get a token."""
        self.ask_all(accounts)
        while self.dispatcher.waiters.flights:
            self.to_attempt()
            self.answer(GOOD)


def keys(n: int) -> list[Account]:
    return [Account() for _ in range(n)]


def queued(n: int, patience: float = PATIENT) -> tuple[LoadedHarness, list[Waiter]]:
    """Closed; one attempt is out, and all others are queued behind it."""
    harness = LoadedHarness()
    return harness, harness.ask_all(keys(n), patience)


def callers(n: int) -> tuple[LoadedHarness, list[Waiter]]:
    """Closed; all want the token of one key, whose attempt is out."""
    harness = LoadedHarness()
    return harness, harness.ask_all([Account()] * n)


def behind_open(n: int, patience: float = PATIENT) -> tuple[LoadedHarness, list[Waiter]]:
    """Open; all wait for the probe."""
    harness = LoadedHarness()
    harness.force("open")
    return harness, harness.ask_all(keys(n), patience)


def half_open(n: int) -> tuple[LoadedHarness, list[Waiter]]:
    """The probe is out; all others wait for it."""
    harness, waiters = behind_open(n)
    harness.to_attempt()
    return harness, waiters


def backing_off(n: int) -> LoadedHarness:
    """Closed; all have failed once, and sleep for a long while."""
    retry = RetryConfig(max_retries=1, base_delay=1e6, max_delay=1e6, retry_on=frozenset({502}))
    harness = LoadedHarness(retry=retry, breaker=BreakerConfig(fail_max=10**9))
    for account in keys(n):
        harness.ask(account)
        harness.to_attempt()
        harness.answer(BAD)
    return harness
