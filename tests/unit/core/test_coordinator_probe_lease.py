"""The right to probe in a fleet: how long it lasts, and what becomes of one that comes late (G1, G4, G5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colony_pool.config import PolicyConfig
from tests.support.coordinated_harness import OPENING, CoordinatedHarness, opened
from tests.support.dispatcher_harness import DOWN_502, MINE, START
from tests.support.private import SharedState
from tests.support.private import actions as act

NOTHING = SharedState()
DUE = replace(OPENING, probe_in=0.0)
ANSWER = 0.2  # seconds that a dispatcher waits for the store


def asking() -> tuple[CoordinatedHarness, act.RequestProbeLease]:
    """Open since time 0; a caller comes at 3, and its probe is asked for."""
    harness = CoordinatedHarness()
    harness.feed(harness.dispatcher.force("open", START))
    harness.at(3.0)
    harness.ask(patience=1000.0)
    return harness, harness.all(act.RequestProbeLease)[0]


@pytest.mark.parametrize(("later", "asks"), [(0.5, 1), (1.0, 1), (1.25, 2)])
def test_g4_a_lease_without_a_probe_serves_who_comes_while_it_is_long_enough(later: float, asks: int) -> None:
    harness = CoordinatedHarness()
    harness.feed(harness.dispatcher.force("open", START))
    harness.at(3.0)
    waiter = harness.ask(patience=1000.0)
    harness.feed(harness.dispatcher.cancel(waiter, harness.moment))
    harness.grant(harness.all(act.RequestProbeLease)[0])
    harness.at(3.0 + later)
    harness.ask(patience=1000.0)
    assert (asks, 2 - asks) == (len(harness.all(act.RequestProbeLease)), len(harness.started))


def test_g1_a_grant_after_an_operator_has_closed_is_given_back() -> None:
    harness, ask = asking()
    harness.feed(harness.dispatcher.force("closed", harness.moment))
    while harness.out:
        harness.answer(harness.out[0], MINE)
    harness.grant(ask, fence=8)
    assert [(8, None)] == [(action.fence, action.opening) for action in harness.all(act.ReportProbe)]
    harness.feed(harness.dispatcher.force("open", harness.moment))
    harness.at(harness.now + 10.0)
    harness.ask(patience=1000.0)
    assert 2 == len(harness.all(act.RequestProbeLease)), "nothing of it is left"


def test_g5_a_grant_after_the_probe_has_failed_reports_the_opening_of_now() -> None:
    harness, ask = asking()
    harness.lose(ask)
    harness.answer(harness.out[0], DOWN_502)
    harness.at(harness.now + 0.5)
    harness.grant(ask, fence=8)
    circuit = harness.dispatcher.breaker
    assert [act.ReportProbe(circuit.generation, 8, circuit.open_state(harness.now))] == harness.all(act.ReportProbe)


def test_g4_who_left_in_silence_asks_again_for_the_next_probe() -> None:
    harness, _ = asking()
    harness.at(3.0 + ANSWER)
    harness.answer(harness.out[0], DOWN_502)
    harness.to_ask()
    assert (2, 1) == (len(harness.all(act.RequestProbeLease)), len(harness.started))


def test_g4_in_silence_a_probe_that_is_given_back_is_followed_by_the_next_candidate_at_once() -> None:
    harness, _ = asking()
    harness.ask(patience=1000.0)
    harness.at(3.0 + ANSWER)
    harness.answer(harness.out[0], MINE)
    assert (1, 2) == (len(harness.all(act.RequestProbeLease)), len(harness.started))


def test_g1_an_opening_that_was_learnt_first_of_all_needs_leave_too() -> None:
    harness = CoordinatedHarness()
    harness.learn(SharedState(generation=3, opening=DUE))
    harness.ask(patience=1000.0)
    assert (1, []) == (len(harness.all(act.RequestProbeLease)), harness.started)


@pytest.mark.parametrize("lost", [act.PollStore(1, 0.0), act.PublishRateLimit(1, 5.0, "HTTP 429")])
def test_g1_whatever_else_gets_lost_is_no_leave_to_probe(lost: act.ForStore) -> None:
    harness, _ = asking()
    harness.lose(lost)
    assert ([], 1) == (harness.started, len(harness.all(act.RequestProbeLease)))


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
    harness, ask = asking()
    harness.refuse(ask, SharedState(generation=1, opening=DUE, lease_for=6.0))
    harness.store_actions.clear()
    harness.lose(lost)
    assert [] == [
        action for action in harness.store_actions if isinstance(action, (act.RequestProbeLease, act.PollStore))
    ]


# -- refused ----------------------------------------------------------------------------------------------


def test_g1_refused_by_who_knows_of_the_opening_nothing_is_told() -> None:
    harness, ask = asking()
    harness.store_actions.clear()
    harness.refuse(ask, SharedState(generation=1, opening=DUE, lease_for=6.0))
    assert [] == harness.all(act.PublishOpen)


def test_g1_refused_by_who_has_not_heard_of_the_opening_it_is_told_and_asked_again() -> None:
    harness = CoordinatedHarness()
    harness.learn(SharedState(generation=9, opening=DUE))
    harness.at(3.0)
    harness.ask(patience=1000.0)
    harness.learn(SharedState(generation=9, opening=DUE))
    harness.refuse(harness.all(act.RequestProbeLease)[0], SharedState(generation=9))
    circuit = harness.dispatcher.breaker
    assert [act.PublishOpen(circuit.generation, 9, circuit.open_state(harness.now))] == harness.all(act.PublishOpen)
    harness.to_ask()
    assert 3.1 == pytest.approx(harness.now)


def test_g1_what_was_heard_once_may_get_lost_and_is_told_before_a_probe_leaves() -> None:
    harness, ask = asking()
    harness.refuse(ask, SharedState(generation=1, opening=DUE, lease_for=1.0))
    harness.refuse(harness.to_ask(), NOTHING)
    assert [] == harness.started


def test_g6_refused_since_the_delay_is_not_over_it_comes_back_when_it_is() -> None:
    """Of what it has adopted already: a store's clock may say later than its own."""
    harness, ask = asking()
    harness.learn(SharedState(generation=1, opening=DUE))
    harness.refuse(ask, SharedState(generation=1, opening=replace(OPENING, probe_in=5.0)))
    harness.to_ask()
    assert 8.0 == pytest.approx(harness.now)


def test_g13_a_pause_that_is_longer_than_this_process_would_hold_is_not_asked_against() -> None:
    harness = CoordinatedHarness(policy=PolicyConfig(rate_limit_max=60.0))
    harness.feed(harness.dispatcher.force("open", START))
    harness.at(3.0)
    harness.ask(patience=1000.0)
    harness.refuse(harness.all(act.RequestProbeLease)[0], SharedState(generation=1, opening=DUE, hold_for=90.0))
    assert 63.0 == harness.dispatcher.rate_limit.paused_until
    harness.to_ask()
    assert 93.0 == pytest.approx(harness.now)


def test_g1_who_learns_by_a_poll_that_another_one_probes_waits_for_it() -> None:
    harness = CoordinatedHarness()
    harness.feed(harness.dispatcher.force("open", START))
    harness.ask(patience=1000.0)
    harness.learn(SharedState(generation=1, opening=DUE, lease_for=9.5))
    harness.to_ask()
    assert 9.5 == pytest.approx(harness.now)


# -- what is told, and of which generation ----------------------------------------------------------------


def test_g5_each_report_is_of_the_generation_that_it_has_made() -> None:
    harness = CoordinatedHarness()
    harness.trip_alone()
    (action,) = harness.all(act.PublishOpen)
    circuit = harness.dispatcher.breaker
    assert (circuit.generation, 0) == (action.asked, action.generation), "nothing was ever heard of the others"
    harness.grant(harness.to_ask(), fence=7)
    harness.answer(harness.out[0], DOWN_502)
    assert [act.ReportProbe(circuit.generation, 7, circuit.open_state(harness.now))] == harness.all(act.ReportProbe)


def test_an_opening_is_told_in_seconds_from_now() -> None:
    harness = CoordinatedHarness()
    harness.at(100.0)
    harness.learn(SharedState(generation=3, opening=OPENING))
    harness.at(102.0)
    assert replace(OPENING, probe_in=6.0, opened_for=7.0) == harness.dispatcher.breaker.open_state(harness.now)
    harness.at(120.0)
    assert replace(OPENING, probe_in=0.0, opened_for=25.0) == harness.dispatcher.breaker.open_state(harness.now)
    fresh = CoordinatedHarness()
    fresh.feed(fresh.dispatcher.force("open", START))
    assert 0.0 == fresh.dispatcher.breaker.open_state(0.0).opened_for


def test_opened_by_an_operator_the_fleet_asks_before_it_probes() -> None:
    harness = opened()
    harness.to_ask()
    assert [] == harness.started
