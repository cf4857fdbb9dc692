"""Who doubts asks to lead, the others follow for a while, and a doubt that is over leaves nothing behind (G10)."""

from __future__ import annotations

import pytest

from tests.support.coordinated_harness import OPENING, CoordinatedHarness
from tests.support.dispatcher_harness import DOWN_502, GOOD
from tests.support.private import SharedState
from tests.support.private import actions as act

NOTHING = SharedState()
ANSWER = 0.2


def doubting(seed: int = 0) -> tuple[CoordinatedHarness, act.RequestLeadership]:
    """Closed, and the first attempt has failed."""
    harness = CoordinatedHarness(seed)
    for _ in range(40):
        harness.ask(patience=1000.0)
    harness.answer(harness.out[0], DOWN_502)
    return harness, next_lead(harness)


def next_lead(harness: CoordinatedHarness) -> act.RequestLeadership:
    before = len(harness.all(act.RequestLeadership))
    while len(harness.all(act.RequestLeadership)) == before:
        harness.at(harness.wake)
    return harness.all(act.RequestLeadership)[-1]


def next_start(harness: CoordinatedHarness) -> None:
    while not harness.out:
        harness.at(harness.wake)


def lead(harness: CoordinatedHarness, asked: act.RequestLeadership, *, busy: bool = False) -> None:
    harness.feed(harness.dispatcher.led(asked, NOTHING, harness.moment, busy=busy))


def test_g10_silence_is_taken_for_leave_in_the_moment_in_which_an_answer_was_due() -> None:
    harness, _ = doubting()
    start = harness.now
    harness.at(start + 0.15)
    next_start(harness)
    assert start + ANSWER == harness.now


@pytest.mark.parametrize("seed", range(8))
def test_g10_who_follows_asks_again_after_one_poll(seed: int) -> None:
    harness, asked = doubting(seed)
    lead(harness, asked, busy=True)
    assert 1 == len(harness.all(act.RequestLeadership))
    start = harness.now
    next_lead(harness)
    assert 0.75 * 0.25 <= harness.now - start <= 1.25 * 0.25 + 1e-9


def test_g10_who_follows_goes_on_after_half_a_minute_to_the_moment() -> None:
    harness, asked = doubting()
    start = harness.now
    while not harness.out:
        lead(harness, asked, busy=True)
        harness.at(harness.wake)
    assert start + 30.0 == harness.now


def test_g10_who_has_followed_for_long_enough_does_not_ask_any_more() -> None:
    harness, asked = doubting()
    lead(harness, asked, busy=True)
    harness.now += 30.0  # nothing was heard of the time between: a machine that stood still
    harness.feed(harness.dispatcher.tick(harness.moment))
    assert (1, 1) == (len(harness.all(act.RequestLeadership)), len(harness.out))


def test_g10_the_lead_is_asked_for_anew_in_the_moment_in_which_it_ends() -> None:
    harness, asked = doubting()
    lead(harness, asked)
    harness.at(harness.now + 5.0)
    harness.answer(harness.out[0], DOWN_502)
    assert (2, []) == (len(harness.all(act.RequestLeadership)), harness.out)


def test_g10_who_leads_in_silence_leads_for_as_long_as_by_leave_and_ends_it_too() -> None:
    harness, _ = doubting()
    harness.at(harness.now + ANSWER)
    harness.answer(harness.out[0], DOWN_502)
    next_start(harness)
    assert 1 == len(harness.all(act.RequestLeadership))
    harness.answer(harness.out[0], GOOD)
    assert 1 == len(harness.all(act.ReleaseLeadership))


def test_g10_who_leads_in_silence_gives_back_at_the_first_success_what_the_store_may_have_given() -> None:
    harness, _ = doubting()
    harness.at(harness.now + ANSWER)
    harness.answer(harness.out[0], GOOD)
    assert 1 == len(harness.all(act.ReleaseLeadership))


def test_g10_a_doubt_that_a_success_has_ended_leaves_no_lead_behind() -> None:
    harness, asked = doubting()
    lead(harness, asked)
    for _ in range(2):
        next_start(harness)
        harness.answer(harness.out[0], GOOD)
    assert 1 == len(harness.all(act.ReleaseLeadership))


def test_g10_a_doubt_that_an_opening_has_ended_leaves_nobody_following() -> None:
    harness, asked = doubting()
    lead(harness, asked, busy=True)
    harness.learn(SharedState(generation=1, opening=OPENING))
    harness.learn(SharedState(generation=1, opening=OPENING, lease_for=100.0))
    harness.at(harness.now + 60.0)
    harness.learn(SharedState(generation=2))
    next_start(harness)
    harness.answer(harness.out[0], DOWN_502)
    next_lead(harness)
    assert (2, []) == (len(harness.all(act.RequestLeadership)), harness.out)
