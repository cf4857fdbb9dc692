"""A key that another process exchanges, or was refused: of the endpoint that says nothing (G14, G16)."""

from __future__ import annotations

import pytest

from colony_pool.errors import ColonyAuthError
from tests.support.desk import DOWN_502, GOOD, WALL
from tests.support.fleet_desk import OPENING, FleetDesk
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


def next_start(desk: FleetDesk) -> Permit:
    while not desk.out:
        desk.at(desk.wake)
    return desk.out[0]


def test_a_busy_key_gives_its_permit_back_and_comes_again_ever_later() -> None:
    desk = FleetDesk()
    waiter = desk.ask()
    pauses = []
    for _ in range(8):
        left = desk.now
        desk.answer(next_start(desk), BUSY)
        assert (0, set()) == (desk.desk.limiter.active, desk.desk.in_flight.permits)
        next_start(desk)
        pauses.append(desk.now - left)
    for most, pause in zip((0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0), pauses, strict=True):
        assert most / 2 - 1e-9 <= pause <= most + 1e-9
    assert not waiter.done
    assert (0, 0) == (desk.desk.breaker.failures, waiter.account._failures)
    assert 10.0 == desk.desk.retry_budget.balance(desk.now) - 2.0, "one first attempt is out, none was a retry"


def test_a_busy_key_is_no_sign_of_life_and_none_of_death() -> None:
    desk = FleetDesk()
    desk.ask()
    desk.answer(desk.out[0], BUSY)
    assert ([], -float("inf")) == (desk.replays, desk.desk.losses.last_success)


def test_g9_a_call_that_cannot_park_waits_for_another_process_as_for_an_attempt_of_its_own() -> None:
    desk = FleetDesk()
    waiter = desk.ask(patience=0.0)
    desk.answer(desk.out[0], BUSY)
    assert not waiter.done
    desk.answer(next_start(desk), GOOD)
    assert waiter.token is not None


def test_a_busy_key_whose_callers_are_gone_is_dropped() -> None:
    desk = FleetDesk()
    waiter = desk.ask()
    desk.feed(desk.desk.cancel(waiter, desk.moment))
    desk.answer(desk.out[0], BUSY)
    assert {} == desk.desk.waiters.flights


def test_g17_a_refresh_ahead_of_time_waits_for_the_other_process_too() -> None:
    desk = FleetDesk()
    account = desk.ask().account
    desk.answer(desk.out[0], GOOD)
    desk.at(80_000.0)
    desk.feed(desk.desk.refresh(account, desk.moment))
    desk.answer(desk.out[0], BUSY)
    desk.answer(next_start(desk), found(token=("theirs", 86_000.0)))
    assert account.token is not None
    assert ("theirs", {}) == (account.token.jwt, desk.desk.waiters.flights)


def test_g16_a_token_found_elsewhere_serves_all_who_wait_for_it() -> None:
    desk = FleetDesk()
    account = Account(jitter_hash=0.5)
    waiters = [desk.ask(account) for _ in range(3)]
    desk.answer(desk.out[0], found(token=("theirs", 40_000.0)))
    assert ["theirs"] * 3 == [waiter.token.jwt for waiter in waiters if waiter.token is not None]
    assert account.token is not None
    assert (Instant(40_000.0, WALL + 40_000.0)) == (account.token.ends, account.token.ends_wall)
    assert account.token.refresh_at < 40_000.0 * 0.5, (
        "its soft point is that of a token of which more than half is gone"
    )
    assert ([], {}) == (desk.replays, desk.desk.waiters.flights)


def test_g14_a_denial_learnt_denies_as_if_the_key_had_been_refused_here() -> None:
    desk = FleetDesk()
    waiter = desk.ask()
    desk.answer(desk.out[0], found(denial=REFUSED))
    again = desk.ask(waiter.account)
    for told in (waiter, again):
        assert told.failure is not None
        assert (ColonyAuthError, 401, "AUTH_INVALID") == (told.failure.error, told.failure.status, told.failure.code)
    assert ([], -float("inf")) == (desk.replays, desk.desk.losses.last_success), "it says nothing of the server"
    desk.at(45.0)
    desk.ask(waiter.account)
    assert 1 == len(desk.out)
    assert waiter.account.denial is not None
    assert 2 == waiter.account.denial.times


@pytest.mark.parametrize(
    ("view", "state", "held"),
    [
        (SharedState(generation=3, opening=OPENING), "open", 0.0),
        (SharedState(hold_for=20.0, hold_cause="HTTP 429"), "closed", 20.0),
    ],
)
def test_g1_g13_a_claim_that_was_not_granted_says_why(view: SharedState, state: str, held: float) -> None:
    desk = FleetDesk()
    waiter = desk.ask()
    desk.answer(desk.out[0], found(view=view))
    assert (state, held, False) == (desk.state, max(0.0, desk.desk.rate_limit.paused_until), waiter.done)
    desk.at(3.0)
    assert [] == desk.out
    assert desk.all(act.PollStore)


def test_g14_a_denial_learnt_carries_what_the_other_process_was_told_and_outlives_a_new_code() -> None:
    desk = FleetDesk()
    waiter = desk.ask()
    desk.answer(desk.out[0], found(denial=REFUSED))
    assert waiter.failure is not None
    assert from_status(401, "no such key", "AUTH_INVALID", {}, None, "/auth/token") == waiter.failure
    assert waiter.account.denial is not None
    assert not waiter.account.denial.code_only


@pytest.mark.parametrize(("life", "soft"), [(40_000.0, 0.7 * 86_400.0 - 46_400.0), (200_000.0, 0.7 * 200_000.0)])
def test_g17_g19_a_token_found_elsewhere_is_as_old_as_it_is_and_ends_what_was_forced(
    life: float, soft: float
) -> None:
    desk = FleetDesk()
    account = Account(jitter_hash=0.5)
    account.forced = True
    desk.ask(account)
    actions = desk.desk.result(desk.out[0], found(token=("theirs", life)), desk.moment)
    assert account.token is not None
    assert soft == pytest.approx(account.token.refresh_at, abs=0.1)
    assert (False, None) == (account.forced, account.denial)
    assert [(account, account.token, None)] == [
        (action.account, action.token, action.lost) for action in actions if isinstance(action, act.TokenChanged)
    ]


def test_a_busy_keys_pause_is_half_of_the_longest_at_the_least() -> None:
    desk = FleetDesk()
    desk.ask()
    desk.rand = lambda: 1.0
    desk.answer(desk.out[0], BUSY)
    assert 0.05 == pytest.approx(desk.wake)


def test_a_busy_key_whose_callers_are_gone_ends_its_refresh_if_it_was_tried_here_before() -> None:
    desk = FleetDesk()
    desk.desk.losses.noted(0, 0.0)  # others are served: it is tried again at once
    waiter = desk.ask(patience=1000.0)
    desk.answer(desk.out[0], DOWN_502)
    permit = next_start(desk)
    desk.feed(desk.desk.cancel(waiter, desk.moment))
    desk.at(desk.now + 1.0)
    desk.answer(permit, BUSY)
    assert {} == desk.desk.waiters.flights
    ended = [event for event in desk.events if isinstance(event, ev.RefreshFinished)]
    assert [ev.RefreshFinished("miss", "failure", desk.now)] == ended
