"""The retry budget: in any window, retries <= ratio x first attempts + reserve (G12).

A first attempt is a flight's first of a closed period: a good probe forgives (G8), so those who failed as
the outage began do not queue for the reserve, ten a minute, when it is over. Probes are neither.

Not a token bucket: a bucket that fills while nothing fails lets a burst through later, and "in any 60
seconds" would be false. Both counts live in buckets of a sixtieth of the window. First attempts are
counted over slightly less than a window and retries over slightly more, so the bound is never exceeded.
"""

from __future__ import annotations

import math
from collections import deque

from ..config import RetryBudgetConfig

_BUCKETS = 60


class RetryBudget:
    """Deposit a first attempt, withdraw a retry. Times are seconds of one monotonic clock."""

    __slots__ = ("_config", "_firsts", "_retries", "_sum_firsts", "_sum_retries", "_width")

    def __init__(self, config: RetryBudgetConfig) -> None:
        self._config = config
        self._width = config.window / _BUCKETS
        self._firsts: deque[list[int]] = deque()  # [bucket, count], oldest first
        self._retries: deque[list[int]] = deque()
        self._sum_firsts = 0
        self._sum_retries = 0

    def deposit(self, now: float) -> None:
        """Count one first attempt."""
        self._forget(now)
        self._count(self._firsts, now)
        self._sum_firsts += 1

    def withdraw(self, now: float) -> bool:
        """Count one retry if the budget allows it, and say whether it did."""
        if self.balance(now) < 1.0:
            return False
        self._count(self._retries, now)
        self._sum_retries += 1
        return True

    def refund(self, at: float) -> None:
        """Take back the retry that was withdrawn at ``at``: it never reached the wire."""
        self._sum_retries -= self._uncount(self._retries, at)

    def cancel(self, at: float) -> None:
        """Take back the first attempt that was deposited at ``at``: it did not reach the wire, and comes again."""
        self._sum_firsts -= self._uncount(self._firsts, at)

    def balance(self, now: float) -> float:
        """Retries allowed now."""
        self._forget(now)
        return self._config.ratio * self._sum_firsts + self._config.reserve - self._sum_retries

    def balance_at(self, now: float) -> float:
        """The balance, read without changing anything: for a scrape."""
        return self.limit_at(now) - sum(
            n for b, n in tuple(self._retries) if b >= math.floor(now / self._width) - _BUCKETS
        )

    def limit_at(self, now: float) -> float:
        """What ``balance_at`` would be without any retry."""
        oldest = math.floor(now / self._width) - _BUCKETS
        return self._config.ratio * sum(n for b, n in tuple(self._firsts) if b > oldest) + self._config.reserve

    def next_refill(self) -> float:
        """When the balance can have grown by itself, once ``withdraw`` has failed; inf when it cannot."""
        if not self._retries:
            return math.inf
        return (self._retries[0][0] + _BUCKETS + 1) * self._width

    def _uncount(self, buckets: deque[list[int]], at: float) -> int:
        bucket = math.floor(at / self._width)
        for entry in reversed(buckets):
            if entry[0] <= bucket:
                entry[1] -= 1
                return 1
        return 0  # forgotten already

    def _count(self, buckets: deque[list[int]], now: float) -> None:
        bucket = math.floor(now / self._width)
        if buckets and buckets[-1][0] >= bucket:
            buckets[-1][1] += 1
        else:
            buckets.append([bucket, 1])

    def _forget(self, now: float) -> None:
        bucket = math.floor(now / self._width)
        while self._firsts and self._firsts[0][0] <= bucket - _BUCKETS:
            self._sum_firsts -= self._firsts.popleft()[1]
        while self._retries and self._retries[0][0] < bucket - _BUCKETS:
            self._sum_retries -= self._retries.popleft()[1]
