"""What an attempt's outcome does: to the breaker and the window first, to its key and its flight then."""

from __future__ import annotations

import math
from dataclasses import replace

from . import actions as act
from . import events as ev
from .account import QUICK_WITHIN, Account, Flight, Permit
from .backoff import jittered
from .denial import CODE_REFUSED, next_window
from .failure import Failure, from_outcome
from .fleet import Sharing
from .outcome import DENIED, DOWN, FAULT, LOCAL, NETWORK, OK, THROTTLED, Outcome
from .view import Elsewhere

_TRIP_CHANCE = 1e-6
_SHED = 503  # "the server is currently unable to handle the request due to a temporary overload" (RFC 9110)
_BAD = (DOWN, NETWORK, FAULT)
# What was put off (another process exchanges the key, or no slot was free here) is tried again after so many seconds,
# twice as many, at most so many. The same for a probe that was given back: it would leave again at once.
_PUT_OFF = 0.1
_PUT_OFF_MAX = 1.0


class Verdicts(Sharing):
    """The desk's judgement of results."""

    def _land(self, permit: Permit, outcome: Outcome, now: float, *, lost: bool = False) -> None:
        """Take the outcome of ``permit``; ``lost`` when it is the desk that gave the attempt up."""
        account, flight = permit.account, permit.flight
        if not permit.alive:  # given up before; only a token still counts (G5)
            self._emit(_finished(permit, outcome, now, stale=True, late=True))
            wanted = account.token is None or not account.token.usable(now, self._wall)
            if outcome.kind == OK and wanted and not permit.is_void:
                self._grant(account, outcome, now)
                self._serve(account, now)
            return
        permit.alive = False
        self.live.discard(permit)
        stale = permit.generation != self.circuit.generation
        if permit is self.lease:
            self.lease = None
        if outcome.kind in (OK, DENIED) and (accused := self.denials.tried(account, outcome.kind == DENIED, now)):
            self._emit(ev.ServerBlamed(accused))
            words = f"HTTP {outcome.status} for more than half of the keys that worked a minute ago"
            outcome = replace(outcome, kind=FAULT, detail=words, code=None)
        flight.landed(now)
        if outcome.kind in _BAD:
            flight.advance(now, self.luck.life, self.config.retry, self._delay)
        self._emit(_finished(permit, outcome, now, stale=stale, lost=lost))
        if permit.is_probe:
            self._judge_probe(permit, outcome, now, stale=stale, lost=lost)
        elif not stale:
            self._judge(permit, outcome, now)
        self._conclude(permit, flight, outcome, now)

    def _serve(self, account: Account, now: float) -> None:
        """Give a new token to all who wait for it, whichever attempt brought it."""
        if account.flight is not None and account.token is not None:
            self._succeed(account.flight, account.token, now)

    # -- the breaker and the window ---------------------------------------------------------------------

    def _judge(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """A verdict of the present closed period."""
        window, circuit = self.window, self.circuit
        if outcome.kind in (OK, DENIED):
            self.last_failure = ""
            if self.luck.succeeded(permit.account.serial, now):  # an outage that was too short for the breaker
                self.queue.forgive(now, self._wall, circuit.period)
            window.succeeded(permit.level, permit.round, now - permit.started)
            circuit.succeeded()
            self._end_doubt(tell=True)
            self._out.append(act.Replay(act.SUCCESS))
        elif outcome.kind in _BAD:
            self.luck.failed(permit.account.serial)
            # A herd that fails together is little evidence: only a failure that cuts the window, or of an attempt
            # that began after the last cut, counts.
            fresh = permit.round == window.round
            cut = window.failed(permit.level, permit.round, permit.started, now, shed=outcome.status == _SHED)
            if cut:
                self._emit(ev.WindowCut(window.size))
            # And sixteen in a row within a moment happen at 60 % of random failures: unless so little was lost
            # before that chance is out of the question, the last one counts after two seconds without a success.
            breaker = self.config.breaker
            quiet = now - self.luck.last_success >= breaker.quiet or window.chance(breaker.fail_max) < _TRIP_CHANCE
            if (cut or fresh) and (quiet or not circuit.is_brink):
                self._out.append(act.Replay(act.FAILURE))
                if circuit.failed():
                    self._on_time = permit.flight if self.luck.lone == permit.account.serial else None
                    self._open_for(permit, outcome, now)
        else:
            window.give_back()

    def _judge_probe(self, permit: Permit, outcome: Outcome, now: float, *, stale: bool, lost: bool) -> None:
        kind = outcome.kind
        result = "lost" if lost else "success" if kind in (OK, DENIED) else "failure"
        self._emit(ev.ProbeFinished("cancelled" if kind == LOCAL or stale else result))
        if not stale and outcome.passing:  # what this host lacks, the next candidate lacks as well
            self.given_back += 1
            self.probe_rests_until = now + _rest(self.given_back)
        if stale or kind == LOCAL:  # given back: the next candidate leaves
            return
        self.given_back = 0
        if kind in (OK, DENIED):
            self.luck.noted(permit.account.serial, now)
            self.last_failure = ""
            self.window.timed(now - permit.started)
            self._out.append(act.Replay(act.SUCCESS))
            self._close_circuit(now)
        elif kind == THROTTLED:
            self._open_circuit(now, f"HTTP {outcome.status}", outcome.status, grow=False)
        else:
            self.circuit.failed()
            self._out.append(act.Replay(act.FAILURE))
            self._open_for(permit, outcome, now)

    def _open_for(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """Open for a failure; the schedule of a lone agent that has opened the breaker by itself stays exact."""
        flight, by = permit.flight, math.inf
        if flight is self._on_time and self._keeps_time(flight) and self._is_retried(permit, outcome):
            by = flight.due()
        self._open_circuit(now, outcome.detail, outcome.status, after=outcome.retry_after, by=by)

    # -- the key and its flight -------------------------------------------------------------------------

    def _conclude(self, permit: Permit, flight: Flight, outcome: Outcome, now: float) -> None:
        account = flight.account
        if outcome.code_burnt:
            account.totp_at = next_window(now, self._wall, self.config.denial.totp_window)
        void = permit.is_void and outcome.kind in (OK, DENIED)
        if outcome.kind == THROTTLED:
            outcome = self._throttle(permit, outcome, now)
        elif not void:
            self._note(flight, outcome, now)
        if outcome.kind in (OK, DENIED):
            self.short_holds.end()
        if outcome.left is not None:
            left, seconds = outcome.left
            self.quota.told(left, min(seconds, self.config.denial.hold_max), now)
        if outcome.exhausted_for is not None:
            self._hold(outcome.exhausted_for, "the rate limit is used up", "exhausted", now)
        if void:
            self._ask_again(flight, now)
        elif outcome.kind == OK:
            self._serve(account, now)
            if not self.flights and self.circuit.state == ev.CLOSED:
                self.circuit.drained()
                if self.hold_until <= now:
                    self.quota.sufficed()
        else:
            self._return(permit, flight, outcome, now)

    def _note(self, flight: Flight, outcome: Outcome, now: float) -> None:
        """Remember of the key what the server has said of it."""
        account = flight.account
        if outcome.kind == OK:
            self._grant(account, outcome, now)
        elif _is_of_the_code(outcome):
            self._refuse_code(account, outcome, now)
        elif outcome.kind == DENIED:
            denial = self.denials.deny(account, outcome, now, self._wall)
            self._emit(ev.KeyDenied(outcome.status, outcome.code, denial.until - now, denial.code_only))

    def _return(self, permit: Permit, flight: Flight, outcome: Outcome, now: float) -> None:
        """A flight comes back without a token."""
        if flight.background and not outcome.code_wait and outcome.elsewhere is None:
            rest = self.config.token.rest_max - self.config.token.rest_min
            flight.account.rest_until = now + self.config.token.rest_min + rest * self._rand()
        if _is_of_the_code(outcome):
            self._ask_again(flight, now)
        elif outcome.kind in (DENIED, THROTTLED):
            self._fail(flight, from_outcome(outcome), now)
        elif outcome.kind == LOCAL:
            self._conclude_local(permit, flight, outcome, now)
        else:
            self._conclude_bad(permit, flight, outcome, now)

    def _refuse_code(self, account: Account, outcome: Outcome, now: float) -> None:
        """The server refused a one-time code: another process may have spent it, and the next one is as good as new.

        The second in a row is probably wrong, not spent. Servers count wrong codes: so each further one waits twice
        as many windows.
        """
        rules = self.config.denial
        more = min(rules.totp_window * (2.0 ** min(account.code_refusals, 30) - 1.0), rules.delay_max)
        account.totp_at = next_window(now, self._wall, rules.totp_window) + more
        account.code_refusals += 1
        account.code_refusal = from_outcome(outcome)
        self.denials.last = (now, account)
        self._emit(ev.KeyDenied(outcome.status, outcome.code, account.totp_at - now, code_only=True))

    def _ask_again(self, flight: Flight, now: float) -> None:
        """The server has answered, and its answer is of no use to those who wait: the next attempt is a first one."""
        flight.tried_in = -1
        ready_at = self._served_from(flight)
        late = flight.overdue(ready_at)
        if ready_at > now:
            late += self._no_parking.get(flight.serial, {})
        self._dismiss(flight, late, now)
        if not flight.background:  # else it has been dropped
            self.queue.put(flight, now, self._wall)

    def _throttle(self, permit: Permit, outcome: Outcome, now: float) -> Outcome:
        """Hold everybody; the outcome with the rest of the hold, which its flight is told as all others are."""
        denial = self.config.denial
        asked = denial.hold if outcome.retry_after is None else outcome.retry_after
        seconds = self.short_holds.lasts(asked, permit.started, now, denial.hold)
        rest = self._hold(seconds, f"HTTP {outcome.status} from the rate limit", "throttled", now)
        refused = self.denials.last
        if refused is not None and now - refused[0] <= denial.fault_window:
            # The server counts refused attempts: the key that was refused just before caused it.
            self._hold_key(refused[1], now + 2 * rest, now, landing=permit.flight)
            self.denials.last = None
        return replace(outcome, retry_after=rest)

    def _hold_key(self, account: Account, until: float, now: float, *, landing: Flight) -> None:
        """Hold one key; should it be in the queue already, it goes back to where it belongs by now."""
        account.held_until = until
        self._held_keys = {key for key in self._held_keys if key.held_until > now} | {account}
        flight = account.flight
        if flight is not None and flight is not landing and flight.permit is None:
            if late := flight.overdue(until):
                self._dismiss(flight, late, now)
            if account.flight is flight:
                self.queue.put(flight, now, self._wall)

    def _conclude_local(self, permit: Permit, flight: Flight, outcome: Outcome, now: float) -> None:
        flight.asked -= 1
        flight.account.take_back()
        if permit.is_retry:
            self.budget.refund(permit.started)
        else:
            flight.tried_in = -1  # it is still to make its first attempt
            if not permit.is_probe:
                self.budget.cancel(permit.started)
        if outcome.elsewhere is not None:
            self._conclude_elsewhere(permit, flight, outcome.elsewhere, now)
            return
        self._without_code(flight, outcome, now)

    def _without_code(self, flight: Flight, outcome: Outcome, now: float) -> None:
        """A local end: what passes is waited for within the callers' patience, anything else ends their calls."""
        if outcome.code_wait:
            flight.account.totp_at = next_window(now, self._wall, self.config.denial.totp_window)
            self._requeue(flight, flight.account.totp_at, outcome, now)
        elif outcome.passing and (flight.waiters or flight.trigger == "soft"):
            self._requeue(flight, now + self._rest(flight), outcome, now)
        else:
            self._fail(flight, from_outcome(outcome), now)

    def _conclude_elsewhere(self, permit: Permit, flight: Flight, found: Elsewhere, now: float) -> None:
        """Another process has asked for this key, or asks now; of the endpoint that says nothing."""
        account = flight.account
        if found.view is not None:
            self._learn(found.view, permit.generation, now)
        if permit.is_void and (found.token is not None or found.denial is not None):
            self._ask_again(flight, now)
        elif found.token is not None:
            self._receive(account, *found.token, now)
            self._serve(account, now)
        elif found.denial is not None:
            self._fail(flight, self.denials.learn(account, found.denial, now), now)
        elif flight.waiters or flight.trigger == "soft":
            flight.not_before = now + self._rest(flight) * (1.0 - self._rand() / 2)
            self.queue.put(flight, now, self._wall)
        else:
            self._drop(flight, now)

    @staticmethod
    def _rest(flight: Flight) -> float:
        """Seconds until a flight that was put off is tried again; longer each time."""
        flight.put_off += 1
        return _rest(flight.put_off)

    def _conclude_bad(self, permit: Permit, flight: Flight, outcome: Outcome, now: float) -> None:
        if permit.period == self.circuit.period:  # else it was forgiven before it failed
            flight.account.failed(permit.period)
        flight.fails += 1
        flight.last = outcome
        if flight.background:
            self._drop(flight, now)
            return
        if not self._is_retried(permit, outcome):
            self._emit(ev.RetryDenied("outcome"))
            self._note_failure(outcome, None, now)
            self._fail(flight, self._failure(outcome, flight), now)
            return
        not_before = self._not_before(flight, outcome, now)
        self._note_failure(outcome, not_before - now, now)
        self._requeue(flight, not_before, outcome, now)

    def _note_failure(self, outcome: Outcome, next_in: float | None, now: float) -> None:
        """Remember what the endpoint says, and tell the first failure that no recent success precedes."""
        quiet = now - self.luck.last_success > self.config.window.busy
        if not self.last_failure and quiet and self.circuit.state == ev.CLOSED:
            self._emit(ev.StreakStarted(outcome.detail, next_in, self.waiting, self.known_good))
        self.last_failure = outcome.detail

    def _is_retried(self, permit: Permit, outcome: Outcome) -> bool:
        retry = self.config.retry
        if retry.max_retries == 0:
            return False
        if outcome.kind == NETWORK:
            return permit.is_probe or retry.retry_network_errors
        return outcome.kind == DOWN and outcome.retry_status in retry.retry_on

    def _delay(self, step: int) -> float:
        """Seconds before so many a retry of a flight; a schedule that is over goes on no faster than the window."""
        retry = self.config.retry
        if step > retry.max_retries:
            return max(retry.delay(step), self.config.window.gap_max)
        return jittered(retry.delay(step), retry.jitter, self._rand())

    def _keeps_time(self, flight: Flight) -> bool:
        """Whether the next attempt of ``flight`` is one of a lone agent's schedule, which stays exact."""
        return len(self.flights) == 1 and 0 < flight.steps <= self.config.retry.max_retries

    def _not_before(self, flight: Flight, outcome: Outcome, now: float) -> float:
        account = flight.account
        due = max(flight.due(), now + min(outcome.postpones, self.config.breaker.retry_after_max))
        if self.config.retry.delay(flight.steps) <= QUICK_WITHIN:  # the schedule itself is quick
            return due
        account.space()
        lively = now - self.luck.others_succeeded(account.serial) <= self.config.window.busy
        fails = account.fails_in(self.circuit.period)
        # One retry more than that would be in the way of the scheduled attempt.
        fits = account.has_room_at(due)
        if self.circuit.state == ev.CLOSED and lively and fits and self.luck.excuses(fails):
            # One more failure may be the load, too: then the same key at once again would only be shed again.
            pause = self.window.rtt if fails <= 1 else max(self.window.rtt, self.config.window.gap_shed)
            due = min(due, now + pause)
        return max(due, account.spaced_until)

    def _requeue(self, flight: Flight, not_before: float, outcome: Outcome, now: float) -> None:
        """Back into the queue; who cannot wait until then leaves now."""
        flight.not_before = not_before
        late = flight.overdue(self._served_from(flight))
        no_parking = list(self._no_parking.get(flight.serial, {}))
        if self.config.retry.patience == 0.0 and flight.steps <= self.config.retry.max_retries:
            no_parking = []  # retries without a delay park nobody
        if late or no_parking:
            self._emit(ev.RetryDenied("deadline"))
            failure: Failure | None = None
            if self.circuit.state == ev.CLOSED or outcome.kind == LOCAL:
                failure = self._failure(outcome, flight)
            self._dismiss(flight, late + no_parking, now, failure)
        if not flight.background:
            self.queue.put(flight, now, self._wall)
        else:
            self._drop(flight, now)


def _rest(times: int) -> float:
    return float(min(_PUT_OFF * 2.0 ** min(times - 1, 10), _PUT_OFF_MAX))


def _is_of_the_code(outcome: Outcome) -> bool:
    """Whether only a one-time code was refused, and there will be another."""
    return outcome.kind == DENIED and outcome.code == CODE_REFUSED and outcome.code_again


def _finished(
    permit: Permit, outcome: Outcome, now: float, *, stale: bool, lost: bool = False, late: bool = False
) -> ev.AttemptFinished:
    seconds = now - permit.started
    return ev.AttemptFinished(outcome.kind, outcome.status, seconds, permit.is_probe, stale, lost, late)
