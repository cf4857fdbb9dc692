"""How a call joins a flight: who is queued anew, who is not parked, who leaves at once (G8, G9)."""

from __future__ import annotations

import pytest

from tests.support.dispatcher_harness import FOREVER, GOOD, START, DispatcherHarness
from tests.support.private import Account, Waiter
from tests.support.private import actions as act


def test_g9_a_patience_of_a_second_is_one() -> None:
    harness = DispatcherHarness(maxsize=1)
    harness.ask(patience=FOREVER)
    waiter = harness.ask(patience=1.0)
    harness.at(1.0)
    assert not waiter.done
    harness.at(1.1)
    assert waiter.done


def test_g9_g13_who_never_parks_leaves_the_very_moment_that_its_keys_pause_ends() -> None:
    harness, account = DispatcherHarness(), Account()
    account.cooldown_until = harness.now
    harness.ask(account, 0.0)
    assert [account] == [permit.account for permit in harness.out]


def test_g8_a_refresh_in_the_queue_that_a_call_joins_leaves_as_a_calls_attempt() -> None:
    harness, account = DispatcherHarness(maxsize=1), Account()
    harness.ask(account)
    harness.answer(harness.out[0], GOOD)
    harness.at(60_000.0)
    harness.ask()
    harness.feed(harness.dispatcher.refresh(account, harness.moment))
    patient = harness.ask(patience=FOREVER)
    harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    harness.ask(account, 60.0)
    harness.answer(harness.out[0], GOOD)
    assert [account] == [permit.account for permit in harness.out], "not behind all who wait"
    assert not patient.done


def test_g9_who_leaves_at_once_leaves_nothing_that_is_started_later() -> None:
    harness, account = DispatcherHarness(), Account()
    account.cooldown_until = 50.0
    assert harness.ask(account, 5.0).done
    harness.at(60.0)
    assert [] == harness.started


@pytest.mark.parametrize(("patience", "at_once"), [(0.0, True), (1.0, False), (60.0, False)])
def test_g8_g9_who_may_wait_keeps_a_keys_distance_between_attempts_and_who_may_not_need_not(
    patience: float, at_once: bool
) -> None:
    harness, account = DispatcherHarness(), Account()
    account.spaced_until = 0.5
    harness.ask(account, patience)
    assert at_once == (len(harness.out) == 1)
    harness.at(0.5)
    assert [account] == [permit.account for permit in harness.out]


def test_g13_a_key_has_been_without_a_token_for_as_long_as_its_call_says() -> None:
    harness, account = DispatcherHarness(), Account()
    harness.at(50.0)
    waiter = Waiter(account, 60.0)
    actions = harness.dispatcher.demand(waiter, harness.moment, tokenless_for=100.0)
    assert account.tokenless_since == -50.0
    assert act.StartAttempt(harness.dispatcher.waiters.flights[account].permit, waiter) in actions  # type: ignore[arg-type]


@pytest.mark.parametrize(("others", "leaves"), [(0, True), (1, False), (2, False)])
def test_g9_while_open_only_who_is_alone_cannot_hope_for_another_keys_probe(others: int, leaves: bool) -> None:
    harness, account = DispatcherHarness(), Account()
    harness.feed(harness.dispatcher.force("open", START))
    for _ in range(others):
        harness.ask(patience=FOREVER)
    harness.ask(account, FOREVER)
    harness.dispatcher.waiters.flights[account].not_before = 32.0
    assert leaves == harness.ask(account, 10.0).done
