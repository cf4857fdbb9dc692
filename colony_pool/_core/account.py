"""What the dispatcher knows of a key, and of the calls that want its token.

A key itself never comes here: an ``Account`` stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from ..config import RetryConfig
from .failure import Failure
from .outcome import Outcome
from .token import Token
from .track import TrackRecord

_serial = count(1)
_SLACK = 64
_ALIKE = 1.0  # seconds: tokens that end this close are one
_NO_HEAP: list[tuple[float, int, Waiter]] = []  # never filled
_QUICK = 3  # attempts of one key that quick retries may make ...
QUICK_WITHIN = 1.1  # ... in so many seconds: a second, and what the way to the server may vary
_LATE = 1.0  # an attempt that leaves this much late, for a busy machine, does not put off the next one
_SAME = 1e-6  # moments of a flight's own time that are one
_NEVER = -math.inf  # one object for all: a negation makes a new one each time, and an account would have four


class Waiter:
    """One call that waits. Identity, never field equality."""

    __slots__ = ("account", "deadline", "done", "event", "failure", "home", "joined", "max_wait", "token")

    def __init__(self, account: Account, max_wait: float, event: Any, home: Hashable | None) -> None:
        self.account = account
        self.max_wait = max_wait
        self.event = event  # the shell's; the dispatcher never touches it
        self.home = home
        self.joined = math.nan  # when the desk first heard of it
        self.deadline = math.inf  # in the flight's own time, which stands still while its attempt is out
        self.done = False
        self.token: Token | None = None
        self.failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """A refused key rests until ``until`` (monotonic); ``code_only``: until the next TOTP window."""

    until: float
    times: int
    failure: Failure
    code_only: bool


class Account:
    """The dispatcher's memory of one key. Times are monotonic seconds."""

    __slots__ = (
        "__weakref__",
        "_record",
        "_started",
        "code_asked_at",
        "code_refusal",
        "code_refusals",
        "code_until",
        "denial",
        "era",
        "ever_good",
        "fails",
        "flight",
        "forced",
        "held_until",
        "last_expiry",
        "listener",
        "lost_at",
        "period",
        "rest_until",
        "secret",
        "serial",
        "spaced_until",
        "spread",
        "token",
        "totp",
        "totp_at",
    )  # fmt: skip

    def __init__(self, *, spread: float = 0.0, totp: bool = False, secret: Any = None) -> None:
        self.secret = secret  # opaque to the core: what the shell needs to make an attempt
        self.spread = spread  # [0, 1), from the key's hash
        self.totp = totp
        self.serial = next(_serial)
        self.token: Token | None = None
        self.flight: Flight | None = None
        self.denial: Denial | None = None
        self.fails = 0  # attempts in a row that failed in its ``period``, over all flights
        self.period = 0  # the closed period, with the outage after it, to which ``fails`` belongs
        self._started: tuple[float, ...] = ()  # when its last attempts began, up to ``_QUICK``, the oldest first
        self.spaced_until = _NEVER  # it has failed as often as a key may within a second: no attempt before
        self.ever_good = False
        self.held_until = _NEVER
        self.totp_at = _NEVER  # no unspent code before
        self.code_asked_at: float | None = None  # since when its callable is being asked for a code
        self.code_until = _NEVER  # a code is at hand, and good until then
        self.code_refusal: Failure | None = None  # what the server said of the last code, if it refused it
        self.code_refusals = 0  # codes in a row that it refused
        self.rest_until = _NEVER  # no background refresh before
        self._record: TrackRecord | None = None  # most keys that wait have none yet
        self.era = 0  # one more with each ``invalidate()``: what was asked for in an earlier one is void
        self.forced = False  # a 401 took the token, and no new one has come yet
        self.last_expiry: float | None = None  # unix time at which a token that was rejected would have ended
        self.lost_at = math.inf  # since when it has had no token at all; what counts of one that has ended is its end
        self.listener: Callable[[Any], object] | None = None  # told of each Grant

    def start(self, now: float) -> None:
        """An attempt begins."""
        self._started = (*self._started[1 - _QUICK :], now)

    def take_back(self) -> None:
        """Its last attempt never left."""
        self._started = self._started[:-1]

    def fails_in(self, period: int) -> int:
        """Attempts in a row that failed in this ``period``: a breaker that closes forgives those before (G8)."""
        return self.fails if self.period == period else 0

    def failed(self, period: int) -> None:
        """Count a failure."""
        self.fails = self.fails_in(period) + 1
        self.period = period

    def space(self) -> None:
        """Let no more than ``_QUICK`` attempts begin within ``QUICK_WITHIN`` seconds."""
        self.spaced_until = self._quick_from(_QUICK)

    def has_room_at(self, moment: float) -> bool:
        """Whether one more attempt now would still leave room for the one at ``moment``."""
        return self._quick_from(_QUICK - 1) <= moment

    def _quick_from(self, attempts: int) -> float:
        """When so many attempts lie more than ``QUICK_WITHIN`` seconds back."""
        return self._started[-attempts] + QUICK_WITHIN if len(self._started) >= attempts else _NEVER

    @property
    def record(self) -> TrackRecord:
        """What became of its tokens."""
        if self._record is None:
            self._record = TrackRecord()
        return self._record

    @property
    def renew_at(self) -> float:
        """No exchange before, if the token has only ended; -inf without one."""
        return self.record.renew_at if self.token is not None else _NEVER

    def is_news(self, jwt: str, ends_wall: float) -> bool:
        """Whether a token that another process has left is of use: another than those refused, or a later one."""
        return self.record.is_usable(jwt) and (self.token is None or ends_wall > self.token.ends_wall + _ALIKE)

    @property
    def without_since(self) -> float:
        """Since when it has been without a token, or from when on it will be. Calls come and go, this stays."""
        return self.lost_at if self.token is None else self.token.ends


class Permit:
    """The right to make one attempt. A probe's is a lease; each has a deadline."""

    __slots__ = (
        "account", "alive", "began", "claimed", "deadline", "era", "flight", "generation", "home", "is_probe",
        "is_retry", "level", "period", "round", "shell", "started", "timeout",
    )  # fmt: skip

    def __init__(self, flight: Flight, generation: int, now: float, timeout: float, *, is_probe: bool) -> None:
        self.flight = flight
        self.account = flight.account
        self.era = flight.account.era
        self.generation = generation
        self.started = now
        self.timeout = timeout
        self.deadline = now + timeout
        self.is_probe = is_probe
        self.is_retry = False
        self.level = self.round = 0
        self.period = 0  # the breaker's, as it began
        self.alive = True
        self.began = True  # it has a connection; the shell says when it has none yet
        self.claimed: Any = None  # the store that says the key is this process's to exchange
        self.home = flight.home()
        self.shell: Any = None  # the attempt's abort handle, the shell's

    @property
    def is_void(self) -> bool:
        """Its key was invalidated since it started: what comes of it is not what callers want now."""
        return self.era != self.account.era


class Flight:
    """All calls that want one key's token now: one attempt at a time serves them all (single flight)."""

    __slots__ = (
        "_began", "_due", "_heap", "_life", "_paused", "_waiting", "account", "asked", "born", "fails", "last",
        "not_before", "permit", "put_off", "serial", "stamp", "steps", "tried_in", "trigger", "watched",
    )  # fmt: skip

    def __init__(self, account: Account, now: float, *, soft: bool = False) -> None:
        self.account = account
        self.born = now
        self.trigger = "soft" if soft else "forced" if account.forced else "miss"
        self.serial = next(_serial)
        # One, which most flights have and no more; or an ordered set, once there was a second.
        self._waiting: Waiter | dict[Waiter, Waiter] | None = None
        self.fails = 0
        self.steps = 0  # along the schedule, in the present life
        self._life = 0
        self._began = _NEVER  # when its schedule did, in the flight's own time
        self._due = _NEVER  # when the schedule's next attempt is, in the flight's own time
        self.put_off = 0  # times in a row that another process had its key
        self.asked = 0  # attempts that reached the wire, or may have
        self.tried_in = -1  # the breaker's generation in which it was tried last
        self.not_before = _NEVER
        self.permit: Permit | None = None
        self.last: Outcome | None = None
        self.stamp = 0  # an older entry in a heap is dead
        self.watched = math.inf  # the earliest deadline of it that the queue has noted
        self._paused = 0.0
        self._heap = _NO_HEAP  # by deadline; a lone waiter needs none

    @property
    def not_ready_before(self) -> float:
        """No attempt before: its own backoff, or something about its key."""
        account = self.account
        return max(self.not_before, account.totp_at, account.held_until, account.renew_at)

    @property
    def background(self) -> bool:
        """Nobody waits: a refresh ahead of time."""
        return not self._waiting

    def home(self) -> Hashable | None:
        """Where a waiter of this flight lives: a place that is certainly alive."""
        waiting = self._waiting
        first = next(iter(waiting), None) if isinstance(waiting, dict) else waiting
        return None if first is None else first.home

    def join(self, waiter: Waiter, now: float, patience: float) -> None:
        """Let ``waiter`` wait here for ``patience`` seconds of the flight's time."""
        waiter.joined = now
        waiter.deadline = self._time(now) + patience
        if self._waiting is None:
            self._waiting = waiter
            return
        if isinstance(self._waiting, Waiter):
            first = self._waiting
            self._waiting = {first: first}
            self._heap = [(first.deadline, next(_serial), first)]
        self._waiting[waiter] = waiter
        heappush(self._heap, (waiter.deadline, next(_serial), waiter))

    def leave(self, waiter: Waiter) -> None:
        """Forget ``waiter``; its heap entry dies with ``done``, and dead ones never outnumber the living."""
        if isinstance(self._waiting, dict):
            self._waiting.pop(waiter, None)
            if len(self._heap) > 2 * len(self._waiting) + _SLACK:
                self._heap = [entry for entry in self._heap if not entry[2].done]
                heapify(self._heap)
        elif self._waiting is waiter:
            self._waiting = None

    def landed(self, now: float) -> None:
        """Its attempt ended: the clock of its waiters goes on."""
        if self.permit is not None:
            self._paused += now - self.permit.started
            self.permit = None

    def advance(self, now: float, life: int, retry: RetryConfig, delay: Callable[[int], float]) -> None:
        """An attempt failed: the next step of the schedule, unless it was a quick retry before its time.

        Delays count in the flight's own time, one from the end of the other: what a machine is late does not add up.
        And what jitter has taken off does not make room for more attempts than ``retry`` has.
        """
        own = self._time(now)
        if life != self._life:
            self._life, self.steps, self._due, self._began = life, 0, _NEVER, own
        if own >= self._due - _SAME:
            self.steps += 1
            start = self._due if own - self._due <= _LATE else own
            if self.steps > retry.max_retries:
                start = max(start, self._began + retry.patience)
            self._due = start + delay(self.steps)

    def due(self) -> float:
        """When the schedule's next attempt is, monotonic, while none is out."""
        return self._due + self._paused

    def deadline(self) -> float:
        """When the least patient waiter gives up, monotonic; inf without waiters."""
        waiter = self._least_patient()
        return math.inf if waiter is None else waiter.deadline + self._paused

    def overdue(self, limit: float) -> list[Waiter]:
        """Take out the waiters whose patience ends by ``limit`` (monotonic)."""
        late = []
        while (waiter := self._least_patient()) is not None and waiter.deadline + self._paused <= limit:
            if self._heap:
                heappop(self._heap)
            self.leave(waiter)
            late.append(waiter)
        return late

    def _least_patient(self) -> Waiter | None:
        if not isinstance(self._waiting, dict):
            return self._waiting
        while self._heap and self._heap[0][2].done:
            heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def has(self, waiter: Waiter) -> bool:
        """Whether ``waiter`` waits here."""
        return waiter in self._waiting if isinstance(self._waiting, dict) else waiter is self._waiting

    def take_all(self) -> list[Waiter]:
        """Take out every waiter."""
        waiters = self.waiters
        self._waiting, self._heap = None, _NO_HEAP
        return waiters

    @property
    def waiters(self) -> list[Waiter]:
        """All of them, in the order in which they came."""
        if self._waiting is None:
            return []
        return [self._waiting] if isinstance(self._waiting, Waiter) else list(self._waiting.values())

    def _time(self, now: float) -> float:
        out = now - self.permit.started if self.permit is not None else 0.0
        return now - self._paused - out
