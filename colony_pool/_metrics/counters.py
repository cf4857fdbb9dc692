"""Counters: what happened to one pool, read by whoever exports them.

Plain numbers, written by one task at a time (the notifier passes events on in order) and read without a lock. What
there is to count stands in the catalogue; every series of it is here from the start.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from .._core import events as ev
from .catalog import COUNTER, HISTOGRAM, METRICS

Series = dict[tuple[str, ...], float]


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

    def add(self, other: Histogram) -> None:
        """Count all that ``other`` has counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def cumulative(self) -> list[tuple[str, float]]:
        """``(upper bound, count up to it)``, as the exposition format wants it."""
        rows, seen = [], 0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):
            seen += count
            rows.append((bound, float(seen)))
        return rows


class Counters:
    """What happened to one pool since it was made, ``at`` monotonic seconds."""

    def __init__(self, at: float = 0.0) -> None:
        self.heard: Callable[[str, float], object] | None = None  # told of each observation of a histogram
        self.reset(at)

    def reset(self, at: float) -> None:
        """Begin anew: in a forked child, whose parent goes on counting what it has counted."""
        self.totals: dict[str, Series] = {
            metric.name: dict.fromkeys(metric.series(), 0.0) for metric in METRICS if metric.kind == COUNTER
        }
        self.histograms = {m.name: Histogram(m.buckets) for m in METRICS if m.kind == HISTOGRAM}
        self.state = ev.CLOSED
        self.state_since = at  # monotonic

    def restart(self, at: float) -> None:
        """A new dispatcher begins, closed; what was counted stays."""
        self.state, self.state_since = ev.CLOSED, at

    def count(self, name: str, *labels: str) -> int:
        """How often it happened; without ``labels``, over all of the metric's series."""
        series = self.totals[name]
        return int(series[labels] if labels or () in series else sum(series.values()))

    def add(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Count ``by`` more."""
        self.totals[name][labels] += by

    def grow(self, more: dict[str, Series]) -> None:
        """Count ``more``: by metric and labels, how much."""
        for name, series in more.items():
            for labels, value in series.items():
                self.totals[name][labels] += value

    def observe(self, name: str, value: float) -> None:
        """Count one value in a histogram."""
        self.histograms[name].observe(value)
        if self.heard is not None:
            self.heard(name, value)

    def absorb(self, other: Counters, *, instead: dict[str, Series] | None = None) -> None:
        """Count all that ``other`` has counted; ``instead``: counters that stand in place of its own."""
        self.grow({**other.totals, **(instead or {})})
        for name, histogram in other.histograms.items():
            self.histograms[name].add(histogram)

    def note(self, event: ev.Event) -> None:
        """Count one event."""
        _HANDLERS[type(event)](self, event)

    def _started(self, event: ev.AttemptStarted) -> None:
        if event.retry_of:
            self.add("retries_total", event.retry_of)

    def _finished(self, event: ev.AttemptFinished) -> None:
        if not event.late:  # else it was counted when it was given up
            self.add("attempts_total", event.kind)
            self.observe("attempt_duration_seconds", event.seconds)
        if event.stale:
            self.add("stale_results_total")
        if event.lost:
            self.add("leases_expired_total", "probe" if event.probe else "attempt")

    def _asked(self, event: ev.TokenAsked) -> None:
        self.add("token_requests_total", event.source)

    def _called(self, event: ev.CallFinished) -> None:
        self.add("calls_total", event.outcome)
        self.observe("call_duration_seconds", event.waited)
        if event.parked:
            result = {"ok": "resumed", "ok_retried": "resumed", "cancelled": "cancelled"}.get(event.outcome, "failed")
            self.add("parked_calls_total", result)

    def _refreshed(self, event: ev.RefreshFinished) -> None:
        self.add("token_refreshes_total", event.trigger, event.result)
        self.observe("token_refresh_seconds", event.seconds)

    def _probed(self, event: ev.ProbeFinished) -> None:
        self.add("breaker_probes_total", event.result)

    def _refused_retry(self, event: ev.RetryDenied) -> None:
        self.add("retries_denied_total", event.reason)

    def _held(self, event: ev.HoldStarted) -> None:
        self.add("holds_total", event.reason)

    def _cleared(self, event: ev.HoldCleared) -> None:
        """It ends a hold, and is none."""

    def _denied(self, event: ev.KeyDenied) -> None:
        self.add("denials_total", "code" if event.code_only else "key")

    def _blamed(self, event: ev.ServerBlamed) -> None:
        self.add("server_faults_total")

    def _cut(self, event: ev.WindowCut) -> None:
        self.add("window_cuts_total")

    def _streak(self, event: ev.StreakStarted) -> None:
        """Its attempt is counted already."""

    def _moved(self, event: ev.StateChanged) -> None:
        self.add("breaker_transitions_total", event.old, event.new)
        seconds = event.at - self.state_since
        # In this order: who reads it in between counts too little, and never what it has counted as running, too.
        self.state_since = event.at
        self.state = event.new
        self.add("breaker_state_seconds_total", event.old, by=seconds)
        if event.new == ev.CLOSED:
            self.observe("breaker_recovery_seconds", event.since_open)


# By type, since this runs several times for each token: a chain of isinstance is what it would cost most.
_HANDLERS: dict[type, Callable[[Counters, Any], None]] = {
    ev.AttemptStarted: Counters._started,
    ev.AttemptFinished: Counters._finished,
    ev.CallFinished: Counters._called,
    ev.HoldCleared: Counters._cleared,
    ev.HoldStarted: Counters._held,
    ev.KeyDenied: Counters._denied,
    ev.ProbeFinished: Counters._probed,
    ev.RefreshFinished: Counters._refreshed,
    ev.RetryDenied: Counters._refused_retry,
    ev.ServerBlamed: Counters._blamed,
    ev.StateChanged: Counters._moved,
    ev.StreakStarted: Counters._streak,
    ev.TokenAsked: Counters._asked,
    ev.WindowCut: Counters._cut,
}
