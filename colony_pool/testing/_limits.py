"""Why FakeColony refuses requests: its capacity, and the rate limit per address."""

from __future__ import annotations

import math
import time
from collections import deque

from ._behaviour import HTML, Answer, error

_EXCESS_WINDOW = 1.0  # seconds
_EXCESS_DELAY = 0.005  # an overloaded server needs a moment even to refuse


class Capacity:
    """The capacity of a server: a token bucket, a bound on requests in flight, and a knock-out."""

    def __init__(self, rate: float, burst: float | None, max_in_flight: int, knockout: float) -> None:
        self.rate = rate
        self.max_in_flight = max_in_flight
        self.knockout = knockout
        self.knocks = 0
        self._depth = self._level = max(1.0, rate / 10 if burst is None else burst)
        self._filled = time.monotonic()
        self._excess: deque[float] = deque()
        self._down_until = 0.0

    def admit(self, in_flight: int) -> Answer | None:
        """Admit one request (``None``), or return the answer that refuses it."""
        now = time.monotonic()
        if now < self._down_until:
            return Answer(502, HTML, {"Content-Type": "text/html"})
        self._level = min(self._depth, self._level + (now - self._filled) * self.rate)
        self._filled = now
        if self._level >= 1.0 and in_flight <= self.max_in_flight:
            self._level -= 1.0
            return None
        self._excess.append(now)
        while self._excess[0] < now - _EXCESS_WINDOW:
            self._excess.popleft()
        if len(self._excess) >= self.rate and self.knockout > 0:
            self._excess.clear()
            self._down_until = now + self.knockout
            self.knocks += 1
        return Answer(503, b"overloaded", {"Content-Type": "text/plain"}, delay=_EXCESS_DELAY)


class FakeRateLimit:
    """A number of token requests per address, in fixed windows that begin with an address's first request."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._counts: dict[str, tuple[float, int]] = {}

    def count(self, address: str) -> tuple[Answer | None, dict[str, str]]:
        """Count one request: ``(refusal or None, the headers that every answer carries)``."""
        now = time.time()
        began, used = self._counts.get(address, (now, 0))
        if now >= began + self._window:
            began, used = now, 0
        self._counts[address] = (began, used + 1)
        ends = began + self._window
        headers = {
            "X-RateLimit-Limit": str(self._limit),
            "X-RateLimit-Remaining": str(max(0, self._limit - used - 1)),
            "X-RateLimit-Reset": str(math.ceil(ends)),
        }
        if used < self._limit:
            return None, headers
        headers["Retry-After"] = str(max(1, math.ceil(ends - now)))
        return error(429, "Too many token requests from this address.", "RATE_LIMIT_AUTH"), headers
