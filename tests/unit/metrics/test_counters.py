"""The journal counts each event once, under its own labels."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.private import BY_NAME, COUNTER, HISTOGRAM, METRICS, Counters, Histogram, Metric
from tests.support.private import events as ev

Counts = dict[tuple[str, ...], float]
EMPTY = Counters()


def changes(counters: Counters, before: Counters = EMPTY) -> Counts:
    """What differs, by metric and labels."""
    return {
        (name, *labels): value - before.totals[name][labels]
        for name, series in counters.totals.items()
        for labels, value in series.items()
        if value != before.totals[name][labels]
    }


def observed(counters: Counters) -> dict[str, tuple[int, float]]:
    return {name: (sum(h.counts), h.total) for name, h in counters.histograms.items() if sum(h.counts)}


MOVED = ev.StateChanged("half_open", "closed", 30.0, "", since_open=25.0)
TIMES = {"attempt_duration_seconds": (1, 0.5)}


@pytest.mark.parametrize(
    ("event", "counted", "seen"),
    [
        (ev.AttemptStarted("", probe=True), {}, {}),
        (ev.AttemptStarted("down", probe=False), {("retries_total", "down"): 1}, {}),
        (ev.AttemptFinished("ok", 200, 0.5, probe=False, stale=False), {("attempts_total", "ok"): 1}, TIMES),
        (
            ev.AttemptFinished("network", 0, 0.5, probe=True, stale=True, lost=True),
            {("attempts_total", "network"): 1, ("stale_results_total",): 1, ("leases_expired_total", "probe"): 1},
            TIMES,
        ),
        (
            ev.AttemptFinished("network", 0, 0.5, probe=False, stale=False, lost=True),
            {("attempts_total", "network"): 1, ("leases_expired_total", "attempt"): 1},
            TIMES,
        ),
        (ev.AttemptFinished("ok", 200, 40.0, probe=False, stale=True, late=True), {("stale_results_total",): 1}, {}),
        (ev.TokenAsked("disk"), {("token_requests_total", "disk"): 1}, {}),
        (ev.CallFinished("ok", 2.0), {("calls_total", "ok"): 1}, {"call_duration_seconds": (1, 2.0)}),
        (ev.RefreshFinished("soft", "failure", 3.0), {("token_refreshes_total", "soft", "failure"): 1},
         {"token_refresh_seconds": (1, 3.0)}),
        (ev.ProbeFinished("lost"), {("breaker_probes_total", "lost"): 1}, {}),
        (ev.RetryDenied("budget"), {("retries_denied_total", "budget"): 1}, {}),
        (ev.HoldStarted(30.0, "HTTP 429", "throttled"), {("holds_total", "throttled"): 1}, {}),
        (ev.KeyDenied(401, None, 60.0), {("denials_total", "key"): 1}, {}),
        (ev.KeyDenied(401, None, 60.0, code_only=True), {("denials_total", "code"): 1}, {}),
        (ev.ServerBlamed(5), {("server_faults_total",): 1}, {}),
        (ev.WindowCut(2.0), {("window_cuts_total",): 1}, {}),
    ],
)  # fmt: skip
def test_each_event_is_counted_once(event: ev.Event, counted: Counts, seen: dict[str, Any]) -> None:
    counters = Counters()
    counters.note(event)
    assert counted == changes(counters)
    assert seen == observed(counters)


@pytest.mark.parametrize(
    ("outcome", "parked"),
    [("ok", "resumed"), ("ok_retried", "resumed"), ("cancelled", "cancelled"), ("error", "failed"),
     ("error_retried", "failed"), ("fast_fail", "failed")],
)  # fmt: skip
def test_a_parked_call_is_counted_by_how_its_parking_ended(outcome: str, parked: str) -> None:
    counters = Counters()
    counters.note(ev.CallFinished(outcome, 2.0, parked=True))
    assert {("calls_total", outcome): 1, ("parked_calls_total", parked): 1} == changes(counters)


def test_the_time_in_each_state_adds_up() -> None:
    counters = Counters(at=5.0)
    assert ("closed", 5.0) == (counters.state, counters.state_since)
    counters.note(ev.StateChanged("closed", "open", 15.0, "HTTP 502"))
    counters.note(ev.StateChanged("open", "half_open", 18.0, ""))
    assert {} == observed(counters)
    counters.note(MOVED)
    assert changes(counters) == {
        ("breaker_transitions_total", "closed", "open"): 1,
        ("breaker_transitions_total", "open", "half_open"): 1,
        ("breaker_transitions_total", "half_open", "closed"): 1,
        ("breaker_state_seconds_total", "closed"): 10.0,
        ("breaker_state_seconds_total", "open"): 3.0,
        ("breaker_state_seconds_total", "half_open"): 12.0,
    }
    assert {"breaker_recovery_seconds": (1, 25.0)} == observed(counters)
    assert ("closed", 30.0) == (counters.state, counters.state_since)


def test_counts_are_read_by_series_or_in_all() -> None:
    counters = Counters()
    counters.add("calls_total", "ok", by=3.0)
    counters.add("calls_total", "error")
    counters.add("window_cuts_total")
    read = counters.count
    assert (3, 1, 4, 1) == (read("calls_total", "ok"), read("calls_total", "error"), read("calls_total"), read(
        "window_cuts_total"
    ))  # fmt: skip


def test_a_new_journal_is_closed_since_nought() -> None:
    new = Counters()
    assert ("closed", 0.0, None, {}) == (new.state, new.state_since, new.heard, observed(new))


def test_an_observation_is_told_on() -> None:
    counters, heard = Counters(), []
    counters.heard = lambda name, value: heard.append((name, value))
    counters.observe("call_duration_seconds", 2.0)
    assert [("call_duration_seconds", 2.0)] == heard


def test_what_another_journal_counted_is_added() -> None:
    counters, ended = Counters(), Counters()
    for one in (counters, ended, ended):
        one.note(ev.CallFinished("ok", 2.0))
    counters.absorb(ended)
    assert {("calls_total", "ok"): 3} == changes(counters)
    assert {"call_duration_seconds": (3, 6.0)} == observed(counters)


def test_g24_a_forked_child_begins_anew_and_a_new_dispatcher_keeps_what_was_counted() -> None:
    counters = Counters()
    counters.note(ev.StateChanged("closed", "open", 15.0, "HTTP 502"))
    counters.restart(20.0)
    assert ("closed", 20.0) == (counters.state, counters.state_since)
    assert changes(counters)
    counters.reset(30.0)
    assert ("closed", 30.0, {}) == (counters.state, counters.state_since, changes(counters))


def test_every_series_is_there_from_the_start_and_zero() -> None:
    for metric in METRICS:
        if metric.kind == COUNTER:
            assert dict.fromkeys(metric.series(), 0.0) == EMPTY.totals[metric.name]
        elif metric.kind == HISTOGRAM:
            assert metric.buckets == EMPTY.histograms[metric.name].bounds
    assert sorted(EMPTY.totals) + sorted(EMPTY.histograms) == sorted(
        metric.name for metric in METRICS if metric.kind == COUNTER
    ) + sorted(metric.name for metric in METRICS if metric.kind == HISTOGRAM)


def test_a_histogram_counts_up_to_and_including_each_bound() -> None:
    histogram = Histogram((1.0, 2.5))
    for value in (0.5, 1.0, 1.1, 2.5, 7.0):
        histogram.observe(value)
    assert [2, 2, 1] == histogram.counts
    assert histogram.total == pytest.approx(12.1)
    assert [("1.0", 2.0), ("2.5", 4.0), ("+Inf", 5.0)] == histogram.cumulative()
    other = Histogram((1.0, 2.5))
    other.observe(1.0)
    histogram.add(other)
    assert [3, 2, 1] == histogram.counts
    assert histogram.total == pytest.approx(13.1)


def test_histograms_of_other_bounds_are_never_added() -> None:
    with pytest.raises(ValueError, match="zip"):
        Histogram((1.0, 2.5)).add(Histogram((1.0,)))


def test_a_metrics_series_are_all_combinations_or_those_that_exist() -> None:
    metric = Metric("x_total", COUNTER, "", "", (("a", ("1", "2")), ("b", ("3",))))
    assert [("1", "3"), ("2", "3")] == list(metric.series())
    assert ("colony_pool_x_total", ("a", "b")) == (metric.full_name, metric.label_names)
    assert [("1", "3")] == list(Metric("x", COUNTER, "", "", metric.labels, pairs=(("1", "3"),)).series())
    assert BY_NAME["calls_total"].label_names == ("outcome",)
