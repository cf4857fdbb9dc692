"""What happens to a contestant's server: it fails, comes back, and counts the requests; and what it counted."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..testing import FakeColony, FakeColonyError
from .agents import Schedule, Totals, capacity

_SAMPLE = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of one contestant's agents, and what its server saw."""

    client: str
    agents: int
    outage_s: float
    attempts_during_outage: int
    burst_per_100ms: int
    requests_after: int
    knocks: int
    agents_lost: int
    restarts: int
    never_back: int
    last_back_s: float
    errors: dict[str, int]
    arrivals: tuple[float, ...] = ()  # seconds from the start of the run

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the arrivals."""
        values = asdict(self)
        del values["arrivals"]
        return values


class Timeline:
    """An outage at ``colony``, for ``n`` agents. The server counts the requests."""

    def __init__(self, colony: FakeColony, n: int, schedule: Schedule) -> None:
        self._colony, self._n, self._schedule = colony, n, schedule
        self._origin = self._down = self._recovered = 0.0

    def begin(self, start: float) -> None:
        """Give out short-lived tokens from now on. ``start`` is the schedule's 0 on the monotonic clock."""
        self._colony.expires_in(self._schedule.life)
        self._origin = self._colony.now() + start - time.monotonic()

    def go_down(self) -> None:
        """Begin the outage. The server ends it by its own clock: under load a command would reach it late.

        It comes back with a capacity of N/4 requests a second, and more than that knocks it over.
        """
        outage = self._schedule.outage
        self._colony.schedule([(0.0, "status", {"status": 502, "html": True}), (outage, "healthy")])
        self._recovered = time.monotonic() + outage
        self._down = self._colony.now()
        self._colony.expires_in(86_400.0)
        self._colony.capacity(capacity(self._n))  # requests answered 502 do not count

    def counts(self, client: str, all_totals: Iterable[Totals]) -> Counts:
        """Sum up what the server and the processes with agents counted."""
        down, back = self._down, self._down + self._schedule.outage
        arrivals = sorted(r.at for r in self._colony.requests() if r.path.endswith("/auth/token"))
        after = [at for at in arrivals if at >= back]
        parts = list(all_totals)
        done = [at for totals in parts for at in totals.back]
        return Counts(
            client=client,
            agents=self._n,
            outage_s=round(self._schedule.outage, 1),
            attempts_during_outage=sum(down <= at < back for at in arrivals),
            burst_per_100ms=burst(after, 0.1),
            requests_after=len(after),
            knocks=self._colony.stats().knocks,
            agents_lost=sum(totals.lost for totals in parts),
            restarts=sum(totals.restarts for totals in parts),
            never_back=self._n - len(done),
            last_back_s=round(max(done, default=self._recovered) - self._recovered, 2),
            errors=_summed(totals.errors for totals in parts),
            arrivals=tuple(round(at - self._origin, 3) for at in arrivals),
        )


class History:
    """How many requests a server had counted at each time of the run, and how often it was knocked over."""

    def __init__(self) -> None:
        self._at = [0.0]
        self._total = [0]
        self.knocks = 0

    def note(self, at: float, total: int, knocks: int) -> None:
        """Add a reading of the server's counts."""
        self._at.append(at)
        self._total.append(total)
        self.knocks = knocks

    def watch(self, colony: FakeColony, start: float) -> None:
        """Read the counts of ``colony`` until it is closed, in a thread: a busy server answers late."""

        def sample() -> None:
            while True:
                try:
                    stats = colony.stats()
                except FakeColonyError:
                    return
                self.note(time.monotonic() - start, stats.requests, stats.knocks)
                time.sleep(_SAMPLE)

        threading.Thread(target=sample, daemon=True).start()

    @property
    def rate(self) -> float:
        """Requests a second during the last second."""
        now = self._at[-1]
        return self.between(now - 1.0, now)

    def between(self, start: float, stop: float) -> float:
        """Requests a second between two times."""
        first, last = self._before(start), self._before(stop)
        seconds = self._at[last] - self._at[first]
        return (self._total[last] - self._total[first]) / seconds if seconds > 0 else 0.0

    def _before(self, at: float) -> int:
        return min(bisect_left(self._at, at), len(self._at) - 1)


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for name, n in count.items():
            total[name] = total.get(name, 0) + n
    return total


def burst(times: list[float], width: float) -> int:
    """Most arrivals within ``width`` seconds."""
    best = first = 0
    for last, at in enumerate(times):
        while times[first] < at - width:
            first += 1
        best = max(best, last - first + 1)
    return best
