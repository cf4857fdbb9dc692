"""The dispatcher: every decision about the token endpoint is made here, and nowhere else.

It is told what happened (a demand, a result, time passing) and answers with what to do. It has no clock, no
lock, no I/O and no randomness of its own; its driver feeds it one input at a time and acts afterwards. Every
input ends in one ``_advance``: give up attempts that are late, wake sleepers, admit, dismiss whose patience ends.

The way of one key: ``demand`` -> a ``Flight`` (one per key) -> the queue -> ``StartAttempt(permit)`` -> ``result``
-> ``TokenChanged``, and ``Wake`` for all who waited; or back into the queue, or ``Wake`` with a failure.

==================== ==============================================================================
who decides          what
==================== ==============================================================================
``results.py``       what an attempt's result does to the breaker, the limiter, its key, its flight
``admission.py``     which attempt starts, and when
``transitions.py``   what a move of the breaker, or a rate limit, entails for everybody
``waiters.py``       how waiting ends
``coordinator.py``   what other processes have to say
``guarded.py``       which calls of users' own may pass, and what their results count
``breaker.py`` ...   state with rules of its own, which knows nobody
==================== ==============================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable

from ..config import DispatcherConfig
from . import actions as act
from . import events as ev
from .account import Account
from .actions import Outbox
from .admission import Admission
from .breaker import CircuitBreaker
from .codes import CodeRequests
from .coordinator import Coordinator, NullCoordinator
from .denials import DenialCache, next_window
from .failure import closed
from .flight import InFlight, Permit, Waiter
from .guarded import GuardedCall, GuardedCalls
from .history import EndpointHistory, LossHistory
from .instant import Instant
from .limiter import ConcurrencyLimiter
from .outcome import Outcome
from .queue import Queue
from .rate_limit import RateLimit
from .results import Results
from .retry_budget import RetryBudget
from .shared_state import SharedState
from .token import Token
from .tokens import Tokens
from .transitions import Transitions
from .waiters import Waiters

# max_wait counts to within 1 %, but never so generously that one more retry would fit in.
_TOLERANCE = 0.01


def _always(permit: Permit) -> bool:
    return True


class Dispatcher:
    """Takes inputs; each returns what is to be done about it, in this order.

    Arguments:
        rand: draws from [0, 1).
        known_good: this address has given a token before.
        has_begun: whether an attempt has what it needs of this host (a thread, a slot, an address): until then its
            deadline says nothing of the endpoint.
        fail_max: in place of the option.
    """

    def __init__(
        self,
        config: DispatcherConfig,
        rand: Callable[[], float],
        *,
        known_good: bool = False,
        has_begun: Callable[[Permit], bool] = _always,
        fail_max: int | None = None,
    ) -> None:
        self.config = config
        self._is_closed = False
        # The last retry of a schedule leaves just when the patience is used up.
        self._slack = config.retry.delay(config.retry.max_retries) / 2
        self._outbox = out = Outbox()
        # State with rules of its own: none of these knows another one.
        self.breaker = CircuitBreaker(config.breaker)
        if fail_max is not None:
            self.breaker.fail_max = fail_max
        self.limiter = ConcurrencyLimiter(config.policy, config.maxsize)
        self.retry_budget = RetryBudget(config.retry_budget)
        self.losses = LossHistory()
        self.rate_limit = RateLimit(config.policy)
        self.denials = DenialCache(config.policy)
        self.codes = CodeRequests()
        self.queue = Queue()
        self.history = EndpointHistory(known_good=known_good)
        self.in_flight = InFlight()
        # Rules: each knows what stands above it.
        self.tokens = Tokens(config.policy, out, self.history)
        self.waiters = Waiters(config, out, self.breaker, self.rate_limit, self.codes, self.queue, self.history)
        self.transitions = Transitions(
            config.breaker, out, self.breaker, self.limiter, self.losses, self.rate_limit, self.queue, self.history,
            self.waiters, rand,
        )  # fmt: skip
        self.coordinator: Coordinator | NullCoordinator = NullCoordinator(self.transitions)
        if config.store_poll_interval is not None:
            self.coordinator = Coordinator(
                config.store_poll_interval, out, self.breaker, self.limiter, self.rate_limit, self.in_flight,
                self.waiters, self.transitions, rand,
            )  # fmt: skip
        self.results = Results(
            config, out, self.breaker, self.limiter, self.retry_budget, self.losses, self.rate_limit, self.denials,
            self.queue, self.history, self.in_flight, self.tokens, self.waiters, self.transitions,
            self.coordinator, rand, has_begun,
        )  # fmt: skip
        self.admission = Admission(
            config, out, self.breaker, self.limiter, self.retry_budget, self.rate_limit, self.codes, self.queue,
            self.in_flight, self.waiters, self.transitions, self.coordinator, self.results,
        )  # fmt: skip
        self.guarded = GuardedCalls(config.timeout.total, self.breaker, self.transitions, self.admission)

    # -- calls ----------------------------------------------------------------------------------------

    def demand(self, waiter: Waiter, at: Instant, *, tokenless_for: float = 0.0) -> list[act.Action]:
        """A call wants a token that its account does not have fresh.

        ``tokenless_for``: seconds for which there has been none, should this process not know.
        """
        self._enter(at)
        self.waiters.arrive(waiter, at.monotonic, tokenless_for)
        self._seek(waiter, at, waiter.max_wait)
        return self._advance(at)

    def refresh(self, account: Account, at: Instant) -> list[act.Action]:
        """A token is past its advisory point: one attempt in the background, last in the queue."""
        self._enter(at)
        self._refresh(account, at)
        return self._advance(at)

    def cancel(self, waiter: Waiter, at: Instant) -> list[act.Action]:
        """A caller is gone (killed, timed out). Nobody else notices."""
        self._enter(at)
        self.waiters.cancel(waiter, at)
        return self._advance(at)

    def tick(self, at: Instant) -> list[act.Action]:
        """Time has passed."""
        self._enter(at)
        return self._advance(at)

    # -- attempts -------------------------------------------------------------------------------------

    def result(self, permit: Permit, outcome: Outcome, at: Instant) -> list[act.Action]:
        """An attempt has ended."""
        self._enter(at)
        self.results.on_result(permit, outcome, at)
        return self._advance(at)

    def code_given(self, account: Account, at: Instant) -> list[act.Action]:
        """The key's callable has returned a code, which is at hand for the next attempt."""
        self._enter(at)
        self.codes.given(account, at.monotonic, next_window(at, self.config.policy.totp_window))
        self._requeue(account, at)
        return self._advance(at)

    def code_missing(self, account: Account, outcome: Outcome, at: Instant) -> list[act.Action]:
        """The key's callable has given no code that can be sent; ``outcome`` says why."""
        self._enter(at)
        self.codes.missing(account)
        flight = self.waiters.flights.get(account)
        if flight is not None and flight.permit is None:
            self.results.without_code(flight, outcome, at)
        return self._advance(at)

    # -- tokens ---------------------------------------------------------------------------------------

    def invalidate(self, account: Account, at: Instant) -> list[act.Action]:
        """Forget the account's token, and that it was refused: the next call asks the server."""
        self._enter(at)
        account.forgive()
        account.era += 1
        self.tokens.drop(account, at, forced=False)
        self._requeue(account, at)  # it need not wait for a token to have ended
        return self._advance(at)

    def token_refused(self, account: Account, token: Token, at: Instant) -> list[act.Action]:
        """An API call was refused with ``token``: drop it, unless one that never worked was replaced just before."""
        self._enter(at)
        if account.token is not None and account.token.jwt == token.jwt:
            account.record.doubt(token)
            if account.record.may_be_replaced(token, at.monotonic, self.config.policy):
                self.tokens.drop(account, at, forced=True)
                self._requeue(account, at)
        return self._advance(at)

    def token_worked(self, account: Account, token: Token, at: Instant) -> list[act.Action]:
        """An API call has worked with ``token``."""
        self._enter(at)
        account.record.worked(token)
        return self._advance(at)

    def token_doubted(self, account: Account, token: Token, at: Instant) -> list[act.Action]:
        """An API call was refused with ``token``, and is not made again."""
        self._enter(at)
        account.record.doubt(token)
        return self._advance(at)

    def adopt(
        self, account: Account, token: Token, at: Instant, *, instead_of: Token | None = None
    ) -> list[act.Action]:
        """A valid token was found elsewhere (the disk cache): it serves its flight, too.

        ``instead_of``: a token that an API call was refused with, so that any other is better.
        """
        self._enter(at)
        if self.tokens.adopt(account, token, at, instead_of=instead_of) and token.is_usable(at):
            flight = self.waiters.flights.get(account)
            if flight is not None and flight.permit is None:
                self.waiters.serve(account, at)
        return self._advance(at)

    def second_factor_changed(self, account: Account, at: Instant) -> list[act.Action]:
        """The key has a one-time code from now on, or another one: that it, or the code, was refused is void."""
        self._enter(at)
        account.totp = True
        account.forgive()
        account.next_code_at = -math.inf
        return self._advance(at)

    # -- an operator ----------------------------------------------------------------------------------

    def force(self, state: str, at: Instant) -> list[act.Action]:
        """An operator opened, closed or half-opened the breaker."""
        self._enter(at)
        if state == ev.CLOSED:
            self.transitions.close(at, by_operator=True)
        elif state == ev.OPEN:
            self.transitions.open(at.monotonic, "opened by an operator", 0, by_operator=True)
        else:
            self.transitions.half_open(at.monotonic, by_operator=True)
        return self._advance(at)

    def set_fail_max(self, fail_max: int, at: Instant) -> list[act.Action]:
        """From now on so many failures in a row open the breaker; should there be as many, the next one does."""
        self._enter(at)
        self.breaker.fail_max = fail_max
        return self._advance(at)

    def clear_rate_limit(self, at: Instant) -> list[act.Action]:
        """An operator ends the pause, here and, through their store, for all that share it."""
        self._enter(at)
        self.transitions.clear_rate_limit(at, cleared_at=at.monotonic)
        self.coordinator.publish_clear()
        return self._advance(at)

    def close(self, at: Instant) -> list[act.Action]:
        """The pool closes: every waiter is told, every attempt is given up."""
        self._enter(at)
        self._is_closed = True
        for flight in list(self.waiters.flights.values()):
            self.waiters.close(flight, closed(), at)
        for permit in self.in_flight.in_order():
            self.in_flight.end(permit)
            self._outbox.add(act.CancelAttempt(permit))
        self.limiter.restart()
        return self._advance(at)

    # -- calls of users' own that count -----------------------------------------------------------------

    def admit_guarded(self, call: GuardedCall, at: Instant) -> list[act.Action]:
        """A call asks whether it may pass; ``call.passes`` says so then."""
        self._enter(at)
        self.guarded.admit(call, at.monotonic)
        return self._advance(at)

    def guarded_ended(self, call: GuardedCall, failure: str | None, at: Instant) -> list[act.Action]:
        """A call that passed has succeeded (``failure`` is ""), failed, or (``None``) was interrupted."""
        self._enter(at)
        self.guarded.end(call, failure, at)
        return self._advance(at)

    # -- what the store that processes share answers --------------------------------------------------

    def learn(self, state: SharedState, asked: int, at: Instant) -> list[act.Action]:
        """The store says this; ``asked`` is the breaker's generation of then."""
        self._enter(at)
        self.coordinator.learn(state, asked, at)
        return self._advance(at)

    def granted(self, request: act.RequestProbeLease, fence: int, at: Instant) -> list[act.Action]:
        """The probe may leave: the lease is ours, and ``fence`` its number."""
        self._enter(at)
        self.coordinator.granted(request, fence, at.monotonic)
        return self._advance(at)

    def refused(self, request: act.RequestProbeLease, state: SharedState, at: Instant) -> list[act.Action]:
        """Another process probes, or the breaker is not open any more."""
        self._enter(at)
        self.coordinator.refused(request, state, at)
        return self._advance(at)

    def led(self, request: act.RequestLeadership, state: SharedState, at: Instant, *, busy: bool) -> list[act.Action]:
        """This process is the one that goes on; or, ``busy``, another one is."""
        self._enter(at)
        self.coordinator.led(request, state, at, busy=busy)
        return self._advance(at)

    def moved(self, at: Instant, *, to_fallback: bool) -> list[act.Action]:
        """The store has failed and its fallback answers from now on, or the store is back."""
        self._enter(at)
        self.coordinator.moved(to_fallback=to_fallback)
        return self._advance(at)

    def unavailable(self, request: act.ForStore, at: Instant) -> list[act.Action]:
        """The store did not answer: decide alone."""
        self._enter(at)
        self.coordinator.unavailable(request, at.monotonic)
        return self._advance(at)

    # -- after an interrupt ---------------------------------------------------------------------------

    def mend(self, callers: Iterable[Waiter], asked: Container[Account], at: Instant) -> list[act.Action]:
        """An exception from outside has cut an input short, anywhere: make whole what it left half done.

        What can be derived is derived anew: O(N log N) for N keys that are waited for. What was to be told may be
        told twice. Numbers that only steer (the limiter, the budget, luck) may have missed one attempt.

        Arguments:
            callers: all calls that wait.
            asked: keys whose callable is being asked for a code.
        """
        self._enter(at)
        self.admission.mend()
        for waiter in callers:
            self._mend_caller(waiter, at)
        self.waiters.mend(self.in_flight.permits, asked, at)
        self.transitions.mirror_state()
        return self._advance(at)

    def _mend_caller(self, waiter: Waiter, at: Instant) -> None:
        if waiter.done:
            self._outbox.add(act.Wake(waiter))
        elif not math.isnan(waiter.joined):  # else its demand is still to come
            flight = self.waiters.flights.get(waiter.account)
            if flight is None or not flight.has(waiter):
                self._seek(waiter, at, max(0.0, waiter.max_wait - (at.monotonic - waiter.joined)))

    # -- what inputs have in common -------------------------------------------------------------------

    def _enter(self, at: Instant) -> None:
        self.waiters.times.book(at.monotonic, self.waiters.count)

    def _seek(self, waiter: Waiter, at: Instant, max_wait: float) -> None:
        """Serve ``waiter`` at once if that is possible, or refuse it; else have it join its key's flight."""
        account, now = waiter.account, at.monotonic
        refusal = closed() if self._is_closed else account.refusal_at(now)
        token = account.token if account.token is not None and account.token.is_valid(at) else None
        usable = token is not None and token.is_usable(at)
        unserved = refusal is not None or self.waiters.is_blocked(now) or account.renew_at > now
        if token is not None and not self._is_closed and (usable or unserved):
            self._outbox.add(ev.TokenAsked("coalesced" if usable else "margin"))
            self.waiters.finish(waiter, at, token=token)
            self._refresh(account, at)
        elif refusal is not None:
            self._outbox.add(ev.TokenAsked("refused"))
            self.waiters.finish(waiter, at, failure=refusal, fast=True)
        else:
            self._join(waiter, at, max_wait)

    def _join(self, waiter: Waiter, at: Instant, max_wait: float) -> None:
        account, now = waiter.account, at.monotonic
        flight = self.waiters.flights.get(account)
        self._outbox.add(ev.TokenAsked("flight" if flight is None else "coalesced"))
        account.note_tokenless(now - waiter.tokenless_for)
        if flight is None:
            flight = self.waiters.open_flight(account, now)
            if waiter.max_wait > 0.0:
                flight.not_before = account.spaced_until
        patience = max_wait + min(max_wait * _TOLERANCE, self._slack)
        rested = self.waiters.earliest_service(flight)
        if waiter.max_wait <= 0.0:
            blocked = self.waiters.is_blocked(now) and not self.admission.may_probe(now)
            if flight.permit is None and (rested > now or blocked):
                self.waiters.dismiss(flight, [waiter], at)
                return
            self.waiters.never_park(flight, waiter)
            patience = self.config.timeout.total
        had_no_waiters, before = flight.has_no_waiters, flight.deadline()
        flight.join(waiter, now, patience)
        if flight.permit is None:
            self.waiters.dismiss(flight, flight.take_expired(rested), at)
            if not flight.has_no_waiters and (had_no_waiters or flight.deadline() < before):
                self.queue.put(flight, at)
            else:
                self.queue.watch(flight)

    def _refresh(self, account: Account, at: Instant) -> None:
        token, now = account.token, at.monotonic
        if token is None or not token.is_refresh_due(at):
            return  # somebody was faster
        if account in self.waiters.flights or now < max(account.refresh_not_before, account.renew_at):
            return
        if self._is_closed or account.refusal_at(now) is not None:
            return
        self.queue.put(self.waiters.open_flight(account, now, advisory=True), at)

    def _requeue(self, account: Account, at: Instant) -> None:
        flight = self.waiters.flights.get(account)
        if flight is not None and flight.permit is None:
            self.queue.put(flight, at)

    def _advance(self, at: Instant) -> list[act.Action]:
        now = at.monotonic
        self.results.expire_attempts(at)
        if self.transitions.changes:
            self.coordinator.publish()
        self.queue.wake(at)
        if self.rate_limit.has_ended(now):
            self.transitions.end_pause(now)
        next_start = self.admission.start_what_may(at)
        for flight, waiters in self.queue.expired(max(now, self.waiters.blocked_until(now))):
            self.waiters.dismiss(flight, waiters, at)
        # While the store is asked whether a probe may leave nobody parks: the answer comes at once, or never.
        if self.waiters.is_blocked(now) and not self.coordinator.awaits_lease:
            self.waiters.dismiss_nonblocking(at)
        if self.transitions.changes:
            self.coordinator.publish()
        self._outbox.add(act.WakeAt(self._next_wake(now, min(next_start, self.coordinator.poll(now)))))
        return self._outbox.take()

    def _next_wake(self, now: float, moment: float) -> float:
        wake = min(moment, self.queue.next_expiry(), self.queue.next_sleeper(), self.in_flight.next_deadline())
        # Waking in the past would spin: two livelocks in a trial came from that.
        return wake if wake > now else math.nextafter(now, math.inf)
