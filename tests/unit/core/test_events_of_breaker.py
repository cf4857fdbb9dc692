"""What listeners, metrics and the log hear of the breaker, its probe and its holds, to the letter."""

from __future__ import annotations

import pytest

from colony_pool.config import BreakerConfig
from tests.support.dispatcher_harness import COUNTING, DOWN_502, FOREVER, GOOD, MINE, REFUSED, SILENCE
from tests.support.private import UNAVAILABLE, Outcome
from tests.support.private import events as ev
from tests.support.recording_harness import QUICK, RecordingHarness, begun, called, ended, served


def test_g8_g10_an_outage_from_its_first_failure_to_its_end() -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.ask(patience=FOREVER)
    harness.ask(patience=FOREVER)
    harness.hear()
    harness.later(0.5, DOWN_502)
    moved = ev.StateChanged(
        "closed", "open", 1.5, "HTTP 502", next_probe_in=2.0, since_open=0.0, waiters=2, known_good=False
    )
    assert [ended("down", 502, 0.5), moved] == harness.hear()[:2]
    assert ["failure", "open"] == harness.replayed()
    harness.at(3.5)
    moved = ev.StateChanged(
        "open", "half_open", 3.5, "HTTP 502", next_probe_in=0.0, since_open=2.0, waiters=2, known_good=False
    )
    assert [moved, begun(probe=True)] == harness.hear()
    assert ["half_open"] == harness.replayed()
    harness.later(0.5, Outcome(UNAVAILABLE, 504, "HTTP 504"))
    moved = ev.StateChanged(
        "half_open", "open", 4.0, "HTTP 504", next_probe_in=4.0, since_open=2.5, waiters=2, known_good=False
    )
    assert [ended("down", 504, 0.5, probe=True), ev.ProbeFinished("failure"), moved] == harness.hear()
    assert ["failure", "open"] == harness.replayed()
    harness.at(8.0)
    harness.hear()
    harness.later(0.5, GOOD)
    moved = ev.StateChanged("half_open", "closed", 8.5, "HTTP 504", 0.0, 7.0, waiters=2, known_good=False)
    assert harness.hear() == [
        ended("ok", 200, 0.5, probe=True), ev.ProbeFinished("success"), moved,
        called("ok_retried", 7.5, parked=True), ev.RefreshFinished("miss", "success", 7.5), begun(),
    ]  # fmt: skip
    assert ["half_open", "success", "close"] == harness.replayed()
    harness.later(0.5, GOOD)
    assert called("ok_retried", 8.0, parked=True) in harness.hear(), "it waited through the outage, too"


@pytest.mark.parametrize(("state", "seconds"), [("open", 2.0), ("half_open", 0.0), ("closed", 0.0)])
def test_an_operators_move_is_told_as_such(state: str, seconds: float) -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.force(state)
    cause = "opened by an operator" if state == "open" else ""
    moved = ev.StateChanged("closed", state, 1.0, cause, seconds, 0.0, 0, by_operator=True)
    assert ([moved] if state != "closed" else []) == harness.hear(), "what is so already is no news"
    assert [{"closed": "close"}.get(state, state)] == harness.replayed()
    harness.at(1.5)
    harness.force("half_open")
    old_since = 0.0 if state == "closed" else 0.5
    moved = ev.StateChanged(state, "half_open", 1.5, cause, 0.0, old_since, 0, by_operator=True)
    assert ([moved] if state != "half_open" else []) == harness.hear()
    harness.at(2.5)
    harness.force("closed")
    since = 1.0 if state == "closed" else 1.5
    moved = ev.StateChanged("half_open", "closed", 2.5, cause, 0.0, since, 0, by_operator=True)
    assert [moved] == harness.hear()


def test_g6_a_probe_in_less_than_a_second_is_told_to_the_fraction() -> None:
    harness = RecordingHarness(breaker=BreakerConfig(open_delay=0.25, jitter=0.0))
    harness.force("open")
    assert [0.25] == [event.next_probe_in for event in harness.hear()]


def test_g4_a_lease_that_ran_out_is_told_as_lost_and_its_late_verdict_as_stale() -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.force("open")
    waiter = harness.ask(patience=FOREVER)
    harness.at(3.0)
    harness.hear()
    probe = harness.out[0]
    harness.at(8.0)
    assert [probe] == harness.aborted
    cause = "no verdict within 5 s"
    moved = ev.StateChanged(
        "half_open", "open", 8.0, cause, next_probe_in=4.0, since_open=7.0, waiters=1, known_good=False
    )
    assert [ended("network", 0, 5.0, probe=True, lost=True), ev.ProbeFinished("lost"), moved] == harness.hear()
    harness.at(9.0)
    harness.answer(probe, DOWN_502)
    assert [ended("down", 502, 6.0, probe=True, stale=True, late=True)] == harness.hear()
    harness.answer(probe, GOOD)
    assert waiter.token is not None
    assert called("ok_retried", 8.0, parked=True) in harness.hear()


def test_g4_an_attempt_that_never_ends_is_given_up_a_second_after_its_timeout() -> None:
    harness = RecordingHarness()
    waiter = harness.ask()
    permit = harness.out[0]
    harness.hear()
    harness.at(31.9)
    assert ([], []) == (harness.aborted, harness.hear())
    harness.at(32.0)
    assert [permit] == harness.aborted
    assert harness.hear()[0] == ended("network", 0, 31.0, lost=True)
    assert waiter.failure is not None
    assert "no answer (no verdict within 31 s)" in waiter.failure.message


@pytest.mark.parametrize(
    ("outcome", "result"), [(REFUSED, "success"), (MINE, "cancelled"), (COUNTING, "failure"), (SILENCE, "failure")]
)
def test_a_probes_result_is_told(outcome: Outcome, result: str) -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.force("open")
    harness.ask(patience=FOREVER)
    harness.at(3.0)
    harness.later(0.5, outcome)
    assert [ev.ProbeFinished(result)] == [event for event in harness.hear() if isinstance(event, ev.ProbeFinished)]


def test_g5_a_probe_of_an_older_generation_is_told_as_cancelled() -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.force("open")
    harness.ask(patience=FOREVER)
    harness.at(3.0)
    harness.force("closed")
    harness.hear()
    harness.later(0.5, DOWN_502)
    assert [ended("down", 502, 0.5, probe=True, stale=True), ev.ProbeFinished("cancelled")] == harness.hear()[:2]


def test_g13_a_429_is_one_hold_for_everybody() -> None:
    harness = RecordingHarness()
    harness.ask()
    harness.ask()
    harness.hear()
    harness.later(0.5, COUNTING)
    paused = ev.HoldStarted(30.0, "HTTP 429 from the rate limit", "throttled", 2)
    assert harness.hear() == [
        ended("throttled", 429, 0.5), paused, called("error", 0.5), ev.RefreshFinished("miss", "failure", 0.5)
    ]  # fmt: skip
    assert [] == harness.replayed()
    harness.at(31.5)
    assert [begun()] == harness.hear()
    harness.later(0.5, GOOD)
    assert called("ok", 31.0, parked=True) in harness.hear()


def test_g13_a_second_429_prolongs_the_pause_and_does_not_begin_another() -> None:
    harness, _ = served()
    for _ in range(3):
        harness.ask(patience=FOREVER)
    assert len(harness.out) == 2
    harness.later(0.5, COUNTING)
    harness.later(0.5, COUNTING)
    pauses = [event for event in harness.hear() if isinstance(event, ev.HoldStarted)]
    assert (1, 32.5) == (len(pauses), harness.dispatcher.rate_limit.paused_until)


def test_g13_the_last_permitted_request_holds_everybody() -> None:
    harness = RecordingHarness()
    harness.ask()
    harness.ask()
    harness.hear()
    harness.later(0.5, Outcome("ok", 200, jwt="j", exhausted_for=20.0))
    paused = ev.HoldStarted(20.0, "the rate limit is used up", "exhausted", 2)
    assert [ended("ok", 200, 0.5), paused, called("ok", 0.5)] == harness.hear()[:3]
    assert harness.dispatcher.rate_limit.cause == "the rate limit is used up"


def test_g8_a_window_that_is_cut_says_how_small_it_is_now() -> None:
    harness, _ = served()
    harness.ask(patience=FOREVER)
    harness.hear()
    harness.later(0.5, DOWN_502)
    assert ev.WindowCut(harness.dispatcher.limiter.limit) in harness.events
