"""Single flight, holds, refusals, codes and tokens, on virtual time."""

from __future__ import annotations

import math

import pytest

from colony_pool.config import PolicyConfig, RetryBudgetConfig
from colony_pool.errors import ColonyRateLimitError, ColonyServerError
from tests.support.dispatcher_harness import COUNTING, DOWN_502, GOOD, REFUSED, START, WALL, DispatcherHarness
from tests.support.private import LOCAL, REJECTED, Account, Instant, Outcome, Remaining, issue


def test_g16_one_attempt_serves_all_callers_of_a_key() -> None:
    harness, account = DispatcherHarness(), Account()
    waiters = [harness.ask(account) for _ in range(1000)]
    assert len(harness.started) == 1
    harness.answer(harness.out[0], GOOD)
    assert all(w.token is account.token for w in waiters)
    assert harness.dispatcher.waiters.flights == {}


def test_g3_a_cancelled_caller_disturbs_nobody() -> None:
    harness, account = DispatcherHarness(), Account()
    gone, stays = harness.ask(account), harness.ask(account)
    harness.feed(harness.dispatcher.cancel(gone, harness.moment))
    harness.answer(harness.out[0], GOOD)
    assert gone.token is None
    assert stays.token


def test_g3_when_all_callers_are_gone_the_token_is_kept_and_nothing_leaks() -> None:
    harness, account = DispatcherHarness(), Account()
    gone = harness.ask(account)
    harness.feed(harness.dispatcher.cancel(gone, harness.moment))
    harness.answer(harness.out[0], GOOD)
    assert account.token is not None
    assert (0, set(), {}) == (
        harness.dispatcher.waiters.count,
        harness.dispatcher.in_flight.permits,
        harness.dispatcher.waiters.flights,
    )


def test_g12_a_refused_retry_waits_its_turn() -> None:
    harness = DispatcherHarness(retry_budget=RetryBudgetConfig(ratio=0.0, reserve=2))
    harness.ask()
    harness.answer(harness.out[0], GOOD)
    times = []
    waiter = harness.ask(patience=1000.0)
    for _ in range(4):
        while not harness.out:
            harness.at(harness.wake)
        times.append(harness.now)
        harness.answer(harness.out[0], DOWN_502)
    assert times[3] - times[1] > 60.0, "two retries in sixty seconds, and no third"
    assert not waiter.done


def test_g13_a_pause_stops_everybody_and_ends_with_one_attempt() -> None:
    harness = DispatcherHarness()
    first = harness.ask()
    harness.answer(harness.out[0], COUNTING)
    assert first.failure is not None
    assert first.failure.extra["retry_after"] == 30.0
    for _ in range(10):
        harness.ask()
    harness.at(29.9)
    assert harness.out == []
    harness.at(30.1)
    assert len(harness.out) == 1


def test_g13_the_key_that_was_refused_just_before_waits_twice_as_long() -> None:
    harness, culprit = DispatcherHarness(), Account()
    harness.ask(culprit)
    harness.answer(harness.out[0], REFUSED)
    harness.ask()
    harness.answer(harness.out[0], COUNTING)
    assert culprit.cooldown_until == pytest.approx(60.0)


def test_g13_no_pause_is_slept_beyond_a_minute() -> None:
    harness = DispatcherHarness()
    waiting = harness.ask(patience=36_000.0)
    other = harness.ask(patience=36_000.0)
    harness.answer(harness.out[0], Outcome("throttled", 429, retry_after=86_400.0))
    for waiter in (waiting, other):
        assert waiter.failure is not None
        assert waiter.failure.error is ColonyRateLimitError


def test_g13_remaining_zero_starts_the_pause() -> None:
    harness = DispatcherHarness()
    harness.ask()
    harness.ask()
    harness.answer(harness.out[0], Outcome("ok", 200, jwt="j", exhausted_for=20.0))
    assert harness.out == []
    harness.at(20.1)
    assert len(harness.out) == 1


def test_g14_a_refusal_is_remembered_for_twice_as_long_each_time() -> None:
    harness, account = DispatcherHarness(), Account()
    rests = []
    for _ in range(8):
        harness.ask(account)
        harness.answer(harness.out[0], REFUSED)
        assert account.denial is not None
        rests.append(account.denial.until - harness.now)
        assert harness.ask(account).failure is account.denial.failure
        harness.at(account.denial.until + 0.1)
    assert rests == pytest.approx([60, 120, 240, 480, 960, 1920, 3600, 3600])


def test_g14_a_refused_code_rests_only_until_the_next_window() -> None:
    harness, account = DispatcherHarness(), Account(totp=True)
    harness.at(7.0)
    harness.ask(account)
    harness.answer(harness.out[0], Outcome(REJECTED, 401, "no", "AUTH_2FA_INVALID"))
    assert account.denial is not None
    assert (WALL + account.denial.until) % 30.0 == pytest.approx(0.0, abs=1e-6)


def test_g14_half_of_the_good_keys_refused_is_the_servers_fault() -> None:
    harness = DispatcherHarness()
    accounts = [Account() for _ in range(9)]
    for account in accounts:
        harness.ask(account)
        harness.answer(harness.out[0], GOOD)
        account.token = None
    failures = []
    for account in accounts[:6]:
        waiter = harness.ask(account)
        harness.answer(harness.out[0], REFUSED)
        failures.append(waiter.failure.error if waiter.failure else None)
    assert failures[-1] is ColonyServerError
    assert all(account.denial is None for account in accounts)


def test_g15_a_spent_code_waits_for_the_next_window_within_the_patience() -> None:
    harness, account = DispatcherHarness(), Account(totp=True)
    harness.at(10.0)
    spent = Outcome(LOCAL, detail="spent", wait_for_totp=True)
    hasty = harness.ask(account, 5.0)
    harness.answer(harness.out[0], spent)
    assert hasty.failure is not None
    patient = harness.ask(account, 60.0)
    assert not patient.done
    before = len(harness.started)
    while len(harness.started) == before:
        harness.at(harness.wake)
    assert harness.moment.wall % 30.0 == pytest.approx(20.0 * 0, abs=0.01) or harness.moment.wall % 30.0 > 29.9


def test_g17_the_soft_point_is_spread_by_the_key_and_survives_a_restart() -> None:
    config = PolicyConfig()
    early = issue("j", 86_400, 0.0, 0.0, START, config)
    late = issue("j", 86_400, 0.0, 0.999, START, config)
    assert early.refresh_at == pytest.approx(0.6 * 86_400)
    assert late.refresh_at == pytest.approx(0.8 * 86_400, rel=1e-3)
    again = issue("j", 80_000, 6_400.0, 0.0, START, config)
    assert again.refresh_at == pytest.approx(0.6 * 86_400 - 6_400)


def test_g17_a_failed_background_refresh_rests_and_tells_nobody() -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(account)
    harness.answer(harness.out[0], GOOD)
    harness.at(60_000.0)
    harness.feed(harness.dispatcher.refresh(account, harness.moment))
    harness.answer(harness.out[0], DOWN_502)
    assert 300.0 <= account.refresh_not_before - harness.now <= 600.0
    harness.feed(harness.dispatcher.refresh(account, harness.moment))
    assert harness.out == []


def test_g18_in_its_last_minute_a_token_is_served_when_no_new_one_can_be_had() -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(account)
    harness.answer(harness.out[0], GOOD)
    harness.at(86_400.0 - 30.0)
    waiting = harness.ask(account)
    assert not waiting.done, "callers wait for a new one"
    harness.answer(harness.out[0], Outcome("fault", 500, "HTTP 500"))
    assert waiting.token is account.token, "the old one is still better than an error"
    harness.feed(harness.dispatcher.force("open", harness.moment))
    assert harness.ask(account).token is account.token
    harness.at(86_400.0 + 1.0)
    assert not harness.ask(account, 36_000.0).done


@pytest.mark.parametrize(("step", "usable"), [(-3600.0, True), (3600.0 * 24, False)])
def test_g20_either_clock_ends_a_token_and_neither_prolongs_it(step: float, usable: bool) -> None:
    token = issue("j", 3600.0, 0.0, 0.0, START, PolicyConfig())
    assert token.is_usable(Instant(100.0, WALL + 100.0 + step)) is usable
    assert not token.is_valid(Instant(3600.0, WALL + 3600.0 - 7200.0)), "a clock set back prolongs nothing"
    assert not token.is_valid(Instant(10.0, WALL + 7200.0)), "a laptop that slept: only the wall clock went on"


def test_g19_only_the_rejected_token_is_dropped() -> None:
    harness, account = DispatcherHarness(), Account()
    harness.ask(account)
    harness.answer(harness.out[0], GOOD)
    newer = account.token
    assert newer is not None
    older = issue("other", 10.0, 0.0, 0.0, START, PolicyConfig())
    harness.feed(harness.dispatcher.token_refused(account, older, harness.moment))
    assert account.token is newer
    harness.feed(harness.dispatcher.token_refused(account, newer, harness.moment))
    assert account.token is None


def test_g26_close_tells_everybody() -> None:
    harness = DispatcherHarness()
    waiters = [harness.ask() for _ in range(100)]
    harness.feed(harness.dispatcher.close(harness.moment))
    assert all(w.done and w.failure for w in waiters)
    assert (0, {}, set()) == (
        harness.dispatcher.waiters.count,
        harness.dispatcher.waiters.flights,
        harness.dispatcher.in_flight.permits,
    )
    assert harness.ask().failure is not None


def test_g18_a_refused_key_is_served_its_valid_token_in_the_margin() -> None:
    harness, account = DispatcherHarness(), Account()
    account.token = issue("jwt", 30.0, 3570.0, 0.0, harness.moment, PolicyConfig())
    assert "margin" == account.token.age(harness.moment)
    harness.ask(account)
    harness.answer(harness.out[0], REFUSED)
    waiter = harness.ask(account)
    assert waiter.token is account.token
    harness.at(31.0)
    assert harness.ask(account).failure is not None


def test_g13_no_more_attempts_are_out_than_the_headers_have_left() -> None:
    """Ten are allowed; the window would let more out at once, and each of them would be refused, and counted."""
    harness = DispatcherHarness()
    for _ in range(40):
        harness.ask(patience=36_000.0)
    served = 0
    while harness.out:
        served += 1
        limits = {"exhausted_for": 600.0} if served == 10 else {"remaining": (10 - served, 600.0)}
        harness.answer(harness.out[0], Outcome("ok", 200, jwt="x", life=86_400.0, **limits))
        assert served + len(harness.out) <= 10
        harness.at(harness.now + 0.05)
    assert served == 10
    harness.at(harness.now + 601.0)
    harness.ask()
    assert len(harness.out) == 1, "the server counts anew"


def test_g13_what_is_left_holds_until_the_server_counts_anew() -> None:
    quota = Remaining()
    quota.update(3, 10.0, 0.0)
    quota.update(5, 10.0, 1.0)
    assert (3.0, math.inf) == (quota.at(1.0), quota.at(11.0))
    quota.update(30, 60.0, 11.0)
    assert quota.at(12.0) == 30.0
