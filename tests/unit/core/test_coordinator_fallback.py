"""A store that fails and the fallback that stands in for it: two records, and none is taken for the other."""

from __future__ import annotations

import pytest

from tests.support.coordinated_harness import OPENING, CoordinatedHarness, opened
from tests.support.private import SharedState
from tests.support.private import actions as act

CLOSED = SharedState(generation=9)
OPEN = SharedState(generation=9, opening=OPENING)
PROBED = SharedState(generation=9, opening=OPENING, lease_for=50.0)


def move(harness: CoordinatedHarness, *, to_fallback: bool) -> None:
    harness.feed(harness.dispatcher.moved(harness.moment, to_fallback=to_fallback))


def on_fallback() -> CoordinatedHarness:
    """Open, as the store has said before it failed."""
    harness = opened()
    harness.learn(SharedState(generation=3, opening=OPENING))
    move(harness, to_fallback=True)
    harness.store_actions.clear()
    return harness


def test_g8_what_a_fallback_closed_at_another_time_closes_nothing_and_is_told_of_the_opening() -> None:
    harness = on_fallback()
    harness.learn(CLOSED)
    assert "open" == harness.state
    assert [9] == [action.generation for action in harness.all(act.PublishOpen)]


def test_g8_what_it_closes_from_then_on_closes_here() -> None:
    harness = on_fallback()
    harness.learn(OPEN)
    harness.learn(SharedState(generation=10))
    assert "closed" == harness.state


@pytest.mark.parametrize("generation", [3, 9])
def test_an_opening_of_a_fallback_is_taken_over_whatever_its_number(generation: int) -> None:
    harness = on_fallback()
    harness.learn(SharedState(generation=generation, opening=OPENING))
    assert harness.now + OPENING.probe_in == harness.dispatcher.breaker.probe_at
    assert [] == harness.all(act.PublishOpen)


def test_a_store_that_is_back_is_heard_on_from_where_it_was_left() -> None:
    harness = on_fallback()
    harness.learn(OPEN)
    probe_at = harness.dispatcher.breaker.probe_at
    harness.at(harness.now + 1.0)
    move(harness, to_fallback=False)
    harness.learn(SharedState(generation=3, opening=OPENING))
    assert probe_at == harness.dispatcher.breaker.probe_at, "no news"
    harness.learn(SharedState(generation=4))
    assert "closed" == harness.state, "the others have seen a good probe"


def test_a_store_that_is_heard_for_the_first_time_and_is_closed_closes_here() -> None:
    """One process must not open for a whole fleet what that has found to be well."""
    harness = opened()
    harness.learn(SharedState(generation=5))
    assert "closed" == harness.state


def test_a_fallback_forgets_between_two_failures_of_its_store_what_it_was_told() -> None:
    harness = on_fallback()
    harness.learn(OPEN)
    move(harness, to_fallback=False)
    move(harness, to_fallback=True)
    harness.store_actions.clear()
    harness.learn(SharedState(generation=12))
    assert "open" == harness.state
    assert [12] == [action.generation for action in harness.all(act.PublishOpen)]


@pytest.mark.parametrize("to_fallback", [True, False])
def test_g4_nobody_waits_for_a_probe_of_which_only_the_other_record_knows(to_fallback: bool) -> None:
    harness = opened()
    if not to_fallback:
        move(harness, to_fallback=True)
    harness.learn(PROBED)
    harness.refuse(harness.to_ask(), PROBED)
    harness.at(harness.now + 1.0)
    assert 1 == len(harness.all(act.RequestProbeLease)), "it waits"
    move(harness, to_fallback=to_fallback)
    assert 2 == len(harness.all(act.RequestProbeLease))


def test_g1_refused_by_each_of_two_records_for_the_first_time_it_does_not_go_alone() -> None:
    """A record that was told of the opening and still refuses would refuse for ever; it has to be the same one."""
    harness = opened()
    harness.learn(SharedState(generation=3, opening=OPENING))
    harness.refuse(harness.to_ask(), SharedState(generation=3))
    harness.at(harness.now + 0.1)
    move(harness, to_fallback=True)
    harness.refuse(harness.all(act.RequestProbeLease)[-1], CLOSED)
    assert [] == harness.out
