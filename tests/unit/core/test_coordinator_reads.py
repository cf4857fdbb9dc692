"""When a desk looks at the store, and when it is one of those who wait."""

from __future__ import annotations

from dataclasses import replace

from tests.support.desk import GOOD, WALL
from tests.support.fleet_desk import OPENING, FleetDesk, opened
from tests.support.private import Instant, SharedState
from tests.support.private import actions as act

# -- looking, and being a member --------------------------------------------------------------------------


def test_nothing_is_read_while_closed_or_while_nobody_waits() -> None:
    desk = FleetDesk()
    desk.ask()
    desk.at(1.0)
    desk.answer(desk.out[0], GOOD)
    desk.feed(desk.desk.force("open", Instant(2.0, WALL + 2.0)))
    desk.at(100.0)
    assert [] == [told for told in desk.told if not isinstance(told, act.PublishOpen)]


def test_who_waits_joins_looks_and_leaves_when_all_are_served() -> None:
    desk = opened()
    looks = desk.all(act.PollStore)
    assert [30.0] == [look.join_for for look in looks]
    for _ in range(3):
        desk.learn(SharedState(generation=1, opening=OPENING, members=1))
        desk.at(desk.now + 2.6)
    assert [30.0, 0.0, 0.0, 0.0] == [look.join_for for look in desk.all(act.PollStore)]
    assert [] == desk.all(act.LeaveGroup)
    desk.grant(desk.to_ask())
    while desk.out:
        desk.answer(desk.out[0], GOOD)
    assert 1 == len(desk.all(act.LeaveGroup))


def test_g5_a_look_says_of_which_generation_it_was_asked() -> None:
    desk = opened()
    assert [1] == [look.asked for look in desk.all(act.PollStore)]


def test_a_large_fleet_looks_more_rarely() -> None:
    desk = opened()
    desk.learn(SharedState(generation=1, opening=replace(OPENING, probe_in=0.0), members=10_000))
    assert 3.75 <= desk.desk.coordinator._next_poll - desk.now <= 6.25 * 8  # type: ignore[union-attr]


def test_a_look_that_is_never_answered_is_not_the_last() -> None:
    desk = opened()
    desk.at(20.0)
    assert len(desk.all(act.PollStore)) > 3
