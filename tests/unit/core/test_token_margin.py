"""A call whose token is in its last minute: it waits for a new one, and gets the old one before any failure."""

from __future__ import annotations

from tests.support.dispatcher_harness import DOWN_502, FOREVER
from tests.support.private import Account
from tests.support.recording_harness import RecordingHarness, called, served


def last_minute(maxsize: int = 64) -> tuple[RecordingHarness, Account]:
    """A dispatcher that gave one token, half a minute before it ends."""
    harness, account = served(maxsize=maxsize)
    assert account.token is not None
    harness.at(account.token.ends - 30.0)
    return harness, account


def test_g13_g18_a_pause_that_ends_this_moment_keeps_nobody_from_a_new_token() -> None:
    harness, account = last_minute()
    harness.dispatcher.rate_limit.paused_until = harness.now
    assert not harness.ask(account).done
    assert [account] == [permit.account for permit in harness.out]


def test_g18_who_got_no_turn_is_given_the_old_token_and_was_not_retried() -> None:
    harness, account = last_minute(maxsize=1)
    harness.ask(patience=FOREVER)
    waiter = harness.ask(account, 5.0)
    harness.hear()
    harness.at(harness.now + 5.05)
    assert waiter.token is account.token is not None
    assert [called("ok", 5.05)] == harness.hear()


def test_g18_whose_attempt_failed_is_retried_while_the_old_token_lasts() -> None:
    harness, account = last_minute()
    harness.ask(account, FOREVER)
    harness.later(0.5, DOWN_502)
    harness.at(harness.now + 3.0)
    assert [account] == [permit.account for permit in harness.out]


def test_g18_whose_attempt_failed_is_given_the_old_token_and_was_retried() -> None:
    harness, account = last_minute()
    waiter = harness.ask(account, 1.0)
    harness.later(0.5, DOWN_502)
    assert waiter.token is account.token is not None
    assert called("ok_retried", 0.5) in harness.hear()
