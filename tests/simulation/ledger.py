"""Books about one process, kept from the outside: by what its dispatcher answers, and by what the server meant.

What the dispatcher itself believes is not written down here; it is compared with this.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from dataclasses import dataclass

from tests.support.private import Account, Permit, Waiter
from tests.support.private import events as ev

from .answers import BAD, DENIED, FAULT, OK, THROTTLED, Answer
from .server import KEY

MINUTE = 60.0
DEFAULT_PAUSE = 60.0  # seconds of a hold of which nothing is known
LONGEST_PAUSE = 86_400.0
POSTPONED_MAX = 900.0
_MARGIN, _MARGIN_RATIO = 60.0, 0.2


def _last_three() -> deque[float]:
    return deque(maxlen=3)


def number(account: Account) -> int:
    """Which of the scenario's keys this is."""
    return int(account.owner.credential.key.removeprefix(KEY))


class Breach(Exception):
    """A promise was broken: which, when, and how."""

    def __init__(self, name: str, at: float, words: str) -> None:
        super().__init__(name, at, words)
        self.name, self.at, self.words = name, at, words

    def __str__(self) -> str:
        return f"{self.name}: {self.words} (at {self.at:.3f} s)"


@dataclass(eq=False, slots=True)
class Attempt:
    """One permit, from its start to its verdict."""

    permit: Permit
    key: int
    at: float
    probe: bool
    period: int  # the closed period in which it began
    begun: bool = False  # its task runs
    sent: bool = False  # it was put on the wire
    retry: bool = False  # its flight had been on the wire before, in the same closed period


@dataclass(eq=False, slots=True)
class WaitingCall:
    """One call at the dispatcher."""

    waiter: Waiter
    key: int
    at: float
    busy_then: float  # seconds that the key's attempts had taken by then


@dataclass(eq=False, slots=True)
class Issued:
    """One token. ``ends`` and ``usable_until`` are monotonic, ``..._wall`` unix time; inf: not known."""

    jwt: str
    key: int
    ends: float
    ends_wall: float
    margin: float
    dropped: float = math.inf  # when the dispatcher was told to forget it

    def valid(self, now: float, wall: float) -> bool:
        """Whether the server still takes it, by both clocks."""
        return now < self.ends and wall < self.ends_wall and now <= self.dropped

    def usable(self, now: float, wall: float) -> bool:
        """Whether a caller is to get it without waiting."""
        return self.valid(now + self.margin, wall + self.margin) and now < self.dropped


class Ledger:
    """What one process has done, and what it was told."""

    def __init__(self) -> None:
        self.now = self.wall = 0.0
        self.out: dict[Permit, Attempt] = {}  # attempts whose verdict is not in
        self.waiting: dict[Waiter, WaitingCall] = {}  # calls that wait
        self.eras: Counter[int] = Counter()  # of each key: how often it was invalidated
        self._era_of: dict[Permit, int] = {}
        self.tokens: dict[int, Issued] = {}  # the last of each key
        self.issued: dict[str, Issued] = {}
        self.refused: dict[int, tuple[float, Answer]] = {}  # keys that rest: since when, and for what answer
        self.last: dict[int, Answer] = {}  # the last verdict of each key
        self.codes: dict[tuple[int, str], float] = {}  # when they were sent
        self.sent: defaultdict[int, deque[float]] = defaultdict(_last_three)  # of each key: when its attempts were
        self.firsts: deque[float] = deque()  # attempts of the last minute that draw on no budget ...
        self.retries: deque[float] = deque()  # ... and that do
        self.state = ev.CLOSED
        self.period = 0
        self.failures = 0  # in a row, since the breaker closed
        self.paused_until = self.probe_not_before = -math.inf
        self.key_paused_until: dict[int, float] = {}  # keys that were refused just before a 429
        self.wished: dict[int, float] = {}  # keys whose failures asked for time
        self.verdicts: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.events: Counter[type] = Counter()
        self.moves: Counter[tuple[str, str]] = Counter()
        self.demands = self.adopted = self.retried = self.late = self.probes = self.pauses = self.refusals = 0
        self.lost: Counter[str] = Counter()
        self.blamed = False  # whether the last refusal was the server's fault
        self._is_paused = False
        self._shortest, self._short_since = 0.5, -math.inf  # of holds that end at once
        self._tried: dict[object, int] = {}  # flights: the closed period in which they were last on the wire
        self._busy: defaultdict[int, float] = defaultdict(float)
        self._worked: set[int] = set()  # keys that ever got a token
        self._judged: dict[int, tuple[float, bool]] = {}  # of these: when last judged since, and refused?
        self._denied_last: tuple[float, int] | None = None

    # -- attempts -------------------------------------------------------------------------------------

    def start(self, permit: Permit) -> Attempt:
        """The dispatcher has started ``permit``."""
        self.end_pause()
        attempt = Attempt(permit, number(permit.account), self.now, permit.is_probe, self.period)
        self._era_of[permit] = self.eras[attempt.key]
        self.probes += permit.is_probe
        if not permit.is_probe:
            attempt.retry = self._tried.get(permit.flight) == self.period
            (self.retries if attempt.retry else self.firsts).append(self.now)
            self.retried += attempt.retry
        for times in (self.firsts, self.retries):
            while times and times[0] <= self.now - MINUTE:
                times.popleft()
        return attempt

    def land(self, permit: Permit) -> Attempt | None:
        """``permit`` has its verdict, or was given up."""
        attempt = self.out.pop(permit, None)
        if attempt is not None:
            self._busy[attempt.key] += self.now - attempt.at
            if attempt.sent or attempt.probe:
                self._tried[permit.flight] = attempt.period
            elif not attempt.probe:  # it never reached the wire, and counts for nothing
                times = self.retries if attempt.retry else self.firsts
                if attempt.at in times:
                    times.remove(attempt.at)
                self.retried -= attempt.retry
        return attempt

    def busy(self, key: int) -> float:
        """Seconds that attempts of ``key`` have taken so far."""
        return self._busy[key] + sum(self.now - a.at for a in self.out.values() if a.key == key)

    def is_void(self, permit: Permit) -> bool:
        """Whether its key was invalidated since it began: its answer is not what anybody wants."""
        return self._era_of[permit] != self.eras[number(permit.account)]

    def does_not_wait(self, key: int) -> bool:
        """Whether a call that does not wait asks for ``key``: it makes its one attempt now or never."""
        return any(call.key == key and call.waiter.max_wait <= 0.0 for call in self.waiting.values())

    # -- answers --------------------------------------------------------------------------------------

    def learn(self, attempt: Attempt, answer: Answer) -> None:
        """The verdict of an attempt that was waited for."""
        key, means = attempt.key, answer.means
        self.blamed = means in (OK, DENIED) and self._is_servers_fault(key, means == DENIED)
        means = FAULT if self.blamed else means
        self.verdicts[means] += 1
        self.last[key] = answer
        if attempt.period == self.period and not attempt.probe:
            self.failures = self.failures + 1 if means in BAD else 0 if means != THROTTLED else self.failures
        if means in (OK, DENIED):
            self._shortest, self._short_since = 0.5, -math.inf
        if means in (OK, DENIED) and self.is_void(attempt.permit):
            pass  # it is made again
        elif means == OK:
            self.receive(key, answer)
        elif means == DENIED:
            self.refusals += 1
            self.refused[key] = (self.now, answer)
            self._denied_last = (self.now, key)
        elif means == THROTTLED:
            self._throttled(attempt, answer)
        elif (asked := answer.wish.from_now(self.wall)) is not None:
            self.wished[key] = self.now + min(asked, POSTPONED_MAX)
            if attempt.probe and attempt.period == self.period:
                self.probe_not_before = max(self.probe_not_before, self.wished[key])
        if answer.used_up_for is not None and means != THROTTLED:
            self._pause(answer.used_up_for)

    def receive(self, key: int, answer: Answer) -> None:
        """A token came for ``key``."""
        margin = min(_MARGIN, answer.life * _MARGIN_RATIO)
        token = Issued(answer.jwt, key, self.now + answer.life, self.wall + answer.life, margin)
        self.tokens[key] = self.issued[answer.jwt] = token
        self.refused.pop(key, None)
        self._worked.add(key)

    def _throttled(self, attempt: Attempt, answer: Answer) -> None:
        asked = answer.wish.from_now(self.wall)
        if asked is not None and asked < 1.0:  # now: a second, doubling while it repeats
            if attempt.at >= self._short_since:
                self._shortest, self._short_since = min(2 * self._shortest, DEFAULT_PAUSE), self.now
            asked = max(asked, self._shortest)
        self._pause(DEFAULT_PAUSE if asked is None else asked)
        if self._denied_last is not None and self.now - self._denied_last[0] <= MINUTE:
            self.key_paused_until[self._denied_last[1]] = self.now + 2 * max(0.0, self.paused_until - self.now)
            self._denied_last = None

    def _pause(self, seconds: float) -> None:
        until = self.now + min(seconds, LONGEST_PAUSE)
        self.pauses += self.paused_until <= self.now < until
        self.paused_until = max(self.paused_until, until)
        self._is_paused = self.paused_until > self.now

    def end_pause(self) -> None:
        """A hold that ends while the breaker is closed begins a new closed period."""
        if self._is_paused and self.paused_until <= self.now:
            self._is_paused = False
            if self.state == ev.CLOSED:
                self.period += 1  # but its failures in a row go on

    def _is_servers_fault(self, key: int, refused: bool) -> bool:
        """Whether more than half of at least five keys that worked were refused within a minute (G14)."""
        if key in self._worked:
            self._judged[key] = (self.now, refused)
        recent = {k: bad for k, (at, bad) in self._judged.items() if at >= self.now - MINUTE}
        if not refused or key not in recent or len(recent) < 5 or sum(recent.values()) * 2 <= len(recent):
            return False
        for innocent in (k for k, bad in recent.items() if bad):
            self.refused.pop(innocent, None)
        return True

    # -- the breaker ----------------------------------------------------------------------------------

    def move(self, event: ev.StateChanged) -> None:
        """The breaker has changed its state."""
        self.moves[event.old, event.new] += 1
        self.state = event.new
        if event.new == ev.OPEN:
            self.probe_not_before = max(self.probe_not_before, self.now + event.next_probe_in)
        elif event.by_operator or event.new == ev.CLOSED:
            self.probe_not_before = -math.inf
        if event.new == ev.CLOSED:
            self.failures = 0
        self.period += 1

    # -- tokens and waiting -----------------------------------------------------------------------------

    def usable(self, key: int) -> Issued | None:
        """The token that a call of ``key`` is to get without waiting."""
        token = self.tokens.get(key)
        return token if token is not None and token.usable(self.now, self.wall) else None

    def patience_left(self, call: WaitingCall) -> float:
        """Seconds for which this call may still be kept; its own attempts do not count."""
        idle = self.now - call.at - (self.busy(call.key) - call.busy_then)
        limit = call.waiter.max_wait * 1.01 if call.waiter.max_wait > 0 else 30.0
        return limit - idle
