"""Whether a store works, as far as is known, and for how long anybody may still wait for an answer.

A call loses ``PATIENCE`` seconds at most to stores that do not answer, over its whole life and however often they
fail:

- A question that stands in somebody's way may take half of what is left of the patience, and what was
  waited in vain is taken off it. It is whole again once a moment has come at which nobody waited: whoever waits
  after that has lost nothing yet.
- A store that has failed is asked nothing in anybody's way. After a pause of a second, then two, up to half a minute,
  it is tried in the background, and only an answer in time makes it one that works. It has to write something for
  it: a replica, a full disk or a server short of memory reads on, and knows nothing of what it is told.
- Once it fails, all who wait for it are told at once.
- When too little is left for a round trip, the store counts as failed until nobody waits.

An answer in time is worth its wait, and is not counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from .._core.shared_state import STORE_FAILURES, STORES
from .._log import AT_ONCE, Lines
from .._runtime.protocol import Runtime

PATIENCE = 0.2  # seconds
_SHARE = 0.5  # of what is left of it, for one question; the pace of a window may add as much again
_LEAST = 0.01  # seconds; with less than this a store cannot be asked
_REST, _REST_MAX = 1.0, 30.0
_, UNKNOWN, WORKING, UNAVAILABLE = STORES
SLOW, FAILED = STORE_FAILURES


class LatencyBudget:
    """What a call may still lose to stores that do not answer: to all that this process has, together.

    ``idle_at`` says when nobody waited in this process last: whoever waits since then has lost nothing yet.
    """

    def __init__(self, runtime: Runtime, idle_at: Callable[[], float]) -> None:
        self._runtime = runtime
        self._idle_at = idle_at
        self._lost = 0.0  # seconds that somebody who may still wait has waited in vain
        self._lost_at = float("-inf")

    @property
    def remaining(self) -> float:
        """Seconds that a question in somebody's way may take now."""
        return _SHARE * max(0.0, PATIENCE - self._lost_by_now())

    def spend(self, seconds: float) -> None:
        """Somebody has waited in vain for so long."""
        self._lost, self._lost_at = self._lost_by_now() + seconds, self._runtime.monotonic()

    def _lost_by_now(self) -> float:
        return self._lost if self._idle_at() <= self._lost_at else 0.0


class StoreHealth:
    """Whether one store works: one line in the log when it breaks, one when it is back.

    Arguments:
        pool: its name, for the log.
        what: the store, in words.
        meanwhile: who decides while it is unavailable, in words.
        lines: writes to the log, and keeps nobody.
    """

    def __init__(
        self,
        pool: str,
        runtime: Runtime,
        patience: LatencyBudget,
        *,
        what: str = "the shared store",
        meanwhile: str = "this process decides alone",
        lines: Lines = AT_ONCE,
    ) -> None:
        self.state = UNKNOWN
        self.failures = {SLOW: 0, FAILED: 0}
        self._pool = pool
        self._runtime = runtime
        self._patience = patience
        self._what = what
        self._meanwhile = meanwhile
        self._lines = lines
        self._rest = _REST
        self._asleep_until = float("-inf")

    @property
    def resting(self) -> bool:
        """Whether it is left alone now."""
        return self.state == UNAVAILABLE and self._runtime.monotonic() < self._asleep_until

    @property
    def patience(self) -> float:
        """Seconds that a question in somebody's way may take now."""
        return self._patience.remaining

    @property
    def patience_aside(self) -> float:
        """Seconds that a question may take in nobody's way."""
        return _SHARE * PATIENCE

    def good(self) -> None:
        """It has answered in time."""
        before = self.state
        if before == UNAVAILABLE and self.patience < _LEAST:
            return
        self.state, self._rest = WORKING, _REST  # before it is told: that takes a while, and others look
        if before == UNAVAILABLE:
            self._lines.write(
                logging.WARNING, "colony_pool %s: %s is back; decisions are shared again", self._pool, self._what
            )

    def bad(self, kind: str, words: str, lost: float) -> None:
        """It has not; ``words`` say why, and somebody has waited in vain for ``lost`` seconds."""
        now = self._runtime.monotonic()
        if lost > 0.0:
            self._patience.spend(lost)
        if self.resting:  # several waited for the same
            return
        self.failures[kind] += 1
        before, self.state = self.state, UNAVAILABLE
        rest = self._rest if before == UNAVAILABLE else _REST
        self._asleep_until = now + rest * (0.75 + 0.25 * self._runtime.random())
        self._rest = min(2 * rest, _REST_MAX)
        if before != UNAVAILABLE:
            self._lines.write(
                logging.WARNING, "colony_pool %s: %s is unavailable (%s); %s until it is back",
                self._pool, self._what, words, self._meanwhile,
            )  # fmt: skip
