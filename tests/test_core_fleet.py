"""One probe, one hold, one recovery among processes that share an endpoint: what the desk decides (G1, G8, G13)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from colony_pool._core import actions as act
from colony_pool._core import events as ev
from colony_pool._core.account import Account
from colony_pool._core.view import View
from tests.desk import COUNTING, DOWN_502, GOOD, Desk
from tests.fleet.desk import OPENING, FleetDesk, opened

NOTHING = View()
CLOSED_2 = View(generation=2, members=1)


def test_g1_without_a_store_nothing_is_asked_and_a_probe_leaves_when_it_is_due() -> None:
    desk = Desk()
    desk.trip()
    assert desk.to_probe().is_probe
    assert [] == [event for event in desk.events if isinstance(event, act.ForStore)]


def test_g1_before_the_grant_there_is_no_permit_no_half_open_and_no_event() -> None:
    desk = opened()
    ask = desk.to_ask()
    assert ("open", [], None) == (desk.state, desk.started, desk.desk.lease)
    assert [] == [event for event in desk.events if isinstance(event, ev.StateChanged) and event.new == "half_open"]
    desk.grant(ask)
    assert ("half_open", 1, True) == (desk.state, len(desk.started), desk.started[0].is_probe)


def test_g1_one_ask_at_a_time() -> None:
    desk = opened()
    asked = desk.to_ask()
    for step in range(1, 10):
        desk.at(desk.now + 0.1)
        desk.ask(patience=100.0 + step)
    assert [asked] == desk.all(act.Ask)


def test_g4_the_lease_outlives_the_probe() -> None:
    desk = opened(probe_timeout=5.0)
    ask = desk.to_ask()
    desk.grant(ask)
    assert (5.0, True) == (desk.started[0].timeout, ask.seconds > 5.0)


def test_g1_refused_it_comes_back_when_the_others_lease_ends() -> None:
    desk = opened()
    ask = desk.to_ask()
    start = desk.now
    desk.refuse(ask, View(generation=1, opening=replace(OPENING, probe_in=0.0), lease_for=6.0))
    assert 6.0 == pytest.approx(_next_ask(desk) - start, abs=0.01)
    assert [] == desk.started


def _next_ask(desk: FleetDesk) -> float:
    desk.to_ask()
    return desk.now


def test_g1_refused_it_learns_when_the_next_probe_may_leave() -> None:
    desk = opened()
    ask = desk.to_ask()
    desk.refuse(ask, View(generation=4, opening=OPENING))
    assert (3, "HTTP 503", desk.now + 8.0) == (
        desk.desk.circuit.level, desk.desk.circuit.cause, desk.desk.circuit.probe_at,
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
    assert [(7, None)] == [(told.fence, told.opening) for told in desk.all(act.Conclude)]
    assert "closed" == desk.state


def test_g6_a_failed_probe_is_reported_with_its_fence_and_the_longer_delay() -> None:
    desk = opened()
    desk.grant(desk.to_ask(), fence=7)
    desk.answer(desk.out[0], DOWN_502)
    (told,) = desk.all(act.Conclude)
    assert told.opening is not None
    assert (7, 2, "HTTP 502", 502) == (told.fence, told.opening.level, told.opening.cause, told.opening.status)
    assert desk.desk.circuit.probe_at == desk.now + told.opening.probe_in
    assert 3.2 <= told.opening.probe_in <= 4.0


def test_g4_a_lost_probe_is_reported_too() -> None:
    desk = opened()
    desk.grant(desk.to_ask(), fence=7)
    desk.at(desk.now + 5.0)
    assert [7] == [told.fence for told in desk.all(act.Conclude)]


def test_a_fence_is_used_once() -> None:
    desk = opened()
    desk.grant(desk.to_ask(), fence=7)
    desk.answer(desk.out[0], DOWN_502)
    desk.grant(desk.to_ask(), fence=9)
    desk.answer(desk.out[0], DOWN_502)
    assert [7, 9] == [told.fence for told in desk.all(act.Conclude)]


def test_a_probe_without_leave_reports_by_opening_what_it_knows() -> None:
    desk = opened()
    desk.learn(View(generation=4, opening=replace(OPENING, probe_in=2.0)))
    desk.lose(desk.to_ask())
    desk.told.clear()
    desk.answer(desk.out[0], DOWN_502)
    assert ([4], []) == ([told.generation for told in desk.all(act.TellOpen)], desk.all(act.Conclude))


def test_a_grant_that_comes_late_serves_the_probe_that_left_without_it() -> None:
    desk = opened()
    ask = desk.to_ask()
    desk.lose(ask)
    desk.grant(ask, fence=8)
    assert 1 == len(desk.started)
    desk.answer(desk.out[0], GOOD)
    assert [(8, None)] == [(told.fence, told.opening) for told in desk.all(act.Conclude)]


def test_a_grant_that_comes_when_all_is_over_is_given_back() -> None:
    desk = opened()
    ask = desk.to_ask()
    desk.lose(ask)
    desk.answer(desk.out[0], GOOD)
    desk.grant(ask, fence=8)
    assert [(8, None)] == [(told.fence, told.opening) for told in desk.all(act.Conclude)]


def test_a_grant_without_anybody_left_to_probe_starts_nothing() -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", 0.0))
    waiter = desk.ask(patience=100.0)
    ask = desk.to_ask()
    desk.feed(desk.desk.cancel(waiter, desk.now, desk.wall))
    desk.grant(ask)
    assert ([], "open") == (desk.started, desk.state)


def test_g9_a_call_that_cannot_park_waits_for_the_answer_and_then_probes() -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", 0.0))
    desk.at(3.0)
    waiter = desk.ask(patience=0.0)
    assert not waiter.done
    desk.grant(desk.all(act.Ask)[0])
    assert [waiter.account] == [permit.account for permit in desk.started]


def test_g9_a_call_that_cannot_park_is_told_at_once_when_another_process_probes() -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", 0.0))
    desk.at(3.0)
    waiter = desk.ask(patience=0.0)
    desk.refuse(desk.all(act.Ask)[0], View(generation=1, opening=replace(OPENING, probe_in=0.0), lease_for=5.0))
    assert waiter.done
    assert waiter.failure is not None


# -- learning ---------------------------------------------------------------------------------------------


def test_an_opening_elsewhere_opens_here_with_its_level_its_delay_and_its_cause() -> None:
    desk = FleetDesk()
    desk.at(100.0)
    desk.learn(View(generation=3, opening=OPENING))
    circuit = desk.desk.circuit
    assert ("open", 3, 108.0, 95.0) == (circuit.state, circuit.level, circuit.probe_at, circuit.opened_at)
    (event,) = desk.events
    assert ("closed", "open", "HTTP 503", 8.0, True) == (
        event.old, event.new, event.cause, event.next_probe_in, event.learnt,
    )  # fmt: skip
    assert ["open"] == desk.replays
    assert [] == desk.all(act.TellOpen), "nobody is told what he has said"


def test_a_newer_opening_is_taken_over_without_an_event() -> None:
    desk = opened()
    desk.events.clear()
    desk.learn(View(generation=3, opening=OPENING))
    assert (3, desk.now + 8.0, []) == (desk.desk.circuit.level, desk.desk.circuit.probe_at, desk.events)


def test_g8_a_closing_elsewhere_closes_here_and_forgives() -> None:
    desk = FleetDesk()
    waiters = desk.trip(3)
    desk.learn(View(generation=3, opening=OPENING))
    assert "open" == desk.state
    desk.events.clear()
    desk.learn(View(generation=4))
    assert ("closed", ["closed"]) == (desk.state, [e.new for e in desk.events if isinstance(e, ev.StateChanged)])
    assert 1 == len(desk.out), "the window starts at 1"
    while desk.out:
        desk.answer(desk.out[0], GOOD)
    assert all(waiter.token is not None for waiter in waiters)


def test_what_was_adopted_is_not_adopted_again() -> None:
    desk = opened()
    desk.learn(View(generation=3, opening=OPENING))
    probe_at = desk.desk.circuit.probe_at
    desk.at(desk.now + 1.0)
    desk.learn(View(generation=3, opening=OPENING))
    assert probe_at == desk.desk.circuit.probe_at


def test_a_store_that_was_restarted_and_counts_from_one_is_heard() -> None:
    desk = opened()
    desk.learn(View(generation=30, opening=OPENING))
    desk.learn(View(generation=1))
    assert "closed" == desk.state


def test_g5_what_was_asked_before_the_last_change_is_history() -> None:
    desk = opened()
    asked = desk.desk.circuit.generation
    desk.feed(desk.desk.force("closed", desk.now))
    desk.learn(View(generation=3, opening=OPENING), asked)
    assert "closed" == desk.state


def test_a_probe_that_is_out_is_not_disturbed() -> None:
    desk = opened()
    desk.grant(desk.to_ask())
    for view in (View(generation=9, opening=OPENING), View(generation=10)):
        desk.learn(view)
        assert ("half_open", True) == (desk.state, desk.desk.lease is desk.started[0])
    desk.learn(View(generation=10))
    desk.answer(desk.out[0], GOOD)
    assert "closed" == desk.state


@pytest.mark.parametrize("generation", [0, 5])
def test_a_store_that_does_not_know_of_the_opening_is_told_again(generation: int) -> None:
    desk = opened()
    desk.learn(View(generation=5, opening=OPENING))
    desk.told.clear()
    desk.at(desk.now + 3.0)
    assert 1 == len(desk.all(act.Look))
    desk.learn(View(generation=generation))
    assert [generation] == [told.generation for told in desk.all(act.TellOpen)]
    assert "open" == desk.state
    desk.learn(View(generation=generation))
    assert 1 == len(desk.all(act.TellOpen)), "told once a look"


def test_g6_the_delay_begins_anew_where_nobody_waited_for_the_recovery() -> None:
    desk = FleetDesk()
    desk.learn(View(generation=3, opening=OPENING))
    desk.learn(View(generation=4))
    assert ("closed", 0) == (desk.state, desk.desk.circuit.level)


def test_g13_the_longer_hold_counts_and_the_shorter_is_told_of_it() -> None:
    desk = FleetDesk()
    desk.ask(patience=1000.0)
    desk.learn(View(generation=1, hold_for=30.0, hold_cause="HTTP 429"))
    assert (30.0, "HTTP 429") == (desk.desk.hold_until - desk.now, desk.desk.hold_cause)
    assert ["shared"] == [event.reason for event in desk.events if isinstance(event, ev.HoldStarted)]
    assert [] == desk.all(act.TellHold), "nobody is told what he has said"
    desk.learn(View(generation=1, hold_for=10.0))
    assert 30.0 == desk.desk.hold_until - desk.now
    desk.at(desk.now + 2.0)
    desk.learn(View(generation=1))
    assert [28.0] == [told.seconds for told in desk.all(act.TellHold)]


def test_g13_a_hold_that_begins_here_is_told() -> None:
    desk = FleetDesk()
    desk.ask()
    desk.answer(desk.out[0], COUNTING)
    assert [30.0] == [told.seconds for told in desk.all(act.TellHold)]


def test_an_opening_is_told_with_the_generation_that_was_adopted() -> None:
    desk = FleetDesk()
    desk.learn(CLOSED_2)
    desk.trip_alone()
    (told,) = desk.all(act.TellOpen)
    assert (2, "HTTP 502", 502, 1) == (
        told.generation, told.opening.cause, told.opening.status, told.opening.level,
    )  # fmt: skip


# -- operators --------------------------------------------------------------------------------------------


def test_an_operator_who_closes_closes_for_all() -> None:
    desk = opened()
    desk.feed(desk.desk.force("closed", 1.0))
    assert 1 == len(desk.all(act.TellReset))


def test_an_operator_who_half_opens_does_not_wait_for_the_fleet() -> None:
    desk = opened()
    desk.feed(desk.desk.force("half_open", 1.0))
    assert ([], [True]) == (desk.all(act.Ask), [permit.is_probe for permit in desk.started])


# -- looking, and being a member --------------------------------------------------------------------------


def test_nothing_is_read_while_closed_or_while_nobody_waits() -> None:
    desk = FleetDesk()
    desk.ask()
    desk.at(1.0)
    desk.answer(desk.out[0], GOOD)
    desk.feed(desk.desk.force("open", 2.0))
    desk.at(100.0)
    assert [] == [told for told in desk.told if not isinstance(told, act.TellOpen)]


def test_who_waits_joins_looks_and_leaves_when_all_are_served() -> None:
    desk = opened()
    looks = desk.all(act.Look)
    assert [30.0] == [look.join_for for look in looks]
    for _ in range(3):
        desk.learn(View(generation=1, opening=OPENING, members=1))
        desk.at(desk.now + 2.6)
    assert [30.0, 0.0, 0.0, 0.0] == [look.join_for for look in desk.all(act.Look)]
    assert [] == desk.all(act.Leave)
    desk.grant(desk.to_ask())
    while desk.out:
        desk.answer(desk.out[0], GOOD)
    assert 1 == len(desk.all(act.Leave))


def test_a_large_fleet_looks_more_rarely() -> None:
    desk = opened()
    desk.learn(View(generation=1, opening=replace(OPENING, probe_in=0.0), members=10_000))
    assert 3.75 <= desk.desk.fleet.look_at - desk.now <= 6.25 * 8  # type: ignore[union-attr]


def test_a_look_that_is_never_answered_is_not_the_last() -> None:
    desk = opened()
    desk.at(20.0)
    assert len(desk.all(act.Look)) > 3


# -- the window of a recovery -----------------------------------------------------------------------------


def test_g8_all_processes_together_begin_at_one() -> None:
    """Each at its share, the first attempt at a random moment within as many round trips as there are members."""
    firsts = []
    for seed in range(40):
        desk = opened(seed=seed)
        desk.learn(View(generation=1, opening=OPENING, members=10))
        desk.learn(View(generation=2, members=10))
        assert 0.1 == desk.desk.window.size
        start = desk.now
        while not desk.started:
            desk.at(desk.wake)
        firsts.append(desk.now - start)
    assert 0.0 <= min(firsts) < 0.1
    assert 0.3 < max(firsts) <= 10 * 0.05
    assert 0.15 < sum(firsts) / 40 < 0.35


def test_g8_ten_thousand_processes_have_a_ten_thousandth_each() -> None:
    desk = opened()
    desk.learn(View(generation=1, opening=OPENING, members=10_000))
    desk.learn(View(generation=2, members=10_000))
    window = desk.desk.window
    assert 1e-4 == window.size
    window.start(desk.now)
    window.give_back()
    assert 20.0 == pytest.approx(window.opens_at(desk.now) - desk.now), "and not the 500 s that it comes to"
    window.start(desk.now)
    window.failed(0, window.round, desk.now, desk.now, shed=True)
    assert 0.0 < window.size <= 1e-4


def test_a_move_that_could_not_be_told_changes_nothing_here() -> None:
    desk = opened()
    before = desk.desk.circuit.generation
    desk.lose(desk.all(act.TellOpen)[0])
    assert ("open", before) == (desk.state, desk.desk.circuit.generation)


def test_g8_a_recovery_without_the_store_begins_as_alone() -> None:
    desk = opened()
    desk.learn(View(generation=1, opening=OPENING, members=100))
    desk.lose(desk.to_ask())
    desk.answer(desk.out[0], GOOD)
    assert 1.0 == desk.desk.window.size


def test_when_nobody_waited_last_is_known() -> None:
    desk = FleetDesk()
    fleet = desk.desk.fleet
    assert fleet is not None
    waiter = desk.ask()
    assert -math.inf == fleet.idle_at
    desk.at(0.5)
    desk.answer(desk.out[0], GOOD)
    assert (True, 0.5) == (waiter.done, fleet.idle_at)


def test_a_store_that_was_told_of_the_opening_is_asked_again_at_once() -> None:
    desk = opened()
    desk.refuse(desk.to_ask(), NOTHING)
    desk.learn(View(generation=9, opening=replace(OPENING, probe_in=0.0)))
    assert 2 == len(desk.all(act.Ask))


def test_g8_the_share_grows_back_with_success() -> None:
    desk = opened()
    desk.learn(View(generation=1, opening=OPENING, members=100))
    desk.learn(View(generation=2, members=100))
    window = desk.desk.window
    for _ in range(40):
        window.start(desk.now)
        window.succeeded(0, window.round, 0.05)
    assert (1.0, True) == (window._floor(0.01), window.size > 1.0)


# -- while everything fails -------------------------------------------------------------------------------


def doubting() -> tuple[FleetDesk, act.Lead]:
    """Closed, and the first attempt has failed."""
    desk = FleetDesk()
    for _ in range(40):
        desk.ask(patience=1000.0)
    desk.answer(desk.out[0], DOWN_502)
    while not desk.all(act.Lead):
        desk.at(desk.wake)
    return desk, desk.all(act.Lead)[0]


def lead(desk: FleetDesk, asked: act.Lead, view: View = NOTHING, *, busy: bool) -> None:
    desk.feed(desk.desk.led(asked, view, busy=busy, now=desk.now, wall=desk.wall))


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
    lead(desk, asked, View(generation=1, opening=OPENING), busy=False)
    assert ("open", []) == (desk.state, desk.out)


def test_the_lead_ends_with_a_success() -> None:
    desk, asked = doubting()
    lead(desk, asked, busy=False)
    desk.answer(desk.out[0], GOOD)
    assert 1 == len(desk.all(act.EndLead))
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
    assert [] == desk.all(act.Lead)


def test_times_are_never_in_the_past_and_no_state_is_left() -> None:
    desk = opened()
    desk.lose(desk.to_ask())
    while desk.out:
        desk.answer(desk.out[0], GOOD)
    desk.at(desk.now + 1000.0)
    fleet = desk.desk.fleet
    assert fleet is not None
    assert (None, -math.inf, math.inf, False) == (fleet.fence, fleet.lease_until, fleet.answer_by, fleet.asking)


def test_a_store_that_cannot_be_told_of_the_opening_does_not_keep_the_probe() -> None:
    desk = opened()
    desk.refuse(desk.to_ask(), NOTHING)
    assert [] == desk.started, "it is told first"
    desk.refuse(desk.to_ask(), NOTHING)
    assert [True] == [permit.is_probe for permit in desk.started]


def test_who_cannot_look_any_more_does_not_wait_for_anothers_probe() -> None:
    desk = opened()
    desk.refuse(desk.to_ask(), View(generation=1, opening=replace(OPENING, probe_in=0.0), lease_for=60.0))
    looks = len(desk.all(act.Look))
    while len(desk.all(act.Look)) == looks:
        desk.at(desk.wake)
    desk.lose(desk.all(act.Look)[-1])
    assert 2 == len(desk.all(act.Ask))


def test_g8_an_attempt_in_a_fleet_has_left_alone_only_if_no_other_process_can_have_made_one() -> None:
    """503s to attempts that left alone are the baseline, and in a fleet others may have caused them."""
    desk = opened()
    desk.learn(View(generation=1, opening=OPENING, members=10))
    desk.learn(View(generation=2, members=10))
    window = desk.desk.window
    window.start(100.0)
    window.give_back()
    assert 0 <= window.start(100.3)[0]
    window.give_back()
    assert -1 == window.start(103.0)[0]
