"""The right to probe in a fleet: how long it lasts, and what becomes of one that comes late (G1, G4, G5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colony_pool.config import PolicyConfig
from tests.support.desk import DOWN_502, MINE, START
from tests.support.fleet_desk import OPENING, FleetDesk, opened
from tests.support.private import SharedState
from tests.support.private import actions as act

NOTHING = SharedState()
DUE = replace(OPENING, probe_in=0.0)
ANSWER = 0.2  # seconds that a desk waits for the store


def asking() -> tuple[FleetDesk, act.RequestProbeLease]:
    """Open since time 0; a caller comes at 3, and its probe is asked for."""
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", START))
    desk.at(3.0)
    desk.ask(patience=1000.0)
    return desk, desk.all(act.RequestProbeLease)[0]


@pytest.mark.parametrize(("later", "asks"), [(0.5, 1), (1.0, 1), (1.25, 2)])
def test_g4_a_lease_without_a_probe_serves_who_comes_while_it_is_long_enough(later: float, asks: int) -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", START))
    desk.at(3.0)
    waiter = desk.ask(patience=1000.0)
    desk.feed(desk.desk.cancel(waiter, desk.moment))
    desk.grant(desk.all(act.RequestProbeLease)[0])
    desk.at(3.0 + later)
    desk.ask(patience=1000.0)
    assert (asks, 2 - asks) == (len(desk.all(act.RequestProbeLease)), len(desk.started))


def test_g1_a_grant_after_an_operator_has_closed_is_given_back() -> None:
    desk, ask = asking()
    desk.feed(desk.desk.force("closed", desk.moment))
    while desk.out:
        desk.answer(desk.out[0], MINE)
    desk.grant(ask, fence=8)
    assert [(8, None)] == [(told.fence, told.opening) for told in desk.all(act.ReportProbe)]
    desk.feed(desk.desk.force("open", desk.moment))
    desk.at(desk.now + 10.0)
    desk.ask(patience=1000.0)
    assert 2 == len(desk.all(act.RequestProbeLease)), "nothing of it is left"


def test_g5_a_grant_after_the_probe_has_failed_reports_the_opening_of_now() -> None:
    desk, ask = asking()
    desk.lose(ask)
    desk.answer(desk.out[0], DOWN_502)
    desk.at(desk.now + 0.5)
    desk.grant(ask, fence=8)
    circuit = desk.desk.breaker
    assert [act.ReportProbe(circuit.generation, 8, circuit.open_state(desk.now))] == desk.all(act.ReportProbe)


def test_g4_who_left_in_silence_asks_again_for_the_next_probe() -> None:
    desk, _ = asking()
    desk.at(3.0 + ANSWER)
    desk.answer(desk.out[0], DOWN_502)
    desk.to_ask()
    assert (2, 1) == (len(desk.all(act.RequestProbeLease)), len(desk.started))


def test_g4_in_silence_a_probe_that_is_given_back_is_followed_by_the_next_candidate_at_once() -> None:
    desk, _ = asking()
    desk.ask(patience=1000.0)
    desk.at(3.0 + ANSWER)
    desk.answer(desk.out[0], MINE)
    assert (1, 2) == (len(desk.all(act.RequestProbeLease)), len(desk.started))


def test_g1_an_opening_that_was_learnt_first_of_all_needs_leave_too() -> None:
    desk = FleetDesk()
    desk.learn(SharedState(generation=3, opening=DUE))
    desk.ask(patience=1000.0)
    assert (1, []) == (len(desk.all(act.RequestProbeLease)), desk.started)


@pytest.mark.parametrize("lost", [act.PollStore(1, 0.0), act.PublishRateLimit(1, 5.0, "HTTP 429")])
def test_g1_whatever_else_gets_lost_is_no_leave_to_probe(lost: act.ForStore) -> None:
    desk, _ = asking()
    desk.lose(lost)
    assert ([], 1) == (desk.started, len(desk.all(act.RequestProbeLease)))


@pytest.mark.parametrize(
    "lost",
    [
        act.PublishRateLimit(1, 5.0, ""),
        act.PublishReset(),
        act.LeaveGroup(),
        act.ReleaseLeadership(),
        act.ReportProbe(1, 7, None),
    ],
)
def test_what_is_only_told_may_get_lost(lost: act.ForStore) -> None:
    desk, ask = asking()
    desk.refuse(ask, SharedState(generation=1, opening=DUE, lease_for=6.0))
    desk.told.clear()
    desk.lose(lost)
    assert [] == [told for told in desk.told if isinstance(told, (act.RequestProbeLease, act.PollStore))]


# -- refused ----------------------------------------------------------------------------------------------


def test_g1_refused_by_who_knows_of_the_opening_nothing_is_told() -> None:
    desk, ask = asking()
    desk.told.clear()
    desk.refuse(ask, SharedState(generation=1, opening=DUE, lease_for=6.0))
    assert [] == desk.all(act.PublishOpen)


def test_g1_refused_by_who_has_not_heard_of_the_opening_it_is_told_and_asked_again() -> None:
    desk = FleetDesk()
    desk.learn(SharedState(generation=9, opening=DUE))
    desk.at(3.0)
    desk.ask(patience=1000.0)
    desk.learn(SharedState(generation=9, opening=DUE))
    desk.refuse(desk.all(act.RequestProbeLease)[0], SharedState(generation=9))
    circuit = desk.desk.breaker
    assert [act.PublishOpen(circuit.generation, 9, circuit.open_state(desk.now))] == desk.all(act.PublishOpen)
    desk.to_ask()
    assert 3.1 == pytest.approx(desk.now)


def test_g1_what_was_heard_once_may_get_lost_and_is_told_before_a_probe_leaves() -> None:
    desk, ask = asking()
    desk.refuse(ask, SharedState(generation=1, opening=DUE, lease_for=1.0))
    desk.refuse(desk.to_ask(), NOTHING)
    assert [] == desk.started


def test_g6_refused_since_the_delay_is_not_over_it_comes_back_when_it_is() -> None:
    """Of what it has adopted already: a store's clock may say later than its own."""
    desk, ask = asking()
    desk.learn(SharedState(generation=1, opening=DUE))
    desk.refuse(ask, SharedState(generation=1, opening=replace(OPENING, probe_in=5.0)))
    desk.to_ask()
    assert 8.0 == pytest.approx(desk.now)


def test_g13_a_hold_that_is_longer_than_this_process_would_hold_is_not_asked_against() -> None:
    desk = FleetDesk(policy=PolicyConfig(rate_limit_max=60.0))
    desk.feed(desk.desk.force("open", START))
    desk.at(3.0)
    desk.ask(patience=1000.0)
    desk.refuse(desk.all(act.RequestProbeLease)[0], SharedState(generation=1, opening=DUE, hold_for=90.0))
    assert 63.0 == desk.desk.rate_limit.paused_until
    desk.to_ask()
    assert 93.0 == pytest.approx(desk.now)


def test_g1_who_learns_by_a_look_that_another_one_probes_waits_for_it() -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", START))
    desk.ask(patience=1000.0)
    desk.learn(SharedState(generation=1, opening=DUE, lease_for=9.5))
    desk.to_ask()
    assert 9.5 == pytest.approx(desk.now)


# -- what is told, and of which generation ----------------------------------------------------------------


def test_g5_each_report_is_of_the_generation_that_it_has_made() -> None:
    desk = FleetDesk()
    desk.trip_alone()
    (told,) = desk.all(act.PublishOpen)
    circuit = desk.desk.breaker
    assert (circuit.generation, 0) == (told.asked, told.generation), "nothing was ever heard of the others"
    desk.grant(desk.to_ask(), fence=7)
    desk.answer(desk.out[0], DOWN_502)
    assert [act.ReportProbe(circuit.generation, 7, circuit.open_state(desk.now))] == desk.all(act.ReportProbe)


def test_an_opening_is_told_in_seconds_from_now() -> None:
    desk = FleetDesk()
    desk.at(100.0)
    desk.learn(SharedState(generation=3, opening=OPENING))
    desk.at(102.0)
    assert replace(OPENING, probe_in=6.0, opened_for=7.0) == desk.desk.breaker.open_state(desk.now)
    desk.at(120.0)
    assert replace(OPENING, probe_in=0.0, opened_for=25.0) == desk.desk.breaker.open_state(desk.now)
    fresh = FleetDesk()
    fresh.feed(fresh.desk.force("open", START))
    assert 0.0 == fresh.desk.breaker.open_state(0.0).opened_for


def test_opened_by_an_operator_the_fleet_asks_before_it_probes() -> None:
    desk = opened()
    desk.to_ask()
    assert [] == desk.started
