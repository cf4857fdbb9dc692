"""Who may start: a probe by its lease, all others by the window, the quota and the retry budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from ..config import DeskConfig
from . import actions as act
from . import events as ev
from .account import Flight, Permit
from .outcome import LOCAL, NETWORK, Outcome
from .verdict import Verdicts

# A transport ends its attempt by itself; one that has not after this many seconds more is given up.
_GRACE = 1.0


class Admission(Verdicts):
    """The desk's admission of attempts, and the end of those that have no verdict in time."""

    def __init__(self, config: DeskConfig, rand: Callable[[], float], *, known_good: bool = False) -> None:
        super().__init__(config, rand, known_good=known_good)
        self._holding = False
        self._deadlines: list[tuple[float, int, Permit]] = []  # of every permit, probes' leases included
        self._started = 0
        self._without_budget: Flight | None = None  # whose retry the budget refused last

    def _mend_permits(self) -> None:
        """After an interrupt: have every attempt in flight count once, end by its deadline, and be made."""
        for permit in sorted(self.live, key=lambda permit: permit.flight.serial):  # the same order each time
            permit.flight.permit = permit
            self._out.append(act.Start(permit))  # the shell leaves those alone that are being made
        self._deadlines = [(permit.deadline, number, permit) for number, permit in enumerate(self.live)]
        heapify(self._deadlines)
        self._started = max(self._started, len(self.live))
        if self.lease not in self.live:
            self.lease = None
        generation = self.circuit.generation
        self.window.active = sum(not each.is_probe and each.generation == generation for each in self.live)

    def _may_probe(self, now: float) -> bool:
        """Whether a call that cannot wait may be the probe now: else such calls alone never end an outage."""
        due = self.circuit.state == ev.HALF_OPEN or self.circuit.probe_at <= now
        return due and self.lease is None and self.hold_until <= now

    def _void(self, now: float) -> None:
        """Give up attempts that are past their deadline: the breaker always makes progress (G4)."""
        while self._deadlines and (self._deadlines[0][0] <= now or not self._deadlines[0][2].alive):
            permit = heappop(self._deadlines)[2]
            if not permit.alive:
                continue
            self._out.append(act.Abort(permit))
            if not permit.began:  # it waited for something of this host: of the endpoint that says nothing
                words = f"no free connection, thread or look-up here within {permit.timeout:g} s"
                self._land(permit, Outcome(LOCAL, detail=words, passing=True), now, lost=True)
                continue
            if permit.is_probe:
                self.circuit.voids += 1
            words = f"no verdict within {permit.timeout:g} s"
            self._land(permit, Outcome(NETWORK, detail=words), now, lost=True)

    def _end_hold(self, now: float) -> None:
        if self.hold_until > now:
            self._holding = True
        elif self._holding:
            self._holding = False
            if self.circuit.state == ev.CLOSED:
                # The hold ends with one attempt, not with everyone; what is still out is history.
                self.circuit.generation += 1
                self._restart_window(now)

    def _admit(self, now: float) -> float:
        """Start what may start; return when the next one may (inf: when something else happens)."""
        if self.hold_until > now:
            return self.hold_until
        short = self.circuit.state == ev.CLOSED and self.quota.short(len(self.flights), now)
        self.queue.order(now, self._wall, by_hunger=short)
        if self.circuit.state == ev.CLOSED:
            return self._admit_closed(now)
        if self.circuit.state == ev.OPEN and self.circuit.probe_at > now:
            return self.circuit.probe_at if self.queue.first() else math.inf
        if self.lease is None and len(self.live) < self.config.maxsize and self.queue.first() is not None:
            if self.probe_rests_until > now:
                return self.probe_rests_until
            return self._probe(now)
        return math.inf

    def _probe(self, now: float) -> float:
        """Start the probe, or return when it may leave."""
        timeout = self.config.probe_timeout * 2.0 ** min(self.circuit.voids, 30)
        timeout = min(timeout, self.config.timeout.total)
        permitted = self._permitted_at(now, timeout)
        if permitted > now:
            return permitted
        while True:
            # The best candidate's code comes at once, as a rule. One that does not come passes the role on.
            if (free_at := self.codes.free_at(1, now)) > now:
                return free_at
            flight = self.queue.take_for_probe()
            if flight is None:  # every candidate's code is being waited for
                return math.inf
            if not self.codes.needs(flight.account, now):
                break
            self._ask_code(flight, now)
        if self.circuit.state == ev.OPEN:
            self._half_open(now)
        self.lease = self._start(flight, now, timeout, is_probe=True)
        return math.inf

    def _admit_closed(self, now: float) -> float:
        while (flight := self.queue.first()) is not None:
            # A lone agent's own schedule is its pace.
            opens = now if self._keeps_time(flight) else self.window.opens_at(now)
            if opens > now or len(self.live) >= min(self.config.maxsize, self.quota.left(now)):
                return opens if opens > now else math.inf
            if (goes_on := self._goes_on_at(now)) > now:
                return goes_on
            if self.codes.needs(flight.account, now):
                limit = max(1, int(self.window.size))
                if (free_at := self.codes.free_at(limit, now)) > now and flight.account.code_asked_at is None:
                    return free_at
                self.queue.take()
                self._ask_code(flight, now)
                continue
            retry = flight.tried_in == self.circuit.generation
            if retry and not self.budget.withdraw(now):
                if self._without_budget is not flight:
                    self._without_budget = flight
                    self._emit(ev.RetryDenied("budget"))
                return self.budget.next_refill()
            self.queue.take()
            if not retry:
                self.budget.deposit(now)
            permit = self._start(flight, now, self.config.timeout.total + _GRACE, is_retry=retry)
            permit.level, permit.round = self.window.start(now)
        return math.inf

    def _ask_code(self, flight: Flight, now: float) -> None:
        """Ask for the one-time code of ``flight``, which stands aside until it is there."""
        if self.codes.ask(flight.account, now):
            self._out.append(act.AskCode(flight.account, flight.home()))

    def _start(
        self, flight: Flight, now: float, timeout: float, *, is_probe: bool = False, is_retry: bool = False
    ) -> Permit:
        permit = Permit(flight, self.circuit.generation, now, timeout, is_probe=is_probe)
        permit.is_retry = is_retry
        permit.period = self.circuit.period
        flight.permit = permit
        flight.account.start(now)
        flight.tried_in = self.circuit.generation
        flight.asked += 1
        self.codes.used(flight.account)
        self.live.add(permit)
        self._started += 1
        heappush(self._deadlines, (permit.deadline, self._started, permit))
        retry_of = flight.last.kind if is_retry and flight.last is not None else ""
        self._emit(ev.AttemptStarted(retry_of, is_probe))
        self._out.append(act.Start(permit))
        return permit
