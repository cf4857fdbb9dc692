"""Servers that can take so much and no more: a capacity that a herd knocks over, and a limit that is counted."""

from __future__ import annotations

from collections import deque


class Capacity:
    """A bucket of ``rate`` requests a second (a tenth of it deep), 64 at once; ``rate`` too many knock it over."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.knocks = 0
        self._bucket = 0.0
        self._filled = 0.0
        self._excess: deque[float] = deque()
        self._down_until = -1.0

    def refuse(self, now: float, inside: int) -> int:
        """The status of one more request that is not served: 503 (too many), 502 (knocked over); 0 if it is."""
        if now < self._down_until:
            return 502
        self._bucket = min(max(1.0, self.rate / 10), self._bucket + (now - self._filled) * self.rate)
        self._filled = now
        if self._bucket >= 1.0 and inside < 64:
            self._bucket -= 1.0
            return 0
        self._excess.append(now)
        while self._excess[0] < now - 1.0:
            self._excess.popleft()
        if len(self._excess) >= self.rate:
            self._excess.clear()
            self._down_until = now + 1.0
            self.knocks += 1
        return 503


class Limit:
    """``allowed`` requests in each window of ``width`` seconds, told in ``X-RateLimit-*``."""

    def __init__(self, allowed: int, width: float) -> None:
        self.allowed = allowed
        self.width = width
        self.refused = 0
        self._window = -1
        self._used = 0

    def take(self, now: float) -> tuple[bool, int, float]:
        """``(served, requests left, seconds until the window ends)``."""
        window = int(now // self.width)
        if window != self._window:
            self._window, self._used = window, 0
        served = self._used < self.allowed
        self._used += served
        self.refused += not served
        return served, self.allowed - self._used, (window + 1) * self.width - now
