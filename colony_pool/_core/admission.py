"""Who may start: a probe by its lease, all others by the limiter, the rate limit and the retry budget."""

from __future__ import annotations

import math

from ..config import DispatcherConfig
from . import actions as act
from . import events as ev
from .actions import Outbox
from .breaker import CircuitBreaker
from .codes import CodeRequests
from .coordinator import Coordinator, NullCoordinator
from .flight import Flight, InFlight, Permit
from .instant import Instant
from .limiter import ConcurrencyLimiter
from .queue import Queue
from .rate_limit import RateLimit
from .results import Results
from .retry_budget import RetryBudget
from .transitions import Transitions
from .waiters import Waiters

# A transport ends its attempt by itself; one that has not after this many seconds more is given up.
_TRANSPORT_GRACE = 1.0


class Admission:
    """The gate through which every attempt leaves."""

    def __init__(
        self, config: DispatcherConfig, outbox: Outbox, breaker: CircuitBreaker, limiter: ConcurrencyLimiter,
        budget: RetryBudget, rate_limit: RateLimit, codes: CodeRequests, queue: Queue, in_flight: InFlight,
        waiters: Waiters, transitions: Transitions, coordinator: Coordinator | NullCoordinator, results: Results,
    ) -> None:  # fmt: skip
        self._config = config
        self._outbox = outbox
        self._breaker = breaker
        self._limiter = limiter
        self._budget = budget
        self._rate_limit = rate_limit
        self._codes = codes
        self._queue = queue
        self._in_flight = in_flight
        self._waiters = waiters
        self._transitions = transitions
        self._coordinator = coordinator
        self._results = results
        self._without_budget: Flight | None = None  # whose retry the budget refused last

    def may_probe(self, now: float) -> bool:
        """Whether a call that cannot wait may be the probe now: else such calls alone never end an outage."""
        due = self._breaker.state == ev.HALF_OPEN or self._breaker.probe_at <= now
        return due and self._in_flight.probe is None and not self._rate_limit.is_paused(now)

    def start_what_may(self, at: Instant) -> float:
        """Start what may start; return when the next one may (inf: when something else happens)."""
        now, breaker = at.monotonic, self._breaker
        if self._rate_limit.is_paused(now):
            return self._rate_limit.paused_until
        is_closed = breaker.state == ev.CLOSED
        flights = len(self._waiters.flights)
        insufficient = is_closed and self._rate_limit.remaining.is_insufficient(flights, now)
        self._queue.order(at, longest_starved_first=insufficient)
        if is_closed:
            return self._start_closed(now)
        if breaker.state == ev.OPEN and breaker.probe_at > now:
            return breaker.probe_at if self._queue.first() else math.inf
        in_flight = self._in_flight
        free = len(in_flight.permits) < self._config.maxsize
        if in_flight.probe is None and free and self._queue.first() is not None:
            if in_flight.probe_not_before > now:
                return in_flight.probe_not_before
            return self._start_probe(now)
        return math.inf

    def _start_probe(self, now: float) -> float:
        """Start the probe, or return when it may leave."""
        timeout = self._config.probe_timeout * 2.0 ** min(self._breaker.lost_probes, 30)
        timeout = min(timeout, self._config.timeout.total)
        allowed_at = self._coordinator.probe_allowed_at(now, timeout)
        if allowed_at > now:
            return allowed_at
        while True:
            # The best candidate's code comes at once, as a rule. One that does not come passes the role on.
            if (free_at := self._codes.free_at(1, now)) > now:
                return free_at
            flight = self._queue.take_for_probe()
            if flight is None:  # every candidate's code is being waited for
                return math.inf
            if not flight.account.totp or not self._codes.needs(flight.account, now):
                break
            self._ask_code(flight, now)
        if self._breaker.state == ev.OPEN:
            self._transitions.half_open(now)
        breaker = self._breaker
        self._start(Permit(flight, now, timeout, generation=breaker.generation, period=breaker.period, is_probe=True))
        return math.inf

    def _start_closed(self, now: float) -> float:
        breaker = self._breaker
        while (flight := self._queue.first()) is not None:
            # A lone agent's own schedule is its pace.
            start_at = now if self._results.keeps_time(flight) else self._limiter.next_start_at(now)
            allowed = min(self._config.maxsize, self._rate_limit.remaining.at(now))
            if start_at > now or len(self._in_flight.permits) >= allowed:
                return start_at if start_at > now else math.inf
            if (allowed_at := self._coordinator.attempt_allowed_at(now)) > now:
                return allowed_at
            if flight.account.totp and self._codes.needs(flight.account, now):
                at_once = max(1, int(self._limiter.limit))
                free_at = self._codes.free_at(at_once, now)
                if free_at > now and self._codes.asked_at(flight.account) is None:
                    return free_at
                self._queue.take()
                self._ask_code(flight, now)
                continue
            retry = flight.last_generation == breaker.generation
            if retry and not self._budget.withdraw(now):
                if self._without_budget is not flight:
                    self._without_budget = flight
                    self._outbox.add(ev.RetryDenied("budget"))
                return self._budget.next_refill()
            self._queue.take()
            if not retry:
                self._budget.deposit(now)
            level, round_ = self._limiter.start(now)
            self._start(
                Permit(
                    flight, now, self._config.timeout.total + _TRANSPORT_GRACE, generation=breaker.generation,
                    period=breaker.period, is_retry=retry, level=level, round=round_,
                )
            )  # fmt: skip
        return math.inf

    def _ask_code(self, flight: Flight, now: float) -> None:
        """Ask for the one-time code of ``flight``, which stands aside until it is there."""
        if self._codes.ask(flight.account, now):
            self._outbox.add(act.AskCode(flight.account, flight.first_waiter))

    def _start(self, permit: Permit) -> None:
        flight = permit.flight
        flight.permit = permit
        flight.account.attempt_started(permit.started)
        flight.last_generation = permit.generation
        flight.attempts += 1
        if flight.account.totp:
            self._codes.used(flight.account)
        self._in_flight.start(permit)
        retry_of = flight.last.kind if permit.is_retry and flight.last is not None else ""
        self._outbox.add(ev.AttemptStarted(retry_of, permit.is_probe))
        self._outbox.add(act.StartAttempt(permit, flight.first_waiter))

    def mend(self) -> None:
        """After an interrupt: have every attempt that is out count once, and be made."""
        self._in_flight.mend()
        for permit in self._in_flight.in_order():  # who makes them leaves those alone that are being made
            self._outbox.add(act.StartAttempt(permit, permit.flight.first_waiter))
        generation = self._breaker.generation
        permits = self._in_flight.permits
        self._limiter.recount(sum(not each.is_probe and each.generation == generation for each in permits))
