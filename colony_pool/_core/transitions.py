"""What changes for everybody at once: the breaker's state, and the server's rate limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..config import BreakerConfig
from . import actions as act
from . import events as ev
from .actions import Outbox
from .breaker import CircuitBreaker
from .history import EndpointHistory, LossHistory
from .instant import Instant
from .limiter import ConcurrencyLimiter
from .queue import Queue
from .rate_limit import RateLimit
from .shared_state import OpenState
from .waiters import Waiters

_MIRRORED = {ev.CLOSED: act.TO_CLOSED, ev.OPEN: act.TO_OPEN, ev.HALF_OPEN: act.TO_HALF_OPEN}


@dataclass(frozen=True, slots=True)
class StateChange:
    """The breaker has moved here, to ``state``; other processes have not heard of it yet."""

    state: str
    generation: int
    opening: OpenState | None
    by_operator: bool


@dataclass(frozen=True, slots=True)
class PauseExtended:
    """The server asks for a pause, ``since`` when; other processes have not heard of it yet."""

    generation: int
    seconds: float
    cause: str
    since: float


Change = StateChange | PauseExtended


class Transitions:
    """Moves the breaker and the rate limit, and does all that such a move entails."""

    def __init__(
        self, config: BreakerConfig, outbox: Outbox, breaker: CircuitBreaker, limiter: ConcurrencyLimiter,
        losses: LossHistory, rate_limit: RateLimit, queue: Queue, history: EndpointHistory, waiters: Waiters,
        rand: Callable[[], float],
    ) -> None:  # fmt: skip
        self._config = config
        self._outbox = outbox
        self._breaker = breaker
        self._limiter = limiter
        self._losses = losses
        self._rate_limit = rate_limit
        self._queue = queue
        self._history = history
        self._waiters = waiters
        self._rand = rand
        self.changes: list[Change] = []  # that other processes have still to hear of

    def take_changes(self) -> list[Change]:
        """Return what other processes are to hear of, each once."""
        changes, self.changes = self.changes, []
        return changes

    # -- the breaker ----------------------------------------------------------------------------------

    def open(
        self, now: float, cause: str, status: int, *, after: float | None = None, grow: bool = True,
        by_operator: bool = False, by: float = math.inf, guarded: bool = False,
    ) -> None:  # fmt: skip
        """Open, or open again.

        Arguments:
            after: seconds for which the server asks to be left alone.
            grow: the next delay is twice as long.
            by: the first probe leaves then, at the latest.
            guarded: for failures of calls that the breaker guards.
        """
        breaker, old = self._breaker, self._breaker.state
        breaker.open(now, cause, status, self._rand(), grow=grow, by=by)
        if after is not None:
            breaker.postpone(now + min(after, self._config.retry_after_max))
        self._changed(old, now, by_operator=by_operator, guarded=guarded)
        self.mirror_state()

    def half_open(self, now: float, *, by_operator: bool = False) -> None:
        """Let one probe leave."""
        old = self._breaker.state
        self._breaker.half_open(now)
        self._changed(old, now, by_operator=by_operator)
        self.mirror_state()

    def close(self, at: Instant, *, by_operator: bool = False, learnt: bool = False) -> None:
        """Close and forgive: every flight's own backoff ends (G8). ``learnt``: from another process."""
        old = self._breaker.state
        self._breaker.close()
        self._limiter.begin_again(at.monotonic, self._rand)
        self._losses.restart()
        self._queue.forgive(at, self._breaker.period)
        self._changed(old, at.monotonic, by_operator=by_operator, learnt=learnt)
        self.mirror_state()

    def adopt(self, other: OpenState, now: float) -> None:
        """Be open as another process says; who was open already takes over when it probes."""
        old = self._breaker.state
        self._breaker.adopt(now, other)
        if old != ev.OPEN:
            self._changed(old, now, learnt=True)
            self.mirror_state()

    def mirror_state(self) -> None:
        """Have pybreaker's listeners told of the state of now, unless they know it."""
        self._outbox.add(act.MirrorToPybreaker(_MIRRORED[self._breaker.state]))

    def _changed(
        self, old: str, now: float, *, by_operator: bool = False, learnt: bool = False, guarded: bool = False
    ) -> None:
        breaker = self._breaker
        if old == breaker.state != ev.OPEN:  # an operator asked for what is; to open anew is a new delay, and told
            return
        is_open = breaker.state == ev.OPEN
        self._outbox.add(
            ev.StateChanged(
                old, breaker.state, now, breaker.cause,
                next_probe_in=max(0.0, breaker.probe_at - now) if is_open else 0.0,
                since_open=now - breaker.opened_at,  # 0 if it has opened this very moment
                waiters=self._waiters.count, by_operator=by_operator, learnt=learnt,
                known_good=self._history.known_good or by_operator or guarded, guarded=guarded,
            )
        )  # fmt: skip
        if not learnt:
            opening = breaker.open_state(now) if is_open else None
            self.changes.append(StateChange(breaker.state, breaker.generation, opening, by_operator))

    # -- the rate limit -------------------------------------------------------------------------------

    def pause(
        self, seconds: float, cause: str, reason: str, now: float, *, since: float | None = None, learnt: bool = False
    ) -> float:
        """Let nothing start for ``seconds``; return for how long nothing does, since another pause may last longer.

        Arguments:
            cause: in words.
            reason: throttled, exhausted or shared.
            since: when the server asked for it, if not now.
            learnt: from another process.
        """
        paused = self._rate_limit.pause(seconds, cause, now, since=since)
        if paused.began:
            self._outbox.add(ev.HoldStarted(paused.seconds, cause, reason, self._waiters.count))
        if paused.extended and not learnt:
            since = self._rate_limit.paused_since
            self.changes.append(PauseExtended(self._breaker.generation, paused.seconds, cause, since))
        return paused.seconds

    def end_pause(self, now: float) -> None:
        """A pause that is over ends with one attempt, not with everybody; attempts that are out are history."""
        if self._breaker.state == ev.CLOSED:
            self._breaker.begin_generation()
            self._limiter.begin_again(now, self._rand)

    def clear_rate_limit(self, at: Instant, *, cleared_at: float, learnt: bool = False) -> None:
        """End the pause of everybody and those of single keys: an operator, at ``cleared_at``, knew better."""
        now, rate_limit = at.monotonic, self._rate_limit
        left, longest = rate_limit.left(now), rate_limit.longest_left(now)
        if longest > 0.0:
            cause = rate_limit.cause if left > 0.0 else ""
            self._outbox.add(ev.HoldCleared(longest, cause, self._waiters.count, learnt))
        for account in rate_limit.clear(cleared_at, now):
            flight = self._waiters.flights.get(account)
            if flight is not None and flight.permit is None:
                self._queue.put(flight, at)
