"""What a desk makes of what the store says, and what it tells the store (G5, G8, G13)."""

from __future__ import annotations

import pytest

from tests.support.desk import COUNTING, GOOD, WALL
from tests.support.fleet_desk import OPENING, FleetDesk, opened
from tests.support.private import Instant, SharedState
from tests.support.private import actions as act
from tests.support.private import events as ev

CLOSED_2 = SharedState(generation=2, members=1)


# -- learning ---------------------------------------------------------------------------------------------


def test_an_opening_elsewhere_opens_here_with_its_level_its_delay_and_its_cause() -> None:
    desk = FleetDesk()
    desk.at(100.0)
    desk.learn(SharedState(generation=3, opening=OPENING))
    circuit = desk.desk.breaker
    assert ("open", 3, 108.0, 95.0) == (circuit.state, circuit.level, circuit.probe_at, circuit.opened_at)
    (event,) = desk.events
    assert ("closed", "open", "HTTP 503", 8.0, True) == (
        event.old, event.new, event.cause, event.next_probe_in, event.learnt,
    )  # fmt: skip
    assert ["open"] == desk.replays
    assert [] == desk.all(act.PublishOpen), "nobody is told what he has said"


def test_a_newer_opening_is_taken_over_without_an_event() -> None:
    desk = opened()
    desk.events.clear()
    desk.learn(SharedState(generation=3, opening=OPENING))
    assert (3, desk.now + 8.0, []) == (desk.desk.breaker.level, desk.desk.breaker.probe_at, desk.events)


def test_g8_a_closing_elsewhere_closes_here_and_forgives() -> None:
    desk = FleetDesk()
    waiters = desk.trip(3)
    desk.learn(SharedState(generation=3, opening=OPENING))
    assert "open" == desk.state
    desk.events.clear()
    desk.learn(SharedState(generation=4))
    assert ("closed", ["closed"]) == (desk.state, [e.new for e in desk.events if isinstance(e, ev.StateChanged)])
    assert 1 == len(desk.out), "the window starts at 1"
    while desk.out:
        desk.answer(desk.out[0], GOOD)
    assert all(waiter.token is not None for waiter in waiters)


def test_what_was_adopted_is_not_adopted_again() -> None:
    desk = opened()
    desk.learn(SharedState(generation=3, opening=OPENING))
    probe_at = desk.desk.breaker.probe_at
    desk.at(desk.now + 1.0)
    desk.learn(SharedState(generation=3, opening=OPENING))
    assert probe_at == desk.desk.breaker.probe_at


def test_a_store_that_was_restarted_and_counts_from_one_is_heard() -> None:
    desk = opened()
    desk.learn(SharedState(generation=30, opening=OPENING))
    desk.learn(SharedState(generation=1))
    assert "closed" == desk.state


def test_g5_what_was_asked_before_the_last_change_is_history() -> None:
    desk = opened()
    asked = desk.desk.breaker.generation
    desk.feed(desk.desk.force("closed", desk.moment))
    desk.learn(SharedState(generation=3, opening=OPENING), asked)
    assert "closed" == desk.state


def test_a_probe_that_is_out_is_not_disturbed() -> None:
    desk = opened()
    desk.grant(desk.to_ask())
    for view in (SharedState(generation=9, opening=OPENING), SharedState(generation=10)):
        desk.learn(view)
        assert ("half_open", True) == (desk.state, desk.desk.in_flight.probe is desk.started[0])
    desk.learn(SharedState(generation=10))
    desk.answer(desk.out[0], GOOD)
    assert "closed" == desk.state


@pytest.mark.parametrize("generation", [0, 5])
def test_a_store_that_does_not_know_of_the_opening_is_told_again(generation: int) -> None:
    desk = opened()
    desk.learn(SharedState(generation=5, opening=OPENING))
    desk.told.clear()
    desk.at(desk.now + 3.0)
    assert 1 == len(desk.all(act.PollStore))
    desk.learn(SharedState(generation=generation))
    assert [generation] == [told.generation for told in desk.all(act.PublishOpen)]
    assert "open" == desk.state
    desk.learn(SharedState(generation=generation))
    assert 1 == len(desk.all(act.PublishOpen)), "told once a look"


def test_g6_the_delay_begins_anew_where_nobody_waited_for_the_recovery() -> None:
    desk = FleetDesk()
    desk.learn(SharedState(generation=3, opening=OPENING))
    desk.learn(SharedState(generation=4))
    assert ("closed", 0) == (desk.state, desk.desk.breaker.level)


def test_g13_the_longer_hold_counts_and_the_shorter_is_told_of_it() -> None:
    desk = FleetDesk()
    desk.ask(patience=1000.0)
    desk.learn(SharedState(generation=1, hold_for=30.0, hold_cause="HTTP 429"))
    assert (30.0, "HTTP 429") == (desk.desk.rate_limit.paused_until - desk.now, desk.desk.rate_limit.cause)
    assert ["shared"] == [event.reason for event in desk.events if isinstance(event, ev.HoldStarted)]
    assert [] == desk.all(act.PublishRateLimit), "nobody is told what he has said"
    desk.learn(SharedState(generation=1, hold_for=10.0))
    assert 30.0 == desk.desk.rate_limit.paused_until - desk.now
    desk.at(desk.now + 2.0)
    desk.learn(SharedState(generation=1))
    assert [28.0] == [told.seconds for told in desk.all(act.PublishRateLimit)]


def test_g13_a_hold_that_begins_here_is_told() -> None:
    desk = FleetDesk()
    desk.ask()
    desk.answer(desk.out[0], COUNTING)
    assert [30.0] == [told.seconds for told in desk.all(act.PublishRateLimit)]


def test_an_opening_is_told_with_the_generation_that_was_adopted() -> None:
    desk = FleetDesk()
    desk.learn(CLOSED_2)
    desk.trip_alone()
    (told,) = desk.all(act.PublishOpen)
    assert (2, "HTTP 502", 502, 1) == (
        told.generation, told.opening.cause, told.opening.status, told.opening.level,
    )  # fmt: skip


# -- operators --------------------------------------------------------------------------------------------


def test_an_operator_who_closes_closes_for_all() -> None:
    desk = opened()
    desk.feed(desk.desk.force("closed", Instant(1.0, WALL + 1.0)))
    assert 1 == len(desk.all(act.PublishReset))


def test_an_operator_who_half_opens_does_not_wait_for_the_fleet() -> None:
    desk = opened()
    desk.feed(desk.desk.force("half_open", Instant(1.0, WALL + 1.0)))
    assert ([], [True]) == (desk.all(act.RequestProbeLease), [permit.is_probe for permit in desk.started])
