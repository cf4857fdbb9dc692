"""What listeners, metrics and the log hear of a call's way, to the letter: nothing twice, and nothing left out."""

from __future__ import annotations

import pytest

from colony_pool.config import PolicyConfig, RetryBudgetConfig
from tests.support.dispatcher_harness import DOWN_502, FOREVER, GOOD, MINE, REFUSED, SILENCE, WALL, cancel
from tests.support.private import LOCAL, SERVER_ERROR, Account, Instant, Outcome, Waiter, issue
from tests.support.private import events as ev
from tests.support.recording_harness import RecordingHarness, begun, called, ended, served


def test_g16_a_cold_call_its_attempt_and_whoever_joined_it() -> None:
    harness, account = RecordingHarness(), Account()
    harness.ask(account)
    harness.at(1.25)
    harness.ask(account)
    assert [ev.TokenAsked("flight"), begun(), ev.TokenAsked("coalesced")] == harness.hear()
    harness.later(0.25, GOOD)
    assert harness.hear() == [
        ended("ok", 200, 0.5), called("ok", 0.5), called("ok", 0.25), ev.RefreshFinished("miss", "success", 0.5)
    ]  # fmt: skip
    assert ["success"] == harness.replayed()
    assert [(account, account.token, None)] == harness.grants


def test_g18_a_call_that_comes_late_is_served_by_the_token_at_hand() -> None:
    harness, account = served()
    assert harness.ask(account).token is account.token
    assert [ev.TokenAsked("coalesced"), called("ok", 0.0)] == harness.hear()
    harness.at(86_400.0 - 30.0)
    harness.force("open")
    harness.hear()
    assert harness.ask(account).token is account.token
    assert [ev.TokenAsked("margin"), called("ok", 0.0)] == harness.hear()


def test_g14_a_refusal_and_who_comes_after_it() -> None:
    harness, account = RecordingHarness(), Account()
    harness.ask(account)
    harness.hear()
    harness.later(0.5, REFUSED)
    assert harness.hear() == [
        ended("denied", 401, 0.5), ev.KeyDenied(401, None, 60.0, code_only=False), called("error", 0.5),
        ev.RefreshFinished("miss", "failure", 0.5),
    ]  # fmt: skip
    assert ["success"] == harness.replayed(), "the endpoint lives"
    harness.ask(account)
    assert [ev.TokenAsked("refused"), called("fast_fail", 0.0)] == harness.hear()


def failing(cause: str, next_in: float | None) -> ev.StreakStarted:
    return ev.StreakStarted(cause, next_in, 1, known_good=False)


def test_g12_a_retry_says_what_it_is_a_retry_of() -> None:
    harness = RecordingHarness()
    harness.ask()
    harness.later(0.5, DOWN_502)
    assert [ev.TokenAsked("flight"), begun(), ended("down", 502, 0.5), failing("HTTP 502", 2.0)] == harness.hear()
    harness.at(3.5)
    assert [begun("down")] == harness.hear()
    harness.later(0.5, GOOD)
    assert harness.hear() == [
        ended("ok", 200, 0.5), called("ok_retried", 3.0), ev.RefreshFinished("miss", "success", 3.0)
    ]  # fmt: skip
    assert ["failure", "success"] == harness.replayed()


def test_g12_a_retry_that_the_budget_refuses_is_told_once() -> None:
    harness = RecordingHarness(retry_budget=RetryBudgetConfig(ratio=0.0, reserve=0))
    harness.ask(patience=FOREVER)
    harness.later(0.5, DOWN_502)
    harness.at(3.5)
    harness.hear()
    for _ in range(3):
        cancel(harness, harness.ask(patience=FOREVER))
        harness.at(harness.now + 1.0)
    assert ev.RetryDenied("budget") not in harness.hear()
    assert harness.dispatcher.retry_budget.balance(harness.now) == 0.0


def test_g12_a_refill_that_rounding_puts_at_this_very_moment_is_asked_for_a_moment_later() -> None:
    harness = RecordingHarness(retry_budget=RetryBudgetConfig(ratio=0.0, reserve=1, window=21.0))
    harness.dispatcher.retry_budget.withdraw(harness.now)
    harness.ask(patience=FOREVER)
    harness.later(0.5, DOWN_502)
    harness.at(5.0)
    refill = harness.wake
    harness.at(refill)
    assert [] == harness.out, "63 sixtieths of the window, divided by a sixtieth, are a little less than 63"
    assert refill < harness.wake < refill + 0.001
    harness.at(harness.wake)
    assert [True] == [permit.is_retry for permit in harness.out]


def test_g12_each_flight_that_the_budget_refuses_is_told() -> None:
    harness = RecordingHarness(retry_budget=RetryBudgetConfig(ratio=0.0, reserve=0))
    for _ in range(2):
        harness.ask(patience=FOREVER)
        harness.later(0.5, DOWN_502)
    harness.at(10.0)
    assert [ev.RetryDenied("budget")] == [event for event in harness.hear() if isinstance(event, ev.RetryDenied)]


def test_g9_who_cannot_wait_for_the_retry_leaves_with_the_failure() -> None:
    harness = RecordingHarness()
    hasty = harness.ask(patience=1.0)
    harness.hear()
    harness.later(0.5, DOWN_502)
    assert harness.hear() == [
        ended("down", 502, 0.5), failing("HTTP 502", 2.0), ev.RetryDenied("deadline"), called("error", 0.5),
        ev.RefreshFinished("miss", "failure", 0.5),
    ]  # fmt: skip
    assert hasty.failure is not None
    assert hasty.failure.message == "/auth/token: HTTP 502"


def test_g9_who_leaves_after_a_retry_was_retried() -> None:
    harness = RecordingHarness()
    waiter = harness.ask(patience=3.0)
    harness.later(0.5, DOWN_502)
    harness.at(3.5)
    harness.hear()
    harness.later(0.5, DOWN_502)
    assert harness.hear() == [
        ended("down", 502, 0.5), ev.RetryDenied("deadline"), called("error_retried", 3.0),
        ev.RefreshFinished("miss", "failure", 3.0),
    ]  # fmt: skip
    assert waiter.failure is not None
    assert "HTTP 502 in 2 attempts" in waiter.failure.message


@pytest.mark.parametrize(
    ("outcome", "kind", "status"), [(Outcome(SERVER_ERROR, 500, "HTTP 500"), "fault", 500), (SILENCE, "network", 0)]
)
def test_g11_what_is_not_retried_says_so(outcome: Outcome, kind: str, status: int) -> None:
    harness = RecordingHarness()
    harness.ask()
    harness.hear()
    harness.later(0.5, outcome)
    assert harness.hear() == [
        ended(kind, status, 0.5), ev.RetryDenied("outcome"), failing(outcome.detail, None), called("error", 0.5),
        ev.RefreshFinished("miss", "failure", 0.5),
    ]  # fmt: skip


def test_a_local_end_is_neither_a_failure_of_the_endpoint_nor_an_attempt() -> None:
    harness = RecordingHarness()
    harness.ask()
    harness.hear()
    harness.later(0.5, MINE)
    assert [ended("local", 0, 0.5), called("fast_fail", 0.5)] == harness.hear(), "nothing reached the wire"
    assert [] == harness.replayed()


def test_g3_a_caller_that_leaves_is_counted_once() -> None:
    harness = RecordingHarness()
    waiter = harness.ask()
    harness.at(1.5)
    harness.hear()
    cancel(harness, waiter)
    cancel(harness, waiter)
    assert [called("cancelled", 0.5)] == harness.hear()
    harness.later(0.5, DOWN_502)
    assert [ended("down", 502, 1.0), ev.RefreshFinished("miss", "failure", 1.0)] == harness.hear()


def test_g14_a_server_that_refuses_everybody_is_blamed() -> None:
    harness = RecordingHarness()
    accounts = [Account() for _ in range(5)]
    for account in accounts:
        account.has_succeeded = True
        waiter = harness.ask(account)
        harness.hear()
        harness.later(0.5, Outcome("denied", 401, "no", "CODE"))
    assert [ev.ServerBlamed(5), ended("fault", 401, 0.5)] == harness.hear()[:2]
    assert waiter.failure is not None
    assert waiter.failure.message == ("/auth/token: HTTP 401 for more than half of the keys that worked a minute ago")
    assert waiter.failure.code is None


def test_g17_a_refresh_ahead_of_time_is_soft_and_no_call() -> None:
    harness, account = served()
    harness.at(60_000.0)
    harness.refresh(account)
    harness.refresh(account)
    assert [begun()] == harness.hear()
    harness.later(0.5, DOWN_502)
    assert [ended("down", 502, 0.5), ev.RefreshFinished("soft", "failure", 0.5)] == harness.hear()


def test_g19_a_refresh_that_a_401_forced_says_so() -> None:
    harness, account = served()
    old = account.token
    assert old is not None
    harness.feed(harness.dispatcher.token_refused(account, old, harness.moment))
    assert (None, True, harness.now, old.ends_wall) == (
        account.token, account.forced, account.record.forced_at, account.last_expiry,
    )  # fmt: skip
    assert harness.grants[1:] == [(account, None, old)]
    harness.ask(account)
    harness.later(0.5, GOOD)
    assert ev.RefreshFinished("forced", "success", 0.5) in harness.hear()
    assert not account.forced


def test_g19_a_token_that_was_refused_says_nothing_of_its_key() -> None:
    harness, account = served()
    account.denial = harness.dispatcher.denials.deny(account, REFUSED, harness.moment)
    assert account.token is not None
    harness.feed(harness.dispatcher.token_refused(account, account.token, harness.moment))
    assert account.forced
    assert account.denial is not None


def test_g19_a_token_that_was_dropped_by_hand_forces_nothing() -> None:
    harness, account = served()
    account.denial = harness.dispatcher.denials.deny(account, REFUSED, harness.moment)
    harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    assert (None, False, -float("inf")) == (account.token, account.forced, account.record.forced_at)
    assert account.denial is None


def test_a_token_from_the_disk_serves_who_waits_in_the_queue() -> None:
    harness, account = RecordingHarness(maxsize=1), Account()
    harness.ask()
    waiter = harness.ask(account)
    harness.hear()
    found = issue("disk", 3600.0, 0.0, 0.0, harness.moment, PolicyConfig())
    harness.feed(harness.dispatcher.adopt(account, found, harness.moment))
    assert [ev.TokenAsked("disk"), called("ok", 0.0), ev.RefreshFinished("miss", "success", 0.0)] == harness.hear()
    assert waiter.token is account.token is found
    assert [(account, found, None)] == harness.grants
    harness.feed(harness.dispatcher.adopt(account, found, harness.moment))
    assert [] == harness.hear(), "it is no better than what is there"


def test_a_token_from_the_disk_that_is_in_its_margin_ends_no_waiting() -> None:
    harness, account = RecordingHarness(maxsize=1), Account()
    harness.ask()
    waiter = harness.ask(account)
    account.forced = True
    short = issue("disk", 10.0, 3600.0, 0.0, harness.moment, PolicyConfig())
    harness.feed(harness.dispatcher.adopt(account, short, harness.moment))
    assert (False, False) == (waiter.done, account.forced)


def test_a_token_from_the_disk_leaves_an_attempt_that_is_out_alone() -> None:
    harness, account = RecordingHarness(), Account()
    waiter = harness.ask(account)
    found = issue("disk", 3600.0, 0.0, 0.0, harness.moment, PolicyConfig())
    harness.feed(harness.dispatcher.adopt(account, found, harness.moment))
    assert not waiter.done
    harness.later(0.5, GOOD)
    assert waiter.token is account.token is not found


def test_g26_a_pool_that_closes_tells_everybody_and_aborts_what_is_out() -> None:
    harness = RecordingHarness()
    waiters = [harness.ask() for _ in range(2)]
    permit = harness.out[0]
    harness.at(1.5)
    harness.hear()
    harness.feed(harness.dispatcher.close(harness.moment))
    assert [permit] == harness.aborted
    assert permit.alive is False
    assert harness.hear() == [
        called("error", 0.5), ev.RefreshFinished("miss", "failure", 0.5), called("fast_fail", 0.5)
    ]  # fmt: skip
    assert ["PoolClosedError"] * 2 == [type(w.failure.exception()).__name__ for w in waiters if w.failure]
    late = Waiter(Account(), 5.0)
    harness.feed(harness.dispatcher.demand(late, Instant(harness.now, WALL)))
    assert [ev.TokenAsked("refused"), called("fast_fail", 0.0)] == harness.hear()
    assert late.failure is not None
    assert late.failure.error.__name__ == "PoolClosedError"


def test_g15_a_spent_code_is_no_attempt_and_its_caller_hears_of_the_next_window() -> None:
    harness, account = RecordingHarness(), Account(totp=True)
    hasty = harness.ask(account, 10.0)
    harness.hear()
    harness.later(0.5, Outcome(LOCAL, detail="spent", code="AUTH_2FA_REQUIRED", wait_for_totp=True))
    assert harness.hear() == [ended("local", 0, 0.5), ev.RetryDenied("deadline"), called("fast_fail", 0.5)]
    assert hasty.failure is not None
    assert (hasty.failure.message, hasty.failure.code) == ("/auth/token: spent", "AUTH_2FA_REQUIRED")
