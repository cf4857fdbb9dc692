"""The right to probe in a fleet: how long it lasts, and what becomes of one that comes late (G1, G4, G5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colony_pool.config import DenialConfig
from tests.desk import DOWN_502, MINE
from tests.fleet.desk import OPENING, FleetDesk, opened
from tests.support.private import View
from tests.support.private import actions as act

NOTHING = View()
DUE = replace(OPENING, probe_in=0.0)
ANSWER = 0.2  # seconds that a desk waits for the store


def asking() -> tuple[FleetDesk, act.Ask]:
    """Open since time 0; a caller comes at 3, and its probe is asked for."""
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", 0.0))
    desk.at(3.0)
    desk.ask(patience=1000.0)
    return desk, desk.all(act.Ask)[0]


@pytest.mark.parametrize(("later", "asks"), [(0.5, 1), (1.0, 1), (1.25, 2)])
def test_g4_a_lease_without_a_probe_serves_who_comes_while_it_is_long_enough(later: float, asks: int) -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", 0.0))
    desk.at(3.0)
    waiter = desk.ask(patience=1000.0)
    desk.feed(desk.desk.cancel(waiter, desk.now, desk.wall))
    desk.grant(desk.all(act.Ask)[0])
    desk.at(3.0 + later)
    desk.ask(patience=1000.0)
    assert (asks, 2 - asks) == (len(desk.all(act.Ask)), len(desk.started))


def test_g1_a_grant_after_an_operator_has_closed_is_given_back() -> None:
    desk, ask = asking()
    desk.feed(desk.desk.force("closed", desk.now))
    while desk.out:
        desk.answer(desk.out[0], MINE)
    desk.grant(ask, fence=8)
    assert [(8, None)] == [(told.fence, told.opening) for told in desk.all(act.Conclude)]
    desk.feed(desk.desk.force("open", desk.now))
    desk.at(desk.now + 10.0)
    desk.ask(patience=1000.0)
    assert 2 == len(desk.all(act.Ask)), "nothing of it is left"


def test_g5_a_grant_after_the_probe_has_failed_reports_the_opening_of_now() -> None:
    desk, ask = asking()
    desk.lose(ask)
    desk.answer(desk.out[0], DOWN_502)
    desk.at(desk.now + 0.5)
    desk.grant(ask, fence=8)
    circuit = desk.desk.circuit
    assert [act.Conclude(circuit.generation, 8, circuit.opening(desk.now))] == desk.all(act.Conclude)


def test_g4_who_left_in_silence_asks_again_for_the_next_probe() -> None:
    desk, _ = asking()
    desk.at(3.0 + ANSWER)
    desk.answer(desk.out[0], DOWN_502)
    desk.to_ask()
    assert (2, 1) == (len(desk.all(act.Ask)), len(desk.started))


def test_g4_in_silence_a_probe_that_is_given_back_is_followed_by_the_next_candidate_at_once() -> None:
    desk, _ = asking()
    desk.ask(patience=1000.0)
    desk.at(3.0 + ANSWER)
    desk.answer(desk.out[0], MINE)
    assert (1, 2) == (len(desk.all(act.Ask)), len(desk.started))


def test_g1_an_opening_that_was_learnt_first_of_all_needs_leave_too() -> None:
    desk = FleetDesk()
    desk.learn(View(generation=3, opening=DUE))
    desk.ask(patience=1000.0)
    assert (1, []) == (len(desk.all(act.Ask)), desk.started)


@pytest.mark.parametrize("lost", [act.Look(1, 0.0), act.TellHold(1, 5.0, "HTTP 429")])
def test_g1_whatever_else_gets_lost_is_no_leave_to_probe(lost: act.ForStore) -> None:
    desk, _ = asking()
    desk.lose(lost)
    assert ([], 1) == (desk.started, len(desk.all(act.Ask)))


@pytest.mark.parametrize(
    "lost", [act.TellHold(1, 5.0, ""), act.TellReset(), act.Leave(), act.EndLead(), act.Conclude(1, 7, None)]
)
def test_what_is_only_told_may_get_lost(lost: act.ForStore) -> None:
    desk, ask = asking()
    desk.refuse(ask, View(generation=1, opening=DUE, lease_for=6.0))
    desk.told.clear()
    desk.lose(lost)
    assert [] == [told for told in desk.told if isinstance(told, (act.Ask, act.Look))]


# -- refused ----------------------------------------------------------------------------------------------


def test_g1_refused_by_who_knows_of_the_opening_nothing_is_told() -> None:
    desk, ask = asking()
    desk.told.clear()
    desk.refuse(ask, View(generation=1, opening=DUE, lease_for=6.0))
    assert [] == desk.all(act.TellOpen)


def test_g1_refused_by_who_has_not_heard_of_the_opening_it_is_told_and_asked_again() -> None:
    desk = FleetDesk()
    desk.learn(View(generation=9, opening=DUE))
    desk.at(3.0)
    desk.ask(patience=1000.0)
    desk.learn(View(generation=9, opening=DUE))
    desk.refuse(desk.all(act.Ask)[0], View(generation=9))
    circuit = desk.desk.circuit
    assert [act.TellOpen(circuit.generation, 9, circuit.opening(desk.now))] == desk.all(act.TellOpen)
    desk.to_ask()
    assert 3.1 == pytest.approx(desk.now)


def test_g1_what_was_heard_once_may_get_lost_and_is_told_before_a_probe_leaves() -> None:
    desk, ask = asking()
    desk.refuse(ask, View(generation=1, opening=DUE, lease_for=1.0))
    desk.refuse(desk.to_ask(), NOTHING)
    assert [] == desk.started


def test_g6_refused_since_the_delay_is_not_over_it_comes_back_when_it_is() -> None:
    """Of what it has adopted already: a store's clock may say later than its own."""
    desk, ask = asking()
    desk.learn(View(generation=1, opening=DUE))
    desk.refuse(ask, View(generation=1, opening=replace(OPENING, probe_in=5.0)))
    desk.to_ask()
    assert 8.0 == pytest.approx(desk.now)


def test_g13_a_hold_that_is_longer_than_this_process_would_hold_is_not_asked_against() -> None:
    desk = FleetDesk(denial=DenialConfig(hold_max=60.0))
    desk.feed(desk.desk.force("open", 0.0))
    desk.at(3.0)
    desk.ask(patience=1000.0)
    desk.refuse(desk.all(act.Ask)[0], View(generation=1, opening=DUE, hold_for=90.0))
    assert 63.0 == desk.desk.hold_until
    desk.to_ask()
    assert 93.0 == pytest.approx(desk.now)


def test_g1_who_learns_by_a_look_that_another_one_probes_waits_for_it() -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", 0.0))
    desk.ask(patience=1000.0)
    desk.learn(View(generation=1, opening=DUE, lease_for=9.5))
    desk.to_ask()
    assert 9.5 == pytest.approx(desk.now)


# -- what is told, and of which generation ----------------------------------------------------------------


def test_g5_each_report_is_of_the_generation_that_it_has_made() -> None:
    desk = FleetDesk()
    desk.trip_alone()
    (told,) = desk.all(act.TellOpen)
    circuit = desk.desk.circuit
    assert (circuit.generation, 0) == (told.asked, told.generation), "nothing was ever heard of the others"
    desk.grant(desk.to_ask(), fence=7)
    desk.answer(desk.out[0], DOWN_502)
    assert [act.Conclude(circuit.generation, 7, circuit.opening(desk.now))] == desk.all(act.Conclude)


def test_an_opening_is_told_in_seconds_from_now() -> None:
    desk = FleetDesk()
    desk.at(100.0)
    desk.learn(View(generation=3, opening=OPENING))
    desk.at(102.0)
    assert replace(OPENING, probe_in=6.0, opened_for=7.0) == desk.desk.circuit.opening(desk.now)
    desk.at(120.0)
    assert replace(OPENING, probe_in=0.0, opened_for=25.0) == desk.desk.circuit.opening(desk.now)
    fresh = FleetDesk()
    fresh.feed(fresh.desk.force("open", 0.0))
    assert 0.0 == fresh.desk.circuit.opening(0.0).opened_for


def test_opened_by_an_operator_the_fleet_asks_before_it_probes() -> None:
    desk = opened()
    desk.to_ask()
    assert [] == desk.started
