"""Who doubts asks to lead, the others follow for a while, and a doubt that is over leaves nothing behind (G10)."""

from __future__ import annotations

import pytest

from tests.support.desk import DOWN_502, GOOD
from tests.support.fleet_desk import OPENING, FleetDesk
from tests.support.private import SharedState
from tests.support.private import actions as act

NOTHING = SharedState()
ANSWER = 0.2


def doubting(seed: int = 0) -> tuple[FleetDesk, act.RequestLeadership]:
    """Closed, and the first attempt has failed."""
    desk = FleetDesk(seed)
    for _ in range(40):
        desk.ask(patience=1000.0)
    desk.answer(desk.out[0], DOWN_502)
    return desk, next_lead(desk)


def next_lead(desk: FleetDesk) -> act.RequestLeadership:
    before = len(desk.all(act.RequestLeadership))
    while len(desk.all(act.RequestLeadership)) == before:
        desk.at(desk.wake)
    return desk.all(act.RequestLeadership)[-1]


def next_start(desk: FleetDesk) -> None:
    while not desk.out:
        desk.at(desk.wake)


def lead(desk: FleetDesk, asked: act.RequestLeadership, *, busy: bool = False) -> None:
    desk.feed(desk.desk.led(asked, NOTHING, desk.moment, busy=busy))


def test_g10_silence_is_taken_for_leave_in_the_moment_in_which_an_answer_was_due() -> None:
    desk, _ = doubting()
    start = desk.now
    desk.at(start + 0.15)
    next_start(desk)
    assert start + ANSWER == desk.now


@pytest.mark.parametrize("seed", range(8))
def test_g10_who_follows_asks_again_after_one_look(seed: int) -> None:
    desk, asked = doubting(seed)
    lead(desk, asked, busy=True)
    assert 1 == len(desk.all(act.RequestLeadership))
    start = desk.now
    next_lead(desk)
    assert 0.75 * 0.25 <= desk.now - start <= 1.25 * 0.25 + 1e-9


def test_g10_who_follows_goes_on_after_half_a_minute_to_the_moment() -> None:
    desk, asked = doubting()
    start = desk.now
    while not desk.out:
        lead(desk, asked, busy=True)
        desk.at(desk.wake)
    assert start + 30.0 == desk.now


def test_g10_who_has_followed_for_long_enough_does_not_ask_any_more() -> None:
    desk, asked = doubting()
    lead(desk, asked, busy=True)
    desk.now += 30.0  # nothing was heard of the time between: a machine that stood still
    desk.feed(desk.desk.tick(desk.moment))
    assert (1, 1) == (len(desk.all(act.RequestLeadership)), len(desk.out))


def test_g10_the_lead_is_asked_for_anew_in_the_moment_in_which_it_ends() -> None:
    desk, asked = doubting()
    lead(desk, asked)
    desk.at(desk.now + 5.0)
    desk.answer(desk.out[0], DOWN_502)
    assert (2, []) == (len(desk.all(act.RequestLeadership)), desk.out)


def test_g10_who_leads_in_silence_leads_for_as_long_as_by_leave_and_ends_it_too() -> None:
    desk, _ = doubting()
    desk.at(desk.now + ANSWER)
    desk.answer(desk.out[0], DOWN_502)
    next_start(desk)
    assert 1 == len(desk.all(act.RequestLeadership))
    desk.answer(desk.out[0], GOOD)
    assert 1 == len(desk.all(act.ReleaseLeadership))


def test_g10_who_leads_in_silence_gives_back_at_the_first_success_what_the_store_may_have_given() -> None:
    desk, _ = doubting()
    desk.at(desk.now + ANSWER)
    desk.answer(desk.out[0], GOOD)
    assert 1 == len(desk.all(act.ReleaseLeadership))


def test_g10_a_doubt_that_a_success_has_ended_leaves_no_lead_behind() -> None:
    desk, asked = doubting()
    lead(desk, asked)
    for _ in range(2):
        next_start(desk)
        desk.answer(desk.out[0], GOOD)
    assert 1 == len(desk.all(act.ReleaseLeadership))


def test_g10_a_doubt_that_an_opening_has_ended_leaves_nobody_following() -> None:
    desk, asked = doubting()
    lead(desk, asked, busy=True)
    desk.learn(SharedState(generation=1, opening=OPENING))
    desk.learn(SharedState(generation=1, opening=OPENING, lease_for=100.0))
    desk.at(desk.now + 60.0)
    desk.learn(SharedState(generation=2))
    next_start(desk)
    desk.answer(desk.out[0], DOWN_502)
    next_lead(desk)
    assert (2, []) == (len(desk.all(act.RequestLeadership)), desk.out)
