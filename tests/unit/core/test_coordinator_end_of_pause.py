"""An operator ends a hold: here, and at all that share the store (G13)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.support.coordinated_harness import CoordinatedHarness
from tests.support.dispatcher_harness import COUNTING, FOREVER, GOOD, REFUSED, START, DispatcherHarness
from tests.support.private import Account, Outcome, SharedState
from tests.support.private import actions as act
from tests.support.private import events as ev

DAY = 86_400.0
LONG = Outcome("throttled", 429, retry_after=DAY)


def cleared(harness: DispatcherHarness) -> list[Any]:
    return [event for event in harness.events if isinstance(event, ev.HoldCleared)]


def clear(harness: DispatcherHarness) -> None:
    harness.feed(harness.dispatcher.clear_rate_limit(harness.moment))


def rate_limited(harness: Any, outcome: Outcome = LONG) -> Any:
    harness.at(harness.now + 1.0)
    harness.ask(patience=0.5)
    harness.answer(harness.out[0], outcome)
    harness.at(harness.now + 5.0)
    return harness


def test_g13_a_pause_that_an_operator_ends_ends_with_one_attempt() -> None:
    harness = rate_limited(DispatcherHarness(), COUNTING)
    waiters = [harness.ask(patience=FOREVER) for _ in range(20)]
    assert [] == harness.out
    clear(harness)
    assert [(25.0, "HTTP 429 from the rate limit", 20, False)] == [
        (event.seconds, event.cause, event.waiters, event.learnt) for event in cleared(harness)
    ]
    assert 1 == len(harness.out)
    harness.answer(harness.out[0], GOOD)
    assert any(waiter.token for waiter in waiters)


def test_g13_the_servers_next_429_holds_again_even_for_an_attempt_of_before() -> None:
    harness = DispatcherHarness()
    harness.feed(harness.dispatcher.force("open", START))
    harness.feed(harness.dispatcher.force("closed", START))
    harness.dispatcher.limiter.limit = 2.0
    for _ in range(2):
        harness.ask(patience=0.5)
    first, second = harness.out
    harness.answer(first, LONG)
    clear(harness)
    assert harness.dispatcher.rate_limit.paused_until <= harness.now
    harness.answer(second, COUNTING)
    assert 30.0 == harness.dispatcher.rate_limit.paused_until - harness.now


def test_g13_what_remains_by_the_headers_is_forgotten_with_the_pause() -> None:
    harness = DispatcherHarness()
    harness.ask(patience=1.0)
    harness.answer(harness.out[0], Outcome("ok", 200, jwt="t", life=60.0, remaining=(1, DAY)))
    assert 1.0 == harness.dispatcher.rate_limit.remaining.at(harness.now)
    clear(harness)
    assert math.inf == harness.dispatcher.rate_limit.remaining.at(harness.now)
    assert [] == cleared(harness), "nothing was held"


def test_g13_a_key_that_is_held_longer_than_the_rest_is_released_too() -> None:
    harness, culprit, other = DispatcherHarness(), Account(), Account()
    harness.now = 1.0
    harness.ask(culprit)
    harness.answer(harness.out[0], REFUSED)
    culprit.denial = None
    rate_limited(harness, COUNTING)
    harness.at(32.0)
    waiter = harness.ask(culprit, FOREVER)
    assert culprit.cooldown_until > harness.now >= harness.dispatcher.rate_limit.paused_until
    assert [] == harness.out
    clear(harness)
    assert [(30.0, "")] == [(event.seconds, event.cause) for event in cleared(harness)]
    assert [culprit] == [permit.account for permit in harness.out]
    harness.answer(harness.out[0], GOOD)
    assert waiter.token is not None
    rate_limited(harness, COUNTING)
    harness.dispatcher.rate_limit.cool_down(other, harness.now + 50.0, harness.now)
    clear(harness)
    assert 45.0 < cleared(harness)[-1].seconds <= 50.0
    assert other.cooldown_until == harness.now


@pytest.mark.parametrize("left", [0.5, 1.0])
def test_g13_a_pause_of_which_a_second_or_less_is_left_is_ended_and_told_with_its_cause(left: float) -> None:
    harness = rate_limited(DispatcherHarness(), COUNTING)
    harness.at(harness.dispatcher.rate_limit.paused_until - left)
    clear(harness)
    assert [(left, "HTTP 429 from the rate limit")] == [(event.seconds, event.cause) for event in cleared(harness)]


def test_g13_two_keys_that_are_held_longer_than_the_rest_are_both_released() -> None:
    harness, culprits = DispatcherHarness(), [Account(), Account()]
    for culprit in culprits:
        harness.at(max(harness.now, harness.dispatcher.rate_limit.paused_until))
        harness.ask(culprit)
        harness.answer(harness.out[0], REFUSED)
        rate_limited(harness, COUNTING)
    assert all(culprit.cooldown_until > harness.now for culprit in culprits)
    clear(harness)
    assert [harness.now, harness.now] == [culprit.cooldown_until for culprit in culprits]


def test_g13_a_clearing_here_is_told_to_all_that_share_the_store() -> None:
    harness = rate_limited(CoordinatedHarness())
    clear(harness)
    assert 1 == len(harness.all(act.PublishClear))
    assert [False] == [event.learnt for event in cleared(harness)]


def test_g13_a_clearing_elsewhere_ends_a_pause_that_began_before() -> None:
    harness = rate_limited(CoordinatedHarness())
    published = len(harness.all(act.PublishRateLimit))
    harness.learn(SharedState(cleared_ago=6.0))
    assert DAY - 5.0 == harness.dispatcher.rate_limit.paused_until - harness.now, "it began since"
    harness.store_actions.clear()
    harness.learn(SharedState(cleared_ago=4.0))
    assert harness.dispatcher.rate_limit.paused_until <= harness.now
    assert [(DAY - 5.0, True)] == [(event.seconds, event.learnt) for event in cleared(harness)]
    assert [] == harness.all(act.PublishRateLimit), "it is not told anew"
    assert [] == harness.all(act.PublishClear)
    harness.learn(SharedState(cleared_ago=4.0))
    assert 1 == len(cleared(harness)), "once"
    assert published == 1


def test_g13_a_clearing_elsewhere_ends_a_pause_that_began_before_though_it_was_heard_of_later() -> None:
    harness = CoordinatedHarness()
    harness.at(100.0)
    harness.learn(SharedState(hold_for=50.0, hold_age=10.0, hold_cause="HTTP 429"))
    assert 150.0 == harness.dispatcher.rate_limit.paused_until
    harness.learn(SharedState(cleared_ago=5.0))
    assert harness.dispatcher.rate_limit.paused_until <= harness.now


def test_g13_a_clearing_elsewhere_releases_single_keys_too() -> None:
    harness, culprit = CoordinatedHarness(), Account()
    harness.now = 1.0
    harness.ask(culprit)
    harness.answer(harness.out[0], REFUSED)
    rate_limited(harness, COUNTING)
    harness.at(40.0)
    assert culprit.cooldown_until > harness.now >= harness.dispatcher.rate_limit.paused_until
    harness.learn(SharedState(cleared_ago=1.0))
    assert culprit.cooldown_until == harness.now


def test_g13_a_pause_that_another_process_met_since_the_clearing_counts() -> None:
    harness = rate_limited(CoordinatedHarness())
    harness.learn(SharedState(cleared_ago=2.0, hold_for=50.0, hold_age=1.0, hold_cause="HTTP 429"))
    assert 50.0 == harness.dispatcher.rate_limit.paused_until - harness.now
    assert [True] == [event.learnt for event in cleared(harness)]
    clear(harness)
    harness.learn(SharedState(hold_for=50.0, hold_age=1.0))
    assert harness.dispatcher.rate_limit.paused_until <= harness.now, "it was read before the operator spoke"
    harness.learn(SharedState(hold_for=50.0))
    assert harness.dispatcher.rate_limit.paused_until <= harness.now
    harness.at(harness.now + 2.0)
    harness.learn(SharedState(hold_for=50.0, hold_age=1.0))
    assert 50.0 == harness.dispatcher.rate_limit.paused_until - harness.now


def test_g13_a_record_from_the_future_ends_no_pause() -> None:
    harness = rate_limited(CoordinatedHarness())
    harness.learn(SharedState(cleared_ago=-5.0))
    assert [] == cleared(harness)


def test_g13_who_is_sent_away_for_a_pause_has_the_store_asked_whether_it_still_is_on() -> None:
    """Nobody is parked for a day, and so nobody would ever look."""
    harness = rate_limited(CoordinatedHarness())
    harness.store_actions.clear()
    harness.at(harness.now + 100.0)
    assert [] == harness.all(act.PollStore), "nobody has called"
    waiter = harness.ask()
    assert waiter.failure is not None
    assert [0.0] == [poll.join_for for poll in harness.all(act.PollStore)], "it waits for nothing, and is no member"
    assert harness.wake > harness.now + 3600.0, "not by the clock"
    harness.ask()
    assert 1 == len(harness.all(act.PollStore)), "not for each call"
    harness.learn(SharedState(cleared_ago=1.0))
    harness.ask()
    assert 1 == len(harness.out)


def test_g13_after_one_look_for_who_was_sent_away_by_a_pause_the_store_is_left_alone() -> None:
    harness = rate_limited(CoordinatedHarness())
    harness.ask()
    assert 1 == len(harness.all(act.PollStore))
    harness.at(harness.now + 100.0)
    assert 1 == len(harness.all(act.PollStore))
    harness.ask()
    assert 2 == len(harness.all(act.PollStore)), "until the next one is sent away"
