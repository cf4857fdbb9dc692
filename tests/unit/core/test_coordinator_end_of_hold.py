"""An operator ends a hold: here, and at all that share the store (G13)."""

from __future__ import annotations

import math
from typing import Any

from tests.support.desk import COUNTING, FOREVER, GOOD, REFUSED, START, Desk
from tests.support.fleet_desk import FleetDesk
from tests.support.private import Account, Outcome, SharedState
from tests.support.private import actions as act
from tests.support.private import events as ev

DAY = 86_400.0
LONG = Outcome("throttled", 429, retry_after=DAY)


def cleared(desk: Desk) -> list[Any]:
    return [event for event in desk.events if isinstance(event, ev.HoldCleared)]


def clear(desk: Desk) -> None:
    desk.feed(desk.desk.clear_rate_limit(desk.moment))


def held(desk: Any, outcome: Outcome = LONG) -> Any:
    desk.at(desk.now + 1.0)
    desk.ask(patience=0.5)
    desk.answer(desk.out[0], outcome)
    desk.at(desk.now + 5.0)
    return desk


def test_g13_a_hold_that_an_operator_ends_ends_with_one_attempt() -> None:
    desk = held(Desk(), COUNTING)
    waiters = [desk.ask(patience=FOREVER) for _ in range(20)]
    assert [] == desk.out
    clear(desk)
    assert [(25.0, "HTTP 429 from the rate limit", 20, False)] == [
        (event.seconds, event.cause, event.waiters, event.learnt) for event in cleared(desk)
    ]
    assert 1 == len(desk.out)
    desk.answer(desk.out[0], GOOD)
    assert any(waiter.token for waiter in waiters)


def test_g13_the_servers_next_429_holds_again_even_for_an_attempt_of_before() -> None:
    desk = Desk()
    desk.feed(desk.desk.force("open", START))
    desk.feed(desk.desk.force("closed", START))
    desk.desk.limiter.limit = 2.0
    for _ in range(2):
        desk.ask(patience=0.5)
    first, second = desk.out
    desk.answer(first, LONG)
    clear(desk)
    assert desk.desk.rate_limit.paused_until <= desk.now
    desk.answer(second, COUNTING)
    assert 30.0 == desk.desk.rate_limit.paused_until - desk.now


def test_g13_what_remains_by_the_headers_is_forgotten_with_the_hold() -> None:
    desk = Desk()
    desk.ask(patience=1.0)
    desk.answer(desk.out[0], Outcome("ok", 200, jwt="t", life=60.0, remaining=(1, DAY)))
    assert 1.0 == desk.desk.rate_limit.remaining.at(desk.now)
    clear(desk)
    assert math.inf == desk.desk.rate_limit.remaining.at(desk.now)
    assert [] == cleared(desk), "nothing was held"


def test_g13_a_key_that_is_held_longer_than_the_rest_is_released_too() -> None:
    desk, culprit, other = Desk(), Account(), Account()
    desk.now = 1.0
    desk.ask(culprit)
    desk.answer(desk.out[0], REFUSED)
    culprit.denial = None
    held(desk, COUNTING)
    desk.at(32.0)
    waiter = desk.ask(culprit, FOREVER)
    assert culprit.cooldown_until > desk.now >= desk.desk.rate_limit.paused_until
    assert [] == desk.out
    clear(desk)
    assert [(30.0, "")] == [(event.seconds, event.cause) for event in cleared(desk)]
    assert [culprit] == [permit.account for permit in desk.out]
    desk.answer(desk.out[0], GOOD)
    assert waiter.token is not None
    held(desk, COUNTING)
    desk.desk.rate_limit.cool_down(other, desk.now + 50.0, desk.now)
    clear(desk)
    assert 45.0 < cleared(desk)[-1].seconds <= 50.0
    assert other.cooldown_until == desk.now


def test_g13_a_clearing_here_is_told_to_all_that_share_the_store() -> None:
    desk = held(FleetDesk())
    clear(desk)
    assert 1 == len(desk.all(act.PublishClear))
    assert [False] == [event.learnt for event in cleared(desk)]


def test_g13_a_clearing_elsewhere_ends_a_hold_that_began_before() -> None:
    desk = held(FleetDesk())
    told = len(desk.all(act.PublishRateLimit))
    desk.learn(SharedState(cleared_ago=6.0))
    assert DAY - 5.0 == desk.desk.rate_limit.paused_until - desk.now, "it began since"
    desk.told.clear()
    desk.learn(SharedState(cleared_ago=4.0))
    assert desk.desk.rate_limit.paused_until <= desk.now
    assert [(DAY - 5.0, True)] == [(event.seconds, event.learnt) for event in cleared(desk)]
    assert [] == desk.all(act.PublishRateLimit), "it is not told anew"
    assert [] == desk.all(act.PublishClear)
    desk.learn(SharedState(cleared_ago=4.0))
    assert 1 == len(cleared(desk)), "once"
    assert told == 1


def test_g13_a_clearing_elsewhere_releases_single_keys_too() -> None:
    desk, culprit = FleetDesk(), Account()
    desk.now = 1.0
    desk.ask(culprit)
    desk.answer(desk.out[0], REFUSED)
    held(desk, COUNTING)
    desk.at(40.0)
    assert culprit.cooldown_until > desk.now >= desk.desk.rate_limit.paused_until
    desk.learn(SharedState(cleared_ago=1.0))
    assert culprit.cooldown_until == desk.now


def test_g13_a_hold_that_another_process_met_since_the_clearing_counts() -> None:
    desk = held(FleetDesk())
    desk.learn(SharedState(cleared_ago=2.0, hold_for=50.0, hold_age=1.0, hold_cause="HTTP 429"))
    assert 50.0 == desk.desk.rate_limit.paused_until - desk.now
    assert [True] == [event.learnt for event in cleared(desk)]
    clear(desk)
    desk.learn(SharedState(hold_for=50.0, hold_age=1.0))
    assert desk.desk.rate_limit.paused_until <= desk.now, "it was read before the operator spoke"
    desk.learn(SharedState(hold_for=50.0))
    assert desk.desk.rate_limit.paused_until <= desk.now
    desk.at(desk.now + 2.0)
    desk.learn(SharedState(hold_for=50.0, hold_age=1.0))
    assert 50.0 == desk.desk.rate_limit.paused_until - desk.now


def test_g13_a_record_from_the_future_ends_no_hold() -> None:
    desk = held(FleetDesk())
    desk.learn(SharedState(cleared_ago=-5.0))
    assert [] == cleared(desk)


def test_g13_who_is_sent_away_for_a_hold_has_the_store_asked_whether_it_still_is_on() -> None:
    """Nobody is parked for a day, and so nobody would ever look."""
    desk = held(FleetDesk())
    desk.told.clear()
    desk.at(desk.now + 100.0)
    assert [] == desk.all(act.PollStore), "nobody has called"
    waiter = desk.ask()
    assert waiter.failure is not None
    assert [0.0] == [look.join_for for look in desk.all(act.PollStore)], "it waits for nothing, and is no member"
    assert desk.wake > desk.now + 3600.0, "not by the clock"
    desk.ask()
    assert 1 == len(desk.all(act.PollStore)), "not for each call"
    desk.learn(SharedState(cleared_ago=1.0))
    desk.ask()
    assert 1 == len(desk.out)
