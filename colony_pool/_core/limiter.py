"""The concurrency limiter: how many attempts may be in flight.

Theory of operation. After an outage everybody wants a token at once and the server can serve a few. So the limit
starts at 1, grows with each success and shrinks when the server cannot keep up. Below 1 it is a pace: one start
every ``rtt / limit`` seconds. What makes it hard is that a failure can mean four things, which want different
answers. Each is therefore judged against its own history, never against the others':

======== ======================================= ===================================================
meaning  evidence                                answer
======== ======================================= ===================================================
overload a 503: the server itself says "too      lower the limit, down to one start per
         much"                                   ``overload_spacing``
random   any other failure, no more frequent     none: half of the servers behind the balancer are
         under a high limit than under a low     broken, and waiting would starve everybody
         one
load     such failures do get rarer when the     lower the limit, down to one start per
         limit is lowered                        ``max_spacing``
down     a streak that bad luck cannot explain   down to 2 at once, and slower still with a short
                                                 round trip: what ends it is the breaker, or a success
======== ======================================= ===================================================

*Overload* would be bad luck, too, if it hit attempts that cannot be too many. So the ratio of 503s among attempts
that left alone, ``overload_spacing`` after the one before, is the baseline that a round's 503s must exceed.

*Random or load.* Each octave of the limit above its floor is a *level* with statistics of its failures. The floor
teaches unconditionally. A level above joins the baseline if it fails no more than those below it (two sigma),
or an overloaded level would teach the next one that failing is normal. The limit is lowered when a round fails more
than the baseline by two sigma. While the floor is unknown any failure lowers it, and the second such round in a row
goes to the floor to learn, for a second. Statistics without a failure may be luck as well (none of ten, at 10 %), and
would lower the limit for ever. Each decrease that leans on them takes a tenth of them, until the floor is asked
again.

*Down* teaches nothing: after eight failures in a row statistics stand still, or each outage would raise the baseline.

A decrease takes 30 % (half, if nothing succeeded since the last one) and ends the round: attempts that began
before it are the same event and are not judged again. Growth is slow start's 1 a success (below 1: doubling)
until the first decrease, then a quarter and a sixteenth of the limit a round (below 1: a quarter a success): in
proportion as fast at 25 as at 2. A failed attempt keeps its slot for one round trip: an error after 5 ms must
not be answered by another attempt after 5 ms.

A limit is only known to be right while it is used (RFC 7661). It grows while it is reached, falls half-way to
what a round really took, and halves for each second without a start. Else the herd that is out when an
outage begins is as large as the largest crowd ever was.

Why not AIMD on any failure: at 50 % of random failures it sits at its floor and served 58 of 1,000 agents.
Why not one baseline for all failures: 30 % random failures hide the first 30 % of overload, and the server is
knocked over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from ..config import PolicyConfig

_LEVELS = 24
_FIRST_RTT = 0.05
_LEAST_RTT = 0.001
_RTT_GAIN = 0.2
_ENOUGH = 8  # attempts before statistics are believed, and failures in a row after which none of them learns
_HALVE_AT = 64
_ROUND_MIN = 16
_SIGMA = 2.0
_SHED_STREAK = 4
_SPENT = 0.9  # what is left of statistics without a failure when a decrease has leant on it
_DOWN_CHANCE = 1e-4  # a streak rarer than this is no bad luck
_DOWN_SIZE = 2.0  # where nothing succeeds there need be two in flight at most, and at a short round trip ...
_DOWN_GAP = 0.04  # ... one start in so many seconds: sixteen failures in a row then still take half a second
_DOUBT = 1
_DOUBT_CHANCE = 0.05
_IDLE = 1.0
_GAP_SHARED = 20.0  # longest between two starts in a large fleet: callers do not wait for ever
_SHARE_GROWS = 1.25  # with each success: other processes need their share for as long as they recover, too


class _LossStats:
    """Attempts and failures; the older half fades."""

    __slots__ = ("bad", "seen")

    def __init__(self, seen: float = 0.0, bad: float = 0.0) -> None:
        self.seen, self.bad = seen, bad

    def count(self, bad: bool) -> None:
        if self.seen >= _HALVE_AT:
            self.seen /= 2
            self.bad /= 2
        self.seen += 1.0
        self.bad += bad

    def tolerates(self, attempts: float) -> float:
        """Failures among so many ``attempts`` that the same luck explains; none while too little was seen."""
        if self.seen < _ENOUGH:
            return 0.0
        ratio = self.bad / self.seen
        return ratio * attempts + _SIGMA * attempts * math.sqrt(ratio * (1 - ratio) * (1 / attempts + 1 / self.seen))


def _baseline(levels: Iterable[_LossStats]) -> _LossStats:
    """What bad luck is, by the floor and the levels above it that fail no more than those below them."""
    known = _LossStats()
    for i, level in enumerate(levels):
        if i == 0 or (level.seen and level.bad <= known.tolerates(level.seen)):
            known = _LossStats(known.seen + level.seen, known.bad + level.bad)
    return known


class ConcurrencyLimiter:
    """How many attempts may be in flight (``limit``), and are (``active``). Times are monotonic seconds."""

    __slots__ = (
        "_config", "_cooldowns", "_decreases", "_has_rtt", "_last_start", "_levels", "_max", "_overall", "_overloads",
        "_peak", "_peer_share", "_peers", "_random_losses", "_seen", "_served", "_slow_start", "_solo", "_streak",
        "active", "limit", "round", "rtt",
    )  # fmt: skip
    _peak: int  # most slots taken at once in this round

    def __init__(self, config: PolicyConfig, maxsize: int) -> None:
        self._config = config
        self._max = float(maxsize)
        self._peers = 1
        self.rtt = _FIRST_RTT  # EWMA of successful attempts
        self._has_rtt = False
        self.round = 0  # a decrease ends a round
        self.restart()

    def restart(self) -> None:
        """Begin anew at 1: a cold start, a closed breaker, the end of a hold. Forgets what was taught."""
        self.limit = 1.0
        self._peer_share = 1.0  # of what a process alone may do
        self.active = 0
        self.round += 1
        self._slow_start = True
        self._levels = [_LossStats() for _ in range(_LEVELS)]
        self._solo = _LossStats()
        self._overall = _LossStats()  # of every attempt, whatever its level
        self._cooldowns: list[float] = []  # when slots of failed attempts come back
        self._last_start = -math.inf
        self._streak = 0  # failures in a row, of any round
        self._decreases = 0  # rounds in a row that ended in a decrease
        self._served = False  # whether anything succeeded since the last decrease
        self._new_round()

    def share_with(self, peers: int) -> None:
        """At each new beginning have a share of what so many processes, this one included, may do together."""
        self._peers = peers

    def begin_again(self, now: float, rand: Callable[[], float]) -> None:
        """Begin anew; processes that share an endpoint begin together at 1, one after the other (G8)."""
        self.restart()
        if self._peers > 1:
            self.limit = self._peer_share = 1.0 / self._peers
            self._last_start = now - rand() * self._gap()

    @property
    def level(self) -> int:
        """0 for the floor, one more for each doubling of the limit above it."""
        octaves = math.log2(self.limit / max(1e-9, self._floor(self._config.max_spacing)))
        return min(_LEVELS - 1, max(0, int(octaves + 1e-6)))

    def next_start_at(self, now: float) -> float:
        """When the next attempt may start: ``<= now`` is now, inf is "when one ends"."""
        while self._cooldowns and self._cooldowns[0] <= now:
            heappop(self._cooldowns)
        held = self.active + len(self._cooldowns)
        if held >= max(1, int(self.limit)):
            return self._cooldowns[0] if self._cooldowns else math.inf
        if self.limit < 1.0:
            return self._last_start + self._gap()
        return now

    def _gap(self) -> float:
        """Between two starts while the limit is below 1."""
        # No longer than at the floor, though: the round trip may have grown since the limit was lowered.
        longest = max(self._config.max_spacing, self._config.overload_spacing)
        return min(self.rtt / self.limit, max(longest, min(longest / self._peer_share, _GAP_SHARED)))

    def start(self, now: float) -> tuple[int, int]:
        """Take a slot and return the permit's ``(level, round)``; level -1 left alone, and cannot be too much."""
        pause = now - self._last_start
        # 1 % of slack: the pace of the floor itself must count, whatever its clock rounds to.
        alone = self.active == 0 and self._config.overload_spacing <= pause * self._peer_share * 1.01 < math.inf
        if self.active == 0 and _IDLE < pause < math.inf and self.limit > 1.0:
            self.limit = max(1.0, self.limit * 0.5**pause)
            self._slow_start = True
        self.active += 1
        self._peak = max(self._peak, self.active + len(self._cooldowns))
        self._last_start = now
        return -1 if alone else self.level, self.round

    def recount(self, active: int) -> None:
        """So many attempts are out, whatever was counted."""
        self.active = active

    def release(self) -> None:
        """Return a slot whose attempt told nothing."""
        self.active -= 1

    def record_rtt(self, seconds: float) -> None:
        """Learn from a success, a probe's too, how long an attempt takes."""
        seconds = max(seconds, _LEAST_RTT)
        self.rtt = self.rtt + _RTT_GAIN * (seconds - self.rtt) if self._has_rtt else seconds
        self._has_rtt = True

    def succeeded(self, level: int, started_round: int, seconds: float) -> None:
        """Take a success: a limit that was reached grows."""
        held = self.active + len(self._cooldowns)
        self.active -= 1
        self._streak = 0
        self.record_rtt(seconds)
        if self.limit < 1.0:
            self.limit = min(1.0, self.limit * (2.0 if self._slow_start else 1.25))
        elif self._slow_start:
            self.limit += 1.0 if 2 * held >= self.limit else 0.0
        elif held >= int(self.limit):
            self.limit += 0.25 / self.limit + 1 / 16
        self.limit = min(self.limit, self._max)
        self._peer_share = min(1.0, self._peer_share * _SHARE_GROWS)
        self._learn(level)
        self._count(started_round)

    def failed(self, level: int, started_round: int, started: float, now: float, *, shed: bool = False) -> bool:
        """Take a failure (``shed``: a 503) and say whether the limit was lowered."""
        self.active -= 1
        self._streak += 1
        back = started + self.rtt
        if back > now:
            heappush(self._cooldowns, back)
        if self._streak <= _ENOUGH:
            self._learn(level, lost=not shed, shed=shed)
        if not shed and self.chance(self._streak) < _DOWN_CHANCE:
            return self._lower_to(min(_DOWN_SIZE, self.rtt / _DOWN_GAP))
        return self._count(started_round, lost=not shed, shed=shed)

    def chance(self, streak: int) -> float:
        """How probable so many failures in a row are, as bad luck; 1 while nothing is known."""
        losses = self._overall
        if losses.seen < _ENOUGH:
            return 1.0
        ratio = (losses.bad + 1) / (losses.seen + 2)
        return float(min(1.0, ratio + _SIGMA * math.sqrt(ratio * (1 - ratio) / losses.seen)) ** streak)

    @property
    def is_suspicious(self) -> bool:
        """Whether the last failures in a row may well be more than bad luck: the endpoint may be down."""
        if self._streak < _DOUBT:
            return False
        return self._overall.bad == self._overall.seen or self.chance(self._streak) < _DOUBT_CHANCE

    def _learn(self, level: int, *, lost: bool = False, shed: bool = False) -> None:
        if level < 0:
            self._solo.count(shed)
        self._levels[max(0, level)].count(lost)
        self._overall.count(lost or shed)

    def _count(self, started_round: int, *, lost: bool = False, shed: bool = False) -> bool:
        """Judge the round with this result in it, and say whether the limit was lowered."""
        if started_round != self.round:
            return False
        self._seen += 1
        self._served = self._served or not (lost or shed)
        self._random_losses += lost
        self._overloads += shed
        attempts = max(_ROUND_MIN, int(self.limit))
        if shed and self._overloads > self._solo.tolerates(attempts):
            # An overloaded server serves some. One that serves nobody is down, and at four starts a second that
            # would take the breaker too long to see.
            gap = self._config.overload_spacing if self._streak <= _SHED_STREAK else self._config.max_spacing
            return self._lower_to(max(self._floor(gap), self.limit * self._factor()))
        if lost and self.level and self._random_losses > _baseline(self._levels[: self.level]).tolerates(attempts):
            self._decreases += 1
            self._age_baselines()
            floor = self._floor(self._config.max_spacing)
            ignorant = self._decreases > 1 and self._served and self._levels[0].seen < _ENOUGH
            return self._lower_to(floor if ignorant else max(floor, self.limit * self._factor()))
        if self._seen >= attempts:
            if self._peak < int(self.limit):
                self.limit = (self.limit + self._peak) / 2
                self._slow_start = False
            self._decreases = 0
            self._new_round()
        return False

    def _age_baselines(self) -> None:
        for stats in self._levels[: self.level]:
            if not stats.bad:
                stats.seen *= _SPENT

    def _factor(self) -> float:
        return 0.7 if self._served else 0.5

    def _floor(self, gap: float) -> float:
        return self._peer_share * (min(1.0, self.rtt / gap) if gap else 1.0)

    def _lower_to(self, limit: float) -> bool:
        """Lower the limit and begin a new round; a limit that is as low stays as it is."""
        if limit >= self.limit:
            return False
        self._slow_start = False
        self.limit = limit
        self.round += 1
        self._served = False
        self._new_round()
        return True

    def _new_round(self) -> None:
        self._seen = self._random_losses = self._overloads = 0
        self._peak = self.active + len(self._cooldowns)
