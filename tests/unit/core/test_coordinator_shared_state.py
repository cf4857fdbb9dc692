"""What a dispatcher makes of what the store says, and what it tells the store (G5, G8, G13)."""

from __future__ import annotations

import pytest

from tests.support.coordinated_harness import OPENING, CoordinatedHarness, opened
from tests.support.dispatcher_harness import COUNTING, GOOD, WALL
from tests.support.private import Instant, SharedState
from tests.support.private import actions as act
from tests.support.private import events as ev

CLOSED_2 = SharedState(generation=2, members=1)


# -- learning ---------------------------------------------------------------------------------------------


def test_an_opening_elsewhere_opens_here_with_its_level_its_delay_and_its_cause() -> None:
    harness = CoordinatedHarness()
    harness.at(100.0)
    harness.learn(SharedState(generation=3, opening=OPENING))
    circuit = harness.dispatcher.breaker
    assert ("open", 3, 108.0, 95.0) == (circuit.state, circuit.level, circuit.probe_at, circuit.opened_at)
    (event,) = harness.events
    assert ("closed", "open", "HTTP 503", 8.0, True) == (
        event.old, event.new, event.cause, event.next_probe_in, event.learnt,
    )  # fmt: skip
    assert ["open"] == harness.replays
    assert [] == harness.all(act.PublishOpen), "nobody is told what he has said"


def test_a_newer_opening_is_taken_over_without_an_event() -> None:
    harness = opened()
    harness.events.clear()
    harness.learn(SharedState(generation=3, opening=OPENING))
    assert (3, harness.now + 8.0, []) == (
        harness.dispatcher.breaker.level,
        harness.dispatcher.breaker.probe_at,
        harness.events,
    )


def test_g8_a_closing_elsewhere_closes_here_and_forgives() -> None:
    harness = CoordinatedHarness()
    waiters = harness.trip(3)
    harness.learn(SharedState(generation=3, opening=OPENING))
    assert "open" == harness.state
    harness.events.clear()
    harness.learn(SharedState(generation=4))
    assert ("closed", ["closed"]) == (
        harness.state,
        [e.new for e in harness.events if isinstance(e, ev.StateChanged)],
    )
    assert 1 == len(harness.out), "the window starts at 1"
    while harness.out:
        harness.answer(harness.out[0], GOOD)
    assert all(waiter.token is not None for waiter in waiters)


def test_what_was_adopted_is_not_adopted_again() -> None:
    harness = opened()
    harness.learn(SharedState(generation=3, opening=OPENING))
    probe_at = harness.dispatcher.breaker.probe_at
    harness.at(harness.now + 1.0)
    harness.learn(SharedState(generation=3, opening=OPENING))
    assert probe_at == harness.dispatcher.breaker.probe_at


def test_a_store_that_was_restarted_and_counts_from_one_is_heard() -> None:
    harness = opened()
    harness.learn(SharedState(generation=30, opening=OPENING))
    harness.learn(SharedState(generation=1))
    assert "closed" == harness.state


def test_g5_what_was_asked_before_the_last_change_is_history() -> None:
    harness = opened()
    asked = harness.dispatcher.breaker.generation
    harness.feed(harness.dispatcher.force("closed", harness.moment))
    harness.learn(SharedState(generation=3, opening=OPENING), asked)
    assert "closed" == harness.state


def test_a_probe_that_is_out_is_not_disturbed() -> None:
    harness = opened()
    harness.grant(harness.to_ask())
    for view in (SharedState(generation=9, opening=OPENING), SharedState(generation=10)):
        harness.learn(view)
        assert ("half_open", True) == (harness.state, harness.dispatcher.in_flight.probe is harness.started[0])
    harness.learn(SharedState(generation=10))
    harness.answer(harness.out[0], GOOD)
    assert "closed" == harness.state


@pytest.mark.parametrize("generation", [0, 5])
def test_a_store_that_does_not_know_of_the_opening_is_told_again(generation: int) -> None:
    harness = opened()
    harness.learn(SharedState(generation=5, opening=OPENING))
    harness.store_actions.clear()
    harness.at(harness.now + 3.0)
    assert 1 == len(harness.all(act.PollStore))
    harness.learn(SharedState(generation=generation))
    assert [generation] == [action.generation for action in harness.all(act.PublishOpen)]
    assert "open" == harness.state
    harness.learn(SharedState(generation=generation))
    assert 1 == len(harness.all(act.PublishOpen)), "told once a look"


def test_g6_the_delay_begins_anew_where_nobody_waited_for_the_recovery() -> None:
    harness = CoordinatedHarness()
    harness.learn(SharedState(generation=3, opening=OPENING))
    harness.learn(SharedState(generation=4))
    assert ("closed", 0) == (harness.state, harness.dispatcher.breaker.level)


def test_g13_the_longer_pause_counts_and_the_shorter_is_told_of_it() -> None:
    harness = CoordinatedHarness()
    harness.ask(patience=1000.0)
    harness.learn(SharedState(generation=1, hold_for=30.0, hold_cause="HTTP 429"))
    assert (30.0, "HTTP 429") == (
        harness.dispatcher.rate_limit.paused_until - harness.now,
        harness.dispatcher.rate_limit.cause,
    )
    assert ["shared"] == [event.reason for event in harness.events if isinstance(event, ev.HoldStarted)]
    assert [] == harness.all(act.PublishRateLimit), "nobody is told what he has said"
    harness.learn(SharedState(generation=1, hold_for=10.0))
    assert 30.0 == harness.dispatcher.rate_limit.paused_until - harness.now
    harness.at(harness.now + 2.0)
    harness.learn(SharedState(generation=1))
    assert [28.0] == [action.seconds for action in harness.all(act.PublishRateLimit)]


def test_g13_a_pause_that_begins_here_is_told() -> None:
    harness = CoordinatedHarness()
    harness.ask()
    harness.answer(harness.out[0], COUNTING)
    assert [30.0] == [action.seconds for action in harness.all(act.PublishRateLimit)]


def test_an_opening_is_told_with_the_generation_that_was_adopted() -> None:
    harness = CoordinatedHarness()
    harness.learn(CLOSED_2)
    harness.trip_alone()
    (action,) = harness.all(act.PublishOpen)
    assert (2, "HTTP 502", 502, 1) == (
        action.generation, action.opening.cause, action.opening.status, action.opening.level,
    )  # fmt: skip


# -- operators --------------------------------------------------------------------------------------------


def test_an_operator_who_closes_closes_for_all() -> None:
    harness = opened()
    harness.feed(harness.dispatcher.force("closed", Instant(1.0, WALL + 1.0)))
    assert 1 == len(harness.all(act.PublishReset))


def test_an_operator_who_half_opens_does_not_wait_for_the_fleet() -> None:
    harness = opened()
    harness.feed(harness.dispatcher.force("half_open", Instant(1.0, WALL + 1.0)))
    assert ([], [True]) == (harness.all(act.RequestProbeLease), [permit.is_probe for permit in harness.started])
