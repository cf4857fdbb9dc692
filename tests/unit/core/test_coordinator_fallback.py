"""A store that fails and the fallback that stands in for it: two records, and none is taken for the other."""

from __future__ import annotations

import pytest

from tests.support.fleet_desk import OPENING, FleetDesk, opened
from tests.support.private import SharedState
from tests.support.private import actions as act

CLOSED = SharedState(generation=9)
OPEN = SharedState(generation=9, opening=OPENING)
PROBED = SharedState(generation=9, opening=OPENING, lease_for=50.0)


def move(desk: FleetDesk, *, to_fallback: bool) -> None:
    desk.feed(desk.desk.moved(desk.moment, to_fallback=to_fallback))


def on_fallback() -> FleetDesk:
    """Open, as the store has said before it failed."""
    desk = opened()
    desk.learn(SharedState(generation=3, opening=OPENING))
    move(desk, to_fallback=True)
    desk.told.clear()
    return desk


def test_g8_what_a_fallback_closed_at_another_time_closes_nothing_and_is_told_of_the_opening() -> None:
    desk = on_fallback()
    desk.learn(CLOSED)
    assert "open" == desk.state
    assert [9] == [told.generation for told in desk.all(act.PublishOpen)]


def test_g8_what_it_closes_from_then_on_closes_here() -> None:
    desk = on_fallback()
    desk.learn(OPEN)
    desk.learn(SharedState(generation=10))
    assert "closed" == desk.state


@pytest.mark.parametrize("generation", [3, 9])
def test_an_opening_of_a_fallback_is_taken_over_whatever_its_number(generation: int) -> None:
    desk = on_fallback()
    desk.learn(SharedState(generation=generation, opening=OPENING))
    assert desk.now + OPENING.probe_in == desk.desk.breaker.probe_at
    assert [] == desk.all(act.PublishOpen)


def test_a_store_that_is_back_is_heard_on_from_where_it_was_left() -> None:
    desk = on_fallback()
    desk.learn(OPEN)
    probe_at = desk.desk.breaker.probe_at
    desk.at(desk.now + 1.0)
    move(desk, to_fallback=False)
    desk.learn(SharedState(generation=3, opening=OPENING))
    assert probe_at == desk.desk.breaker.probe_at, "no news"
    desk.learn(SharedState(generation=4))
    assert "closed" == desk.state, "the others have seen a good probe"


def test_a_store_that_is_heard_for_the_first_time_and_is_closed_closes_here() -> None:
    """One process must not open for a whole fleet what that has found to be well."""
    desk = opened()
    desk.learn(SharedState(generation=5))
    assert "closed" == desk.state


def test_a_fallback_forgets_between_two_failures_of_its_store_what_it_was_told() -> None:
    desk = on_fallback()
    desk.learn(OPEN)
    move(desk, to_fallback=False)
    move(desk, to_fallback=True)
    desk.told.clear()
    desk.learn(SharedState(generation=12))
    assert "open" == desk.state
    assert [12] == [told.generation for told in desk.all(act.PublishOpen)]


@pytest.mark.parametrize("to_fallback", [True, False])
def test_g4_nobody_waits_for_a_probe_of_which_only_the_other_record_knows(to_fallback: bool) -> None:
    desk = opened()
    if not to_fallback:
        move(desk, to_fallback=True)
    desk.learn(PROBED)
    desk.refuse(desk.to_ask(), PROBED)
    desk.at(desk.now + 1.0)
    assert 1 == len(desk.all(act.RequestProbeLease)), "it waits"
    move(desk, to_fallback=to_fallback)
    assert 2 == len(desk.all(act.RequestProbeLease))


def test_g1_refused_by_each_of_two_records_for_the_first_time_it_does_not_go_alone() -> None:
    """A record that was told of the opening and still refuses would refuse for ever; it has to be the same one."""
    desk = opened()
    desk.learn(SharedState(generation=3, opening=OPENING))
    desk.refuse(desk.to_ask(), SharedState(generation=3))
    desk.at(desk.now + 0.1)
    move(desk, to_fallback=True)
    desk.refuse(desk.all(act.RequestProbeLease)[-1], CLOSED)
    assert [] == desk.out
