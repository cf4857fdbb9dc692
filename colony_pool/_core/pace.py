"""Pace: the admission window, how many attempts may be in flight.

Theory of operation. After an outage everybody wants a token at once and the server can serve a few. The
window starts at 1 and grows with each success; a failure that says "too fast" shrinks it. What makes it
hard is that half of the servers behind a balancer may be broken: then failures are bad luck and do not get
rarer when the window shrinks, and a window that shrinks for them starves everybody. So each power-of-two
*level* of the window remembers its failure ratio, and the window is cut only when a round fails more (by
two sigma) than the levels below it did. The lowest level, one start at a time, always teaches; a higher one
learns only from rounds that passed, or a knocked-over server would teach that failing is normal.

Why not AIMD alone: at 50 % of random failures it sits at its floor and served 58 of 1,000 agents.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush

from ..config import WindowConfig

_LEVELS = 24
_FIRST_RTT = 0.05
_RTT_GAIN = 0.2
_ENOUGH = 8  # samples below the current level before their ratio is believed
_HALVE_AT = 64
_ROUND_MIN = 16
_NOTHING_WORKS = 8  # failures in a row after which a cut goes down to 1: halving would send 2 windows more


class Window:
    """The law of the window. ``size`` may be below 1: then starts are spaced by ``rtt / size``."""

    __slots__ = (
        "_bad", "_config", "_cooling", "_cuts", "_last_start", "_levels", "_max", "_passed", "_passed_bad",
        "_seen", "_slow_start", "_streak", "_streak", "active", "round", "rtt", "size",
    )  # fmt: skip

    def __init__(self, config: WindowConfig, maxsize: int) -> None:
        self._config = config
        self._max = float(maxsize)
        self.rtt = _FIRST_RTT  # EWMA of successful attempts, seconds
        self.round = 0  # a cut ends a round; failures of older rounds are the same event
        self.restart()

    def restart(self) -> None:
        """Begin anew at 1: a cold start, a closed breaker, the end of a hold. Forgets what levels taught."""
        self.size = 1.0
        self.active = 0
        self.round += 1
        self._slow_start = True
        self._levels = [[0.0, 0.0] for _ in range(_LEVELS)]  # [attempts, failures] per power of two
        self._cooling: list[float] = []  # when slots of failed attempts come back
        self._last_start = -math.inf
        self._cuts = 0  # rounds in a row that ended in a cut
        self._streak = 0  # failures in a row, of any round
        self._new_round()

    @property
    def level(self) -> int:
        """0 for the floor, one more for each doubling of the window above 1/8."""
        return max(0, int(math.log2(self.size * 16)))

    def opens_at(self, now: float) -> float:
        """When the next attempt may start: ``<= now`` is now, inf is "when one ends"."""
        while self._cooling and self._cooling[0] <= now:
            heappop(self._cooling)
        held = self.active + len(self._cooling)
        if held >= max(1, int(self.size)):
            return self._cooling[0] if self._cooling else math.inf
        if self.size < 1.0:
            return self._last_start + min(self.rtt / self.size, self._config.gap_max)
        return now

    def start(self, now: float) -> tuple[int, int]:
        """Take a slot and return the permit's ``(level, round)``."""
        self.active += 1
        self._last_start = now
        return self.level, self.round

    def give_back(self) -> None:
        """Return a slot whose attempt told nothing."""
        self.active -= 1

    def succeeded(self, level: int, started_round: int, seconds: float) -> None:
        """Take a success: the window grows."""
        self.active -= 1
        self._streak = 0
        self.rtt += _RTT_GAIN * (seconds - self.rtt)
        if self.size < 1.0:
            self.size = min(1.0, self.size * (2.0 if self._slow_start else 1.25))
        elif self._slow_start:
            self.size += 1.0
        else:
            self.size += 0.25 / self.size
        self.size = min(self.size, self._max)
        self._judge(level, started_round, bad=False)

    def failed(self, level: int, started_round: int, started: float, now: float) -> bool:
        """Take a failure and say whether the window was cut. The slot comes back after one round trip."""
        self.active -= 1
        self._streak += 1
        back = started + self.rtt
        if back > now:  # a 503 after 5 ms must not be answered by another try after 5 ms
            heappush(self._cooling, back)
        return self._judge(level, started_round, bad=True)

    def _judge(self, level: int, started_round: int, *, bad: bool) -> bool:
        if level == 0:
            self._count(0, 1, bad)
        if started_round != self.round:
            return False
        self._seen += 1
        self._bad += bad
        if level:
            self._passed += 1
            self._passed_bad += bad
        size = max(_ROUND_MIN, int(self.size))
        if self.level and self._bad > self._tolerated(size):
            self._cut()
            return True
        if self._seen >= size:
            if self._passed:
                self._count(max(1, self.level), self._passed, self._passed_bad)
            self._new_round()
            self._cuts = 0
        return False

    def _tolerated(self, size: int) -> float:
        """Failures in a round of ``size`` that bad luck explains: the lower levels' ratio and two sigma."""
        seen = sum(entry[0] for entry in self._levels[: self.level])
        failed = sum(entry[1] for entry in self._levels[: self.level])
        if seen < _ENOUGH:
            return 0.0
        ratio = failed / seen
        return ratio * size + 2 * size * math.sqrt(ratio * (1 - ratio) * (1 / size + 1 / seen))

    def _cut(self) -> None:
        self._cuts += 1
        self._slow_start = False
        self.size = max(self._config.floor, self.size * (0.5 if self._cuts > 1 else 0.7))
        if self._streak >= _NOTHING_WORKS:
            self.size = min(self.size, 1.0)
        self.round += 1
        self._new_round()

    def _new_round(self) -> None:
        self._seen = self._bad = self._passed = self._passed_bad = 0

    def _count(self, level: int, attempts: int, failures: int) -> None:
        entry = self._levels[min(level, _LEVELS - 1)]
        entry[0] += attempts
        entry[1] += failures
        if entry[0] > _HALVE_AT:
            entry[0] /= 2
            entry[1] /= 2
