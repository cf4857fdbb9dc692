"""Processes that recover together, and processes for which everything fails (G8, G10)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.support.coordinated_harness import OPENING, CoordinatedHarness, opened
from tests.support.dispatcher_harness import DOWN_502, GOOD
from tests.support.private import Account, SharedState
from tests.support.private import actions as act

NOTHING = SharedState()


# -- the window of a recovery -----------------------------------------------------------------------------


def test_g8_all_processes_together_begin_at_one() -> None:
    """Each at its share, the first attempt at a random moment within as many round trips as there are members."""
    firsts = []
    for seed in range(40):
        harness = opened(seed=seed)
        harness.learn(SharedState(generation=1, opening=OPENING, members=10))
        harness.learn(SharedState(generation=2, members=10))
        assert 0.1 == harness.dispatcher.limiter.limit
        start = harness.now
        while not harness.started:
            harness.at(harness.wake)
        firsts.append(harness.now - start)
    assert 0.0 <= min(firsts) < 0.1
    assert 0.3 < max(firsts) <= 10 * 0.05
    assert 0.15 < sum(firsts) / 40 < 0.35


def test_g8_ten_thousand_processes_have_a_ten_thousandth_each() -> None:
    harness = opened()
    harness.learn(SharedState(generation=1, opening=OPENING, members=10_000))
    harness.learn(SharedState(generation=2, members=10_000))
    window = harness.dispatcher.limiter
    assert 1e-4 == window.limit
    window.start(harness.now)
    window.release()
    assert 20.0 == pytest.approx(window.next_start_at(harness.now) - harness.now), (
        "and not the 500 s that it comes to"
    )
    window.start(harness.now)
    window.failed(0, window.round, harness.now, harness.now, shed=True)
    assert 0.0 < window.limit <= 1e-4


def test_a_move_that_could_not_be_told_changes_nothing_here() -> None:
    harness = opened()
    before = harness.dispatcher.breaker.generation
    harness.lose(harness.all(act.PublishOpen)[0])
    assert ("open", before) == (harness.state, harness.dispatcher.breaker.generation)


def test_g8_a_recovery_without_the_store_begins_as_alone() -> None:
    harness = opened()
    harness.learn(SharedState(generation=1, opening=OPENING, members=100))
    harness.lose(harness.to_ask())
    harness.answer(harness.out[0], GOOD)
    assert 1.0 == harness.dispatcher.limiter.limit


def test_when_nobody_waited_last_is_known() -> None:
    harness = CoordinatedHarness()
    fleet = harness.dispatcher.coordinator
    assert fleet is not None
    waiter = harness.ask()
    assert -math.inf == fleet.last_idle
    harness.at(0.5)
    harness.answer(harness.out[0], GOOD)
    assert (True, 0.5) == (waiter.done, fleet.last_idle)


def test_a_store_that_was_told_of_the_opening_is_asked_again_at_once() -> None:
    harness = opened()
    harness.refuse(harness.to_ask(), NOTHING)
    harness.learn(SharedState(generation=9, opening=replace(OPENING, probe_in=0.0)))
    assert 2 == len(harness.all(act.RequestProbeLease))


def test_g8_the_share_grows_back_with_success() -> None:
    harness = opened()
    harness.learn(SharedState(generation=1, opening=OPENING, members=100))
    harness.learn(SharedState(generation=2, members=100))
    window = harness.dispatcher.limiter
    for _ in range(40):
        window.start(harness.now)
        window.succeeded(0, window.round, 0.05)
    assert (1.0, True) == (window._floor(0.01), window.limit > 1.0)


# -- while everything fails -------------------------------------------------------------------------------


def doubting() -> tuple[CoordinatedHarness, act.RequestLeadership]:
    """Closed, and the first attempt has failed."""
    harness = CoordinatedHarness()
    for _ in range(40):
        harness.ask(patience=1000.0)
    harness.answer(harness.out[0], DOWN_502)
    while not harness.all(act.RequestLeadership):
        harness.at(harness.wake)
    return harness, harness.all(act.RequestLeadership)[0]


def lead(
    harness: CoordinatedHarness, asked: act.RequestLeadership, view: SharedState = NOTHING, *, busy: bool
) -> None:
    harness.feed(harness.dispatcher.led(asked, view, harness.moment, busy=busy))


def test_g10_who_leads_goes_on_until_the_breaker_opens() -> None:
    harness, asked = doubting()
    assert [] == harness.out
    lead(harness, asked, busy=False)
    assert 1 == len(harness.out)
    harness.trip_alone()
    assert 16 <= len(harness.started) <= 20


def test_g10_the_others_wait_for_what_it_finds_but_not_for_long() -> None:
    harness, asked = doubting()
    start = harness.now
    while not harness.out:
        lead(harness, asked, busy=True)
        harness.at(harness.wake)
    assert 30.0 == pytest.approx(harness.now - start, abs=0.3)


def test_g10_what_the_leader_finds_is_learnt_at_once() -> None:
    harness, asked = doubting()
    lead(harness, asked, SharedState(generation=1, opening=OPENING), busy=False)
    assert ("open", []) == (harness.state, harness.out)


def test_the_lead_ends_with_a_success() -> None:
    harness, asked = doubting()
    lead(harness, asked, busy=False)
    harness.answer(harness.out[0], GOOD)
    assert 1 == len(harness.all(act.ReleaseLeadership))
    harness.at(harness.now + 1.0)
    assert harness.out, "and so does the doubt"


@pytest.mark.parametrize("how", ["told", "silence"])
def test_without_the_store_everybody_leads(how: str) -> None:
    harness, asked = doubting()
    if how == "told":
        harness.lose(asked)
    else:
        harness.at(harness.now + 0.2)
    assert 1 == len(harness.out)


def test_nobody_asks_to_lead_whose_attempts_succeed_now_and_then() -> None:
    harness = CoordinatedHarness()
    for turn in range(60):
        harness.ask(Account(), patience=1000.0)
        while not harness.out:
            harness.at(harness.wake)
        harness.answer(harness.out[0], GOOD if turn % 2 == 0 else DOWN_502)
    assert [] == harness.all(act.RequestLeadership)


def test_times_are_never_in_the_past_and_no_state_is_left() -> None:
    harness = opened()
    harness.lose(harness.to_ask())
    while harness.out:
        harness.answer(harness.out[0], GOOD)
    harness.at(harness.now + 1000.0)
    assert not harness.dispatcher.coordinator.awaits_lease
    assert harness.coordinator._lease.end() is None, "there is no fence left"
    assert not harness.coordinator._lease.allows(-1e9)


def test_a_store_that_cannot_be_told_of_the_opening_does_not_keep_the_probe() -> None:
    harness = opened()
    harness.refuse(harness.to_ask(), NOTHING)
    assert [] == harness.started, "it is told first"
    harness.refuse(harness.to_ask(), NOTHING)
    assert [True] == [permit.is_probe for permit in harness.started]


def test_who_cannot_poll_any_more_does_not_wait_for_anothers_probe() -> None:
    harness = opened()
    harness.refuse(
        harness.to_ask(), SharedState(generation=1, opening=replace(OPENING, probe_in=0.0), lease_for=60.0)
    )
    polls = len(harness.all(act.PollStore))
    while len(harness.all(act.PollStore)) == polls:
        harness.at(harness.wake)
    harness.lose(harness.all(act.PollStore)[-1])
    assert 2 == len(harness.all(act.RequestProbeLease))


def test_g8_an_attempt_in_a_fleet_has_left_alone_only_if_no_other_process_can_have_made_one() -> None:
    """503s to attempts that left alone are the baseline, and in a fleet others may have caused them."""
    harness = opened()
    harness.learn(SharedState(generation=1, opening=OPENING, members=10))
    harness.learn(SharedState(generation=2, members=10))
    window = harness.dispatcher.limiter
    window.start(100.0)
    window.release()
    assert 0 <= window.start(100.3)[0]
    window.release()
    assert -1 == window.start(103.0)[0]
