"""One probe among processes that share an endpoint: who asks, who may, and who reports (G1, G4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.coordinated_harness import OPENING, CoordinatedHarness, opened
from tests.support.dispatcher_harness import DOWN_502, GOOD, START, DispatcherHarness
from tests.support.private import SharedState
from tests.support.private import actions as act
from tests.support.private import events as ev


def test_g1_without_a_store_nothing_is_asked_and_a_probe_leaves_when_it_is_due() -> None:
    harness = DispatcherHarness()
    harness.trip()
    assert harness.to_probe().is_probe
    assert [] == [event for event in harness.events if isinstance(event, act.ForStore)]


def test_g1_before_the_grant_there_is_no_permit_no_half_open_and_no_event() -> None:
    harness = opened()
    ask = harness.to_ask()
    assert ("open", [], None) == (harness.state, harness.started, harness.dispatcher.in_flight.probe)
    assert [] == [
        event for event in harness.events if isinstance(event, ev.StateChanged) and event.new == "half_open"
    ]
    harness.grant(ask)
    assert ("half_open", 1, True) == (harness.state, len(harness.started), harness.started[0].is_probe)


def test_g1_one_ask_at_a_time() -> None:
    harness = opened()
    asked = harness.to_ask()
    for step in range(1, 10):
        harness.at(harness.now + 0.1)
        harness.ask(patience=100.0 + step)
    assert [asked] == harness.all(act.RequestProbeLease)


def test_g4_the_lease_outlives_the_probe() -> None:
    harness = opened(probe_timeout=5.0)
    ask = harness.to_ask()
    harness.grant(ask)
    assert (5.0, True) == (harness.started[0].timeout, ask.seconds > 5.0)


def test_g1_refused_it_comes_back_when_the_others_lease_ends() -> None:
    harness = opened()
    ask = harness.to_ask()
    start = harness.now
    harness.refuse(ask, SharedState(generation=1, opening=replace(OPENING, probe_in=0.0), lease_for=6.0))
    assert 6.0 == pytest.approx(_next_ask(harness) - start, abs=0.01)
    assert [] == harness.started


def _next_ask(harness: CoordinatedHarness) -> float:
    harness.to_ask()
    return harness.now


def test_g1_refused_it_learns_when_the_next_probe_may_leave() -> None:
    harness = opened()
    ask = harness.to_ask()
    harness.refuse(ask, SharedState(generation=4, opening=OPENING))
    assert (3, "HTTP 503", harness.now + 8.0) == (
        harness.dispatcher.breaker.level, harness.dispatcher.breaker.cause, harness.dispatcher.breaker.probe_at,
    )  # fmt: skip
    start = harness.now
    assert 8.0 == pytest.approx(_next_ask(harness) - start, abs=0.01)


@pytest.mark.parametrize("how", ["told", "silence"])
def test_g4_a_store_that_cannot_say_does_not_keep_a_probe_for_longer_than_a_fifth_of_a_second(how: str) -> None:
    harness = opened()
    ask = harness.to_ask()
    start = harness.now
    if how == "told":
        harness.lose(ask)
        assert start == harness.now
    else:
        harness.at(start + 0.19)
        assert [] == harness.started
        harness.at(start + 0.2)
    assert [True] == [permit.is_probe for permit in harness.started]


def test_g8_a_good_probe_is_reported_with_its_fence_and_closes() -> None:
    harness = opened()
    harness.grant(harness.to_ask(), fence=7)
    harness.answer(harness.out[0], GOOD)
    assert [(7, None)] == [(action.fence, action.opening) for action in harness.all(act.ReportProbe)]
    assert "closed" == harness.state


def test_g6_a_failed_probe_is_reported_with_its_fence_and_the_longer_delay() -> None:
    harness = opened()
    harness.grant(harness.to_ask(), fence=7)
    harness.answer(harness.out[0], DOWN_502)
    (action,) = harness.all(act.ReportProbe)
    assert action.opening is not None
    assert (7, 2, "HTTP 502", 502) == (
        action.fence,
        action.opening.level,
        action.opening.cause,
        action.opening.status,
    )
    assert harness.dispatcher.breaker.probe_at == harness.now + action.opening.probe_in
    assert 3.2 <= action.opening.probe_in <= 4.0


def test_g4_a_lost_probe_is_reported_too() -> None:
    harness = opened()
    harness.grant(harness.to_ask(), fence=7)
    harness.at(harness.now + 5.0)
    assert [7] == [action.fence for action in harness.all(act.ReportProbe)]


def test_a_fence_is_used_once() -> None:
    harness = opened()
    harness.grant(harness.to_ask(), fence=7)
    harness.answer(harness.out[0], DOWN_502)
    harness.grant(harness.to_ask(), fence=9)
    harness.answer(harness.out[0], DOWN_502)
    assert [7, 9] == [action.fence for action in harness.all(act.ReportProbe)]


def test_a_probe_without_leave_reports_by_opening_what_it_knows() -> None:
    harness = opened()
    harness.learn(SharedState(generation=4, opening=replace(OPENING, probe_in=2.0)))
    harness.lose(harness.to_ask())
    harness.store_actions.clear()
    harness.answer(harness.out[0], DOWN_502)
    assert ([4], []) == ([action.generation for action in harness.all(act.PublishOpen)], harness.all(act.ReportProbe))


def test_a_grant_that_comes_late_serves_the_probe_that_left_without_it() -> None:
    harness = opened()
    ask = harness.to_ask()
    harness.lose(ask)
    harness.grant(ask, fence=8)
    assert 1 == len(harness.started)
    harness.answer(harness.out[0], GOOD)
    assert [(8, None)] == [(action.fence, action.opening) for action in harness.all(act.ReportProbe)]


def test_a_grant_that_comes_when_all_is_over_is_given_back() -> None:
    harness = opened()
    ask = harness.to_ask()
    harness.lose(ask)
    harness.answer(harness.out[0], GOOD)
    harness.grant(ask, fence=8)
    assert [(8, None)] == [(action.fence, action.opening) for action in harness.all(act.ReportProbe)]


def test_a_grant_without_anybody_left_to_probe_starts_nothing() -> None:
    harness = CoordinatedHarness()
    harness.feed(harness.dispatcher.force("open", START))
    waiter = harness.ask(patience=100.0)
    ask = harness.to_ask()
    harness.feed(harness.dispatcher.cancel(waiter, harness.moment))
    harness.grant(ask)
    assert ([], "open") == (harness.started, harness.state)


def test_g9_a_call_that_cannot_park_waits_for_the_answer_and_then_probes() -> None:
    harness = CoordinatedHarness()
    harness.feed(harness.dispatcher.force("open", START))
    harness.at(3.0)
    waiter = harness.ask(patience=0.0)
    assert not waiter.done
    harness.grant(harness.all(act.RequestProbeLease)[0])
    assert [waiter.account] == [permit.account for permit in harness.started]


def test_g9_a_call_that_cannot_park_is_told_at_once_when_another_process_probes() -> None:
    harness = CoordinatedHarness()
    harness.feed(harness.dispatcher.force("open", START))
    harness.at(3.0)
    waiter = harness.ask(patience=0.0)
    harness.refuse(
        harness.all(act.RequestProbeLease)[0],
        SharedState(generation=1, opening=replace(OPENING, probe_in=0.0), lease_for=5.0),
    )
    assert waiter.done
    assert waiter.failure is not None
