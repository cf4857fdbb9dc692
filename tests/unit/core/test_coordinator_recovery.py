"""Processes that recover together, and processes for which everything fails (G8, G10)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.support.desk import DOWN_502, GOOD
from tests.support.fleet_desk import OPENING, FleetDesk, opened
from tests.support.private import Account, SharedState
from tests.support.private import actions as act

NOTHING = SharedState()


# -- the window of a recovery -----------------------------------------------------------------------------


def test_g8_all_processes_together_begin_at_one() -> None:
    """Each at its share, the first attempt at a random moment within as many round trips as there are members."""
    firsts = []
    for seed in range(40):
        desk = opened(seed=seed)
        desk.learn(SharedState(generation=1, opening=OPENING, members=10))
        desk.learn(SharedState(generation=2, members=10))
        assert 0.1 == desk.desk.limiter.limit
        start = desk.now
        while not desk.started:
            desk.at(desk.wake)
        firsts.append(desk.now - start)
    assert 0.0 <= min(firsts) < 0.1
    assert 0.3 < max(firsts) <= 10 * 0.05
    assert 0.15 < sum(firsts) / 40 < 0.35


def test_g8_ten_thousand_processes_have_a_ten_thousandth_each() -> None:
    desk = opened()
    desk.learn(SharedState(generation=1, opening=OPENING, members=10_000))
    desk.learn(SharedState(generation=2, members=10_000))
    window = desk.desk.limiter
    assert 1e-4 == window.limit
    window.start(desk.now)
    window.release()
    assert 20.0 == pytest.approx(window.next_start_at(desk.now) - desk.now), "and not the 500 s that it comes to"
    window.start(desk.now)
    window.failed(0, window.round, desk.now, desk.now, shed=True)
    assert 0.0 < window.limit <= 1e-4


def test_a_move_that_could_not_be_told_changes_nothing_here() -> None:
    desk = opened()
    before = desk.desk.breaker.generation
    desk.lose(desk.all(act.PublishOpen)[0])
    assert ("open", before) == (desk.state, desk.desk.breaker.generation)


def test_g8_a_recovery_without_the_store_begins_as_alone() -> None:
    desk = opened()
    desk.learn(SharedState(generation=1, opening=OPENING, members=100))
    desk.lose(desk.to_ask())
    desk.answer(desk.out[0], GOOD)
    assert 1.0 == desk.desk.limiter.limit


def test_when_nobody_waited_last_is_known() -> None:
    desk = FleetDesk()
    fleet = desk.desk.coordinator
    assert fleet is not None
    waiter = desk.ask()
    assert -math.inf == fleet.last_idle
    desk.at(0.5)
    desk.answer(desk.out[0], GOOD)
    assert (True, 0.5) == (waiter.done, fleet.last_idle)


def test_a_store_that_was_told_of_the_opening_is_asked_again_at_once() -> None:
    desk = opened()
    desk.refuse(desk.to_ask(), NOTHING)
    desk.learn(SharedState(generation=9, opening=replace(OPENING, probe_in=0.0)))
    assert 2 == len(desk.all(act.RequestProbeLease))


def test_g8_the_share_grows_back_with_success() -> None:
    desk = opened()
    desk.learn(SharedState(generation=1, opening=OPENING, members=100))
    desk.learn(SharedState(generation=2, members=100))
    window = desk.desk.limiter
    for _ in range(40):
        window.start(desk.now)
        window.succeeded(0, window.round, 0.05)
    assert (1.0, True) == (window._floor(0.01), window.limit > 1.0)


# -- while everything fails -------------------------------------------------------------------------------


def doubting() -> tuple[FleetDesk, act.RequestLeadership]:
    """Closed, and the first attempt has failed."""
    desk = FleetDesk()
    for _ in range(40):
        desk.ask(patience=1000.0)
    desk.answer(desk.out[0], DOWN_502)
    while not desk.all(act.RequestLeadership):
        desk.at(desk.wake)
    return desk, desk.all(act.RequestLeadership)[0]


def lead(desk: FleetDesk, asked: act.RequestLeadership, view: SharedState = NOTHING, *, busy: bool) -> None:
    desk.feed(desk.desk.led(asked, view, desk.moment, busy=busy))


def test_g10_who_leads_goes_on_until_the_breaker_opens() -> None:
    desk, asked = doubting()
    assert [] == desk.out
    lead(desk, asked, busy=False)
    assert 1 == len(desk.out)
    desk.trip_alone()
    assert 16 <= len(desk.started) <= 20


def test_g10_the_others_wait_for_what_it_finds_but_not_for_long() -> None:
    desk, asked = doubting()
    start = desk.now
    while not desk.out:
        lead(desk, asked, busy=True)
        desk.at(desk.wake)
    assert 30.0 == pytest.approx(desk.now - start, abs=0.3)


def test_g10_what_the_leader_finds_is_learnt_at_once() -> None:
    desk, asked = doubting()
    lead(desk, asked, SharedState(generation=1, opening=OPENING), busy=False)
    assert ("open", []) == (desk.state, desk.out)


def test_the_lead_ends_with_a_success() -> None:
    desk, asked = doubting()
    lead(desk, asked, busy=False)
    desk.answer(desk.out[0], GOOD)
    assert 1 == len(desk.all(act.ReleaseLeadership))
    desk.at(desk.now + 1.0)
    assert desk.out, "and so does the doubt"


@pytest.mark.parametrize("how", ["told", "silence"])
def test_without_the_store_everybody_leads(how: str) -> None:
    desk, asked = doubting()
    if how == "told":
        desk.lose(asked)
    else:
        desk.at(desk.now + 0.2)
    assert 1 == len(desk.out)


def test_nobody_asks_to_lead_whose_attempts_succeed_now_and_then() -> None:
    desk = FleetDesk()
    for turn in range(60):
        desk.ask(Account(), patience=1000.0)
        while not desk.out:
            desk.at(desk.wake)
        desk.answer(desk.out[0], GOOD if turn % 2 == 0 else DOWN_502)
    assert [] == desk.all(act.RequestLeadership)


def test_times_are_never_in_the_past_and_no_state_is_left() -> None:
    desk = opened()
    desk.lose(desk.to_ask())
    while desk.out:
        desk.answer(desk.out[0], GOOD)
    desk.at(desk.now + 1000.0)
    assert not desk.desk.coordinator.awaits_lease
    assert desk.coordinator._lease.end() is None, "there is no fence left"
    assert not desk.coordinator._lease.allows(-1e9)


def test_a_store_that_cannot_be_told_of_the_opening_does_not_keep_the_probe() -> None:
    desk = opened()
    desk.refuse(desk.to_ask(), NOTHING)
    assert [] == desk.started, "it is told first"
    desk.refuse(desk.to_ask(), NOTHING)
    assert [True] == [permit.is_probe for permit in desk.started]


def test_who_cannot_look_any_more_does_not_wait_for_anothers_probe() -> None:
    desk = opened()
    desk.refuse(desk.to_ask(), SharedState(generation=1, opening=replace(OPENING, probe_in=0.0), lease_for=60.0))
    looks = len(desk.all(act.PollStore))
    while len(desk.all(act.PollStore)) == looks:
        desk.at(desk.wake)
    desk.lose(desk.all(act.PollStore)[-1])
    assert 2 == len(desk.all(act.RequestProbeLease))


def test_g8_an_attempt_in_a_fleet_has_left_alone_only_if_no_other_process_can_have_made_one() -> None:
    """503s to attempts that left alone are the baseline, and in a fleet others may have caused them."""
    desk = opened()
    desk.learn(SharedState(generation=1, opening=OPENING, members=10))
    desk.learn(SharedState(generation=2, members=10))
    window = desk.desk.limiter
    window.start(100.0)
    window.release()
    assert 0 <= window.start(100.3)[0]
    window.release()
    assert -1 == window.start(103.0)[0]
