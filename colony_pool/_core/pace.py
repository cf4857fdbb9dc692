"""Pace: the admission window, how many attempts may be in flight.

Theory of operation. After an outage everybody wants a token at once and the server can serve a few, so the
window starts at 1, grows with each success and shrinks when the server cannot keep up. Below 1 it is a pace:
one start every ``rtt / size`` seconds. What makes it hard is that a failure can mean four things, which want
different answers. Each is therefore judged against its own history, never against the others':

======= ======================================== ===================================================
meaning evidence                                 answer
======= ======================================== ===================================================
shed    a 503: the server itself says "too much" shrink, down to one start per ``gap_shed``
lost    any other failure, no more frequent in a none: half of the servers behind the balancer are
        large window than in a small one         broken, and waiting would starve everybody
load    such failures do get rarer when the      shrink, down to one start per ``gap_max``
        window shrinks
down    a streak that bad luck cannot explain    down to 2 at once, and slower still with a short
                                                 round trip: what ends it is the breaker, or a success
======= ======================================== ===================================================

*Shed* would be bad luck, too, if it hit attempts that cannot be too many: so the ratio of 503s among attempts
that left alone, ``gap_shed`` after the one before, is the baseline that a round's 503s must exceed.

*Lost or load.* Each octave of the window above its floor is a *level* with a tally of its failures. The floor
teaches unconditionally; a level above joins the baseline if it fails no more than those below it (two sigma),
or an overloaded level would teach the next one that failing is normal. A round is cut when it fails more than
the baseline by two sigma. While the floor is unknown any failure cuts, and the second round in a row goes to
the floor to learn, for a second. A spotless tally may be luck as well (none of ten, at 10 %), and would cut for
ever: each cut that leans on it spends a tenth of it, until the floor is asked again.

*Down* teaches nothing: after eight failures in a row tallies stand still, or each outage would raise the baseline.

A cut takes 30 % (half, if nothing succeeded since the last one) and ends the round: attempts that began
before it are the same event and are not judged again. Growth is slow start's 1 a success (below 1: doubling)
until the first cut, then a quarter and a sixteenth of the window a round (below 1: a quarter a success): in
proportion as fast at 25 as at 2. A failed attempt keeps its slot for one round trip: an error after 5 ms must
not be answered by another attempt after 5 ms.

A window is only known to be right while it is used (RFC 7661): it grows while it is full, falls half-way to
what a round really took, and halves for each second without a start. Else the herd that is out when an
outage begins is as large as the largest crowd ever was.

Why not AIMD on any failure: at 50 % of random failures it sits at its floor and served 58 of 1,000 agents.
Why not one baseline for all failures: 30 % lost hides the first 30 % shed, and the server is knocked over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from heapq import heappop, heappush

from ..config import WindowConfig

_LEVELS = 24
_FIRST_RTT = 0.05
_LEAST_RTT = 0.001
_RTT_GAIN = 0.2
_ENOUGH = 8  # attempts before a tally is believed, and failures in a row after which none of them learns
_HALVE_AT = 64
_ROUND_MIN = 16
_SIGMA = 2.0
_SHED_STREAK = 4
_SPENT = 0.9  # what is left of a spotless tally when a cut has leant on it
_DOWN_CHANCE = 1e-4  # a streak rarer than this is no bad luck
_DOWN_SIZE = 2.0  # a window in which nothing succeeds needs two in flight at most, and at a short round trip ...
_DOWN_GAP = 0.04  # ... one start in so many seconds: sixteen failures in a row then still take half a second
_DOUBT = 1
_DOUBT_CHANCE = 0.05
_IDLE = 1.0
_GAP_SHARED = 20.0  # longest between two starts in a large fleet: callers do not wait for ever
_SHARE_GROWS = 1.25  # with each success: other processes need their share for as long as they recover, too


class _Tally:
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


def _baseline(levels: Iterable[_Tally]) -> _Tally:
    """What bad luck is, by the floor and the levels above it that fail no more than those below them."""
    known = _Tally()
    for i, level in enumerate(levels):
        if i == 0 or (level.seen and level.bad <= known.tolerates(level.seen)):
            known = _Tally(known.seen + level.seen, known.bad + level.bad)
    return known


class Window:
    """The law of the window. Times are seconds of one monotonic clock."""

    __slots__ = (
        "_alone", "_config", "_cooling", "_cuts", "_last_start", "_levels", "_lost", "_luck", "_max", "_peak",
        "_seen", "_served", "_share", "_shed", "_slow_start", "_streak", "_timed", "active", "round", "rtt", "size",
    )  # fmt: skip
    _peak: int  # most slots taken at once in this round

    def __init__(self, config: WindowConfig, maxsize: int) -> None:
        self._config = config
        self._max = float(maxsize)
        self.rtt = _FIRST_RTT  # EWMA of successful attempts
        self._timed = False
        self.round = 0  # a cut ends a round
        self.restart()

    def restart(self) -> None:
        """Begin anew at 1: a cold start, a closed breaker, the end of a hold. Forgets what was taught."""
        self.size = 1.0
        self._share = 1.0  # of what a process alone may do
        self.active = 0
        self.round += 1
        self._slow_start = True
        self._levels = [_Tally() for _ in range(_LEVELS)]
        self._alone = _Tally()
        self._luck = _Tally()  # of every attempt, whatever its level
        self._cooling: list[float] = []  # when slots of failed attempts come back
        self._last_start = -math.inf
        self._streak = 0  # failures in a row, of any round
        self._cuts = 0  # rounds in a row that ended in a cut
        self._served = False  # whether anything succeeded since the last cut
        self._new_round()

    def restart_shared(self, members: int, now: float, rand: float) -> None:
        """Begin anew as one of so many ``members``: together they begin at 1, one after the other."""
        self.restart()
        self.size = self._share = 1.0 / members
        self._last_start = now - rand * self._gap()

    @property
    def level(self) -> int:
        """0 for the floor, one more for each doubling of the window above it."""
        octaves = math.log2(self.size / max(1e-9, self._floor(self._config.gap_max)))
        return min(_LEVELS - 1, max(0, int(octaves + 1e-6)))

    def opens_at(self, now: float) -> float:
        """When the next attempt may start: ``<= now`` is now, inf is "when one ends"."""
        while self._cooling and self._cooling[0] <= now:
            heappop(self._cooling)
        held = self.active + len(self._cooling)
        if held >= max(1, int(self.size)):
            return self._cooling[0] if self._cooling else math.inf
        if self.size < 1.0:
            return self._last_start + self._gap()
        return now

    def _gap(self) -> float:
        """Between two starts of a window below 1."""
        # No longer than at the floor, though: the round trip may have grown since the window was cut.
        longest = max(self._config.gap_max, self._config.gap_shed)
        return min(self.rtt / self.size, max(longest, min(longest / self._share, _GAP_SHARED)))

    def start(self, now: float) -> tuple[int, int]:
        """Take a slot and return the permit's ``(level, round)``; level -1 left alone, and cannot be too much."""
        pause = now - self._last_start
        # 1 % of slack: the pace of the floor itself must count, whatever its clock rounds to.
        alone = self.active == 0 and self._config.gap_shed <= pause * self._share * 1.01 < math.inf
        if self.active == 0 and _IDLE < pause < math.inf and self.size > 1.0:
            self.size = max(1.0, self.size * 0.5**pause)
            self._slow_start = True
        self.active += 1
        self._peak = max(self._peak, self.active + len(self._cooling))
        self._last_start = now
        return -1 if alone else self.level, self.round

    def give_back(self) -> None:
        """Return a slot whose attempt told nothing."""
        self.active -= 1

    def timed(self, seconds: float) -> None:
        """Learn from a success, a probe's too, how long an attempt takes."""
        seconds = max(seconds, _LEAST_RTT)
        self.rtt = self.rtt + _RTT_GAIN * (seconds - self.rtt) if self._timed else seconds
        self._timed = True

    def succeeded(self, level: int, started_round: int, seconds: float) -> None:
        """Take a success: a window that was used grows."""
        held = self.active + len(self._cooling)
        self.active -= 1
        self._streak = 0
        self.timed(seconds)
        if self.size < 1.0:
            self.size = min(1.0, self.size * (2.0 if self._slow_start else 1.25))
        elif self._slow_start:
            self.size += 1.0 if 2 * held >= self.size else 0.0
        elif held >= int(self.size):
            self.size += 0.25 / self.size + 1 / 16
        self.size = min(self.size, self._max)
        self._share = min(1.0, self._share * _SHARE_GROWS)
        self._learn(level)
        self._count(started_round)

    def failed(self, level: int, started_round: int, started: float, now: float, *, shed: bool = False) -> bool:
        """Take a failure (``shed``: a 503) and say whether the window was cut."""
        self.active -= 1
        self._streak += 1
        back = started + self.rtt
        if back > now:
            heappush(self._cooling, back)
        if self._streak <= _ENOUGH:
            self._learn(level, lost=not shed, shed=shed)
        if not shed and self.chance(self._streak) < _DOWN_CHANCE:
            return self._cut_to(min(_DOWN_SIZE, self.rtt / _DOWN_GAP))
        return self._count(started_round, lost=not shed, shed=shed)

    def chance(self, streak: int) -> float:
        """How probable so many failures in a row are, as bad luck; 1 while nothing is known."""
        luck = self._luck
        if luck.seen < _ENOUGH:
            return 1.0
        ratio = (luck.bad + 1) / (luck.seen + 2)
        return float(min(1.0, ratio + _SIGMA * math.sqrt(ratio * (1 - ratio) / luck.seen)) ** streak)

    @property
    def doubtful(self) -> bool:
        """Whether the last failures in a row may well be more than bad luck: the endpoint may be down."""
        if self._streak < _DOUBT:
            return False
        return self._luck.bad == self._luck.seen or self.chance(self._streak) < _DOUBT_CHANCE

    def _learn(self, level: int, *, lost: bool = False, shed: bool = False) -> None:
        if level < 0:
            self._alone.count(shed)
        self._levels[max(0, level)].count(lost)
        self._luck.count(lost or shed)

    def _count(self, started_round: int, *, lost: bool = False, shed: bool = False) -> bool:
        """Judge the round with this result in it, and say whether it was cut."""
        if started_round != self.round:
            return False
        self._seen += 1
        self._served = self._served or not (lost or shed)
        self._lost += lost
        self._shed += shed
        attempts = max(_ROUND_MIN, int(self.size))
        if shed and self._shed > self._alone.tolerates(attempts):
            # An overloaded server serves some. One that serves nobody is down, and at four starts a second that
            # would take the breaker too long to see.
            gap = self._config.gap_shed if self._streak <= _SHED_STREAK else self._config.gap_max
            return self._cut_to(max(self._floor(gap), self.size * self._factor()))
        if lost and self.level and self._lost > _baseline(self._levels[: self.level]).tolerates(attempts):
            self._cuts += 1
            self._spend()
            floor = self._floor(self._config.gap_max)
            ignorant = self._cuts > 1 and self._served and self._levels[0].seen < _ENOUGH
            return self._cut_to(floor if ignorant else max(floor, self.size * self._factor()))
        if self._seen >= attempts:
            if self._peak < int(self.size):
                self.size = (self.size + self._peak) / 2
                self._slow_start = False
            self._cuts = 0
            self._new_round()
        return False

    def _spend(self) -> None:
        for tally in self._levels[: self.level]:
            if not tally.bad:
                tally.seen *= _SPENT

    def _factor(self) -> float:
        return 0.7 if self._served else 0.5

    def _floor(self, gap: float) -> float:
        return self._share * (min(1.0, self.rtt / gap) if gap else 1.0)

    def _cut_to(self, size: float) -> bool:
        """Shrink to ``size`` and begin a new round; an old window that is as small stays as it is."""
        if size >= self.size:
            return False
        self._slow_start = False
        self.size = size
        self.round += 1
        self._served = False
        self._new_round()
        return True

    def _new_round(self) -> None:
        self._seen = self._lost = self._shed = 0
        self._peak = self.active + len(self._cooling)
