"""Bugs that are planted on purpose: a simulation that cannot fail proves nothing.

Each is a small change to the running library, and names the promise that it breaks. ``test_sim.py`` holds that each
is found within 2,000 seeds, by that promise, and that the library as it is passes the same seeds.
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
    DENIED,
    DOWN,
    OK,
    Account,
    Attempt,
    CircuitBreaker,
    ConcurrencyLimiter,
    Credential,
    DenialCache,
    Dispatcher,
    Driver,
    Flight,
    Permit,
    PoolBreaker,
    RetryBudget,
    Token,
    headers,
    journal,
)
from tests.support.private import actions as act
from tests.support.private import events as ev

from .planting import BUGS, breaks


@breaks("what is decided is done at once")
def a_lost_wake_up() -> Iterator[None]:
    """Of two calls that are sent away at one moment, the second is not woken."""
    do = Driver._do

    def forgetful(self: Driver, action: Any) -> None:
        if isinstance(action, act.Wake) and getattr(action.waiter, "joined", 0.0) > 0.0 and self._todo:
            return
        do(self, action)

    with mock.patch.object(Driver, "_do", forgetful):
        yield


@breaks("one probe (G1)")
def a_second_probe() -> Iterator[None]:
    """A probe that is out does not keep another one from leaving."""
    admit = Dispatcher._admit

    def forgets_the_lease(self: Dispatcher, now: float) -> float:
        if self.circuit.state == "half_open" and self.lease is not None and now > self.lease.started:
            self.lease = None
        return admit(self, now)

    with mock.patch.object(Dispatcher, "_admit", forgets_the_lease):
        yield


@breaks("every permit comes back once (G3, G5)")
def a_place_in_the_window_is_never_given_back() -> Iterator[None]:
    """An attempt that tells nothing (a 429, say) keeps its place."""
    with mock.patch.object(ConcurrencyLimiter, "give_back", return_value=None):
        yield


@breaks("every permit comes back once (G3, G5)")
def a_stale_result_is_accepted() -> Iterator[None]:
    """A verdict of an older generation counts as one of the present."""
    land = Dispatcher._land

    def believes(self: Dispatcher, permit: Permit, verdict: Any, now: float, *, lost: bool = False) -> None:
        permit.generation = self.circuit.generation
        land(self, permit, verdict, now, lost=lost)

    with mock.patch.object(Dispatcher, "_land", believes):
        yield


@breaks("nothing during a hold (G13)")
def a_hold_is_ignored() -> Iterator[None]:
    """The headers say that nothing is left, and the next attempt leaves."""
    hold = Dispatcher._hold

    def only_when_told_off(self: Dispatcher, seconds: float, cause: str, reason: str, now: float) -> None:
        if reason == "throttled":
            hold(self, seconds, cause, reason, now)

    with mock.patch.object(Dispatcher, "_hold", only_when_told_off):
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
    with mock.patch.object(Account, "space", return_value=None):
        yield


@breaks("no code twice (G15)")
def a_code_is_sent_twice() -> Iterator[None]:
    """That a code was sent is forgotten."""
    with mock.patch.object(Credential, "burn", return_value=None):
        yield


@breaks("a recovering server is not knocked over (G8)")
def the_window_is_never_cut() -> Iterator[None]:
    """It grows with each success, and no failure makes it smaller."""
    with mock.patch.object(ConcurrencyLimiter, "_cut_to", return_value=False):
        yield


@breaks("within the window (G8)")
def the_window_is_not_looked_at() -> Iterator[None]:
    """Whoever is ready leaves."""
    with mock.patch.object(ConcurrencyLimiter, "opens_at", lambda self, now: now):
        yield


@breaks("nobody waits beyond its deadline (G9)")
def a_deadline_is_ignored() -> Iterator[None]:
    """A call that may wait less than the one before it waits as long as that."""
    deadline = Flight.deadline

    def of_the_most_patient(self: Flight) -> float:
        lone = deadline(self)
        return max((entry[0] + self._paused for entry in self._heap or () if not entry[2].done), default=lone)

    with mock.patch.object(Flight, "deadline", of_the_most_patient):
        yield


@breaks("a token is whole, its key's own, and valid (G18, G20)")
def a_token_is_torn() -> Iterator[None]:
    """A new token's age is there before the token is, and somebody comes in between."""

    def granted(self: Agent, action: act.TokenChanged) -> None:
        if (token := action.token) is not None:
            self._fresh_until = token.refresh_at
            self._pool._runtime.lock().acquire()  # a point at which another task may run
            self._jwt = token.jwt

    with mock.patch.object(Agent, "_granted", granted):
        yield


@breaks("a token is whole, its key's own, and valid (G18, G20)")
def a_wall_clock_prolongs_a_token() -> Iterator[None]:
    """Its life is counted by the wall clock alone, which somebody sets back."""
    with (
        mock.patch.object(Token, "usable", lambda self, now, wall: wall < self.ends_wall - self.margin),
        mock.patch.object(Token, "valid", lambda self, now, wall: wall < self.ends_wall),
    ):
        yield


@breaks("a refused key never opens it (G7)")
def a_refused_key_counts_as_a_failure_of_the_server() -> Iterator[None]:
    """A probe that is refused opens the breaker again."""
    judge = Dispatcher._judge_probe

    def harsh(self: Dispatcher, permit: Permit, verdict: Any, now: float, **how: bool) -> None:
        judge(self, permit, replace(verdict, kind=DOWN) if verdict.kind == DENIED else verdict, now, **how)

    with mock.patch.object(Dispatcher, "_judge_probe", harsh):
        yield


@breaks("a refused key rests (G14)")
def a_refused_key_is_tried_again_at_once() -> Iterator[None]:
    """Nobody remembers the refusal."""
    with mock.patch.object(DenialCache, "standing", return_value=None):
        yield


@breaks("who finds a token gets it at once (G17, G18)")
def a_valid_token_is_not_served_while_open() -> Iterator[None]:
    """A call asks the breaker before it looks at its token."""
    renew, token_of = Agent._renew, Agent.token

    def token(self: Agent, *, max_wait: float | None = None) -> str:
        if self._pool._runner.dispatcher.breaker.state == "open":
            self._account.token = None
            return renew(self, max_wait)
        return token_of(self, max_wait=max_wait)

    with mock.patch.object(Agent, "token", token):
        yield


@breaks("every permit comes back once (G3, G5)")
def a_permit_leaks_when_its_caller_is_killed() -> Iterator[None]:
    """The attempt of a call that was killed is forgotten, and its place in the window with it."""
    cancel = Dispatcher.cancel

    def careless(self: Dispatcher, waiter: Any, now: float, wall: float) -> list[act.Action]:
        flight = waiter.desk.desk.waiters.flights.get(account)
        if flight is not None and flight.permit is not None:
            self.live.discard(flight.permit)
        return cancel(self, waiter, now, wall)

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

    def forgotten(self: Dispatcher, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            heappop(self._deadlines)

    with mock.patch.object(Dispatcher, "_void", forgotten):
        yield


@breaks("pybreaker agrees")
def pybreaker_is_not_told_of_a_success() -> Iterator[None]:
    """Its counter goes up only."""
    follow = PoolBreaker._follow

    def deaf(self: PoolBreaker, what: str) -> None:
        if what != act.SUCCESS:
            follow(self, what)

    with mock.patch.object(PoolBreaker, "_follow", deaf):
        yield


@breaks("nobody is sent away for nothing (G9, G11)")
def a_call_gives_up_at_the_first_sight_of_an_open_breaker() -> Iterator[None]:
    """It does not wait, whatever its patience."""
    with mock.patch.object(Dispatcher, "_unreachable", lambda self, now: math.inf if self._blocked(now) else now):
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
    finished = journal._HANDLERS[ev.AttemptFinished]

    def selective(self: journal.Journal, event: ev.AttemptFinished) -> None:
        if not event.probe:
            finished(self, event)

    with mock.patch.dict(journal._HANDLERS, {ev.AttemptFinished: selective}):
        yield


__all__ = ["BUGS"]
