"""Stands beside one process: hears its dispatcher and its wire, keeps the books, and has the invariants asked.

After each event the invariants of that moment are asked (``invariants.py``); the first that does not hold is kept,
and ends the scenario at the next switch.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pybreaker

from colony_pool import ColonyPool
from colony_pool.testing.sim import SimTask
from tests.support.private import LOCAL, Account, Instant, Outcome, Permit, Token, Waiter, engine_of, listen
from tests.support.private import actions as act
from tests.support.private import events as ev

from . import invariants
from .answers import NETWORK, OK, SILENCE, Answer
from .ledger import Attempt, Breach, Issued, Ledger, WaitingCall, number
from .tasks import GreenSim

_INPUTS = (
    "demand", "refresh", "cancel", "tick", "result", "code_given", "code_missing", "invalidate", "token_refused",
    "token_worked", "token_doubted", "second_factor_changed", "adopt", "force", "close",
)  # fmt: skip


class Follower(pybreaker.CircuitBreakerListener):
    """Knows the breaker from what pybreaker's listeners are told, and from nothing else."""

    def __init__(self) -> None:
        self.state, self.failures = ev.CLOSED, 0
        self.is_behind = False  # an operator closed what was closed: that is not told, but all begins anew

    def success(self, cb: Any) -> None:
        self.failures = 0

    def failure(self, cb: Any, exc: BaseException) -> None:
        self.failures += 1

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self.state = new_state.name.replace("-", "_")
        if self.state == ev.CLOSED:
            self.failures = 0

    def catch_up(self, state: str, failures: int) -> None:
        """Know what was not told."""
        self.is_behind, self.failures = False, failures


class Witness(Ledger):
    """Hears one process. ``note`` is told of everything, for a history; ``met`` counts what there was to see."""

    def __init__(self, sim: GreenSim, note: Callable[..., object], met: Counter[str]) -> None:
        super().__init__()
        self.sim, self.note, self.met = sim, note, met
        self.breach: Breach | None = None
        self.closed = False
        self.stepped_at = -math.inf  # when the wall clock was moved
        self.released: list[Waiter] = []  # sent away by the dispatcher, and not known to be awake yet
        self.undelivered: deque[ev.Event] = deque()  # emitted by the dispatcher, and not heard by listeners yet
        self.follower = Follower()
        self.complaints: list[str] = []  # of the library about itself
        self.stirred = False  # the dispatcher was at work since all was quiet last
        self._answers: dict[Permit, Answer] = {}
        self._workers: dict[SimTask | None, Permit] = {}

    def attach(self, pool: ColonyPool) -> None:
        """Hear ``pool`` from now on."""
        self.pool = pool
        self.driver, self.dispatcher = engine_of(pool).driver, engine_of(pool).dispatcher
        for name in _INPUTS:
            setattr(self.dispatcher, name, self._hearing(name, getattr(self.dispatcher, name)))
        make = self.driver._attempt

        def attempt(permit: Permit) -> Outcome:
            if (begun := self.out.get(permit)) is not None:
                begun.begun = True
            self._workers[self.sim.current] = permit
            return make(permit)

        self.driver._attempt = attempt
        listen(pool, self._overhear)
        pool.breaker.add_listener(self.follower)

    def check(self, moment: str, subject: Any = None) -> None:
        """Ask the invariants of ``moment``."""
        if self.breach is not None:
            return
        self.sample()
        for name, wrong in invariants.AT[moment]:
            if words := wrong(self, subject):
                self.breach = Breach(name, self.now, words)
                self.note("BROKEN", f"{name}: {words}")
                return

    def sample(self) -> None:
        """Look at the clocks."""
        self.now, self.wall = self.sim.monotonic(), self.sim.now()

    # -- the wire -------------------------------------------------------------------------------------

    def sending(self, key: int, code: str) -> Permit:
        """An attempt is put on the wire, by its own task."""
        self.sample()
        permit = self._workers[self.sim.current]
        if (attempt := self.out.get(permit)) is not None:
            attempt.sent = True
        self.check("send", (key, code))
        self.sent[key].append(self.now)
        if code:
            self.codes[key, code] = self.now
        return permit

    def heard(self, permit: Permit, answer: Answer) -> None:
        """Its answer is here; the dispatcher learns of it next."""
        self._answers[permit] = answer
        self.note("answer", f"{answer.status or 'none'} ({answer.means}) for key {number(permit.account)}")

    # -- the dispatcher -------------------------------------------------------------------------------

    def _hearing(self, name: str, step: Callable[..., list[act.Action]]) -> Callable[..., list[act.Action]]:
        def heard(*args: Any, **more: Any) -> list[act.Action]:
            self.sample()
            self.stirred = True
            enter = _ENTER.get(name)
            attempt = enter(self, *args, **more) if enter is not None else None
            actions = step(*args, **more)
            for action in actions:
                self._decided(action, attempt)
            self.end_pause()
            self.check("decision")
            return actions

        return heard

    def _demanded(self, waiter: Waiter, at: Instant, tokenless_for: float) -> None:
        self.demands += 1
        key = number(waiter.account)
        self.waiting[waiter] = WaitingCall(waiter, key, at.monotonic, self.busy(key))
        self.note("demand", f"key {key} may wait {waiter.max_wait:g} s")

    def _cancelled(self, waiter: Waiter, at: Instant) -> None:
        if self.waiting.pop(waiter, None) is not None:
            self.calls["cancelled"] += 1
            self.note("cancel", f"key {number(waiter.account)}")

    def _forced(self, state: str, at: Instant) -> None:
        if state == self.state:  # nothing changes, and so nothing is told; but all begins anew
            self.period += 1
            self.failures = 0
            self.follower.is_behind = True

    def _closing(self, at: Instant) -> None:
        self.closed = True
        self.note("close", "the pool")

    def _invalidated(self, account: Account, at: Instant) -> None:
        key = number(account)
        token = self.tokens.get(key)
        self.note("invalidate", f"key {key}")
        if token is not None:
            token.dropped = at.monotonic
        self.refused.pop(key, None)
        self.eras[key] += 1

    def _refused(self, account: Account, refused: Token, at: Instant) -> None:
        key = number(account)
        token, record = self.tokens.get(key), account.record
        # One that never worked is replaced once in a while only, and the call that met the 401 is told of it.
        rests = at.monotonic < record.forced_at + self.dispatcher.config.policy.forced_refresh_interval
        if token is not None and token.jwt == refused.jwt and (record.has_worked(refused) or not rests):
            self.note("invalidate", f"key {key} after a 401")
            token.dropped = at.monotonic
            self.met["401 forced a refresh"] += 1

    def _adopted(self, account: Account, token: Token, at: Instant, instead_of: Token | None = None) -> None:
        if account.token is None or account.token.ends < token.ends or account.token is instead_of:
            self.adopted += 1
            self.met["token from the disk"] += 1
            # From here on a step of the wall clock prolongs nothing (G20).
            ends = at.monotonic + token.ends_wall - at.wall
            known = Issued(token.jwt, number(account), ends, token.ends_wall, token.margin)
            self.tokens[known.key] = self.issued[token.jwt] = known

    def _judged_by(self, permit: Permit, outcome: Outcome, at: Instant) -> Attempt | None:
        attempt, answer = self.land(permit), self._answers.pop(permit, None)
        if outcome.kind == LOCAL:
            answer = None
        if attempt is not None and answer is not None:
            self.learn(attempt, answer)
            return attempt
        if attempt is not None:
            self.verdicts[outcome.kind if answer is None else answer.means] += 1
        else:  # its lease had run out, which was its verdict
            self.late += 1
            self.met["late answer"] += 1
            key = number(permit.account)
            if answer is not None and answer.means == OK and self.usable(key) is None and not self.is_void(permit):
                self.receive(key, answer)
        return attempt

    def _decided(self, action: act.Action, attempt: Attempt | None) -> None:
        if isinstance(action, act.StartAttempt):
            new = self.start(action.permit)
            self.check("start", new)
            self.out[action.permit] = new
            self.note("probe" if new.probe else "start", f"key {new.key}{' again' if new.retry else ''}")
        elif isinstance(action, act.CancelAttempt):
            self._gave_up(action.permit)
        elif isinstance(action, act.Wake):
            if (call := self.waiting.pop(action.waiter, None)) is not None:
                self._sent_away(call)
        elif isinstance(action, act.WakeAt):
            self.check("wake", action.at)
        elif not isinstance(action, (act.AskCode, act.TokenChanged, act.MirrorToPybreaker, act.ForStore)):
            self._emitted(action, attempt)

    def _gave_up(self, permit: Permit) -> None:
        attempt = self.land(permit)
        if attempt is not None and not self.closed:
            self.check("void", attempt)
            self.lost["probe" if attempt.probe else "attempt"] += 1
            self.met["lease lost"] += 1
            self.verdicts[NETWORK] += 1
            self.last[attempt.key] = SILENCE
            self.failures += attempt.period == self.period
            self.note("void", f"key {attempt.key}")

    def _sent_away(self, call: WaitingCall) -> None:
        waiter = call.waiter
        self.calls["ok" if waiter.token is not None else "error"] += 1
        self.note("done", f"key {call.key}: {waiter.failure.error.__name__ if waiter.failure else 'a token'}")
        self.check("told", call)
        self.released.append(waiter)

    def _emitted(self, event: ev.Event, attempt: Attempt | None) -> None:
        self.undelivered.append(event)
        self._count(event)
        if isinstance(event, ev.StateChanged):
            self.note(event.new, f"was {event.old}; {event.cause}; next probe in {event.next_probe_in:.2f} s")
            self.check("move", (event, attempt))
            self.move(event)

    def _count(self, event: ev.Event) -> None:
        """Count it, for the books and for the table of what was met."""
        self.events[type(event)] += 1
        if (words := _MET.get(type(event))) is not None:
            self.met[words] += 1
        if isinstance(event, ev.StateChanged) and event.new == ev.OPEN and event.old == ev.CLOSED:
            self.met["breaker opened"] += 1
        elif isinstance(event, ev.RetryDenied) and event.reason == "budget":
            self.met["budget refused a retry"] += 1
        elif isinstance(event, ev.RefreshFinished) and event.trigger == "soft":
            self.met["soft refresh"] += 1

    def _overhear(self, event: ev.Event) -> None:
        """A listener of the runner: what the dispatcher has emitted comes here, in order."""
        expected = self.undelivered.popleft() if self.undelivered else None
        self.check("event", (event, expected))


_ENTER: dict[str, Callable[..., Attempt | None]] = {
    "demand": Witness._demanded, "force": Witness._forced, "cancel": Witness._cancelled, "close": Witness._closing,
    "invalidate": Witness._invalidated, "token_refused": Witness._refused,
    "adopt": Witness._adopted, "result": Witness._judged_by,
}  # fmt: skip
_MET: dict[type, str] = {
    ev.HoldStarted: "hold", ev.KeyDenied: "key refused", ev.ServerBlamed: "server refused everybody",
    ev.WindowCut: "window cut",
}  # fmt: skip


class Complaints(logging.Handler):
    """What the library logs as an error of its own, for the witness of the day."""

    def __init__(self, witness: Callable[[], Witness]) -> None:
        super().__init__(logging.ERROR)
        self._witness = witness

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "a breaker listener raised" not in text:  # that is a user's own
            self._witness().complaints.append(text)
