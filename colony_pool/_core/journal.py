"""The journal: plain counters of what happened, kept per pool and read by whoever exports them.

Plain integers, written by one task at a time (the runner tells events in order) and read without a lock.
All keys exist from the start: a counter that is born at its first event hides that event from ``rate()``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from . import events as ev
from .outcome import KINDS

CALLS = ("ok", "ok_retried", "error", "error_retried", "fast_fail", "cancelled")
PROBES = ("success", "failure", "cancelled", "lost")
# Every pair that can happen; the last three only by an operator's hand.
TRANSITIONS = (
    (ev.CLOSED, ev.OPEN),
    (ev.OPEN, ev.HALF_OPEN),
    (ev.HALF_OPEN, ev.OPEN),
    (ev.HALF_OPEN, ev.CLOSED),
    (ev.OPEN, ev.CLOSED),
    (ev.CLOSED, ev.HALF_OPEN),
    (ev.OPEN, ev.OPEN),
)
RECOVERY_BUCKETS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
ATTEMPT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WAIT_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 3600.0)


class Histogram:
    """Counts per bucket, and the sum; the last bucket is +Inf."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """``(upper bound, count up to it)``, as the exposition format wants it."""
        rows, seen = [], 0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):
            seen += count
            rows.append((bound, float(seen)))
        return rows


class Journal:
    """What happened to one pool since it was made."""

    def __init__(self, at: float = 0.0) -> None:
        self.attempts = dict.fromkeys(KINDS, 0)
        self.calls = dict.fromkeys(CALLS, 0)
        self.probes = dict.fromkeys(PROBES, 0)
        self.transitions = dict.fromkeys(TRANSITIONS, 0)
        self.state_seconds = dict.fromkeys(ev.STATES, 0.0)
        self.retries = 0
        self.stale = 0
        self.holds = 0
        self.denials = 0
        self.state = ev.CLOSED
        self.state_since = at  # monotonic
        self.recovery = Histogram(RECOVERY_BUCKETS)
        self.attempt_seconds = Histogram(ATTEMPT_BUCKETS)
        self.wait_seconds = Histogram(WAIT_BUCKETS)

    def note(self, event: ev.Event) -> None:
        """Count one event."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _started(self, event: ev.AttemptStarted) -> None:
        self.retries += event.retry

    def _finished(self, event: ev.AttemptFinished) -> None:
        self.attempts[event.kind] += 1
        self.stale += event.stale
        self.attempt_seconds.observe(event.seconds)

    def _called(self, event: ev.CallFinished) -> None:
        self.calls[event.outcome] += 1
        self.wait_seconds.observe(event.waited)

    def _probed(self, event: ev.ProbeFinished) -> None:
        self.probes[event.result] += 1

    def _held(self, event: ev.HoldStarted) -> None:
        self.holds += 1

    def _denied(self, event: ev.KeyDenied) -> None:
        self.denials += 1

    def _moved(self, event: ev.StateChanged) -> None:
        pair = (event.old, event.new)
        self.transitions[pair] = self.transitions.get(pair, 0) + 1
        self.state_seconds[event.old] += event.at - self.state_since
        self.state, self.state_since = event.new, event.at
        if event.new == ev.CLOSED:
            self.recovery.observe(event.since_open)


# By type, since this runs several times for each token: a chain of isinstance is what it would cost most.
_HANDLERS: dict[type, Callable[[Journal, Any], None]] = {
    ev.AttemptStarted: Journal._started,
    ev.AttemptFinished: Journal._finished,
    ev.CallFinished: Journal._called,
    ev.ProbeFinished: Journal._probed,
    ev.StateChanged: Journal._moved,
    ev.HoldStarted: Journal._held,
    ev.KeyDenied: Journal._denied,
}
