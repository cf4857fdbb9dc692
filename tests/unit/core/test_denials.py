"""Refused keys by themselves, and the server that refuses everybody (G14)."""

from __future__ import annotations

import pytest

from colony_pool.config import PolicyConfig
from tests.support.private import REJECTED, Account, DenialCache, Instant, Outcome, next_window

REFUSED = Outcome(REJECTED, 401, "no")
CODE = Outcome(REJECTED, 401, "no", "AUTH_2FA_INVALID")


def good(count: int) -> list[Account]:
    accounts = [Account() for _ in range(count)]
    for account in accounts:
        account.has_succeeded = True
    return accounts


def cache(**options: float) -> DenialCache:
    return DenialCache(PolicyConfig(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wall", "at"), [(1_000_000_020.0, 130.0), (1_000_000_000.0, 120.0), (1_000_000_049.0, 101.0)]
)
def test_g15_the_next_window_begins_when_the_wall_clock_says_so(wall: float, at: float) -> None:
    assert at == next_window(Instant(100.0, wall), 30.0)


def test_g14_a_refusal_stands_until_its_time_is_over() -> None:
    refusals, account = cache(), Account()
    assert account.refusal_at(0.0) is None
    denial = refusals.deny(account, REFUSED, Instant(10.0, 0.0))
    assert denial is account.denial
    assert (70.0, 1, False) == (denial.until, denial.times, denial.code_only)
    assert account.refusal_at(69.9) is denial.failure
    assert account.refusal_at(70.0) is None


def test_g14_its_words_are_those_of_the_answer() -> None:
    failure = cache().deny(Account(), REFUSED, Instant(0.0, 0.0)).failure
    assert ("/auth/token: HTTP 401: no", 401) == (failure.message, failure.status)
    assert "The API key was refused: check that it is the current one of this agent" == failure.hint


def test_g14_a_refused_code_is_no_refused_key() -> None:
    refusals, account = cache(), Account(totp=True)
    denial = refusals.deny(account, CODE, Instant(100.0, 1_000_000_000.0))
    assert (120.0, 0, True) == (denial.until, denial.times, denial.code_only)
    assert denial.failure.code == "AUTH_2FA_INVALID"
    assert account.refusal_at(119.0) is denial.failure
    assert refusals.deny(account, REFUSED, Instant(130.0, 0.0)).until == 190.0, "the first refusal of its key"


def test_g14_a_thousand_refusals_overflow_nothing() -> None:
    refusals, account = cache(), Account()
    for _ in range(2000):
        refusals.deny(account, REFUSED, Instant(0.0, 0.0))
    assert account.denial is not None
    assert account.denial.until == 3600.0


def test_g14_the_last_refused_key_is_known() -> None:
    refusals, account = cache(), Account()
    refusals.deny(account, REFUSED, Instant(5.0, 0.0))
    assert refusals._last == (5.0, account)


def test_g14_a_key_that_never_worked_accuses_nobody() -> None:
    refusals = cache()
    assert [0] * 20 == [refusals.tried(Account(), True, 0.0) for _ in range(20)]


def test_g14_more_than_half_of_five_good_keys_refused_is_the_servers_fault() -> None:
    refusals, accounts = cache(), good(5)
    for account in accounts[:4]:
        assert refusals.tried(account, True, 0.0) == 0
        refusals.deny(account, REFUSED, Instant(0.0, 0.0))
    assert refusals.tried(accounts[4], True, 1.0) == 5
    assert [None] * 5 == [account.denial for account in accounts]
    again = refusals.deny(accounts[0], REFUSED, Instant(2.0, 0.0))
    assert refusals.tried(accounts[1], True, 3.0) == 5
    assert (1, None) == (again.times, accounts[0].denial), "the next ones are forgiven, too"


def test_g14_who_worked_since_is_not_forgiven_by_the_servers_fault() -> None:
    refusals, accounts = cache(), good(6)
    for account in accounts[:4]:
        refusals.tried(account, True, 0.0)
        refusals.deny(account, REFUSED, Instant(0.0, 0.0))
    refusals.tried(accounts[0], False, 1.0)
    assert refusals.tried(accounts[4], True, 1.0) == 4
    assert accounts[0].denial is not None, "its refusal was its own"


def test_g14_who_was_refused_more_than_a_minute_ago_is_not_forgiven() -> None:
    refusals, accounts = cache(), good(6)
    refusals.tried(accounts[0], True, 0.0)
    refusals.deny(accounts[0], REFUSED, Instant(0.0, 0.0))
    for account in accounts[1:4]:
        refusals.tried(account, True, 50.0)
    assert [0, 5] == [refusals.tried(account, True, 61.0) for account in accounts[4:]]
    assert accounts[0].denial is not None


def test_g14_a_refusal_of_a_key_that_never_worked_is_its_own() -> None:
    refusals, stranger, accounts = cache(), Account(), good(5)
    refusals.tried(stranger, True, 0.0)
    refusals.deny(stranger, REFUSED, Instant(0.0, 0.0))
    for account in accounts:
        refusals.tried(account, True, 0.0)
    assert stranger.denial is not None


def test_g14_half_of_them_is_not_enough() -> None:
    refusals, accounts = cache(), good(6)
    for account in accounts[:3]:
        refusals.tried(account, False, 0.0)
    assert [0, 0, 0] == [refusals.tried(account, True, 0.0) for account in accounts[3:]]
    assert refusals.tried(accounts[0], True, 0.0) == 4, "each key counts once, with its last verdict"


def test_g14_a_success_accuses_nobody() -> None:
    refusals, accounts = cache(), good(9)
    for account in accounts[:8]:
        refusals.tried(account, True, 0.0)
    assert refusals.tried(accounts[8], False, 0.0) == 0


@pytest.mark.parametrize(("later", "accused"), [(60.0, 5), (60.1, 0)])
def test_g14_only_the_last_minute_counts(later: float, accused: int) -> None:
    refusals, accounts = cache(), good(5)
    for account in accounts[:4]:
        refusals.tried(account, True, 0.0)
    assert accused == refusals.tried(accounts[4], True, later)


def test_g14_a_key_that_is_tried_again_is_young_again() -> None:
    refusals, accounts = cache(), good(5)
    for account in accounts[:4]:
        refusals.tried(account, True, 0.0)
    for account in accounts[:4]:
        refusals.tried(account, True, 50.0)
    assert refusals.tried(accounts[4], True, 100.0) == 5


def test_g14_who_was_not_tried_again_is_forgotten_whoever_was() -> None:
    refusals, accounts = cache(), good(5)
    for account in accounts[:4]:
        refusals.tried(account, True, 0.0)
    refusals.tried(accounts[0], True, 50.0)
    assert refusals.tried(accounts[4], True, 100.0) == 0, "two within the last minute"
