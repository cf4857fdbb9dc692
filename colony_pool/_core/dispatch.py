"""The dispatcher: every decision about the token endpoint is made here, and nowhere else.

It is told what happened (a demand, a result, time passing) and answers with what to do. It has no clock, no
lock, no I/O and no randomness of its own; the shell feeds it one input at a time and acts afterwards. Every
input ends in one ``_pump``: void leases, wake sleepers, dismiss those whose patience ends, admit.

The way of one key: ``demand`` -> a ``Flight`` (one per key) -> the queue -> ``Start(permit)`` -> ``result``
-> ``Grant`` and ``Done`` for all who waited, or back into the queue, or ``Done`` with a failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable

from ..config import DeskConfig
from . import actions as act
from . import events as ev
from .account import Account, Flight, Permit, Waiter
from .admit import Admission
from .denial import next_window
from .failure import closed
from .outcome import Outcome
from .token import Token
from .view import View

# max_wait counts to within 1 %: the last retry of a schedule leaves just when the patience is used up. But never so
# generously that one more would fit in.
_TOLERANCE = 0.01


class Dispatcher(Admission):
    """The desk. ``now`` is monotonic seconds, ``wall`` unix time, ``rand`` draws from [0, 1)."""

    def __init__(self, config: DeskConfig, rand: Callable[[], float], *, known_good: bool = False) -> None:
        super().__init__(config, rand, known_good=known_good)
        self._closed = False

    def demand(self, waiter: Waiter, now: float, wall: float) -> list[act.Action]:
        """A call wants a token that its account does not have fresh."""
        self._enter(now, wall)
        waiter.joined = now
        self.waiting += 1
        self._seek(waiter, now, waiter.max_wait)
        return self._pump(now)

    def _seek(self, waiter: Waiter, now: float, max_wait: float) -> None:
        account = waiter.account
        refusal = closed() if self._closed else self.denials.standing(account, now)
        token = account.token if account.token is not None and account.token.valid(now, self._wall) else None
        usable = token is not None and token.usable(now, self._wall)
        unserved = refusal is not None or self._blocked(now) or account.renew_at > now
        if token is not None and not self._closed and (usable or unserved):
            self._emit(ev.TokenAsked("coalesced" if usable else "margin"))
            self._finish(waiter, now, token=token)
            self._background(account, now)
        elif refusal is not None:
            self._emit(ev.TokenAsked("refused"))
            self._finish(waiter, now, failure=refusal, fast=True)
        else:
            self._join(waiter, now, max_wait)

    def refresh(self, account: Account, now: float, wall: float) -> list[act.Action]:
        """A token is past its soft point: one attempt in the background, last in the queue."""
        self._enter(now, wall)
        self._background(account, now)
        return self._pump(now)

    def cancel(self, waiter: Waiter, now: float, wall: float) -> list[act.Action]:
        """A caller is gone (killed, timed out). Nobody else notices."""
        self._enter(now, wall)
        if not waiter.done:
            waiter.done = True
            if math.isnan(waiter.joined):  # killed before it asked
                return self._pump(now)
            self.waiting -= 1
            self._parked_no_more(waiter)
            self._emit(ev.CallFinished("cancelled", now - waiter.joined, self._was_parked(waiter)))
            flight = waiter.account.flight
            if flight is not None:  # pragma: no branch - whoever waits has a flight
                flight.leave(waiter)
                if flight.background and flight.permit is None:
                    self._drop(flight, now)
        return self._pump(now)

    def tick(self, now: float, wall: float) -> list[act.Action]:
        """Time has passed."""
        self._enter(now, wall)
        return self._pump(now)

    def result(self, permit: Permit, outcome: Outcome, now: float, wall: float) -> list[act.Action]:
        """An attempt has ended."""
        self._enter(now, wall)
        self._land(permit, outcome, now)
        return self._pump(now)

    def code_given(self, account: Account, now: float, wall: float) -> list[act.Action]:
        """The key's callable has returned a code, which is at hand for the next attempt."""
        self._enter(now, wall)
        self.codes.answered(account, next_window(now, wall, self.config.denial.totp_window))
        if (flight := account.flight) is not None and flight.permit is None:
            self.queue.put(flight, now, wall)
        return self._pump(now)

    def code_missing(self, account: Account, outcome: Outcome, now: float, wall: float) -> list[act.Action]:
        """The key's callable has given no code that can be sent; ``outcome`` says why."""
        self._enter(now, wall)
        self.codes.answered(account)
        if (flight := account.flight) is not None and flight.permit is None:
            self._without_code(flight, outcome, now)
        return self._pump(now)

    def invalidate(self, account: Account, rejected: Token | None, forced: bool, now: float) -> list[act.Action]:
        """Forget the account's token, if it is ``rejected`` (any, when ``None``), and its denial."""
        self._enter(now)
        token = account.token
        if rejected is None:
            account.denial = account.code_refusal = None
            account.code_refusals = 0
            account.era += 1
        if rejected is None or (token is not None and rejected.jwt == token.jwt):
            account.record.dropped(token, now, forced=forced and rejected is not None)
            if token is not None:
                account.token = None
                account.lost_at = min(now, token.ends)
                account.last_expiry = token.ends_wall
                account.forced = forced
                self._out.append(act.Grant(account, None, lost=token))
            if account.flight is not None and account.flight.permit is None:
                self.queue.put(account.flight, now, self._wall)  # it need not wait for a token to have ended
        return self._pump(now)

    def adopt(
        self, account: Account, token: Token, now: float, wall: float, *, instead_of: Token | None = None
    ) -> list[act.Action]:
        """A valid token was found elsewhere (the disk cache): it serves its flight, too.

        ``instead_of``: a token that an API call was refused with, so that any other is better.
        """
        self._enter(now, wall)
        known, record = account.token, account.record
        better = known is None or known.ends < token.ends or known is instead_of
        if better and record.is_usable(token.jwt):
            self._emit(ev.TokenAsked("disk"))
            self.known_good = True
            if known is not None and known is instead_of:
                record.replaced(known)
                account.last_expiry = known.ends_wall
            newer = instead_of is not None and token.ends_wall > instead_of.ends_wall
            record.found(now if newer else -math.inf)
            account.token = token
            account.forced = False
            self._out.append(act.Grant(account, token))
            if account.flight is not None and account.flight.permit is None and token.usable(now, wall):
                self._succeed(account.flight, token, now)
        return self._pump(now)

    def force(self, state: str, now: float) -> list[act.Action]:
        """An operator opened, closed or half-opened the breaker."""
        self._enter(now)
        if state == ev.CLOSED:
            self._close_circuit(now, by_operator=True)
        elif state == ev.OPEN:
            self._open_circuit(now, "opened by an operator", 0, by_operator=True)
        else:
            self._half_open(now, by_operator=True)
        return self._pump(now)

    def clear_rate_limit(self, now: float, wall: float) -> list[act.Action]:
        """An operator ends the hold, here and, through their store, for all that share it."""
        self._enter(now, wall)
        self._clear_rate_limit(now, at=now)
        if self.fleet is not None:
            self._out.append(act.TellClear())
        return self._pump(now)

    # -- what the store of the fleet answers ----------------------------------------------------------

    def learn(self, view: View, asked: int, now: float, wall: float) -> list[act.Action]:
        """The store says this; ``asked`` is the breaker's generation of then."""
        self._enter(now, wall)
        self._learn(view, asked, now)
        return self._pump(now)

    def granted(self, ask: act.Ask, fence: int, now: float, wall: float) -> list[act.Action]:
        """The probe may leave: the lease is ours, and ``fence`` its number."""
        self._enter(now, wall)
        self._granted(ask, fence, now)
        return self._pump(now)

    def refused(self, ask: act.Ask, view: View, now: float, wall: float) -> list[act.Action]:
        """Another process probes, or the breaker is not open any more."""
        self._enter(now, wall)
        self._refused(ask, view, now)
        return self._pump(now)

    def led(self, lead: act.Lead, view: View, *, busy: bool, now: float, wall: float) -> list[act.Action]:
        """This process is the one that goes on; or, ``busy``, another one is."""
        self._enter(now, wall)
        self._led(busy, view, lead.asked, now)
        return self._pump(now)

    def moved(self, now: float, wall: float, *, to_fallback: bool) -> list[act.Action]:
        """The store has failed and its fallback answers from now on, or the store is back."""
        self._enter(now, wall)
        assert self.fleet is not None  # noqa: S101 - else there is no store
        self.fleet.move(to_fallback)
        return self._pump(now)

    def unavailable(self, request: act.ForStore, now: float, wall: float) -> list[act.Action]:
        """The store did not answer: decide alone."""
        self._enter(now, wall)
        self._decide_alone(request, now)
        return self._pump(now)

    def close(self, now: float) -> list[act.Action]:
        """The pool closes: every waiter is told, every attempt is given up."""
        self._enter(now)
        self._closed = True
        for flight in list(self.flights.values()):
            for waiter in flight.take_all():
                self._finish(waiter, now, failure=closed(), fast=flight.asked == 0)
            self._drop(flight, now)
        for permit in sorted(self.live, key=lambda permit: permit.flight.serial):  # the same order each time
            permit.alive = False
            self._out.append(act.Abort(permit))
        self.live.clear()
        self.window.restart()
        self.lease = None
        return self._pump(now)

    # -- after an interrupt ---------------------------------------------------------------------------

    def mend(self, callers: Iterable[Waiter], asked: Container[Account], now: float, wall: float) -> list[act.Action]:
        """An exception from outside has cut an input short, anywhere: make whole what it left half done.

        What can be derived is derived anew: O(N log N) for N keys that are waited for. What was to be told may be
        told twice. Numbers that only steer (the window, the budget, luck) may have missed one attempt.

        Arguments:
            callers: all calls that wait.
            asked: keys whose callable is being asked for a code.
        """
        self._enter(now, wall)
        self.live = {permit for permit in self.live if permit.alive}
        self._mend_permits()
        self._mend_callers(callers, now)
        self.queue.clear()
        for flight in tuple(self.flights.values()):
            self._mend_flight(flight, asked, now)
        self.waiting = sum(len(flight.waiters) for flight in self.flights.values())
        self._no_parking = {serial: left for serial, left in self._no_parking.items() if serial in self.flights}
        self._replay_all()
        return self._pump(now)

    def _mend_callers(self, callers: Iterable[Waiter], now: float) -> None:
        for waiter in callers:
            if waiter.done:
                self._out.append(act.Done(waiter))
            elif not math.isnan(waiter.joined):  # else its demand is still to come
                flight = waiter.account.flight
                if flight is not None:
                    self.flights.setdefault(flight.serial, flight)
                if flight is None or not flight.has(waiter):
                    self._seek(waiter, now, max(0.0, waiter.max_wait - (now - waiter.joined)))

    def _mend_flight(self, flight: Flight, asked: Container[Account], now: float) -> None:
        account = flight.account
        for waiter in flight.waiters:
            if waiter.done:
                flight.leave(waiter)
        if flight.permit not in self.live:
            flight.landed(now)
        flight.watched = math.inf
        if flight.permit is not None:
            self.queue.watch(flight)
        elif account.flight is not flight or (flight.background and flight.trigger != "soft"):
            self._drop(flight, now)
        elif account.token is not None and account.token.usable(now, self._wall) and not flight.background:
            self._succeed(flight, account.token, now)
        elif account.code_asked_at is None or account not in asked:
            self.codes.forget(account)
            self.queue.put(flight, now, self._wall)

    def _join(self, waiter: Waiter, now: float, max_wait: float) -> None:
        account = waiter.account
        flight = account.flight
        self._emit(ev.TokenAsked("flight" if flight is None else "coalesced"))
        account.lost_at = min(account.lost_at, now)
        if flight is None:
            flight = account.flight = Flight(account, now)
            self.flights[flight.serial] = flight
            if waiter.max_wait > 0.0:
                flight.not_before = account.spaced_until
        retry = self.config.retry
        patience = max_wait + min(max_wait * _TOLERANCE, retry.delay(retry.max_retries) / 2)
        rested = self._served_from(flight)
        if waiter.max_wait <= 0.0:
            if flight.permit is None and (rested > now or (self._blocked(now) and not self._may_probe(now))):
                self._dismiss(flight, [waiter], now)
                return
            self._no_parking.setdefault(flight.serial, {})[waiter] = waiter
            patience = self.config.timeout.total
        was_background, before = flight.background, flight.deadline()
        flight.join(waiter, now, patience)
        if flight.permit is None:
            self._dismiss(flight, flight.overdue(rested), now)
            if not flight.background and (was_background or flight.deadline() < before):
                self.queue.put(flight, now, self._wall)
            else:
                self.queue.watch(flight)

    def _background(self, account: Account, now: float) -> None:
        token = account.token
        if token is None or not token.is_soft(now, self._wall):
            return  # somebody was faster
        if account.flight is None and now >= max(account.rest_until, account.renew_at) and not self._closed:
            if self.denials.standing(account, now) is not None:
                return
            flight = account.flight = Flight(account, now, soft=True)
            self.flights[flight.serial] = flight
            self.queue.put(flight, now, self._wall)

    # -- the pump -------------------------------------------------------------------------------------

    def _pump(self, now: float) -> list[act.Action]:
        self._void(now)
        self.queue.wake(now, self._wall)
        self._end_hold(now)
        gate = self._admit(now)
        for flight, waiters in self.queue.expired(max(now, self._unreachable(now))):
            self._dismiss(flight, waiters, now)
        # Whose probe the fleet has still to allow does not park: the answer comes at once, or is done without.
        if self._no_parking and self._blocked(now) and not (self.fleet is not None and self.fleet.asking):
            for serial, impatient in list(self._no_parking.items()):
                flight = self.flights[serial]
                if flight.permit is None and flight.account.code_asked_at is None:
                    self._dismiss(flight, list(impatient), now)
        self._out.append(act.WakeAt(self._next_wake(now, min(gate, self._look(now)))))
        out, self._out = self._out, []
        return out

    def _unreachable(self, now: float) -> float:
        """Nobody can be served before this; who cannot wait that long leaves now (G9)."""
        until = -math.inf
        if self.hold_until > now:
            until = self.hold_until if self.hold_until - now <= self.config.retry.max_retry_after else math.inf
        if self.circuit.state == ev.OPEN:
            until = max(until, self.circuit.probe_at)
        return until

    def _next_wake(self, now: float, gate: float) -> float:
        wake = min(gate, self.queue.next_expiry(), self.queue.next_sleeper())
        if self._deadlines:  # no dead one is left at the top: whoever died did so before _void
            wake = min(wake, self._deadlines[0][0])
        # Waking in the past would spin: two livelocks in a trial came from that.
        return wake if wake > now else math.nextafter(now, math.inf)
