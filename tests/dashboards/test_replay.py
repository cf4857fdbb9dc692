"""The replay: what Prometheus says of the outage is what the library's own events say, exactly.

Counts are read as the last value minus the first: ``increase()`` extrapolates to the edges of its range and gives
fractions, whereas the difference of two samples of a counter without a reset is exact.
"""

from __future__ import annotations

import pytest

from tests.support.private import events as ev

from .endpoint import AFTERNOON, MINUTE
from .history import SCRAPE, History
from .prom import Prometheus

WINDOWS = {"the night": (0.0, 75.0), "the long outage": (44.0, 66.0), "in the middle of it": (50.0, 60.0)}


@pytest.fixture(params=WINDOWS)
def window(request: pytest.FixtureRequest) -> tuple[float, float]:
    """Virtual seconds: of two scrapes."""
    first, last = WINDOWS[request.param]
    return first * MINUTE, last * MINUTE


def grown(prometheus: Prometheus, metric: str, window: tuple[float, float]) -> float:
    """By how much ``metric`` grew from the first scrape to the last."""
    first, last = (AFTERNOON + at for at in window)
    return prometheus.number(
        f"sum(colony_pool_{metric} @ {last:.0f}) - sum(colony_pool_{metric} @ {first:.0f})", last
    )


def within(history: History, window: tuple[float, float]) -> list[ev.Event]:
    """The events between the two scrapes."""
    return [event for at, event in history.events if window[0] < at <= window[1]]


def seconds_in(history: History, state: str, until: float) -> float:
    """Seconds spent in ``state`` since the start, added up from the changes of state alone."""
    total, now, since = 0.0, ev.CLOSED, 0.0
    for at, event in history.events:
        if isinstance(event, ev.StateChanged) and at <= until:
            total += event.at - since if now == state else 0.0
            now, since = event.new, event.at
    return total + (until - since if now == state else 0.0)


def test_openings_probes_and_retries_are_counted_exactly(
    prometheus: Prometheus, history: History, window: tuple[float, float]
) -> None:
    events = within(history, window)
    changes = [event for event in events if isinstance(event, ev.StateChanged)]
    opened = sum((change.old, change.new) == (ev.CLOSED, ev.OPEN) for change in changes)
    probes = [event.result for event in events if isinstance(event, ev.ProbeFinished)]
    started = [event for event in events if isinstance(event, ev.AttemptStarted)]
    retries = sum(bool(event.retry_of) for event in started)
    assert opened == grown(prometheus, 'breaker_transitions_total{from_state="closed",to_state="open"}', window)
    assert len(changes) == grown(prometheus, "breaker_transitions_total", window)
    assert len(probes) == grown(prometheus, "breaker_probes_total", window)
    for result in ("success", "failure", "lost"):
        assert probes.count(result) == grown(prometheus, f'breaker_probes_total{{result="{result}"}}', window)
    assert retries == grown(prometheus, "retries_total", window)
    assert sum(isinstance(event, ev.AttemptFinished) and not event.late for event in events) == grown(
        prometheus, "attempts_total", window
    )


@pytest.mark.parametrize("state", ev.STATES)
def test_the_share_of_time_in_each_state_is_exact(
    prometheus: Prometheus, history: History, window: tuple[float, float], state: str
) -> None:
    """Equal to the last bit at both ends; the share is then the same division."""
    ends = []
    for at in window:
        own = seconds_in(history, state, at)
        ends.append(own)
        selector = f'sum(colony_pool_breaker_state_seconds_total{{state="{state}"}})'
        assert own == prometheus.number(selector, AFTERNOON + at)
    share = (ends[1] - ends[0]) / (window[1] - window[0])
    length = f"{window[1] - window[0]:.0f}"
    first, last = (f"colony_pool_breaker_state_seconds_total @ {AFTERNOON + at:.0f}" for at in window)
    asked = f"sum by (state)({last} - {first}) / {length}"
    answer = {series["metric"]["state"]: float(series["value"][1]) for series in prometheus.at(asked, history.end)}
    assert share == answer[state]
    assert sum(answer.values()) == pytest.approx(1.0, abs=1e-12)


def test_the_night_was_eventful(history: History) -> None:
    """Or the equalities above would be of nothing with nothing."""
    events = [event for _, event in history.events]
    opened = [e for e in events if isinstance(e, ev.StateChanged) and (e.old, e.new) == (ev.CLOSED, ev.OPEN)]
    assert len(opened) >= 2, "the long outage and the short one; a blip of a few agents opens nothing"
    assert {e.result for e in events if isinstance(e, ev.ProbeFinished)} == {"success", "failure", "lost"}
    assert sum(bool(e.retry_of) for e in events if isinstance(e, ev.AttemptStarted)) >= 3
    assert len(history.scrapes) == 75 * 60 / SCRAPE + 1
    assert history.kept >= 115


def test_a_gauge_of_the_state_alone_would_miss_half_open_phases(prometheus: Prometheus, history: History) -> None:
    """Why the dashboard counts changes and seconds: at 15 s most probes come and go between two scrapes."""
    seen = prometheus.over('colony_pool_breaker_state{state="half_open"}', history.start, history.end)
    caught = sum(float(value) for _, value in seen[0]["values"])
    happened = grown(prometheus, 'breaker_transitions_total{to_state="half_open"}', (0.0, 75 * MINUTE))
    assert caught < happened / 2
