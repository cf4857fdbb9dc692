"""A dispatcher without a shell: tests tell it what happened and read what it wants."""

from __future__ import annotations

import random
from typing import Any

from colony_pool.config import DispatcherConfig
from tests.support.private import (
    LOCAL,
    NETWORK_ERROR,
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
DOWN_502 = Outcome(UNAVAILABLE, 502, "HTTP 502")
REFUSED = Outcome(REJECTED, 401, "no")
COUNTING = Outcome(RATE_LIMITED, 429, retry_after=30.0)
SILENCE = Outcome(NETWORK_ERROR, detail="refused")
MINE = Outcome(LOCAL, local_error=RuntimeError("mine"))
WALL = 1_000_000_000.0
FOREVER = 36_000.0
START = Instant(0.0, WALL)


class DispatcherHarness:
    """Feeds a dispatcher and keeps what it answered."""

    def __init__(self, seed: int = 0, **options: Any) -> None:
        self.rand = random.Random(seed).random  # a test may put another one in its place
        self.not_begun: set[Permit] = set()  # attempts that wait for something of this host
        self.dispatcher = Dispatcher(
            DispatcherConfig(**options), self._draw, has_begun=lambda permit: permit not in self.not_begun
        )
        self.now = 0.0
        self.wake = float("inf")
        self.started: list[Permit] = []
        self.out: list[Permit] = []
        self.done: list[Waiter] = []
        self.events: list[Any] = []
        self.replays: list[str] = []
        self.asked: list[Account] = []  # keys whose callable has not returned
        self.gives_codes = True  # each callable returns a code at once

    def feed(self, actions: list[act.Action]) -> None:
        for action in actions:
            if isinstance(action, act.StartAttempt):
                self.started.append(action.permit)
                self.out.append(action.permit)
            elif isinstance(action, act.Wake):
                self.done.append(action.waiter)
            elif isinstance(action, act.MirrorToPybreaker):
                self.replays.append(action.what)
            elif isinstance(action, act.WakeAt):
                assert action.at > self.now, "WakeAt(t <= now) spins"
                self.wake = action.at
            elif isinstance(action, act.AskCode):
                self.asked.append(action.account)
            elif not isinstance(action, (act.CancelAttempt, act.TokenChanged)):
                self.events.append(action)
        while self.asked and self.gives_codes:
            self.feed(self.dispatcher.code_given(self.asked.pop(0), self.moment))

    def ask(self, account: Account | None = None, patience: float = 122.0) -> Waiter:
        waiter = Waiter(account or Account(), patience)
        self.feed(self.dispatcher.demand(waiter, self.moment))
        return waiter

    def _draw(self) -> float:
        return self.rand()

    @property
    def moment(self) -> Instant:
        return Instant(self.now, WALL + self.now)

    def answer(self, permit: Permit, outcome: Outcome) -> None:
        if permit in self.out:
            self.out.remove(permit)
        self.feed(self.dispatcher.result(permit, outcome, self.moment))

    def at(self, now: float) -> None:
        """Let time pass, waking the dispatcher as it asks to be."""
        for _ in range(100_000):
            if self.wake > now:
                break
            self.now = max(self.now, self.wake)
            self.feed(self.dispatcher.tick(self.moment))
        else:
            raise AssertionError("the dispatcher spins")
        self.now = now
        self.feed(self.dispatcher.tick(self.moment))

    def trip(self, n: int = 40) -> list[Waiter]:
        """Open the breaker with ``n`` patient callers."""
        waiters = [self.ask(patience=36_000.0) for _ in range(n)]
        while self.dispatcher.breaker.state == "closed":
            while self.out and self.dispatcher.breaker.state == "closed":
                self.answer(self.out[0], DOWN_502)
            self.at(self.now + 0.1)
        return waiters

    def to_probe(self) -> Permit:
        """Go to the moment at which the probe leaves."""
        before = len(self.started)
        while len(self.started) == before:
            self.at(self.wake)
        assert self.started[-1].is_probe
        return self.started[-1]


def opened(**options: Any) -> DispatcherHarness:
    harness = DispatcherHarness(**options)
    harness.feed(harness.dispatcher.force("open", START))
    return harness


def cancel(harness: DispatcherHarness, waiter: Waiter) -> None:
    harness.feed(harness.dispatcher.cancel(waiter, harness.moment))


def nothing_left(harness: DispatcherHarness) -> bool:
    core = harness.dispatcher
    return (0, set(), {}, None) == (
        core.waiters.count,
        core.in_flight.permits,
        core.waiters.flights,
        core.in_flight.probe,
    )
