"""The circuit breaker as the dispatcher knows it: a state, a delay, a generation.

========= ============================================ ==========================================
state     what starts                                  what ends it
========= ============================================ ==========================================
closed    what the limiter and the budget admit        ``fail_max`` failures in a row -> open
open      nothing before ``probe_at``                  ``probe_at``, and somebody to probe -> half_open
half_open one probe, a lease with a deadline           good -> closed; bad or lost -> open
========= ============================================ ==========================================

The probe is a lease and not a flag: a flag whose owner died keeps the breaker half-open for ever. Each
change of state is a new *generation*; a verdict of an older one is history and changes nothing.
"""

from __future__ import annotations

import math

from ..config import BreakerConfig
from .backoff import jittered
from .events import CLOSED, HALF_OPEN, OPEN
from .shared_state import OpenState


class CircuitBreaker:
    """State, generation, consecutive failures and the open delay. ``now`` is monotonic seconds."""

    __slots__ = (
        "_config", "_successes", "cause", "fail_max", "failures", "generation", "last_status", "level",
        "lost_probes", "opened_at", "period", "probe_at", "state",
    )  # fmt: skip

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self.fail_max = config.fail_max  # of the moment: an operator may change it
        self.state = CLOSED
        self.generation = 0
        self.period = 0  # how often it closed
        self.failures = 0  # in a row, as pybreaker counts them
        self.level = 0  # openings since the delay was reset
        self.lost_probes = 0  # leases in a row that ran out without a verdict
        self.opened_at = -math.inf
        self.probe_at = -math.inf
        self.cause = ""
        self.last_status = 0
        self._successes = 0

    def succeeded(self) -> None:
        """Count a success while closed; enough of them reset the open delay."""
        self.failures = 0
        self._successes += 1
        if self._successes >= self._config.reset_after:
            self.level = 0

    def failed(self) -> bool:
        """Count a failure while closed and say whether it was the last straw."""
        self.failures += 1
        return self.failures >= self.fail_max

    @property
    def one_failure_left(self) -> bool:
        """Whether one more failure opens it."""
        return self.failures + 1 >= self.fail_max

    def open(
        self, now: float, cause: str, status: int, rand: float, *, grow: bool = True, by: float = math.inf
    ) -> None:
        """Open or re-open, and set the next probe's time.

        If ``by`` is earlier than the computed time, the probe leaves at ``by``, and the next delay does not double.
        """
        if self.state == CLOSED:
            self.opened_at = now
        if cause:
            self.cause, self.last_status = cause, status
        delay = min(self._config.open_delay * 2.0 ** min(self.level, 60), self._config.open_delay_max)
        if self.level == 1:  # a blip is over within seconds: the second delay is near the short end of what it may be
            rand = 1.0 - (1.0 - rand) / 5
        probe_at = now + jittered(delay, self._config.jitter, rand)
        if by < probe_at:
            probe_at, grow = by, False
        # An operator who opens what is open must not bring forward what a server has asked for.
        self.probe_at = max(self.probe_at, probe_at) if self.state == OPEN else probe_at
        if grow:
            self.level += 1
        self._move(OPEN)

    def postpone(self, until: float) -> None:
        """Let no probe leave before ``until``."""
        self.probe_at = max(self.probe_at, until)

    def adopt(self, now: float, other: OpenState) -> None:
        """Be as open as another process says."""
        self.opened_at = now - other.opened_for
        self.cause, self.last_status = other.cause, other.status
        self.probe_at = now + other.probe_in
        self.level = other.level
        self._move(OPEN)

    def open_state(self, now: float) -> OpenState:
        """What other processes are to know of it while it is not closed."""
        opened_for = max(0.0, now - self.opened_at)
        return OpenState(max(0.0, self.probe_at - now), self.level, opened_for, self.cause, self.last_status)

    def half_open(self, now: float) -> None:
        """Let one probe leave. A probe that is out already is the one that was asked for."""
        if self.state == CLOSED:
            self.opened_at = now
        if self.state != HALF_OPEN:
            self._move(HALF_OPEN)

    def close(self) -> None:
        """Close: the endpoint answers."""
        self.failures = self.lost_probes = self._successes = 0
        self.period += 1
        self._move(CLOSED)

    def reset_delay(self) -> None:
        """The queue was emptied by success: the next opening starts with the short delay."""
        self.level = 0

    def begin_generation(self) -> None:
        """Have the results of attempts that are out change nothing, as after a change of state."""
        self.generation += 1

    def probe_was_lost(self) -> None:
        """Count a lease that ran out: the next probe has more time."""
        self.lost_probes += 1

    def _move(self, state: str) -> None:
        self.state = state
        self.generation += 1
