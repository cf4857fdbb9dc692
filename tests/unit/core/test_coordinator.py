"""One probe among processes that share an endpoint: who asks, who may, and who reports (G1, G4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.desk import DOWN_502, GOOD, START, Desk
from tests.support.fleet_desk import OPENING, FleetDesk, opened
from tests.support.private import SharedState
from tests.support.private import actions as act
from tests.support.private import events as ev


def test_g1_without_a_store_nothing_is_asked_and_a_probe_leaves_when_it_is_due() -> None:
    desk = Desk()
    desk.trip()
    assert desk.to_probe().is_probe
    assert [] == [event for event in desk.events if isinstance(event, act.ForStore)]


def test_g1_before_the_grant_there_is_no_permit_no_half_open_and_no_event() -> None:
    desk = opened()
    ask = desk.to_ask()
    assert ("open", [], None) == (desk.state, desk.started, desk.desk.in_flight.probe)
    assert [] == [event for event in desk.events if isinstance(event, ev.StateChanged) and event.new == "half_open"]
    desk.grant(ask)
    assert ("half_open", 1, True) == (desk.state, len(desk.started), desk.started[0].is_probe)


def test_g1_one_ask_at_a_time() -> None:
    desk = opened()
    asked = desk.to_ask()
    for step in range(1, 10):
        desk.at(desk.now + 0.1)
        desk.ask(patience=100.0 + step)
    assert [asked] == desk.all(act.RequestProbeLease)


def test_g4_the_lease_outlives_the_probe() -> None:
    desk = opened(probe_timeout=5.0)
    ask = desk.to_ask()
    desk.grant(ask)
    assert (5.0, True) == (desk.started[0].timeout, ask.seconds > 5.0)


def test_g1_refused_it_comes_back_when_the_others_lease_ends() -> None:
    desk = opened()
    ask = desk.to_ask()
    start = desk.now
    desk.refuse(ask, SharedState(generation=1, opening=replace(OPENING, probe_in=0.0), lease_for=6.0))
    assert 6.0 == pytest.approx(_next_ask(desk) - start, abs=0.01)
    assert [] == desk.started


def _next_ask(desk: FleetDesk) -> float:
    desk.to_ask()
    return desk.now


def test_g1_refused_it_learns_when_the_next_probe_may_leave() -> None:
    desk = opened()
    ask = desk.to_ask()
    desk.refuse(ask, SharedState(generation=4, opening=OPENING))
    assert (3, "HTTP 503", desk.now + 8.0) == (
        desk.desk.breaker.level, desk.desk.breaker.cause, desk.desk.breaker.probe_at,
    )  # fmt: skip
    start = desk.now
    assert 8.0 == pytest.approx(_next_ask(desk) - start, abs=0.01)


@pytest.mark.parametrize("how", ["told", "silence"])
def test_g4_a_store_that_cannot_say_does_not_keep_a_probe_for_longer_than_a_fifth_of_a_second(how: str) -> None:
    desk = opened()
    ask = desk.to_ask()
    start = desk.now
    if how == "told":
        desk.lose(ask)
        assert start == desk.now
    else:
        desk.at(start + 0.19)
        assert [] == desk.started
        desk.at(start + 0.2)
    assert [True] == [permit.is_probe for permit in desk.started]


def test_g8_a_good_probe_is_reported_with_its_fence_and_closes() -> None:
    desk = opened()
    desk.grant(desk.to_ask(), fence=7)
    desk.answer(desk.out[0], GOOD)
    assert [(7, None)] == [(told.fence, told.opening) for told in desk.all(act.ReportProbe)]
    assert "closed" == desk.state


def test_g6_a_failed_probe_is_reported_with_its_fence_and_the_longer_delay() -> None:
    desk = opened()
    desk.grant(desk.to_ask(), fence=7)
    desk.answer(desk.out[0], DOWN_502)
    (told,) = desk.all(act.ReportProbe)
    assert told.opening is not None
    assert (7, 2, "HTTP 502", 502) == (told.fence, told.opening.level, told.opening.cause, told.opening.status)
    assert desk.desk.breaker.probe_at == desk.now + told.opening.probe_in
    assert 3.2 <= told.opening.probe_in <= 4.0


def test_g4_a_lost_probe_is_reported_too() -> None:
    desk = opened()
    desk.grant(desk.to_ask(), fence=7)
    desk.at(desk.now + 5.0)
    assert [7] == [told.fence for told in desk.all(act.ReportProbe)]


def test_a_fence_is_used_once() -> None:
    desk = opened()
    desk.grant(desk.to_ask(), fence=7)
    desk.answer(desk.out[0], DOWN_502)
    desk.grant(desk.to_ask(), fence=9)
    desk.answer(desk.out[0], DOWN_502)
    assert [7, 9] == [told.fence for told in desk.all(act.ReportProbe)]


def test_a_probe_without_leave_reports_by_opening_what_it_knows() -> None:
    desk = opened()
    desk.learn(SharedState(generation=4, opening=replace(OPENING, probe_in=2.0)))
    desk.lose(desk.to_ask())
    desk.told.clear()
    desk.answer(desk.out[0], DOWN_502)
    assert ([4], []) == ([told.generation for told in desk.all(act.PublishOpen)], desk.all(act.ReportProbe))


def test_a_grant_that_comes_late_serves_the_probe_that_left_without_it() -> None:
    desk = opened()
    ask = desk.to_ask()
    desk.lose(ask)
    desk.grant(ask, fence=8)
    assert 1 == len(desk.started)
    desk.answer(desk.out[0], GOOD)
    assert [(8, None)] == [(told.fence, told.opening) for told in desk.all(act.ReportProbe)]


def test_a_grant_that_comes_when_all_is_over_is_given_back() -> None:
    desk = opened()
    ask = desk.to_ask()
    desk.lose(ask)
    desk.answer(desk.out[0], GOOD)
    desk.grant(ask, fence=8)
    assert [(8, None)] == [(told.fence, told.opening) for told in desk.all(act.ReportProbe)]


def test_a_grant_without_anybody_left_to_probe_starts_nothing() -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", START))
    waiter = desk.ask(patience=100.0)
    ask = desk.to_ask()
    desk.feed(desk.desk.cancel(waiter, desk.moment))
    desk.grant(ask)
    assert ([], "open") == (desk.started, desk.state)


def test_g9_a_call_that_cannot_park_waits_for_the_answer_and_then_probes() -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", START))
    desk.at(3.0)
    waiter = desk.ask(patience=0.0)
    assert not waiter.done
    desk.grant(desk.all(act.RequestProbeLease)[0])
    assert [waiter.account] == [permit.account for permit in desk.started]


def test_g9_a_call_that_cannot_park_is_told_at_once_when_another_process_probes() -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", START))
    desk.at(3.0)
    waiter = desk.ask(patience=0.0)
    desk.refuse(
        desk.all(act.RequestProbeLease)[0],
        SharedState(generation=1, opening=replace(OPENING, probe_in=0.0), lease_for=5.0),
    )
    assert waiter.done
    assert waiter.failure is not None
