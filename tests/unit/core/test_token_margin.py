"""A call whose token is in its last minute: it waits for a new one, and gets the old one before any failure."""

from __future__ import annotations

from tests.support.desk import DOWN_502, FOREVER
from tests.support.private import Account
from tests.support.told import Told, called, served


def last_minute(maxsize: int = 64) -> tuple[Told, Account]:
    """A desk that gave one token, half a minute before it ends."""
    desk, account = served(maxsize=maxsize)
    assert account.token is not None
    desk.at(account.token.ends - 30.0)
    return desk, account


def test_g13_g18_a_hold_that_ends_this_moment_keeps_nobody_from_a_new_token() -> None:
    desk, account = last_minute()
    desk.desk.rate_limit.paused_until = desk.now
    assert not desk.ask(account).done
    assert [account] == [permit.account for permit in desk.out]


def test_g18_who_got_no_turn_is_given_the_old_token_and_was_not_retried() -> None:
    desk, account = last_minute(maxsize=1)
    desk.ask(patience=FOREVER)
    waiter = desk.ask(account, 5.0)
    desk.hear()
    desk.at(desk.now + 5.05)
    assert waiter.token is account.token is not None
    assert [called("ok", 5.05)] == desk.hear()


def test_g18_whose_attempt_failed_is_retried_while_the_old_token_lasts() -> None:
    desk, account = last_minute()
    desk.ask(account, FOREVER)
    desk.later(0.5, DOWN_502)
    desk.at(desk.now + 3.0)
    assert [account] == [permit.account for permit in desk.out]


def test_g18_whose_attempt_failed_is_given_the_old_token_and_was_retried() -> None:
    desk, account = last_minute()
    waiter = desk.ask(account, 1.0)
    desk.later(0.5, DOWN_502)
    assert waiter.token is account.token is not None
    assert called("ok_retried", 0.5) in desk.hear()
