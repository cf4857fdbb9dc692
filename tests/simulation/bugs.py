"""Bugs that are planted on purpose: a simulation that cannot fail proves nothing.

Each is a small change to the running library, and names the promise that it breaks. ``test_simulation.py`` holds that
each is found within 2,000 seeds, by that promise, and that the library as it is passes the same seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from heapq import heappop
from typing import Any
from unittest import mock

from colony_pool.agent import Agent
from tests.support.private import (
    OK,
    REJECTED,
    UNAVAILABLE,
    Account,
    Admission,
    Attempt,
    CircuitBreaker,
    ConcurrencyLimiter,
    Credential,
    Dispatcher,
    Driver,
    Flight,
    InFlight,
    Instant,
    Permit,
    PoolBreaker,
    Results,
    RetryBudget,
    Token,
    TokenPublisher,
    Transitions,
    Waiters,
    counters,
    headers,
)
from tests.support.private import actions as act
from tests.support.private import events as ev

from .planting import BUGS, breaks


@breaks("what is decided is done at once")
def a_lost_wake_up() -> Iterator[None]:
    """Of two calls that are sent away at one moment, the second is not woken."""
    do = Driver._do

    def forgetful(self: Driver, action: Any) -> None:
        if isinstance(action, act.Wake) and action.waiter.joined > 0.0 and self._actions:
            return
        do(self, action)

    with mock.patch.object(Driver, "_do", forgetful):
        yield


@breaks("one probe (G1)")
def a_second_probe() -> Iterator[None]:
    """A probe that is out does not keep another one from leaving."""
    start = Admission.start_what_may

    def forgets_the_lease(self: Admission, at: Instant) -> float:
        in_flight = self._in_flight
        probe = in_flight.probe
        if self._breaker.state == "half_open" and probe is not None and at.monotonic > probe.started:
            in_flight.probe = None
        return start(self, at)

    with mock.patch.object(Admission, "start_what_may", forgets_the_lease):
        yield


@breaks("every permit comes back once (G3, G5)")
def a_place_in_the_window_is_never_given_back() -> Iterator[None]:
    """An attempt that tells nothing (a 429, say) keeps its place."""
    with mock.patch.object(ConcurrencyLimiter, "release", return_value=None):
        yield


@breaks("every permit comes back once (G3, G5)")
def a_stale_result_is_accepted() -> Iterator[None]:
    """A verdict of an older generation counts as one of the present."""
    on_result = Results.on_result

    def believes(self: Results, permit: Permit, verdict: Any, at: Instant, *, lost: bool = False) -> None:
        permit.generation = self._breaker.generation
        on_result(self, permit, verdict, at, lost=lost)

    with mock.patch.object(Results, "on_result", believes):
        yield


@breaks("nothing during a hold (G13)")
def a_pause_is_ignored() -> Iterator[None]:
    """The headers say that nothing is left, and the next attempt leaves."""
    pause = Transitions.pause

    def only_when_told_off(self: Transitions, seconds: float, cause: str, reason: str, now: float) -> None:
        if reason == "throttled":
            pause(self, seconds, cause, reason, now)

    with mock.patch.object(Transitions, "pause", only_when_told_off):
        yield


@breaks("nothing during a hold (G13)")
def a_date_in_retry_after_is_not_read() -> Iterator[None]:
    """Seconds are understood, an HTTP date is not."""
    with mock.patch.object(headers, "http_date", return_value=None):
        yield


@breaks("within the budget (G12)")
def the_retry_budget_is_ignored() -> Iterator[None]:
    """Each agent may retry as often as it likes."""
    with mock.patch.object(RetryBudget, "withdraw", return_value=True):
        yield


@breaks("three attempts of a key within a second (G8, G12)")
def quick_retries_are_not_spaced() -> Iterator[None]:
    """A key retries at once for as long as luck explains its failures."""
    with mock.patch.object(Account, "space_attempts", return_value=None):
        yield


@breaks("no code twice (G15)")
def a_code_is_sent_twice() -> Iterator[None]:
    """That a code was sent is forgotten."""
    with mock.patch.object(Credential, "consume", return_value=None):
        yield


@breaks("a recovering server is not knocked over (G8)")
def the_window_is_never_cut() -> Iterator[None]:
    """It grows with each success, and no failure makes it smaller."""
    with mock.patch.object(ConcurrencyLimiter, "_lower_to", return_value=False):
        yield


@breaks("within the window (G8)")
def the_window_is_not_looked_at() -> Iterator[None]:
    """Whoever is ready leaves."""
    with mock.patch.object(ConcurrencyLimiter, "next_start_at", lambda self, now: now):
        yield


@breaks("nobody waits beyond its deadline (G9)")
def a_deadline_is_ignored() -> Iterator[None]:
    """A call that may wait less than the one before it waits as long as that."""
    deadline = Flight.deadline

    def of_the_most_patient(self: Flight) -> float:
        alone = deadline(self)
        return max((entry[0] + self._paused for entry in self._heap or () if not entry[2].done), default=alone)

    with mock.patch.object(Flight, "deadline", of_the_most_patient):
        yield


@breaks("a token is whole, its key's own, and valid (G18, G20)")
def a_token_is_torn() -> Iterator[None]:
    """A new token's age is there before the token is, and somebody comes in between."""

    def torn(self: TokenPublisher, action: act.TokenChanged) -> None:
        key = action.account.owner
        if (token := action.token) is not None:
            key.fresh_until = token.refresh_at
            self._runtime.lock().acquire()  # a point at which another task may run
            key.jwt = token.jwt

    with mock.patch.object(TokenPublisher, "token_changed", torn):
        yield


@breaks("a token is whole, its key's own, and valid (G18, G20)")
def a_wall_clock_prolongs_a_token() -> Iterator[None]:
    """Its life is counted by the wall clock alone, which somebody sets back."""
    with (
        mock.patch.object(Token, "is_usable", lambda self, at: at.wall < self.ends_wall - self.margin),
        mock.patch.object(Token, "is_valid", lambda self, at: at.wall < self.ends_wall),
    ):
        yield


@breaks("a refused key never opens it (G7)")
def a_refused_key_counts_as_a_failure_of_the_server() -> Iterator[None]:
    """A probe that is refused opens the breaker again."""
    judge = Results._judge_probe

    def harsh(self: Results, permit: Permit, verdict: Any, at: Instant, **how: bool) -> None:
        judge(self, permit, replace(verdict, kind=UNAVAILABLE) if verdict.kind == REJECTED else verdict, at, **how)

    with mock.patch.object(Results, "_judge_probe", harsh):
        yield


@breaks("a refused key rests (G14)")
def a_refused_key_is_tried_again_at_once() -> Iterator[None]:
    """Nobody remembers the refusal."""
    with mock.patch.object(Account, "refusal_at", return_value=None):
        yield


@breaks("who finds a token gets it at once (G17, G18)")
def a_valid_token_is_not_served_while_open() -> Iterator[None]:
    """A call asks the breaker before it looks at its token."""
    token_of = Agent.token

    def token(self: Agent, *, max_wait: float | None = None) -> str:
        if self._engines.current.dispatcher.breaker.state == "open":
            self._key.account.token = None
            self._key.expire()
        return token_of(self, max_wait=max_wait)

    with mock.patch.object(Agent, "token", token):
        yield


@breaks("every permit comes back once (G3, G5)")
def a_permit_leaks_when_its_caller_is_killed() -> Iterator[None]:
    """The attempt of a call that was killed is forgotten, and its place in the window with it."""
    cancel = Dispatcher.cancel

    def careless(self: Dispatcher, waiter: Any, at: Instant) -> list[act.Action]:
        flight = self.waiters.flights.get(waiter.account)
        if flight is not None and flight.permit is not None:
            self.in_flight.permits.discard(flight.permit)
        return cancel(self, waiter, at)

    with mock.patch.object(Dispatcher, "cancel", careless):
        yield


@breaks("nobody is forgotten (G9)")
def a_caller_that_is_killed_takes_the_others_of_its_key_along() -> Iterator[None]:
    """Whoever waits for the same token waits for ever."""
    leave = Flight.leave

    def with_all(self: Flight, waiter: Any) -> None:
        leave(self, waiter)
        if waiter.done and waiter.token is None and waiter.failure is None:
            self.take_all()

    with mock.patch.object(Flight, "leave", with_all):
        yield


@breaks("no probe before its time (G6)")
def a_503_is_not_left_alone() -> Iterator[None]:
    """What the failed probe was asked to wait is not waited."""
    with mock.patch.object(CircuitBreaker, "postpone", return_value=None):
        yield


@breaks("the breaker always makes progress (G4)")
def a_lease_never_ends() -> Iterator[None]:
    """A probe without a verdict keeps its role."""

    def forgotten(self: InFlight, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            heappop(self._deadlines)

    with mock.patch.object(InFlight, "take_expired", forgotten):
        yield


@breaks("pybreaker agrees")
def pybreaker_is_not_told_of_a_success() -> Iterator[None]:
    """The counter of a listener goes up only."""
    follow = PoolBreaker.mirror

    def deaf(self: PoolBreaker, what: str) -> None:
        if what != act.SUCCESS:
            follow(self, what)

    with mock.patch.object(PoolBreaker, "mirror", deaf):
        yield


@breaks("nobody is sent away for nothing (G9, G11)")
def a_call_gives_up_at_the_first_sight_of_an_open_breaker() -> Iterator[None]:
    """It does not wait, whatever its patience."""
    with mock.patch.object(Waiters, "blocked_until", lambda self, now: math.inf if self.is_blocked(now) else now):
        yield


@breaks("no secret in an error (G23)")
def a_key_is_in_the_error() -> Iterator[None]:
    """A server that echoes the request puts the key into our exceptions."""
    send = Attempt._send

    def loose(self: Attempt, permit: Permit, credential: Credential, code: str | None, *more: Any) -> Any:
        verdict = send(self, permit, credential, code, *more)
        return verdict if verdict.kind == OK else replace(verdict, detail=f"{verdict.detail} for {credential.key}")

    with mock.patch.object(Attempt, "_send", loose):
        yield


@breaks("the sums of the metrics are right")
def probes_are_not_counted() -> Iterator[None]:
    """The journal leaves out the attempts that are probes."""
    finished = counters._HANDLERS[ev.AttemptFinished]

    def selective(self: counters.Counters, event: ev.AttemptFinished) -> None:
        if not event.probe:
            finished(self, event)

    with mock.patch.dict(counters._HANDLERS, {ev.AttemptFinished: selective}):
        yield


__all__ = ["BUGS"]
