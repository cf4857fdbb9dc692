"""How long calls have waited, and what for."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .breaker import CircuitBreaker
from .events import CLOSED
from .rate_limit import RateLimit

WAITS = ("probe", "hold", "flight")


class WaitTimes:
    """Seconds that calls have waited, by what for. Between two inputs nothing changes, so each input books once."""

    __slots__ = ("_blocked_until", "_booked", "_breaker", "_rate_limit", "_seconds")

    def __init__(self, breaker: CircuitBreaker, rate_limit: RateLimit) -> None:
        self._breaker = breaker
        self._rate_limit = rate_limit
        self._seconds = dict.fromkeys(WAITS, 0.0)
        self._booked = -math.inf  # up to when
        self._blocked_until = -math.inf  # when calls were last parked

    def book(self, now: float, waiting: int) -> None:
        """An input comes: so many calls have been ``waiting`` since the last one."""
        since, self._booked = self._booked, now
        if waiting and now > since:
            for kind, seconds in self._shares(since, now):
                self._seconds[kind] += seconds * waiting
        if self._breaker.state != CLOSED or self._rate_limit.is_paused(since):
            self._blocked_until = now

    def until(self, now: float, waiting: int) -> dict[str, float]:
        """The seconds up to ``now``, read without changing anything: for a scrape."""
        seconds = dict(self._seconds)
        if waiting and now > self._booked:
            for kind, more in self._shares(self._booked, now):
                seconds[kind] += more * waiting
        return seconds

    def was_parked(self, joined: float) -> bool:
        """Whether a call that came at ``joined`` has met a breaker that was not closed, or a pause."""
        return self._blocked_until > joined

    def _shares(self, since: float, now: float) -> Iterator[tuple[str, float]]:
        """What calls waited for from ``since`` to ``now``: a pause, then a probe or (closed) their flights."""
        paused_until = min(max(self._rate_limit.paused_until, since), now)
        yield "hold", paused_until - since
        yield "flight" if self._breaker.state == CLOSED else "probe", now - paused_until
