"""How waiting ends: a token for all, a failure for some, patience over. The state that this needs, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from ..config import DeskConfig
from . import actions as act
from . import events as ev
from .account import Account, Flight, Permit, Waiter
from .budget import RetryBudget
from .catalog import WAITS
from .circuit import Circuit
from .codes import CodeDesk
from .denial import DenialDesk
from .failure import Failure, circuit_open, from_outcome, held, no_code, overdue, renewed_lately, totp_hangs
from .luck import Luck
from .members import Fleet
from .outcome import Outcome
from .pace import Window
from .queue import Queue
from .quota import Quota, ShortHolds
from .token import Token, issue

_ALIKE = 1.0  # holds that end this close, seconds, are one


class Settlement:
    """The desk's state, and the ways in which a call leaves it. ``now`` is monotonic seconds.

    ``known_good``: this address has given a token to somebody before.
    """

    def __init__(self, config: DeskConfig, rand: Callable[[], float], *, known_good: bool = False) -> None:
        self.config = config
        self.circuit = Circuit(config.breaker)
        self.window = Window(config.window, config.maxsize)
        self.budget = RetryBudget(config.budget)
        self.luck = Luck()
        self.quota = Quota()
        self.short_holds = ShortHolds()
        self.denials = DenialDesk(config.denial)
        self.codes = CodeDesk()
        self.queue = Queue()
        self.live: set[Permit] = set()
        self.lease: Permit | None = None
        self.flights: dict[int, Flight] = {}
        self.waiting = 0
        self.fleet = Fleet(config.look) if config.look is not None else None
        self.hold_until = -math.inf
        self.hold_since = -math.inf  # when the server asked for it, of whichever process
        self.hold_cause = ""
        self._cleared_at = -math.inf  # a hold of before was ended by an operator
        self._held_keys: set[Account] = set()
        self._rand = rand
        self._wall = 0.0
        self.waited = dict.fromkeys(WAITS, 0.0)  # seconds that calls have waited, by what for
        self._seen = -math.inf  # when the desk last looked
        self.given_back = 0  # probes in a row that ended here, without a verdict
        self.probe_rests_until = -math.inf  # the next one leaves then
        self.granted_at = -math.inf  # when the endpoint last gave a token
        self.known_good = known_good
        self.last_failure = ""  # what the last attempt said, in words; "" once one has succeeded
        self._last_blocked = -math.inf  # when it last was not closed, or on hold
        self._no_parking: dict[int, dict[Waiter, Waiter]] = {}  # by flight, calls with max_wait=0: they never park
        self._out: list[act.Action] = []

    def _emit(self, event: ev.Event) -> None:
        self._out.append(event)

    def _enter(self, now: float, wall: float | None = None) -> None:
        """Every input begins here: book the time since the last one, in which nothing can have changed."""
        if wall is not None:
            self._wall = wall
        since, self._seen = self._seen, now
        if self.waiting and now > since:
            for kind, seconds in self._shares(since, now):
                self.waited[kind] += seconds * self.waiting
        if self._blocked(since):
            self._last_blocked = now

    def _shares(self, since: float, now: float) -> Iterator[tuple[str, float]]:
        """What calls waited for from ``since`` to ``now``: a hold, then a probe or (closed) their flights."""
        held_until = min(max(self.hold_until, since), now)
        yield "hold", held_until - since
        yield "flight" if self.circuit.state == ev.CLOSED else "probe", now - held_until

    def waited_at(self, now: float) -> dict[str, float]:
        """``waited`` up to ``now``, read without changing anything: for a scrape."""
        waited = dict(self.waited)
        if self.waiting and now > self._seen:
            for kind, seconds in self._shares(self._seen, now):
                waited[kind] += seconds * self.waiting
        return waited

    def _blocked(self, now: float) -> bool:
        return self.circuit.state != ev.CLOSED or self.hold_until > now

    def _served_from(self, flight: Flight) -> float:
        """Before this ``flight`` cannot have a token: who cannot wait until then leaves now (G9)."""
        account = flight.account
        rested = max(account.totp_at, account.held_until, account.renew_at)
        if self.circuit.state == ev.CLOSED or len(self.flights) == 1:
            return max(rested, flight.not_before)
        return rested  # while open another flight's probe may end the outage, and forgive this one's backoff (G8)

    def _grant(self, account: Account, outcome: Outcome, now: float) -> None:
        life = self.config.token.life if outcome.life is None else outcome.life
        account.token = issue(outcome.jwt, life, 0.0, account.spread, now, self._wall, self.config.token)
        account.record.exchanged(life, now, self.config.token, cut=outcome.life_cut)
        account.denial = account.code_refusal = None
        account.code_refusals = 0
        account.fails = 0
        account.ever_good = True
        self.granted_at = now
        self.known_good = True
        account.forced = False
        self._out.append(act.Grant(account, account.token, exchanged=True))

    def _receive(self, account: Account, jwt: str, life: float, now: float) -> None:
        """Take a token that another process was given."""
        age = max(0.0, self.config.token.life - life)
        account.token = issue(jwt, life, age, account.spread, now, self._wall, self.config.token)
        self.known_good = True
        account.record.found(now)
        account.denial = account.code_refusal = None
        account.code_refusals = 0
        account.forced = False
        self._out.append(act.Grant(account, account.token))

    def _succeed(self, flight: Flight, token: Token, now: float) -> None:
        for waiter in flight.take_all():
            self._finish(waiter, now, token=token, retried=flight.fails > 0)
        if flight.permit is None:  # else the token came late, and an attempt of its own is still out
            self._drop(flight, now, served=True)

    def _fail(self, flight: Flight, failure: Failure, now: float) -> None:
        self._dismiss(flight, flight.take_all(), now, failure)

    def _dismiss(self, flight: Flight, waiters: Iterable[Waiter], now: float, failure: Failure | None = None) -> None:
        """Send ``waiters`` away with ``failure``, by default with why waiting longer would not help."""
        token = flight.account.token
        fast = flight.asked == 0
        for waiter in waiters:
            flight.leave(waiter)
            # A token in its margin is still a token: better than any failure.
            if token is not None and token.valid(now, self._wall):
                self._finish(waiter, now, token=token, retried=flight.fails > 0)
            else:
                reason = failure or self._why_not(flight, waiter, now)
                self._finish(waiter, now, failure=reason, retried=flight.fails > 1, fast=fast)
        if flight.background and flight.permit is None:
            self._drop(flight, now)

    def _finish(
        self, waiter: Waiter, now: float, *, token: Token | None = None, failure: Failure | None = None,
        retried: bool = False, fast: bool = False,
    ) -> None:  # fmt: skip
        if waiter.done:  # told already: it was late, and never parks
            return
        waiter.done = True
        waiter.token, waiter.failure = token, failure
        self.waiting -= 1
        self._parked_no_more(waiter)
        outcome = "ok" if token is not None else "error"
        outcome = "fast_fail" if fast and token is None else f"{outcome}_retried" if retried else outcome
        self._emit(ev.CallFinished(outcome, now - waiter.joined, self._was_parked(waiter)))
        self._out.append(act.Done(waiter))

    def _parked_no_more(self, waiter: Waiter) -> None:
        """Forget that ``waiter``, which is done, was not to be parked."""
        flight = waiter.account.flight
        if self._no_parking and flight is not None and (impatient := self._no_parking.get(flight.serial)):
            impatient.pop(waiter, None)
            if not impatient:
                del self._no_parking[flight.serial]

    def _was_parked(self, waiter: Waiter) -> bool:
        return self._last_blocked > waiter.joined

    def _drop(self, flight: Flight, now: float, *, served: bool = False) -> None:
        if self.flights.pop(flight.serial, None) is not None and (served or flight.asked):
            self._emit(ev.RefreshFinished(flight.trigger, "success" if served else "failure", now - flight.born))
        self.queue.drop(flight)
        if flight.account.flight is flight:
            flight.account.flight = None

    def _why_not(self, flight: Flight, waiter: Waiter, now: float) -> Failure:
        """Why waiting longer would not help this call."""
        waited = now - waiter.joined
        if self.hold_until > now:
            if self.fleet is not None:
                self.fleet.hold_met = True
            return held(self.hold_until - now, self.hold_cause)
        if (of_the_key := self._why_the_key_waits(flight.account, now)) is not None:
            return of_the_key
        if self.circuit.state != ev.CLOSED:
            return self._open_failure(flight.account, waited, now)
        return overdue(waited, flight.last, flight.asked, known_good=self.known_good)

    def _why_the_key_waits(self, account: Account, now: float) -> Failure | None:
        """Why no attempt is made for this key now; ``None`` if nothing about it is in the way."""
        if account.held_until > now:
            return held(account.held_until - now, "this key was refused just before")
        if account.code_asked_at is not None:
            return totp_hangs(now - account.code_asked_at)
        if account.totp_at > now:
            return no_code(account.totp_at - now, account.code_refusal)
        if account.renew_at > now and self.circuit.state == ev.CLOSED:
            return renewed_lately(account.renew_at - now, account.record.life)
        return None

    def _open_failure(self, account: Account, waited: float, now: float) -> Failure:
        circuit = self.circuit
        after = max(0.0, circuit.probe_at - now)
        since = max(0.0, now - circuit.opened_at)
        valid_until = account.token.ends_wall if account.token is not None else account.last_expiry
        return circuit_open(
            circuit.state, circuit.cause, circuit.last_status, since, after, waited, valid_until,
            known_good=self.known_good,
        )  # fmt: skip

    def _failure(self, outcome: Outcome, flight: Flight) -> Failure:
        """What the waiters of ``flight`` are told when ``outcome`` ends it."""
        return from_outcome(outcome, flight.asked, known_good=self.known_good)

    def _hold(self, seconds: float, cause: str, reason: str, now: float, *, since: float | None = None) -> float:
        """Nothing starts for ``seconds``; return for how long nothing does, since another hold may last longer."""
        seconds = min(seconds, self.config.denial.hold_max)
        if now + seconds <= max(self.hold_until, now):
            return max(0.0, self.hold_until - now)
        if self.hold_until <= now:
            self._emit(ev.HoldStarted(seconds, cause, reason, self.waiting))
        if (
            self.hold_until <= now or now + seconds > self.hold_until + _ALIKE
        ):  # else it is the same hold, heard once more
            self.hold_since = now if since is None else since
        self.hold_until, self.hold_cause = now + seconds, cause
        self.quota.ran_out()
        if self.fleet is not None and reason != "shared":
            self._out.append(act.TellHold(self.circuit.generation, seconds, cause, self.hold_since))
        return seconds

    def _clear_rate_limit(self, now: float, *, at: float, learnt: bool = False) -> None:
        """End the hold of everybody and those of single keys, and forget what remains: an operator knows better.

        The next attempt is one, as at the end of any hold. What the server answers from now on counts, be it to an
        attempt that left before. ``at`` is when the operator said so.
        """
        left = self.hold_until - now
        keys = [key for key in self._held_keys if key.held_until > now]
        if left > 0.0 or keys:
            longest = max(left, *(key.held_until - now for key in keys), 0.0)
            self._emit(ev.HoldCleared(longest, self.hold_cause if left > 0.0 else "", self.waiting, learnt))
        self.hold_until = min(self.hold_until, now)
        self._cleared_at = max(self._cleared_at, at)
        self._held_keys = set()
        self.short_holds.end()
        self.quota.forget()
        for key in keys:
            key.held_until = now
            if key.flight is not None and key.flight.permit is None:
                self.queue.put(key.flight, now, self._wall)
