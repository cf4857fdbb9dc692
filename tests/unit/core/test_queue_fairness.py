"""Whose turn it is when the server serves fewer than wait: who has been without a token longest (G8, G13)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colony_pool.config import PolicyConfig
from tests.support.dispatcher_harness import COUNTING, DOWN_502, FOREVER, GOOD, DispatcherHarness
from tests.support.private import Account, Outcome, issue

HOUR = 3600.0
ONE_LEFT = replace(GOOD, remaining=(1, HOUR))
USED_UP = replace(GOOD, exhausted_for=HOUR)
LONG_PAUSE = Outcome("throttled", 429, retry_after=HOUR)


def starving(since: float) -> Account:
    """A key that has been without a token since then."""
    account = Account()
    account._ended_at = since
    return account


def with_token(harness: DispatcherHarness, life: float, age: float = 0.0) -> Account:
    account = Account()
    account.token = issue("jwt", life, age, 0.0, harness.moment, PolicyConfig())
    return account


def next_one(harness: DispatcherHarness, answer: Outcome = GOOD) -> Account:
    """Answer the attempt that is out; whose is the next?"""
    harness.answer(harness.out[0], answer)
    while not harness.out:
        harness.at(harness.wake)
    return harness.out[0].account


def test_g8_while_the_server_serves_all_who_must_leave_first_goes_first() -> None:
    harness, starved, hasty = DispatcherHarness(), starving(-9 * HOUR), Account()
    for account, patience in ((Account(), 122.0), (starved, 122.0), (hasty, 5.0)):
        harness.ask(account, patience)
    assert next_one(harness) is hasty
    assert next_one(harness, replace(GOOD, remaining=(1, HOUR))) is starved


def test_g13_when_it_serves_fewer_than_wait_who_has_been_without_longest_goes_first() -> None:
    harness, recent, starved, hasty = DispatcherHarness(), starving(-60.0), starving(-9 * HOUR), Account()
    for account, patience in ((Account(), 122.0), (recent, 122.0), (hasty, 5.0), (starved, FOREVER)):
        harness.ask(account, patience)
    assert next_one(harness, ONE_LEFT) is starved
    assert next_one(harness) is recent, "until all have been served, though nothing more is said"
    assert next_one(harness) is hasty


def test_g8_when_all_have_been_served_patience_counts_again() -> None:
    harness, starved, hasty = DispatcherHarness(maxsize=1), starving(-9 * HOUR), Account()
    for _ in range(3):
        harness.ask()
    next_one(harness, replace(GOOD, remaining=(1, 0.5)))
    next_one(harness)
    harness.answer(harness.out[0], GOOD)
    harness.at(1.0)
    for account, patience in ((Account(), 122.0), (starved, 122.0), (hasty, 5.0)):
        harness.ask(account, patience)
    assert next_one(harness) is hasty


def test_g8_who_is_served_in_the_moment_in_which_a_pause_ends_may_be_the_last_of_all() -> None:
    harness, starved, hasty = DispatcherHarness(), starving(-9 * HOUR), Account()
    harness.ask()
    harness.answer(harness.out[0], GOOD)
    for _ in range(2):
        harness.ask()
    harness.answer(harness.out[0], replace(GOOD, exhausted_for=10.0))
    harness.at(10.0)
    harness.answer(harness.out[0], GOOD)
    for account, patience in ((Account(), 122.0), (starved, 122.0), (hasty, 5.0)):
        harness.ask(account, patience)
    assert next_one(harness) is hasty


def test_g13_who_was_sent_away_by_a_pause_finds_its_place_when_it_comes_back() -> None:
    harness, early = DispatcherHarness(), Account()
    harness.ask()
    harness.ask(early)
    harness.answer(harness.out[0], LONG_PAUSE)
    harness.at(HOUR)
    late, newcomer = Account(), Account()
    for account in (newcomer, late, early):  # it comes back last
        harness.ask(account)
    assert harness.out[0].account is newcomer, "nobody else was there yet"
    assert next_one(harness) is early


@pytest.mark.parametrize("answer", [USED_UP, LONG_PAUSE], ids=["used up", "429"])
def test_g13_a_limit_that_ran_out_is_short_when_its_window_is_over(answer: Outcome) -> None:
    """Nobody waits any more when the last answer comes, and the hold's end says nothing of what is left then."""
    harness, starved, hasty = DispatcherHarness(), starving(-9 * HOUR), Account()
    harness.ask()
    harness.answer(harness.out[0], answer)
    harness.at(HOUR)
    for account, patience in ((Account(), 122.0), (hasty, 5.0), (starved, 122.0)):
        harness.ask(account, patience)
    assert next_one(harness) is starved


def test_g13_hunger_begins_when_a_token_ends() -> None:
    harness = DispatcherHarness()
    ended, ends_later = with_token(harness, 100.0), with_token(harness, 400.0)
    harness.at(600.0)
    for account in (Account(), starving(590.0), ends_later, ended):
        harness.ask(account)
    assert next_one(harness, ONE_LEFT) is ended
    assert next_one(harness) is ends_later


def test_g19_hunger_begins_when_a_token_is_refused_unless_it_had_ended_before() -> None:
    harness = DispatcherHarness()
    ended, refused = with_token(harness, 100.0), with_token(harness, 86_400.0)
    harness.at(600.0)
    for account in (ended, refused):
        harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    assert [100.0, 600.0] == [ended.tokenless_since, refused.tokenless_since]
    harness.at(900.0)
    harness.ask(refused)
    assert 600.0 == refused.tokenless_since, "it stays so while calls come and go"


def test_g8_a_failure_takes_an_hour_off_hunger_and_no_more() -> None:
    harness, failed, recent, starved = (
        DispatcherHarness(),
        starving(-1.5 * HOUR),
        starving(-0.4 * HOUR),
        starving(-0.6 * HOUR),
    )
    failed._failures = 1
    for account in (Account(), recent, failed, starved):
        harness.ask(account)
    assert next_one(harness, ONE_LEFT) is starved
    assert next_one(harness) is failed
    assert next_one(harness) is recent


def test_g17_refreshes_ahead_of_time_leave_last_and_in_the_order_in_which_their_tokens_end() -> None:
    harness = DispatcherHarness()
    later, sooner = with_token(harness, 20_000.0, 66_400.0), with_token(harness, 9000.0, 77_400.0)
    harness.ask()
    for account in (later, sooner):
        harness.feed(harness.dispatcher.refresh(account, harness.moment))
    caller = Account()
    harness.ask(caller)
    assert next_one(harness, ONE_LEFT) is caller
    assert next_one(harness) is sooner
    assert next_one(harness) is later


def test_g18_who_still_holds_a_valid_token_lets_those_without_one_go_first() -> None:
    """In its last minute: it queues for a new one, and could be served from the old one at any time."""
    harness, starved = DispatcherHarness(), starving(-60.0)
    has_token = with_token(harness, 30.0, 86_370.0)
    for account in (Account(), has_token, starved):
        harness.ask(account)
    assert next_one(harness, ONE_LEFT) is starved
    assert next_one(harness) is has_token


def test_g7_a_probe_is_chosen_by_failures_whatever_the_limit() -> None:
    harness, starved, fresh = DispatcherHarness(), starving(-9 * HOUR), Account()
    starved._failures = 1
    harness.ask()
    for account in (starved, fresh):
        harness.ask(account, FOREVER)
    harness.answer(harness.out[0], COUNTING)
    harness.feed(harness.dispatcher.force("open", harness.moment))
    assert harness.to_probe().account is fresh


def test_g8_a_less_patient_call_takes_its_flight_ahead() -> None:
    harness, first, second = DispatcherHarness(), Account(), Account()
    for account in (Account(), first, second):
        harness.ask(account)
    harness.ask(second, 5.0)
    assert next_one(harness) is second


def test_g9_a_flight_that_failed_goes_back_to_its_place() -> None:
    """The order is the same for who is put back as for who comes."""
    harness, starved, recent = DispatcherHarness(), starving(-9 * HOUR), starving(-7 * HOUR)
    for account in (starved, Account(), recent):
        harness.ask(account, FOREVER)
    harness.answer(harness.out[0], replace(DOWN_502, remaining=(1, HOUR)))
    harness.at(10.0)
    assert harness.out[0].account is recent, "an hour less hungry, but the other one rests"
    assert next_one(harness) is starved
