"""One key's calls that wait for its token, and the attempt that is to serve them all (single flight)."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

from ..config import RetryConfig
from .account import Account
from .failure import Failure
from .outcome import Outcome
from .token import Token

# A probe that found no slot or thread here would leave again at once: the next one waits so many seconds, twice as
# many each time, at most so many.
_FIRST_REST = 0.1
_LONGEST_REST = 1.0


def rest_after(times: int) -> float:
    """Seconds before what was put off so many ``times`` in a row is tried again."""
    return float(min(_FIRST_REST * 2.0 ** min(times - 1, 10), _LONGEST_REST))


class InFlight:
    """Live permits. Times are monotonic seconds."""

    __slots__ = ("_count", "_deadlines", "_probes_put_off", "permits", "probe", "probe_not_before")

    def __init__(self) -> None:
        self.permits: set[Permit] = set()
        self.probe: Permit | None = None
        self.probe_not_before = -math.inf
        self._probes_put_off = 0  # in a row
        self._deadlines: list[tuple[float, int, Permit]] = []
        self._count = 0

    def start(self, permit: Permit) -> None:
        """An attempt leaves."""
        self.permits.add(permit)
        self._count += 1
        heappush(self._deadlines, (permit.deadline, self._count, permit))
        if permit.is_probe:
            self.probe = permit

    def end(self, permit: Permit) -> None:
        """An attempt has ended, or is given up."""
        permit.alive = False
        self.permits.discard(permit)
        if permit is self.probe:
            self.probe = None

    def take_expired(self, now: float) -> Permit | None:
        """Return an attempt that is past its deadline, each once."""
        while self._deadlines and (self._deadlines[0][0] <= now or not self._deadlines[0][2].alive):
            permit = heappop(self._deadlines)[2]
            if permit.alive:
                return permit
        return None

    def next_deadline(self) -> float:
        """When the next attempt must have ended; inf for never."""
        while self._deadlines and not self._deadlines[0][2].alive:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else math.inf

    def in_order(self) -> list[Permit]:
        """All of them, in the same order each time."""
        return sorted(self.permits, key=lambda permit: permit.flight.serial)

    def probe_put_off(self, now: float) -> None:
        """A probe came back since this host lacked something: the next candidate would lack it as well."""
        self._probes_put_off += 1
        self.probe_not_before = now + rest_after(self._probes_put_off)

    def probe_answered(self) -> None:
        """A probe has reached the endpoint, or has failed to."""
        self._probes_put_off = 0

    def mend(self) -> None:
        """After an interrupt: have each live permit count once, and end by its deadline."""
        self.permits = {permit for permit in self.permits if permit.alive}
        for permit in self.permits:
            permit.flight.permit = permit
        self._deadlines = [(permit.deadline, number, permit) for number, permit in enumerate(self.permits)]
        heapify(self._deadlines)
        self._count = max(self._count, len(self.permits))
        if self.probe not in self.permits:
            self.probe = None


_serial = count(1)
_SLACK = 64  # dead entries of a heap that are borne before it is swept
_NO_HEAP: list[tuple[float, int, Waiter]] = []  # never filled
_LATE = 1.0  # an attempt that leaves this much late, for a busy machine, does not put off the next one
_SAME = 1e-6  # moments of a flight's own time that are one
_NEVER = -math.inf


class Waiter:
    """One call that waits for up to ``max_wait`` seconds. Identity, never field equality."""

    __slots__ = ("account", "deadline", "done", "failure", "joined", "max_wait", "token", "tokenless_for")

    def __init__(self, account: Account, max_wait: float) -> None:
        self.account = account
        self.max_wait = max_wait
        self.tokenless_for = 0.0  # seconds for which the key had had no token when this came
        self.joined = math.nan  # when the dispatcher first heard of it
        self.deadline = math.inf  # in the flight's own time, which stands still while its attempt is out
        self.done = False
        self.token: Token | None = None
        self.failure: Failure | None = None


class Permit:
    """The right to make one attempt. A probe's is a lease; each has a deadline."""

    __slots__ = (
        "account", "alive", "deadline", "era", "flight", "generation", "is_probe", "is_retry", "level", "period",
        "round", "started", "timeout",
    )  # fmt: skip

    def __init__(
        self, flight: Flight, now: float, timeout: float, *, generation: int = 0, period: int = 0,
        is_probe: bool = False, is_retry: bool = False, level: int = 0, round: int = 0,
    ) -> None:  # fmt: skip
        self.flight = flight
        self.account = flight.account
        self.era = flight.account.era
        self.generation = generation  # of the breaker, and below its period, as the attempt began
        self.period = period
        self.started = now
        self.timeout = timeout
        self.deadline = now + timeout
        self.is_probe = is_probe
        self.is_retry = is_retry
        self.level = level  # of the limiter, as its round, when the attempt began
        self.round = round
        self.alive = True  # its outcome is still waited for

    @property
    def is_void(self) -> bool:
        """Its key was invalidated since it started: what comes of it is not what callers want now."""
        return self.era != self.account.era


class Flight:
    """All calls that want one key's token now: one attempt at a time serves them all (single flight)."""

    __slots__ = (
        "_began",
        "_due",
        "_heap",
        "_paused",
        "_schedule_epoch",
        "_waiting",
        "account",
        "attempts",
        "created_at",
        "deferrals",
        "failures",
        "heap_version",
        "last",
        "last_generation",
        "not_before",
        "noted_deadline",
        "permit",
        "serial",
        "steps",
        "trigger",
    )  # fmt: skip

    def __init__(self, account: Account, now: float, *, advisory: bool = False) -> None:
        self.account = account
        self.created_at = now
        self.trigger = "soft" if advisory else "forced" if account.forced else "miss"
        self.serial = next(_serial)
        # One, which most flights have and no more; or an ordered set, once there was a second.
        self._waiting: Waiter | dict[Waiter, Waiter] | None = None
        self.failures = 0
        self.steps = 0  # along the schedule, in the present epoch
        self._schedule_epoch = 0
        self._began = _NEVER  # when its schedule did, in the flight's own time
        self._due = _NEVER  # when the schedule's next attempt is, in the flight's own time
        self.deferrals = 0  # times in a row that another process had its key
        self.attempts = 0  # attempts that reached the wire, or may have
        self.last_generation = -1  # the breaker's generation in which it was tried last
        self.not_before = _NEVER
        self.permit: Permit | None = None
        self.last: Outcome | None = None
        self.heap_version = 0  # an older entry in a heap is dead
        self.noted_deadline = math.inf  # the earliest deadline of it that the queue has noted
        self._paused = 0.0
        self._heap = _NO_HEAP  # by deadline; a lone waiter needs none

    @property
    def not_ready_before(self) -> float:
        """No attempt before: its own backoff, or something about its key."""
        account = self.account
        return max(self.not_before, account.next_code_at, account.cooldown_until, account.renew_at)

    @property
    def has_no_waiters(self) -> bool:
        """Nobody waits: a refresh ahead of time."""
        return not self._waiting

    @property
    def first_waiter(self) -> Waiter | None:
        """Who has waited longest."""
        return next(iter(self._waiting), None) if isinstance(self._waiting, dict) else self._waiting

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

    def attempt_ended(self, now: float) -> None:
        """Its attempt ended: the clock of its waiters goes on."""
        if self.permit is not None:
            self._paused += now - self.permit.started
            self.permit = None

    def attempt_failed(
        self, now: float, schedule_epoch: int, retry: RetryConfig, delay: Callable[[int], float]
    ) -> None:
        """An attempt failed: the next step of the schedule, unless it was a quick retry before its time.

        Delays count in the flight's own time, one from the end of the other: what a machine is late does not add up.
        And what jitter has taken off does not make room for more attempts than ``retry`` has.
        """
        own = self._time(now)
        if schedule_epoch != self._schedule_epoch:
            self._schedule_epoch, self.steps, self._due, self._began = schedule_epoch, 0, _NEVER, own
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

    def take_expired(self, limit: float) -> list[Waiter]:
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
