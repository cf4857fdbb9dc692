"""Which keys are asked for a one-time code, how many at once, and for how long a code is at hand (G15)."""

from __future__ import annotations

import pytest

from tests.support.private import Account, CodeRequests


def test_g15_a_key_without_a_second_factor_needs_no_code() -> None:
    assert not CodeRequests().needs(Account(), 0.0)


@pytest.mark.parametrize(("now", "needs"), [(29.9, False), (30.0, True)])
def test_g15_a_code_is_at_hand_until_its_window_ends(now: float, needs: bool) -> None:
    codes, account = CodeRequests(), Account(totp=True)
    assert codes.needs(account, 0.0)
    codes.given(account, 0.0, 30.0)
    assert needs == codes.needs(account, now)


def test_g15_a_code_is_used_once_and_a_key_that_has_none_uses_none() -> None:
    codes, account = CodeRequests(), Account(totp=True)
    codes.given(account, 0.0, 30.0)
    codes.used(account)
    assert codes.needs(account, 0.0)
    codes.used(account)


def test_g15_a_callable_that_gives_no_code_takes_back_the_one_before() -> None:
    codes, account = CodeRequests(), Account(totp=True)
    codes.given(account, 0.0, 30.0)
    codes.missing(account)
    assert codes.needs(account, 0.0)


def test_g15_what_is_at_hand_of_one_key_stays_when_that_of_another_has_ended() -> None:
    codes, early, late, new = CodeRequests(), Account(totp=True), Account(totp=True), Account(totp=True)
    codes.given(early, 0.0, 30.0)
    codes.given(late, 0.0, 60.0)
    codes.given(new, 30.0, 60.0)
    assert [True, False, False] == [codes.needs(account, 30.0) for account in (early, late, new)]


def test_g15_one_that_hangs_for_a_second_makes_room_and_one_that_was_asked_since_does_not() -> None:
    codes = CodeRequests()
    assert codes.free_at(1, 0.0) == 0.0
    codes.ask(Account(totp=True), 0.0)
    assert codes.free_at(1, 0.5) == 1.0
    assert codes.free_at(2, 0.5) == 0.5
    codes.ask(Account(totp=True), 0.75)
    assert codes.free_at(1, 1.0) == 1.75
