"""What an attempt's result does: to the breaker and the limiter first, to its key and its flight then.

``on_result`` is where each of them begins. What a status *is* stands in ``outcome.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from ..config import DispatcherConfig
from . import actions as act
from . import events as ev
from .account import QUICK_WITHIN, Account
from .actions import Outbox
from .backoff import jittered
from .breaker import CircuitBreaker
from .coordinator import Coordinator, NullCoordinator
from .denials import CODE_REFUSED, DenialCache, next_window
from .failure import Failure, from_outcome
from .flight import Flight, InFlight, Permit, rest_after
from .history import EndpointHistory, LossHistory
from .instant import Instant
from .limiter import ConcurrencyLimiter
from .outcome import LOCAL, NETWORK_ERROR, OK, RATE_LIMITED, REJECTED, SERVER_ERROR, UNAVAILABLE, Outcome
from .queue import Queue
from .rate_limit import RateLimit
from .retry_budget import RetryBudget
from .shared_state import HandledElsewhere
from .tokens import Tokens
from .transitions import Transitions
from .waiters import Waiters

_TRIP_CHANCE = 1e-6
_OVERLOADED = 503  # "the server is currently unable to handle the request due to a temporary overload" (RFC 9110)
_FAILURES = (UNAVAILABLE, NETWORK_ERROR, SERVER_ERROR)
_ADVISORY = "soft"


class Results:
    """The judge of results."""

    def __init__(
        self, config: DispatcherConfig, outbox: Outbox, breaker: CircuitBreaker, limiter: ConcurrencyLimiter,
        budget: RetryBudget, losses: LossHistory, rate_limit: RateLimit, denials: DenialCache, queue: Queue,
        history: EndpointHistory, in_flight: InFlight, tokens: Tokens, waiters: Waiters, transitions: Transitions,
        coordinator: Coordinator | NullCoordinator, rand: Callable[[], float], has_begun: Callable[[Permit], bool],
    ) -> None:  # fmt: skip
        self._config = config
        self._outbox = outbox
        self._breaker = breaker
        self._limiter = limiter
        self._budget = budget
        self._losses = losses
        self._rate_limit = rate_limit
        self._denials = denials
        self._queue = queue
        self._history = history
        self._in_flight = in_flight
        self._tokens = tokens
        self._waiters = waiters
        self._transitions = transitions
        self._coordinator = coordinator
        self._rand = rand
        self._has_begun = has_begun
        # The flight that alone has opened the breaker, and in which period: its schedule goes on while that is open.
        self._opened_alone: tuple[Flight, int] | None = None

    def expire_attempts(self, at: Instant) -> None:
        """Give up attempts that are past their deadline: the breaker always makes progress (G4)."""
        while (permit := self._in_flight.take_expired(at.monotonic)) is not None:
            self._outbox.add(act.CancelAttempt(permit))
            if not self._has_begun(permit):  # it waited for something of this host: of the endpoint that says nothing
                words = f"no free connection, thread or look-up here within {permit.timeout:g} s"
                self.on_result(permit, Outcome(LOCAL, detail=words, is_transient=True), at, lost=True)
                continue
            if permit.is_probe:
                self._breaker.probe_was_lost()
            words = f"no verdict within {permit.timeout:g} s"
            self.on_result(permit, Outcome(NETWORK_ERROR, detail=words), at, lost=True)

    def on_result(self, permit: Permit, outcome: Outcome, at: Instant, *, lost: bool = False) -> None:
        """Take the outcome of ``permit``; ``lost`` when it was given up at its deadline."""
        account, flight, now = permit.account, permit.flight, at.monotonic
        if not permit.alive:  # given up before; only a token still counts (G5)
            self._outbox.add(_finished(permit, outcome, now, stale=True, late=True))
            wanted = account.token is None or not account.token.is_usable(at)
            if outcome.kind == OK and wanted and not permit.is_void:
                self._tokens.exchanged(account, outcome, at)
                self._waiters.serve(account, at)
            return
        self._in_flight.end(permit)
        stale = permit.generation != self._breaker.generation
        outcome = self._blame_server(account, outcome, now)
        flight.attempt_ended(now)
        if outcome.kind in _FAILURES:
            flight.attempt_failed(now, self._losses.schedule_epoch, self._config.retry, self._delay)
        self._outbox.add(_finished(permit, outcome, now, stale=stale, lost=lost))
        if permit.is_probe:
            self._judge_probe(permit, outcome, at, stale=stale, lost=lost)
        elif not stale:
            self._judge(permit, outcome, at)
        self._finish_flight(permit, flight, outcome, at)

    def _blame_server(self, account: Account, outcome: Outcome, now: float) -> Outcome:
        """A server that refuses most keys which worked a minute ago is at fault, and not the keys (G14)."""
        if outcome.kind not in (OK, REJECTED):
            return outcome
        refused = self._denials.tried(account, outcome.kind == REJECTED, now)
        if not refused:
            return outcome
        self._outbox.add(ev.ServerBlamed(refused))
        words = f"HTTP {outcome.status} for more than half of the keys that worked a minute ago"
        return replace(outcome, kind=SERVER_ERROR, detail=words, code=None)

    # -- the breaker and the limiter ------------------------------------------------------------------

    def _judge(self, permit: Permit, outcome: Outcome, at: Instant) -> None:
        """A result of the present closed period."""
        if outcome.kind in (OK, REJECTED):
            self._judge_success(permit, at)
        elif outcome.kind in _FAILURES:
            self._judge_failure(permit, outcome, at.monotonic)
        else:
            self._limiter.release()

    def _judge_success(self, permit: Permit, at: Instant) -> None:
        now = at.monotonic
        self._history.answered()
        if self._losses.succeeded(permit.account.serial, now):  # an outage that was too short for the breaker
            self._queue.forgive(at, self._breaker.period)
        self._limiter.succeeded(permit.level, permit.round, now - permit.started)
        self._breaker.succeeded()
        self._coordinator.succeeded()
        self._outbox.add(act.MirrorToPybreaker(act.SUCCESS))

    def _judge_failure(self, permit: Permit, outcome: Outcome, now: float) -> None:
        breaker, limiter, config = self._breaker, self._limiter, self._config.breaker
        self._losses.failed(permit.account.serial)
        # A herd that fails together is little evidence: only a failure that lowers the limit, or of an attempt
        # that began after it was lowered last, counts.
        fresh = permit.round == limiter.round
        overloaded = outcome.status == _OVERLOADED
        lowered = limiter.failed(permit.level, permit.round, permit.started, now, shed=overloaded)
        if lowered:
            self._outbox.add(ev.WindowCut(limiter.limit))
        # And sixteen in a row within a moment happen at 60 % of random failures: unless so little was lost
        # before that chance is out of the question, the last one counts after two seconds without a success.
        failed_long = now - self._losses.last_success >= config.min_failure_time
        counts = failed_long or limiter.chance(breaker.fail_max) < _TRIP_CHANCE
        if (lowered or fresh) and (counts or not breaker.one_failure_left):
            self._outbox.add(act.MirrorToPybreaker(act.FAILURE))
            if breaker.failed():
                alone = self._losses.only_key == permit.account.serial
                self._opened_alone = (permit.flight, breaker.period) if alone else None
                self._open_for(permit, outcome, now)

    def _judge_probe(self, permit: Permit, outcome: Outcome, at: Instant, *, stale: bool, lost: bool) -> None:
        kind, now = outcome.kind, at.monotonic
        result = "lost" if lost else "success" if kind in (OK, REJECTED) else "failure"
        self._outbox.add(ev.ProbeFinished("cancelled" if kind == LOCAL or stale else result))
        if not stale and outcome.is_transient:
            self._in_flight.probe_put_off(now)
        if stale or kind == LOCAL:  # given back: the next candidate leaves
            return
        self._in_flight.probe_answered()
        if kind in (OK, REJECTED):
            self._losses.noted(permit.account.serial, now)
            self._history.answered()
            self._limiter.record_rtt(now - permit.started)
            self._outbox.add(act.MirrorToPybreaker(act.SUCCESS))
            self._transitions.close(at)
        elif kind == RATE_LIMITED:
            self._transitions.open(now, f"HTTP {outcome.status}", outcome.status, grow=False)
        else:
            self._breaker.failed()
            self._outbox.add(act.MirrorToPybreaker(act.FAILURE))
            self._open_for(permit, outcome, now)

    def _open_for(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """Open for a failure; the schedule of a lone agent that has opened the breaker by itself stays exact."""
        flight, by = permit.flight, math.inf
        alone = self._opened_alone == (flight, self._breaker.period)
        if alone and self.keeps_time(flight) and self._is_retried(permit, outcome):
            by = flight.due()
        self._transitions.open(now, outcome.detail, outcome.status, after=outcome.retry_after, by=by)

    # -- the key and its flight -----------------------------------------------------------------------

    def _finish_flight(self, permit: Permit, flight: Flight, outcome: Outcome, at: Instant) -> None:
        account, now, policy = flight.account, at.monotonic, self._config.policy
        if outcome.totp_consumed:
            account.next_code_at = next_window(at, policy.totp_window)
        void = permit.is_void and outcome.kind in (OK, REJECTED)
        if outcome.kind == RATE_LIMITED:
            outcome = self._pause_all(permit, outcome, at)
        elif not void:
            self._remember(account, outcome, at)
        if outcome.kind in (OK, REJECTED):
            self._rate_limit.served()
        if outcome.remaining is not None:
            left, seconds = outcome.remaining
            self._rate_limit.remaining.update(left, min(seconds, policy.rate_limit_max), now)
        if outcome.exhausted_for is not None:
            self._transitions.pause(outcome.exhausted_for, "the rate limit is used up", "exhausted", now)
        if void:
            self._ask_again(flight, at)
        elif outcome.kind == OK:
            self._waiters.serve(account, at)
            self._note_drained(now)
        else:
            self._come_back(permit, flight, outcome, at)

    def _note_drained(self, now: float) -> None:
        """Once everybody is served the next outage begins with the short delay, and the rate limit suffices."""
        if not self._waiters.flights and self._breaker.state == ev.CLOSED:
            self._breaker.reset_delay()
            if not self._rate_limit.is_paused(now):
                self._rate_limit.remaining.reset()

    def _remember(self, account: Account, outcome: Outcome, at: Instant) -> None:
        """Remember of the key what the server has said of it."""
        if outcome.kind == OK:
            self._tokens.exchanged(account, outcome, at)
        elif _is_of_the_code(outcome):
            self._refuse_code(account, outcome, at)
        elif outcome.kind == REJECTED:
            denial = self._denials.deny(account, outcome, at)
            rest = denial.until - at.monotonic
            self._outbox.add(ev.KeyDenied(outcome.status, outcome.code, rest, denial.code_only))

    def _come_back(self, permit: Permit, flight: Flight, outcome: Outcome, at: Instant) -> None:
        """A flight comes back without a token."""
        if flight.has_no_waiters and not outcome.wait_for_totp and outcome.handled_elsewhere is None:
            config = self._config.policy
            rest = config.retry_refresh_min + (config.retry_refresh_max - config.retry_refresh_min) * self._rand()
            flight.account.refresh_not_before = at.monotonic + rest
        if _is_of_the_code(outcome):
            self._ask_again(flight, at)
        elif outcome.kind in (REJECTED, RATE_LIMITED):
            self._waiters.dismiss_all(flight, from_outcome(outcome), at)
        elif outcome.kind == LOCAL:
            self._on_local(permit, flight, outcome, at)
        else:
            self._on_failure(permit, flight, outcome, at)

    def _refuse_code(self, account: Account, outcome: Outcome, at: Instant) -> None:
        """The server refused a one-time code: another process may have spent it, and the next one is as good as new.

        The second in a row is probably wrong, not spent. Servers count wrong codes: so each further one waits twice
        as many windows.
        """
        rules = self._config.policy
        more = min(rules.totp_window * (2.0 ** min(account.code_refusals, 30) - 1.0), rules.rejection_delay_max)
        account.next_code_at = next_window(at, rules.totp_window) + more
        account.code_refusals += 1
        account.code_refusal = from_outcome(outcome)
        self._denials.code_was_refused(account, at.monotonic)
        rest = account.next_code_at - at.monotonic
        self._outbox.add(ev.KeyDenied(outcome.status, outcome.code, rest, code_only=True))

    def _ask_again(self, flight: Flight, at: Instant) -> None:
        """The server has answered, and its answer is of no use to those who wait: the next attempt is a first one."""
        flight.last_generation = -1
        ready_at = self._waiters.earliest_service(flight)
        late = flight.take_expired(ready_at)
        if ready_at > at.monotonic:
            late += self._waiters.nonblocking_of(flight)
        self._waiters.dismiss(flight, late, at)
        if not flight.has_no_waiters:  # else it has been dropped
            self._queue.put(flight, at)

    def _pause_all(self, permit: Permit, outcome: Outcome, at: Instant) -> Outcome:
        """A 429: nothing starts; return the outcome with the rest of the pause, which all are told."""
        now = at.monotonic
        seconds = self._rate_limit.seconds_for(outcome.retry_after, permit.started, now)
        rest = self._transitions.pause(seconds, f"HTTP {outcome.status} from the rate limit", "throttled", now)
        refused = self._denials.take_last(now)
        if refused is not None:  # the server counts refused attempts: the key that was refused just before caused it
            self._cool_down(refused, now + 2 * rest, at, ended=permit.flight)
        return replace(outcome, retry_after=rest)

    def _cool_down(self, account: Account, until: float, at: Instant, *, ended: Flight) -> None:
        """Let one key rest; should it be in the queue already, it goes back to where it belongs by now.

        ``ended``: the flight whose attempt has just ended, which is not back in the queue yet.
        """
        self._rate_limit.cool_down(account, until, at.monotonic)
        flight = self._waiters.flights.get(account)
        if flight is not None and flight is not ended and flight.permit is None:
            if late := flight.take_expired(until):
                self._waiters.dismiss(flight, late, at)
            if self._waiters.flights.get(account) is flight:
                self._queue.put(flight, at)

    # -- an attempt that was not made -----------------------------------------------------------------

    def _on_local(self, permit: Permit, flight: Flight, outcome: Outcome, at: Instant) -> None:
        flight.attempts -= 1
        flight.account.attempt_never_left()
        if permit.is_retry:
            self._budget.refund(permit.started)
        else:
            flight.last_generation = -1  # it is still to make its first attempt
            if not permit.is_probe:
                self._budget.cancel(permit.started)
        if outcome.handled_elsewhere is not None:
            self._on_handled_elsewhere(permit, flight, outcome.handled_elsewhere, at)
            return
        self.without_code(flight, outcome, at)

    def without_code(self, flight: Flight, outcome: Outcome, at: Instant) -> None:
        """A local end: what passes is waited for within the callers' patience, anything else ends their calls."""
        if outcome.wait_for_totp:
            flight.account.next_code_at = next_window(at, self._config.policy.totp_window)
            self._requeue(flight, flight.account.next_code_at, outcome, at)
        elif outcome.is_transient and _is_still_wanted(flight):
            self._requeue(flight, at.monotonic + _deferral(flight), outcome, at)
        else:
            self._waiters.dismiss_all(flight, from_outcome(outcome), at)

    def _on_handled_elsewhere(self, permit: Permit, flight: Flight, found: HandledElsewhere, at: Instant) -> None:
        """Another process has asked for this key, or asks now; of the endpoint that says nothing."""
        account, now = flight.account, at.monotonic
        if found.view is not None:
            self._coordinator.learn(found.view, permit.generation, at)
        if permit.is_void and (found.token is not None or found.denial is not None):
            self._ask_again(flight, at)
        elif found.token is not None:
            self._tokens.received(account, *found.token, at)
            self._waiters.serve(account, at)
        elif found.denial is not None:
            self._waiters.dismiss_all(flight, self._denials.learn(account, found.denial, now), at)
        elif _is_still_wanted(flight):
            flight.not_before = now + _deferral(flight) * (1.0 - self._rand() / 2)
            self._queue.put(flight, at)
        else:
            self._waiters.drop(flight, at)

    # -- an attempt that failed -----------------------------------------------------------------------

    def _on_failure(self, permit: Permit, flight: Flight, outcome: Outcome, at: Instant) -> None:
        now = at.monotonic
        if permit.period == self._breaker.period:  # else it was forgiven before it failed
            flight.account.attempt_failed(permit.period)
        flight.failures += 1
        flight.last = outcome
        if flight.has_no_waiters:
            self._waiters.drop(flight, at)
            return
        if not self._is_retried(permit, outcome):
            self._outbox.add(ev.RetryDenied("outcome"))
            self._note_failure(outcome, None, now)
            self._waiters.dismiss_all(flight, self._waiters.failure_of(outcome, flight), at)
            return
        not_before = self._not_before(flight, outcome, now)
        self._note_failure(outcome, not_before - now, now)
        self._requeue(flight, not_before, outcome, at)

    def _note_failure(self, outcome: Outcome, next_in: float | None, now: float) -> None:
        """Remember what the endpoint says, and tell the first failure that no recent success precedes."""
        quiet = now - self._losses.last_success > self._config.policy.recent_success
        if not self._history.last_failure and quiet and self._breaker.state == ev.CLOSED:
            known_good = self._history.known_good
            self._outbox.add(ev.StreakStarted(outcome.detail, next_in, self._waiters.count, known_good))
        self._history.failed(outcome.detail)

    def _is_retried(self, permit: Permit, outcome: Outcome) -> bool:
        retry = self._config.retry
        if retry.max_retries == 0:
            return False
        if outcome.kind == NETWORK_ERROR:
            return permit.is_probe or retry.retry_network_errors
        return outcome.kind == UNAVAILABLE and outcome.retry_status in retry.retry_on

    def _delay(self, step: int) -> float:
        """Seconds before so many a retry of a flight; a schedule that is over goes on no faster than the limiter."""
        retry = self._config.retry
        if step > retry.max_retries:
            return max(retry.delay(step), self._config.policy.max_spacing)
        return jittered(retry.delay(step), retry.jitter, self._rand())

    def keeps_time(self, flight: Flight) -> bool:
        """Whether the next attempt of ``flight`` is one of a lone agent's schedule, which stays exact."""
        return len(self._waiters.flights) == 1 and 0 < flight.steps <= self._config.retry.max_retries

    def _not_before(self, flight: Flight, outcome: Outcome, now: float) -> float:
        account, policy = flight.account, self._config.policy
        due = max(flight.due(), now + min(outcome.postpones, self._config.breaker.retry_after_max))
        if self._config.retry.delay(flight.steps) <= QUICK_WITHIN:  # the schedule itself is quick
            return due
        account.space_attempts()
        lively = now - self._losses.others_succeeded(account.serial) <= policy.recent_success
        failures = account.failures_in(self._breaker.period)
        # One retry more than that would be in the way of the scheduled attempt.
        fits = account.has_room_at(due)
        if self._breaker.state == ev.CLOSED and lively and fits and self._losses.excuses(failures):
            # One more failure may be the load, too: then the same key at once again would only fail again.
            rtt = self._limiter.rtt
            due = min(due, now + (rtt if failures <= 1 else max(rtt, policy.overload_spacing)))
        return max(due, account.spaced_until)

    def _requeue(self, flight: Flight, not_before: float, outcome: Outcome, at: Instant) -> None:
        """Back into the queue; who cannot wait until then leaves now."""
        flight.not_before = not_before
        late = flight.take_expired(self._waiters.earliest_service(flight))
        nonblocking = self._waiters.nonblocking_of(flight)
        if self._config.retry.patience == 0.0 and flight.steps <= self._config.retry.max_retries:
            nonblocking = []  # retries without a delay park nobody
        if late or nonblocking:
            self._outbox.add(ev.RetryDenied("deadline"))
            failure: Failure | None = None
            if self._breaker.state == ev.CLOSED or outcome.kind == LOCAL:
                failure = self._waiters.failure_of(outcome, flight)
            self._waiters.dismiss(flight, late + nonblocking, at, failure)
        if not flight.has_no_waiters:
            self._queue.put(flight, at)
        else:
            self._waiters.drop(flight, at)


def _is_still_wanted(flight: Flight) -> bool:
    return not flight.has_no_waiters or flight.trigger == _ADVISORY


def _deferral(flight: Flight) -> float:
    """Seconds until a flight that was put off is tried again; longer each time."""
    flight.deferrals += 1
    return rest_after(flight.deferrals)


def _is_of_the_code(outcome: Outcome) -> bool:
    """Whether only a one-time code was refused, and there will be another."""
    return outcome.kind == REJECTED and outcome.code == CODE_REFUSED and outcome.code_again


def _finished(
    permit: Permit, outcome: Outcome, now: float, *, stale: bool, lost: bool = False, late: bool = False
) -> ev.AttemptFinished:
    seconds = now - permit.started
    return ev.AttemptFinished(outcome.kind, outcome.status, seconds, permit.is_probe, stale, lost, late)
