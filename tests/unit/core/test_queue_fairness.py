"""Whose turn it is when the server serves fewer than wait: who has been without a token longest (G8, G13)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colony_pool.config import PolicyConfig
from tests.support.desk import COUNTING, DOWN_502, FOREVER, GOOD, Desk
from tests.support.private import Account, Outcome, issue

HOUR = 3600.0
ONE_LEFT = replace(GOOD, remaining=(1, HOUR))
USED_UP = replace(GOOD, exhausted_for=HOUR)
LONG_HOLD = Outcome("throttled", 429, retry_after=HOUR)


def hungry(since: float) -> Account:
    """A key that has been without a token since then."""
    account = Account()
    account._ended_at = since
    return account


def with_token(desk: Desk, life: float, age: float = 0.0) -> Account:
    account = Account()
    account.token = issue("jwt", life, age, 0.0, desk.moment, PolicyConfig())
    return account


def next_one(desk: Desk, answer: Outcome = GOOD) -> Account:
    """Answer the attempt that is out; whose is the next?"""
    desk.answer(desk.out[0], answer)
    while not desk.out:
        desk.at(desk.wake)
    return desk.out[0].account


def test_g8_while_the_server_serves_all_who_must_leave_first_goes_first() -> None:
    desk, starved, hasty = Desk(), hungry(-9 * HOUR), Account()
    for account, patience in ((Account(), 122.0), (starved, 122.0), (hasty, 5.0)):
        desk.ask(account, patience)
    assert next_one(desk) is hasty
    assert next_one(desk, replace(GOOD, remaining=(1, HOUR))) is starved


def test_g13_when_it_serves_fewer_than_wait_who_has_been_without_longest_goes_first() -> None:
    desk, recent, starved, hasty = Desk(), hungry(-60.0), hungry(-9 * HOUR), Account()
    for account, patience in ((Account(), 122.0), (recent, 122.0), (hasty, 5.0), (starved, FOREVER)):
        desk.ask(account, patience)
    assert next_one(desk, ONE_LEFT) is starved
    assert next_one(desk) is recent, "until all have been served, though nothing more is said"
    assert next_one(desk) is hasty


def test_g8_when_all_have_been_served_patience_counts_again() -> None:
    desk, starved, hasty = Desk(maxsize=1), hungry(-9 * HOUR), Account()
    for _ in range(3):
        desk.ask()
    next_one(desk, replace(GOOD, remaining=(1, 0.5)))
    next_one(desk)
    desk.answer(desk.out[0], GOOD)
    desk.at(1.0)
    for account, patience in ((Account(), 122.0), (starved, 122.0), (hasty, 5.0)):
        desk.ask(account, patience)
    assert next_one(desk) is hasty


def test_g8_who_is_served_in_the_moment_in_which_a_hold_ends_may_be_the_last_of_all() -> None:
    desk, starved, hasty = Desk(), hungry(-9 * HOUR), Account()
    desk.ask()
    desk.answer(desk.out[0], GOOD)
    for _ in range(2):
        desk.ask()
    desk.answer(desk.out[0], replace(GOOD, exhausted_for=10.0))
    desk.at(10.0)
    desk.answer(desk.out[0], GOOD)
    for account, patience in ((Account(), 122.0), (starved, 122.0), (hasty, 5.0)):
        desk.ask(account, patience)
    assert next_one(desk) is hasty


def test_g13_who_was_sent_away_by_a_hold_finds_its_place_when_it_comes_back() -> None:
    desk, early = Desk(), Account()
    desk.ask()
    desk.ask(early)
    desk.answer(desk.out[0], LONG_HOLD)
    desk.at(HOUR)
    late, newcomer = Account(), Account()
    for account in (newcomer, late, early):  # it comes back last
        desk.ask(account)
    assert desk.out[0].account is newcomer, "nobody else was there yet"
    assert next_one(desk) is early


@pytest.mark.parametrize("answer", [USED_UP, LONG_HOLD], ids=["used up", "429"])
def test_g13_a_limit_that_ran_out_is_short_when_its_window_is_over(answer: Outcome) -> None:
    """Nobody waits any more when the last answer comes, and the hold's end says nothing of what is left then."""
    desk, starved, hasty = Desk(), hungry(-9 * HOUR), Account()
    desk.ask()
    desk.answer(desk.out[0], answer)
    desk.at(HOUR)
    for account, patience in ((Account(), 122.0), (hasty, 5.0), (starved, 122.0)):
        desk.ask(account, patience)
    assert next_one(desk) is starved


def test_g13_hunger_begins_when_a_token_ends() -> None:
    desk = Desk()
    ended, ends_later = with_token(desk, 100.0), with_token(desk, 400.0)
    desk.at(600.0)
    for account in (Account(), hungry(590.0), ends_later, ended):
        desk.ask(account)
    assert next_one(desk, ONE_LEFT) is ended
    assert next_one(desk) is ends_later


def test_g19_hunger_begins_when_a_token_is_refused_unless_it_had_ended_before() -> None:
    desk = Desk()
    ended, refused = with_token(desk, 100.0), with_token(desk, 86_400.0)
    desk.at(600.0)
    for account in (ended, refused):
        desk.feed(desk.desk.invalidate(account, desk.moment))
    assert [100.0, 600.0] == [ended.tokenless_since, refused.tokenless_since]
    desk.at(900.0)
    desk.ask(refused)
    assert 600.0 == refused.tokenless_since, "it stays so while calls come and go"


def test_g8_a_failure_takes_an_hour_off_hunger_and_no_more() -> None:
    desk, failed, recent, starved = Desk(), hungry(-1.5 * HOUR), hungry(-0.4 * HOUR), hungry(-0.6 * HOUR)
    failed._failures = 1
    for account in (Account(), recent, failed, starved):
        desk.ask(account)
    assert next_one(desk, ONE_LEFT) is starved
    assert next_one(desk) is failed
    assert next_one(desk) is recent


def test_g17_refreshes_ahead_of_time_leave_last_and_in_the_order_in_which_their_tokens_end() -> None:
    desk = Desk()
    later, sooner = with_token(desk, 20_000.0, 66_400.0), with_token(desk, 9000.0, 77_400.0)
    desk.ask()
    for account in (later, sooner):
        desk.feed(desk.desk.refresh(account, desk.moment))
    caller = Account()
    desk.ask(caller)
    assert next_one(desk, ONE_LEFT) is caller
    assert next_one(desk) is sooner
    assert next_one(desk) is later


def test_g18_who_still_holds_a_valid_token_lets_those_without_one_go_first() -> None:
    """In its last minute: it queues for a new one, and could be served from the old one at any time."""
    desk, starved = Desk(), hungry(-60.0)
    holds = with_token(desk, 30.0, 86_370.0)
    for account in (Account(), holds, starved):
        desk.ask(account)
    assert next_one(desk, ONE_LEFT) is starved
    assert next_one(desk) is holds


def test_g7_a_probe_is_chosen_by_failures_whatever_the_limit() -> None:
    desk, starved, fresh = Desk(), hungry(-9 * HOUR), Account()
    starved._failures = 1
    desk.ask()
    for account in (starved, fresh):
        desk.ask(account, FOREVER)
    desk.answer(desk.out[0], COUNTING)
    desk.feed(desk.desk.force("open", desk.moment))
    assert desk.to_probe().account is fresh


def test_g8_a_less_patient_call_takes_its_flight_ahead() -> None:
    desk, first, second = Desk(), Account(), Account()
    for account in (Account(), first, second):
        desk.ask(account)
    desk.ask(second, 5.0)
    assert next_one(desk) is second


def test_g9_a_flight_that_failed_goes_back_to_its_place() -> None:
    """The order is the same for who is put back as for who comes."""
    desk, starved, recent = Desk(), hungry(-9 * HOUR), hungry(-7 * HOUR)
    for account in (starved, Account(), recent):
        desk.ask(account, FOREVER)
    desk.answer(desk.out[0], replace(DOWN_502, remaining=(1, HOUR)))
    desk.at(10.0)
    assert desk.out[0].account is recent, "an hour less hungry, but the other one rests"
    assert next_one(desk) is starved
