"""What is known of a dispatcher from outside: what it was told, and what follows from that for everybody who waits.

The clock of a call is a number that shrinks while the call's key has no attempt out, so nothing here shares the
dispatcher's heaps, its flights' clocks or its generations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"
GOOD, REFUSED, THROTTLED, LOCAL = "ok", "denied", "throttled", "local"
DOWN, FAULT, SILENCE = "down", "fault", "network"
SAID = {REFUSED: "ColonyAuthError", THROTTLED: "ColonyRateLimitError", LOCAL: "RuntimeError",
        FAULT: "ColonyServerError", DOWN: "ColonyServerError", SILENCE: "ColonyNetworkError"}  # fmt: skip
FAIL_MAX, MAXSIZE, RATIO = 3, 3, 0.0
DENIAL, DENIAL_MAX, LONGEST_PAUSE, LONGEST_RETRY_AFTER = 60.0, 3600.0, 60.0, 900.0
SPACED = 1.1  # seconds within which three attempts of one key may begin
FASTEST_RTT, PACE = 0.05, 0.25  # what the window assumes at first, and its slowest pace
EPS = 1e-6


@dataclass(eq=False)
class Call:
    """One call; ``left`` seconds of patience, of its key's own time."""

    key: Key
    left: float
    parks: bool
    reported: str = ""


@dataclass(eq=False)
class Attempt:
    """One request on the wire."""

    key: Key
    probe: bool
    period: int
    began: float
    ends: float
    born: int
    retry: bool
    era: int  # its key's of then

    @property
    def void(self) -> bool:
        """Its key was invalidated since: what the server says of it is not what callers want now."""
        return self.era != self.key.era


@dataclass(eq=False)
class Key:
    """One API key. It rests until ``rests`` at the latest, and until ``held`` at the least."""

    calls: list[Call] = field(default_factory=list)
    attempt: Attempt | None = None
    fails: int = 0  # of those who wait now
    tried: int = -1  # the period in which they were tried last
    rests: float = -math.inf
    paused_until: float = -math.inf
    denied: float = -math.inf
    denials: int = 0
    margin: float = -math.inf  # its token's last minutes begin
    expiry: float = -math.inf
    refreshes: bool = False  # one attempt may be made though nobody waits
    streak: int = 0  # failures since its last token, in this closed period
    spaced: float = -math.inf  # until then it may rest, forgiven or not: three attempts within a second are the most
    lost: float = math.inf  # since when it has had none, if it was not one that ended
    came: float = 0.0  # when the first of those who wait now came
    era: int = 0  # one more with each time that it is invalidated
    left_early: bool = False  # one of them has gone: how urgent they are is not known to the second


@dataclass
class World:
    """The truth about one dispatcher. Times are seconds of one clock that begins at 0."""

    reserve: int  # of the retry budget
    now: float = 0.0
    state: str = CLOSED
    period: int = 0  # a verdict of an older one is history
    closed_in: int = 0  # the period with which it closed last
    due: str | None = None  # the state that the breaker must move to now
    probe_at: float = 0.0  # as announced
    asked: float = 0.0  # by the Retry-After of the last failure
    paused_until: float = -math.inf
    paused: bool = False
    short: bool | None = False  # of what the server allows, since it said so until all were served; None: unknown
    failures: int = 0  # since the last success
    in_turn: int = 0  # of them, those whose attempt began after the failure before
    successes: int = 0  # in this period
    births: int = 0  # orders starts and failures
    last_failure: int = -1
    longest: float = FASTEST_RTT  # round trip of a success
    idle_since: float = 0.0
    wire: list[Attempt] = field(default_factory=list)  # not given up
    keys: list[Key] = field(default_factory=list)
    refused: tuple[float, Key] | None = None  # the last one that was, until a 429 is blamed on it
    spent: list[tuple[float, bool]] = field(default_factory=list)  # (when, retry) of attempts that are no probe
    owed: dict[Call, str] = field(default_factory=dict)  # who must be told what, by this input

    def passes(self, now: float) -> None:
        """Time goes on: a call grows impatient unless its own attempt is out."""
        for key in self.keys:
            for call in key.calls:
                call.left -= 0.0 if key.attempt else now - self.now
        self.now = now

    def asks(self, call: Call) -> None:
        """A call comes."""
        key = call.key
        refused = self.now < key.denied
        if self.now < key.margin or (self.now < key.expiry and (self.blocked or refused)):
            self.owed[call] = "token"
            key.refreshes = self.now >= key.margin
        elif refused:
            self.owed[call] = SAID[REFUSED]
        if not key.calls:
            key.came = self.now
        key.lost = min(key.lost, self.now)
        key.calls.append(call)

    def leaves(self, call: Call) -> None:
        """A call is cancelled: nobody is to tell it anything."""
        call.reported = "cancelled"
        self._gone(call)

    def forgets(self, key: Key) -> None:
        """Its token and its refusals are forgotten."""
        if key.expiry > -math.inf:
            key.lost = min(self.now, key.expiry)
        key.margin = key.expiry = key.denied = -math.inf
        key.denials = 0
        key.era += 1

    def forces(self, state: str) -> None:
        """An operator moves the breaker; what is so already is no news, but closing begins anew."""
        self.asked = 0.0
        if state != self.state or state == OPEN:
            self.due = state
        elif state == CLOSED:
            self.closes()

    def closes(self) -> None:
        """A closed period begins, and forgives."""
        self.state, self.period = CLOSED, self.period + 1
        self.closed_in = self.period
        self.failures = self.in_turn = self.successes = 0
        for key in self.keys:
            key.rests, key.streak = -math.inf, 0

    def hears(self, attempt: Attempt, kind: str, seconds: float = 0.0) -> None:
        """A verdict comes; ``seconds``: the token's life, or what the server asks for."""
        key = attempt.key
        if attempt not in self.wire:  # given up before: only a token counts
            if kind == GOOD and not attempt.void and self.now >= key.margin:
                self._granted(key, seconds)
            return
        self._judge(attempt, kind)
        self.asked = min(seconds, LONGEST_RETRY_AFTER) if kind == DOWN else 0.0
        if attempt.void and kind in (GOOD, REFUSED):  # it is made again, as if it had never been
            key.tried = -1
            self._forget(key)
            return
        if kind == GOOD:
            self._granted(key, seconds)
        elif kind == REFUSED:
            key.denials += 1
            key.denied = self.now + min(DENIAL * 2.0 ** (key.denials - 1), DENIAL_MAX)
            self.refused = self.now, key
        elif kind == THROTTLED:
            self._throttled(seconds)
        elif kind == LOCAL:
            key.tried = key.tried if attempt.retry else -1
            if attempt.retry:
                self.spent.remove((attempt.began, True))
        if kind != GOOD:
            self._failed(attempt, kind, seconds)
        elif CLOSED in (self.state, self.due) and self.now >= self.paused_until and not self._wanted(key):
            self.short = None if any(other.refreshes for other in self.keys) else False
        self._forget(key)

    def _wanted(self, served: Key) -> bool:
        """Whether anybody waits but for ``served``."""
        return any(key.calls or key.attempt for key in self.keys if key is not served)

    def _judge(self, attempt: Attempt, kind: str) -> None:
        """What a verdict does to the breaker."""
        self.wire.remove(attempt)
        attempt.key.attempt = None
        self.idle_since = self.now
        if attempt.period != self.period:
            return
        alive = kind in (GOOD, REFUSED)
        if alive:
            self.longest = max(self.longest, self.now - attempt.began)
        if attempt.probe:
            self.due = CLOSED if alive else None if kind == LOCAL else OPEN
        elif alive:
            self.failures = self.in_turn = 0
            self.successes += 1
        elif kind in (DOWN, FAULT, SILENCE):
            self.failures += 1
            self.in_turn += attempt.born > self.last_failure
            self.births += 1
            self.last_failure = self.births

    def _granted(self, key: Key, life: float) -> None:
        key.margin, key.expiry = self.now + life - min(60.0, 0.2 * life), self.now + life
        key.denied, key.denials, key.streak = -math.inf, 0, 0
        self.owed.update(dict.fromkeys(key.calls, "token"))

    def _throttled(self, seconds: float) -> None:
        """Everybody is held, and whoever was refused within the minute before twice as long."""
        self.paused_until, self.paused, self.short = max(self.paused_until, self.now + seconds), True, True
        if self.refused and self.now - self.refused[0] <= 60.0:
            self.refused[1].paused_until = self.now + 2 * (self.paused_until - self.now)
            self.refused = None

    def _failed(self, attempt: Attempt, kind: str, seconds: float) -> None:
        """Who is told of a failure at once; whoever is not goes back and rests."""
        key = attempt.key
        parks = kind == DOWN or (kind == SILENCE and attempt.probe)
        key.fails += kind in (DOWN, FAULT, SILENCE)
        key.streak += kind in (DOWN, FAULT, SILENCE) and attempt.period >= self.closed_in
        if kind in (DOWN, FAULT, SILENCE):
            key.spaced = self.now + SPACED
        if parks:
            delay = min(2.0 * 2.0 ** (key.fails - 1), 60.0)
            key.rests = self.now + max(delay, self.longest, seconds)
        for call in key.calls:
            if not parks:
                self.owed[call] = SAID[kind]
            elif not call.parks:
                self.owed[call] = ""

    @property
    def blocked(self) -> bool:
        return self.state != CLOSED or self.now < self.paused_until

    def end_pause(self) -> None:
        """A hold that is over ends the period with it, once what came during it has been heard."""
        if self.paused and self.now >= self.paused_until:
            self.paused = False
            if self.state == CLOSED:
                self.period, self.successes = self.period + 1, 0

    def _gone(self, call: Call) -> None:
        call.key.calls.remove(call)
        call.key.left_early = True
        self._forget(call.key)

    def _forget(self, key: Key) -> None:
        """Whoever comes when nobody waits and nothing is out begins anew."""
        if not key.calls and key.attempt is None:
            key.fails, key.tried, key.rests, key.left_early = 0, -1, -math.inf, False
