"""When a dispatcher looks at the store, and when it is one of those who wait."""

from __future__ import annotations

from dataclasses import replace

from tests.support.coordinated_harness import OPENING, CoordinatedHarness, opened
from tests.support.dispatcher_harness import GOOD, WALL
from tests.support.private import Instant, SharedState
from tests.support.private import actions as act

# -- looking, and being a member --------------------------------------------------------------------------


def test_nothing_is_read_while_closed_or_while_nobody_waits() -> None:
    harness = CoordinatedHarness()
    harness.ask()
    harness.at(1.0)
    harness.answer(harness.out[0], GOOD)
    harness.feed(harness.dispatcher.force("open", Instant(2.0, WALL + 2.0)))
    harness.at(100.0)
    assert [] == [action for action in harness.store_actions if not isinstance(action, act.PublishOpen)]


def test_who_waits_joins_polls_and_leaves_when_all_are_served() -> None:
    harness = opened()
    polls = harness.all(act.PollStore)
    assert [30.0] == [poll.join_for for poll in polls]
    for _ in range(3):
        harness.learn(SharedState(generation=1, opening=OPENING, members=1))
        harness.at(harness.now + 2.6)
    assert [30.0, 0.0, 0.0, 0.0] == [poll.join_for for poll in harness.all(act.PollStore)]
    assert [] == harness.all(act.LeaveGroup)
    harness.grant(harness.to_ask())
    while harness.out:
        harness.answer(harness.out[0], GOOD)
    assert 1 == len(harness.all(act.LeaveGroup))


def test_g5_a_poll_says_of_which_generation_it_was_asked() -> None:
    harness = opened()
    assert [1] == [poll.asked for poll in harness.all(act.PollStore)]


def test_a_large_fleet_polls_more_rarely() -> None:
    harness = opened()
    harness.learn(SharedState(generation=1, opening=replace(OPENING, probe_in=0.0), members=10_000))
    assert 3.75 <= harness.dispatcher.coordinator._next_poll - harness.now <= 6.25 * 8  # type: ignore[union-attr]


def test_a_poll_that_is_never_answered_is_not_the_last() -> None:
    harness = opened()
    harness.at(20.0)
    assert len(harness.all(act.PollStore)) > 3
