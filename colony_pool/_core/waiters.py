"""Who waits, since when, and how waiting ends: with a token, with a failure, or because the caller has gone."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator

from ..config import DispatcherConfig
from . import actions as act
from . import events as ev
from .account import Account
from .actions import Outbox
from .breaker import CircuitBreaker
from .codes import CodeRequests
from .events import CLOSED
from .failure import Failure, circuit_open, from_outcome, held, no_code, overdue, renewed_lately, totp_hangs
from .flight import Flight, Permit, Waiter
from .history import EndpointHistory
from .instant import Instant
from .outcome import Outcome
from .queue import Queue
from .rate_limit import RateLimit
from .token import Token

WAITS = ("probe", "hold", "flight")


class WaitTimes:
    """Seconds that calls have waited, by what for. Between two inputs nothing changes, so each input books once."""

    __slots__ = ("_blocked_until", "_booked", "_breaker", "_rate_limit", "_seconds")

    def __init__(self, breaker: CircuitBreaker, rate_limit: RateLimit) -> None:
        self._breaker = breaker
        self._rate_limit = rate_limit
        self._seconds = dict.fromkeys(WAITS, 0.0)
        self._booked = -math.inf  # up to when
        self._blocked_until = -math.inf  # when calls were last parked

    def book(self, now: float, waiting: int) -> None:
        """An input comes: so many calls have been ``waiting`` since the last one."""
        since, self._booked = self._booked, now
        if waiting and now > since:
            for kind, seconds in self._shares(since, now):
                self._seconds[kind] += seconds * waiting
        if self._breaker.state != CLOSED or self._rate_limit.is_paused(since):
            self._blocked_until = now

    def until(self, now: float, waiting: int) -> dict[str, float]:
        """The seconds up to ``now``, read without changing anything: for a scrape."""
        seconds = dict(self._seconds)
        if waiting and now > self._booked:
            for kind, more in self._shares(self._booked, now):
                seconds[kind] += more * waiting
        return seconds

    def was_parked(self, joined: float) -> bool:
        """Whether a call that came at ``joined`` has met a breaker that was not closed, or a pause."""
        return self._blocked_until > joined

    def _shares(self, since: float, now: float) -> Iterator[tuple[str, float]]:
        """What calls waited for from ``since`` to ``now``: a pause, then a probe or (closed) their flights."""
        paused_until = min(max(self._rate_limit.paused_until, since), now)
        yield "hold", paused_until - since
        yield "flight" if self._breaker.state == CLOSED else "probe", now - paused_until


class Waiters:
    """The flights, and the calls in them."""

    def __init__(
        self, config: DispatcherConfig, outbox: Outbox, breaker: CircuitBreaker, rate_limit: RateLimit,
        codes: CodeRequests, queue: Queue, history: EndpointHistory,
    ) -> None:  # fmt: skip
        self._config = config
        self._outbox = outbox
        self._breaker = breaker
        self._rate_limit = rate_limit
        self._codes = codes
        self._queue = queue
        self._history = history
        self.flights: dict[Account, Flight] = {}
        self.count = 0  # calls that wait
        self.times = WaitTimes(breaker, rate_limit)
        self.sent_away_by_pause = 0  # calls, ever
        self._nonblocking: dict[Flight, dict[Waiter, Waiter]] = {}  # calls with max_wait=0: they never park

    def is_blocked(self, now: float) -> bool:
        """Whether calls are parked: the breaker is not closed, or the server asks for a pause."""
        return self._breaker.state != ev.CLOSED or self._rate_limit.is_paused(now)

    # -- coming ---------------------------------------------------------------------------------------

    def arrive(self, waiter: Waiter, now: float, tokenless_for: float) -> None:
        """A call comes, whose key has had no token for so many seconds, as far as the caller knows."""
        waiter.tokenless_for = tokenless_for
        waiter.joined = now
        self.count += 1

    def open_flight(self, account: Account, now: float, *, advisory: bool = False) -> Flight:
        """Begin a flight for a key that has none; ``advisory``: nobody waits for it."""
        flight = self.flights[account] = Flight(account, now, advisory=advisory)
        return flight

    def never_park(self, flight: Flight, waiter: Waiter) -> None:
        """Send ``waiter`` away as soon as it would be parked."""
        self._nonblocking.setdefault(flight, {})[waiter] = waiter

    def nonblocking_of(self, flight: Flight) -> list[Waiter]:
        """The calls of ``flight`` that are never parked."""
        return list(self._nonblocking.get(flight, ()))

    def dismiss_nonblocking(self, at: Instant) -> None:
        """Send away whoever would be parked now, but for those whose attempt or one-time code is on its way."""
        for flight, waiters in list(self._nonblocking.items()):
            if flight.permit is None and self._codes.asked_at(flight.account) is None:
                self.dismiss(flight, list(waiters), at)

    # -- leaving --------------------------------------------------------------------------------------

    def serve(self, account: Account, at: Instant) -> None:
        """Give the token of ``account`` to all who wait for it, whichever attempt brought it."""
        flight = self.flights.get(account)
        if flight is None or account.token is None:
            return
        for waiter in flight.take_all():
            self.finish(waiter, at, token=account.token, retried=flight.failures > 0)
        if flight.permit is None:  # else the token came late, and an attempt of its own is still out
            self.drop(flight, at, served=True)

    def dismiss(self, flight: Flight, waiters: Iterable[Waiter], at: Instant, failure: Failure | None = None) -> None:
        """Send ``waiters`` away with ``failure``, by default with why waiting longer would not help."""
        token = flight.account.token
        fast = flight.attempts == 0
        for waiter in waiters:
            flight.leave(waiter)
            # A token that is about to end is still a token: better than any failure.
            if token is not None and token.is_valid(at):
                self.finish(waiter, at, token=token, retried=flight.failures > 0)
            else:
                reason = failure or self._give_up_reason(flight, waiter, at.monotonic)
                self.finish(waiter, at, failure=reason, retried=flight.failures > 1, fast=fast)
        if flight.has_no_waiters and flight.permit is None:
            self.drop(flight, at)

    def dismiss_all(self, flight: Flight, failure: Failure, at: Instant) -> None:
        """Send everybody in ``flight`` away with ``failure``."""
        self.dismiss(flight, flight.take_all(), at, failure)

    def close(self, flight: Flight, failure: Failure, at: Instant) -> None:
        """End ``flight``: a token that is there is not given out any more."""
        for waiter in flight.take_all():
            self.finish(waiter, at, failure=failure, fast=flight.attempts == 0)
        self.drop(flight, at)

    def finish(
        self, waiter: Waiter, at: Instant, *, token: Token | None = None, failure: Failure | None = None,
        retried: bool = False, fast: bool = False,
    ) -> None:  # fmt: skip
        """End one call, once."""
        if waiter.done:  # told already: it was late, and never parks
            return
        waiter.done = True
        waiter.token, waiter.failure = token, failure
        outcome = "ok" if token is not None else "error"
        outcome = "fast_fail" if fast and token is None else f"{outcome}_retried" if retried else outcome
        self._leave(waiter, outcome, at.monotonic)
        self._outbox.add(act.Wake(waiter))

    def cancel(self, waiter: Waiter, at: Instant) -> None:
        """A caller is gone (killed, timed out). Nobody else notices."""
        if waiter.done:
            return
        waiter.done = True
        if math.isnan(waiter.joined):  # killed before it asked
            return
        self._leave(waiter, "cancelled", at.monotonic)
        flight = self.flights.get(waiter.account)
        if flight is not None:  # pragma: no branch - whoever waits has a flight
            flight.leave(waiter)
            if flight.has_no_waiters and flight.permit is None:
                self.drop(flight, at)

    def drop(self, flight: Flight, at: Instant, *, served: bool = False) -> None:
        """Forget ``flight``, in which nobody waits."""
        if self.flights.get(flight.account) is flight:
            del self.flights[flight.account]
            if served or flight.attempts:
                result = "success" if served else "failure"
                self._outbox.add(ev.RefreshFinished(flight.trigger, result, at.monotonic - flight.created_at))
        self._queue.drop(flight)

    def _leave(self, waiter: Waiter, outcome: str, now: float) -> None:
        self.count -= 1
        flight = self.flights.get(waiter.account)
        if self._nonblocking and flight is not None and (nonblocking := self._nonblocking.get(flight)):
            nonblocking.pop(waiter, None)
            if not nonblocking:
                del self._nonblocking[flight]
        self._outbox.add(ev.CallFinished(outcome, now - waiter.joined, self.times.was_parked(waiter.joined)))

    # -- why and when ---------------------------------------------------------------------------------

    def earliest_service(self, flight: Flight) -> float:
        """Before this ``flight`` cannot have a token: who cannot wait until then leaves now (G9)."""
        account = flight.account
        rested = max(account.next_code_at, account.cooldown_until, account.renew_at)
        if self._breaker.state == ev.CLOSED or len(self.flights) == 1:
            return max(rested, flight.not_before)
        return rested  # while open another flight's probe may end the outage, and forgive this one's backoff (G8)

    def blocked_until(self, now: float) -> float:
        """Nobody can be served before this; -inf while nothing is known to be in the way (G9)."""
        until = -math.inf
        if self._rate_limit.is_paused(now):
            is_waited_for = self._rate_limit.left(now) <= self._config.retry.max_retry_after
            until = self._rate_limit.paused_until if is_waited_for else math.inf
        if self._breaker.state == ev.OPEN:
            until = max(until, self._breaker.probe_at)
        return until

    def failure_of(self, outcome: Outcome, flight: Flight) -> Failure:
        """What the calls of ``flight`` are told when ``outcome`` ends it."""
        return from_outcome(outcome, flight.attempts, known_good=self._history.known_good)

    def _give_up_reason(self, flight: Flight, waiter: Waiter, now: float) -> Failure:
        """Why waiting longer would not help this call."""
        waited = now - waiter.joined
        if self._rate_limit.is_paused(now):
            self.sent_away_by_pause += 1
            return held(self._rate_limit.left(now), self._rate_limit.cause)
        if (of_the_key := self._reason_of_the_key(flight.account, now)) is not None:
            return of_the_key
        if self._breaker.state != ev.CLOSED:
            return self._open_failure(flight.account, waited, now)
        return overdue(waited, flight.last, flight.attempts, known_good=self._history.known_good)

    def _reason_of_the_key(self, account: Account, now: float) -> Failure | None:
        """Why no attempt is made for this key now; ``None`` if nothing about it is in the way."""
        if account.cooldown_until > now:
            return held(account.cooldown_until - now, "this key was refused just before")
        if (asked_at := self._codes.asked_at(account)) is not None:
            return totp_hangs(now - asked_at)
        if account.next_code_at > now:
            return no_code(account.next_code_at - now, account.code_refusal)
        if account.renew_at > now and self._breaker.state == ev.CLOSED:
            return renewed_lately(account.renew_at - now, account.record.life)
        return None

    def _open_failure(self, account: Account, waited: float, now: float) -> Failure:
        breaker = self._breaker
        after = max(0.0, breaker.probe_at - now)
        since = max(0.0, now - breaker.opened_at)
        valid_until = account.token.ends_wall if account.token is not None else account.last_expiry
        return circuit_open(
            breaker.state, breaker.cause, breaker.last_status, since, after, waited, valid_until,
            known_good=self._history.known_good,
        )  # fmt: skip

    # -- after an interrupt ---------------------------------------------------------------------------

    def mend(self, live: Container[Permit | None], asked: Container[Account], at: Instant) -> None:
        """Have each flight, and each call in it, count once.

        Arguments:
            live: the attempts that are out.
            asked: the keys that are being asked for a one-time code.
        """
        self._queue.clear()
        for flight in tuple(self.flights.values()):
            self._mend_flight(flight, live, asked, at)
        self.count = sum(len(flight.waiters) for flight in self.flights.values())
        alive = set(self.flights.values())
        self._nonblocking = {flight: waiters for flight, waiters in self._nonblocking.items() if flight in alive}

    def _mend_flight(
        self, flight: Flight, live: Container[Permit | None], asked: Container[Account], at: Instant
    ) -> None:
        account = flight.account
        for waiter in flight.waiters:
            if waiter.done:
                flight.leave(waiter)
        if flight.permit not in live:
            flight.attempt_ended(at.monotonic)
        flight.noted_deadline = math.inf
        if flight.permit is not None:
            self._queue.watch(flight)
        elif flight.has_no_waiters and flight.trigger != "soft":
            self.drop(flight, at)
        elif account.token is not None and account.token.is_usable(at) and not flight.has_no_waiters:
            self.serve(account, at)
        elif self._codes.asked_at(account) is None or account not in asked:
            self._codes.forget(account)
            self._queue.put(flight, at)
