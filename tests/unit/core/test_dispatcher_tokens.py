"""What the dispatcher makes of a token that ended, was refused or was invalidated, and of a code that was spent."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace

import pytest

from colony_pool.config import PolicyConfig
from tests.support.dispatcher_harness import COUNTING, DOWN_502, GOOD, REFUSED, WALL, DispatcherHarness
from tests.support.private import (
    LOCAL,
    MAX_LIFE,
    OK,
    REJECTED,
    Account,
    HandledElsewhere,
    Instant,
    Outcome,
    SharedDenial,
    Token,
    TrackRecord,
    Waiter,
    issue,
    seconds_left,
)
from tests.support.private import actions as act
from tests.support.private import events as ev

CONFIG = PolicyConfig()
SPENT = Outcome(REJECTED, 401, "no", "AUTH_2FA_INVALID", totp_consumed=True, code_again=True)
SHORT = Outcome(OK, 200, jwt="short", life=3.0)


def a_token(jwt: str = "jwt", life: float = 3600.0, now: float = 0.0) -> Token:
    return issue(jwt, life, 0.0, 0.0, Instant(now, WALL + now), CONFIG)


def jwt_until(moment: float) -> str:
    return f"h.{base64.urlsafe_b64encode(json.dumps({'exp': moment}).encode()).decode().rstrip('=')}.s"


def served(outcome: Outcome = GOOD, **options: bool) -> tuple[DispatcherHarness, Account]:
    harness, account = DispatcherHarness(), Account(**options)
    harness.ask(account)
    give_code(harness, account)
    harness.answer(harness.out[0], outcome)
    return harness, account


def give_code(harness: DispatcherHarness, account: Account) -> None:
    if account.totp:
        harness.feed(harness.dispatcher.code_given(account, harness.moment))


def words_of(waiter: Waiter) -> str:
    assert waiter.failure is not None
    return waiter.failure.message


# -- how long it lives -------------------------------------------------------------------------------------------


def test_g17_an_exp_in_milliseconds_is_read_as_such() -> None:
    assert seconds_left(None, jwt_until((WALL + 70.0) * 1000.0), None, WALL) == (70.0, False)


@pytest.mark.parametrize(
    ("expires_in", "exp", "date", "left"),
    [
        (None, None, None, (None, False)),
        (90, None, None, (90.0, False)),
        (90, 70.0, None, (70.0, False)),
        (90, 1e9, 0.0, (90.0, True)),
        (None, 1e9, None, (None, False)),
        (0, 70.0, None, (70.0, False)),
        (90, -5.0, None, (90.0, False)),
        (90, -5.0, 0.0, (-5.0, False)),
        (90, 70.0, 7200.0, (70.0, False)),
        (None, -5.0, None, (-5.0, False)),
        (5, 70.0, None, (5.0, True)),
        (7, 70.0, None, (7.0, False)),
        (0.5, 70.0, None, (0.5, True)),
        (90, 1.0, None, (1.0, False)),
        (90, 0.0, None, (90.0, False)),
        (90, 10.0, 10.0, (10.0, False)),
        (90, 11.0, 10.0, (1.0, False)),
        (None, MAX_LIFE, None, (MAX_LIFE, False)),
        ("no", 70.0, None, (70.0, False)),
    ],
)
def test_g17_a_life_is_the_least_of_what_is_said(
    expires_in: object, exp: float | None, date: float | None, left: tuple[float | None, bool]
) -> None:
    jwt = "opaque" if exp is None else jwt_until(WALL + exp)
    assert left == seconds_left(expires_in, jwt, None if date is None else WALL + date, WALL)


def test_g17_pauses_double_while_tokens_end_too_soon() -> None:
    record = TrackRecord()
    for life, cut, pause in (
        (3.0, False, 5.0), (3.0, False, 10.0), (24.0, True, 20.0), (3.0, False, 40.0), (3.0, False, 60.0),
        (5.0, False, 5.0), (4.9, False, 5.0), (60.0, True, 5.0),
    ):  # fmt: skip
        record.exchanged(life, 100.0, CONFIG, cut=cut)
        assert (100.0 + pause, life, 100.0) == (record.renew_at, record.life, record.issued_at)


def test_g17_a_token_that_was_dropped_makes_the_next_pause_a_short_one() -> None:
    record, pauses = TrackRecord(), []
    for dropped in (False, False, True):
        if dropped:
            record.dropped(a_token(), 100.0, forced=False)
        record.exchanged(3.0, 100.0, CONFIG, cut=False)
        pauses.append(record.renew_at - 100.0)
    assert [5.0, 10.0, 5.0] == pauses


def test_g17_pauses_double_while_expires_in_cuts_tokens_short() -> None:
    harness, account = served(Outcome(OK, 200, jwt="cut", life=24.0, life_cut=True))
    harness.at(25.0)
    harness.ask(account)
    harness.answer(harness.out[0], Outcome(OK, 200, jwt="cut", life=24.0, life_cut=True))
    assert account.renew_at == 25.0 + 10.0


def test_g17_who_waits_for_a_pause_gets_the_next_token_and_who_cannot_is_told() -> None:
    harness, account = served(SHORT)
    harness.at(3.5)
    waiter, impatient = harness.ask(account), harness.ask(account, patience=1.0)
    assert [] == harness.out
    assert "was to live for 3 s only, and has ended; the next one is asked for in 2 s" in words_of(impatient)
    harness.at(5.0)
    harness.answer(harness.out[0], GOOD)
    assert waiter.token is account.token is not None


def test_g18_in_the_moment_in_which_the_pause_is_over_callers_of_a_token_in_its_margin_wait_for_a_new_one() -> None:
    harness, account = served(Outcome(OK, 200, jwt="short", life=6.0, life_cut=True))
    harness.at(5.0)
    assert (5.0, "margin") == (
        account.renew_at,
        account.token.age(harness.moment) if account.token is not None else "",
    )
    assert not harness.ask(account).done
    assert [account] == [permit.account for permit in harness.out]


def test_g18_a_token_in_its_margin_is_served_until_the_pause_is_over() -> None:
    harness, account = served(SHORT)
    harness.at(2.9)
    waiter = harness.ask(account)
    assert waiter.token is account.token
    assert not harness.dispatcher.waiters.flights.get(account), "nor is it refreshed ahead of time"


# -- what was refused --------------------------------------------------------------------------------------------


def test_g19_a_token_has_worked_unless_it_was_refused_before() -> None:
    record, good, bad = TrackRecord(), a_token("good"), a_token("bad")
    record.worked(good)
    record.doubt(good)
    assert record.has_worked(good)
    record.doubt(bad)
    record.worked(bad)
    assert not record.has_worked(bad)


@pytest.mark.parametrize(
    ("worked", "forced", "noted"), [(True, True, False), (False, True, True), (False, False, False)]
)
def test_g19_only_what_never_worked_is_replaced_once_a_minute(worked: bool, forced: bool, noted: bool) -> None:
    record, token = TrackRecord(), a_token()
    if worked:
        record.worked(token)
    record.dropped(token, 7.0, forced=forced)
    assert (7.0 if noted else -math.inf) == record.forced_at
    assert (not forced) == record.ask_anew
    assert not record.has_worked(token)
    assert not record.is_usable(token.jwt)
    assert record.is_usable("another") == forced, "an invalidation wants an exchange, and no other process's token"


def test_g19_the_last_eight_that_were_refused_are_known() -> None:
    record = TrackRecord()
    for n in range(9):
        record.replaced(a_token(f"t{n}"))
    assert [True] + [False] * 8 == [record.is_usable(f"t{n}") for n in range(9)]


@pytest.mark.parametrize(
    ("age", "once", "pause"),
    [
        (0.0, False, 0.33),
        (0.5, False, 0.6),
        (1.1, False, 1.1),
        (1.0, True, 1.2),
        (2.195, False, None),
        (2.2, False, None),
        (-1.0, False, None),
    ],
)
def test_g19_a_young_token_is_tried_again_as_it_grows_older(age: float, once: bool, pause: float | None) -> None:
    record, token = TrackRecord(), a_token()
    record.found(10.0)
    found = record.replay_in(token, 10.0 + age, 2.2, once=once)
    assert (pause is None) == (found is None)
    assert pause is None or pause == pytest.approx(found)
    record.worked(token)
    assert record.replay_in(token, 10.0 + age, 2.2, once=once) is None


@pytest.mark.parametrize(("seconds", "may"), [(59.9, False), (60.0, True)])
def test_g19_one_that_never_worked_may_be_replaced_a_minute_after_the_last_one(seconds: float, may: bool) -> None:
    record, token = TrackRecord(), a_token()
    record.dropped(a_token("first"), 100.0, forced=True)
    assert may == record.may_be_replaced(token, 100.0 + seconds, CONFIG)


def test_g19_a_key_that_never_had_a_token_has_none_that_is_young_or_short_lived() -> None:
    record = TrackRecord()
    assert record.replay_in(a_token(), 100.0, 2.2, once=False) is None
    assert record.life == math.inf


def test_g19_a_token_found_elsewhere_may_be_too_young_to_be_known() -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(account)
    harness.at(10.0)
    harness.answer(harness.out[0], Outcome(LOCAL, handled_elsewhere=HandledElsewhere(token=("theirs", 3600.0))))
    assert account.record.issued_at == 10.0


@pytest.mark.parametrize("exchanged", [True, False])
def test_a_token_is_told_with_whether_it_came_of_an_exchange_here(exchanged: bool) -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(account)
    found = Outcome(LOCAL, handled_elsewhere=HandledElsewhere(token=("theirs", 3600.0)))
    actions = harness.dispatcher.result(harness.out[0], GOOD if exchanged else found, harness.moment)
    assert [exchanged] == [action.exchanged for action in actions if isinstance(action, act.TokenChanged)]


def test_g18_who_waits_for_a_new_token_is_not_given_the_old_one_for_a_token_from_elsewhere_that_is_no_better() -> (
    None
):
    harness, account = DispatcherHarness(maxsize=1), Account()
    harness.ask(account)
    harness.answer(harness.out[0], replace(GOOD, life=3600.0))
    harness.at(3550.0)  # in its last minute
    harness.ask(patience=60.0)
    waiter = harness.ask(account)
    worse = a_token("worse", 40.0, harness.now)
    assert (True, False) == (worse.is_usable(harness.moment), waiter.done)
    harness.feed(harness.dispatcher.adopt(account, worse, harness.moment))
    assert not waiter.done


@pytest.mark.parametrize(("life", "issued_at"), [(7200.0, 5.0), (3595.0, -math.inf), (60.5, -math.inf)])
def test_g19_another_token_takes_the_place_of_one_that_was_refused(life: float, issued_at: float) -> None:
    """Whichever ends later; only one that does is taken for a new one."""
    harness, account = served(replace(GOOD, life=3600.0))
    old = account.token
    assert old is not None
    harness.at(5.0)
    other = a_token("other", life, 5.0)
    harness.feed(harness.dispatcher.adopt(account, other, harness.moment, instead_of=old))
    assert (other, old.ends_wall, issued_at) == (account.token, account.last_expiry, account.record.issued_at)
    harness.feed(harness.dispatcher.adopt(account, old, harness.moment, instead_of=other))
    assert account.token is other, "it was refused"


def test_g19_a_token_from_elsewhere_is_news_if_it_ends_later_or_there_is_none() -> None:
    account = Account()
    assert account.is_news("a", WALL)
    account.token = a_token(life=100.0)
    assert [False, True] == [account.is_news("a", WALL + 100.0 + more) for more in (1.0, 1.5)]


# -- what was invalidated ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        GOOD, REFUSED, Outcome(LOCAL, handled_elsewhere=HandledElsewhere(token=("theirs", 3600.0))),
        Outcome(LOCAL, handled_elsewhere=HandledElsewhere(denial=SharedDenial(45.0, 1, 401, None, "no"))),
    ],
    ids=["a token", "a refusal", "another process's token", "another process's refusal"],
)  # fmt: skip
def test_g19_what_was_asked_before_an_invalidation_is_asked_again(answer: Outcome) -> None:
    harness, account = DispatcherHarness(), Account()
    waiter = harness.ask(account)
    harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    harness.answer(harness.out[0], answer)
    assert (False, None, None) == (waiter.done, account.token, account.denial)
    harness.answer(harness.out[0], replace(GOOD, jwt="new"))
    assert waiter.token is not None
    assert waiter.token.jwt == "new"
    assert not account.record.ask_anew


def test_g19_each_invalidation_makes_void_what_was_asked_before_it() -> None:
    harness, account = DispatcherHarness(), Account()
    harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    waiter = harness.ask(account)
    harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    harness.answer(harness.out[0], GOOD)
    assert (False, None) == (waiter.done, account.token)


def test_g19_a_refresh_that_nobody_waits_for_ends_with_an_invalidation() -> None:
    harness, account = served()
    harness.at(80_000.0)
    harness.feed(harness.dispatcher.refresh(account, harness.moment))
    harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    harness.answer(harness.out[0], GOOD)
    assert ([], None, None, {}) == (
        harness.out,
        account.token,
        harness.dispatcher.waiters.flights.get(account),
        harness.dispatcher.waiters.flights,
    )


def test_g19_an_invalidation_ends_the_pause_of_who_waits() -> None:
    harness, account = served(SHORT)
    harness.at(3.5)
    harness.ask(account)
    assert [] == harness.out
    harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    assert len(harness.out) == 1


def test_g12_g19_what_is_asked_again_after_an_invalidation_is_a_first_attempt() -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(patience=0.5)
    harness.answer(harness.out[0], COUNTING)
    harness.ask(account)
    harness.at(30.0)
    assert [1] == [permit.generation for permit in harness.out], "of the first generation that is not the very first"
    harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    harness.answer(harness.out[0], GOOD)
    assert [False] == [permit.is_retry for permit in harness.out]


def test_g9_g19_a_call_that_never_parks_is_asked_for_again_in_the_very_moment_that_ends_a_backoff() -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(account, 60.0)
    harness.answer(harness.out[0], DOWN_502)
    while not harness.out:
        harness.at(harness.wake)
    waiter = harness.ask(account, 0.0)
    harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    harness.answer(harness.out[0], GOOD)
    assert not waiter.done
    harness.answer(harness.out[0], GOOD)
    assert waiter.token is account.token is not None


def test_g16_g19_a_key_that_another_process_has_is_waited_for_after_an_invalidation_too() -> None:
    harness, account = DispatcherHarness(), Account()
    waiter = harness.ask(account)
    harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    harness.answer(harness.out[0], Outcome(LOCAL, handled_elsewhere=HandledElsewhere()))
    assert ([], False) == (harness.out, waiter.done), "its exchange may be a new one"
    harness.at(0.1)
    assert [account] == [permit.account for permit in harness.out]


# -- a code that was spent -----------------------------------------------------------------------------------------


def test_g15_each_code_that_is_refused_in_a_row_waits_twice_as_many_windows() -> None:
    harness, account = DispatcherHarness(), Account(totp=True)
    waiter, now = harness.ask(account, 3600.0), 0.0
    window = harness.dispatcher.config.policy.totp_window
    first = window - WALL % window
    for windows in (0, 1, 3, 7):
        give_code(harness, account)
        harness.answer(harness.out[0], SPENT)
        now = harness.now + (first if harness.now == 0.0 else window) + windows * window
        assert not waiter.done
        assert now == pytest.approx(account.next_code_at)
        harness.at(now)
    give_code(harness, account)
    harness.answer(harness.out[0], GOOD)
    assert (True, 0, None) == (waiter.token is not None, account.code_refusals, account.code_refusal)


@pytest.mark.parametrize("patience", [0.0, 1.0])
def test_g15_who_cannot_wait_for_the_next_code_is_told_of_the_refusal(patience: float) -> None:
    harness, account = DispatcherHarness(), Account(totp=True)
    waiter = harness.ask(account, patience)
    give_code(harness, account)
    harness.answer(harness.out[0], SPENT)
    again = harness.ask(account, patience)
    for caller in (waiter, again):
        assert "; the next code is sent in" in words_of(caller)
    assert ([], {}) == (harness.out, harness.dispatcher.waiters.flights)


def test_g15_a_code_that_is_refused_is_told_with_the_seconds_until_the_next_one() -> None:
    harness, account = DispatcherHarness(), Account(totp=True)
    harness.at(7.0)
    harness.ask(account, 3600.0)
    harness.answer(harness.out[0], SPENT)
    caller = ev.KeyDenied(401, "AUTH_2FA_INVALID", account.next_code_at - 7.0, code_only=True)
    assert [caller] == [event for event in harness.events if isinstance(event, ev.KeyDenied)]


@pytest.mark.parametrize(("seconds", "rest"), [(60.0, 60.0), (60.5, 0.0)])
def test_g13_g15_a_refused_code_is_blamed_for_a_429_as_a_refused_key_is(seconds: float, rest: float) -> None:
    harness, culprit = DispatcherHarness(), Account(totp=True)
    harness.ask(culprit, 1.0)
    harness.answer(harness.out[0], SPENT)
    harness.at(seconds)
    harness.ask()
    harness.answer(harness.out[0], COUNTING)
    assert rest == pytest.approx(max(0.0, culprit.cooldown_until - harness.now))


# -- what API calls say of a token -------------------------------------------------------------------------------


@pytest.mark.parametrize("worked", [True, False])
def test_g19_one_that_works_is_replaced_at_once_when_it_is_refused_and_one_that_never_did_once_a_minute(
    worked: bool,
) -> None:
    harness, account = served()
    first = account.token
    assert first is not None
    harness.feed(harness.dispatcher.token_refused(account, first, harness.moment))
    harness.ask(account)
    harness.answer(harness.out[0], Outcome(OK, 200, jwt="second", life=86_400.0))
    second = account.token
    assert second is not None
    assert account.record.is_undecided(second)
    say = harness.dispatcher.token_worked if worked else harness.dispatcher.token_doubted
    harness.feed(say(account, second, harness.moment))
    assert not account.record.is_undecided(second)
    harness.feed(harness.dispatcher.token_refused(account, second, harness.moment))
    assert (None if worked else second) is account.token


def test_g19_a_token_that_is_refused_is_known_not_to_work_from_then_on() -> None:
    harness, account = served()
    first = account.token
    assert first is not None
    harness.feed(harness.dispatcher.token_refused(account, first, harness.moment))
    harness.ask(account)
    harness.answer(harness.out[0], Outcome(OK, 200, jwt="second", life=86_400.0))
    second = account.token
    assert second is not None
    harness.feed(harness.dispatcher.token_refused(account, second, harness.moment))
    assert second is account.token, "less than a minute after the first"
    assert not account.record.is_undecided(second)
    harness.feed(harness.dispatcher.token_worked(account, second, harness.moment))
    assert not account.record.has_worked(second)


def test_g19_a_token_that_is_refused_ends_the_pause_of_who_waits() -> None:
    harness, account = served(SHORT)
    harness.at(3.5)
    harness.ask(account)
    assert ([], 5.0) == (harness.out, harness.wake)
    assert account.token is not None
    harness.feed(harness.dispatcher.token_refused(account, account.token, harness.moment))
    assert [account] == [permit.account for permit in harness.out]


def test_g14_g15_a_second_factor_that_is_added_makes_an_earlier_refusal_void() -> None:
    harness, account = served(REFUSED)
    harness.ask(account)
    assert [] == harness.out, "the key rests"
    harness.feed(harness.dispatcher.second_factor_changed(account, harness.moment))
    assert account.totp
    harness.ask(account)
    assert [account] == [permit.account for permit in harness.out]


def test_g17_an_account_that_was_never_asked_for_knows_it_and_one_without_a_token_loses_none() -> None:
    account = Account()
    assert account.never_asked
    account.lose_token(5.0, forced=True)
    assert account.never_asked
    assert account.forced
    DispatcherHarness().ask(account)
    assert not account.never_asked
