"""A key that another process exchanges, or was refused: of the endpoint that says nothing (G14, G16)."""

from __future__ import annotations

import pytest

from colony_pool.errors import ColonyAuthError
from tests.support.coordinated_harness import OPENING, CoordinatedHarness
from tests.support.dispatcher_harness import DOWN_502, GOOD, WALL
from tests.support.private import (
    LOCAL,
    Account,
    HandledElsewhere,
    Instant,
    Outcome,
    Permit,
    SharedDenial,
    SharedState,
    from_status,
)
from tests.support.private import actions as act
from tests.support.private import events as ev

REFUSED = SharedDenial(seconds=45.0, times=2, status=401, code="AUTH_INVALID", detail="no such key")


def found(**what: object) -> Outcome:
    return Outcome(LOCAL, handled_elsewhere=HandledElsewhere(**what))  # type: ignore[arg-type]


BUSY = found()


def next_start(harness: CoordinatedHarness) -> Permit:
    while not harness.out:
        harness.at(harness.wake)
    return harness.out[0]


def test_a_busy_key_gives_its_permit_back_and_comes_again_ever_later() -> None:
    harness = CoordinatedHarness()
    waiter = harness.ask()
    pauses = []
    for _ in range(8):
        left = harness.now
        harness.answer(next_start(harness), BUSY)
        assert (0, set()) == (harness.dispatcher.limiter.active, harness.dispatcher.in_flight.permits)
        next_start(harness)
        pauses.append(harness.now - left)
    for most, pause in zip((0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0), pauses, strict=True):
        assert most / 2 - 1e-9 <= pause <= most + 1e-9
    assert not waiter.done
    assert (0, 0) == (harness.dispatcher.breaker.failures, waiter.account._failures)
    assert 10.0 == harness.dispatcher.retry_budget.balance(harness.now) - 2.0, (
        "one first attempt is out, none was a retry"
    )


def test_a_busy_key_is_no_sign_of_life_and_none_of_death() -> None:
    harness = CoordinatedHarness()
    harness.ask()
    harness.answer(harness.out[0], BUSY)
    assert ([], -float("inf")) == (harness.replays, harness.dispatcher.losses.last_success)


def test_g9_a_call_that_cannot_park_waits_for_another_process_as_for_an_attempt_of_its_own() -> None:
    harness = CoordinatedHarness()
    waiter = harness.ask(patience=0.0)
    harness.answer(harness.out[0], BUSY)
    assert not waiter.done
    harness.answer(next_start(harness), GOOD)
    assert waiter.token is not None


def test_a_busy_key_whose_callers_are_gone_is_dropped() -> None:
    harness = CoordinatedHarness()
    waiter = harness.ask()
    harness.feed(harness.dispatcher.cancel(waiter, harness.moment))
    harness.answer(harness.out[0], BUSY)
    assert {} == harness.dispatcher.waiters.flights


def test_g17_a_refresh_ahead_of_time_waits_for_the_other_process_too() -> None:
    harness = CoordinatedHarness()
    account = harness.ask().account
    harness.answer(harness.out[0], GOOD)
    harness.at(80_000.0)
    harness.feed(harness.dispatcher.refresh(account, harness.moment))
    harness.answer(harness.out[0], BUSY)
    harness.answer(next_start(harness), found(token=("theirs", 86_000.0)))
    assert account.token is not None
    assert ("theirs", {}) == (account.token.jwt, harness.dispatcher.waiters.flights)


def test_g16_a_token_found_elsewhere_serves_all_who_wait_for_it() -> None:
    harness = CoordinatedHarness()
    account = Account(jitter_hash=0.5)
    waiters = [harness.ask(account) for _ in range(3)]
    harness.answer(harness.out[0], found(token=("theirs", 40_000.0)))
    assert ["theirs"] * 3 == [waiter.token.jwt for waiter in waiters if waiter.token is not None]
    assert account.token is not None
    assert (Instant(40_000.0, WALL + 40_000.0)) == (account.token.ends, account.token.ends_wall)
    assert account.token.refresh_at < 40_000.0 * 0.5, (
        "its soft point is that of a token of which more than half is gone"
    )
    assert ([], {}) == (harness.replays, harness.dispatcher.waiters.flights)


def test_g14_a_denial_learnt_denies_as_if_the_key_had_been_refused_here() -> None:
    harness = CoordinatedHarness()
    waiter = harness.ask()
    harness.answer(harness.out[0], found(denial=REFUSED))
    again = harness.ask(waiter.account)
    for caller in (waiter, again):
        assert caller.failure is not None
        assert (ColonyAuthError, 401, "AUTH_INVALID") == (
            caller.failure.error,
            caller.failure.status,
            caller.failure.code,
        )
    assert ([], -float("inf")) == (harness.replays, harness.dispatcher.losses.last_success), (
        "it says nothing of the server"
    )
    harness.at(45.0)
    harness.ask(waiter.account)
    assert 1 == len(harness.out)
    assert waiter.account.denial is not None
    assert 2 == waiter.account.denial.times


@pytest.mark.parametrize(
    ("view", "state", "paused_until"),
    [
        (SharedState(generation=3, opening=OPENING), "open", 0.0),
        (SharedState(hold_for=20.0, hold_cause="HTTP 429"), "closed", 20.0),
    ],
)
def test_g1_g13_a_claim_that_was_not_granted_says_why(view: SharedState, state: str, paused_until: float) -> None:
    harness = CoordinatedHarness()
    waiter = harness.ask()
    harness.answer(harness.out[0], found(view=view))
    assert (state, paused_until, False) == (
        harness.state,
        max(0.0, harness.dispatcher.rate_limit.paused_until),
        waiter.done,
    )
    harness.at(3.0)
    assert [] == harness.out
    assert harness.all(act.PollStore)


def test_g14_a_denial_learnt_carries_what_the_other_process_was_told_and_outlives_a_new_code() -> None:
    harness = CoordinatedHarness()
    waiter = harness.ask()
    harness.answer(harness.out[0], found(denial=REFUSED))
    assert waiter.failure is not None
    assert from_status(401, "no such key", "AUTH_INVALID", {}, None, "/auth/token") == waiter.failure
    assert waiter.account.denial is not None
    assert not waiter.account.denial.code_only


@pytest.mark.parametrize(("life", "soft"), [(40_000.0, 0.7 * 86_400.0 - 46_400.0), (200_000.0, 0.7 * 200_000.0)])
def test_g17_g19_a_token_found_elsewhere_is_as_old_as_it_is_and_ends_what_was_forced(
    life: float, soft: float
) -> None:
    harness = CoordinatedHarness()
    account = Account(jitter_hash=0.5)
    account.forced = True
    harness.ask(account)
    actions = harness.dispatcher.result(harness.out[0], found(token=("theirs", life)), harness.moment)
    assert account.token is not None
    assert soft == pytest.approx(account.token.refresh_at, abs=0.1)
    assert (False, None) == (account.forced, account.denial)
    assert [(account, account.token, None)] == [
        (action.account, action.token, action.lost) for action in actions if isinstance(action, act.TokenChanged)
    ]


def test_a_busy_keys_pause_is_half_of_the_longest_at_the_least() -> None:
    harness = CoordinatedHarness()
    harness.ask()
    harness.rand = lambda: 1.0
    harness.answer(harness.out[0], BUSY)
    assert 0.05 == pytest.approx(harness.wake)


def test_a_busy_key_whose_callers_are_gone_ends_its_refresh_if_it_was_tried_here_before() -> None:
    harness = CoordinatedHarness()
    harness.dispatcher.losses.noted(0, 0.0)  # others are served: it is tried again at once
    waiter = harness.ask(patience=1000.0)
    harness.answer(harness.out[0], DOWN_502)
    permit = next_start(harness)
    harness.feed(harness.dispatcher.cancel(waiter, harness.moment))
    harness.at(harness.now + 1.0)
    harness.answer(permit, BUSY)
    assert {} == harness.dispatcher.waiters.flights
    ended = [event for event in harness.events if isinstance(event, ev.RefreshFinished)]
    assert [ev.RefreshFinished("miss", "failure", harness.now)] == ended
