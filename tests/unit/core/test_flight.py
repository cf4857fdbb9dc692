"""How a call joins a flight: who is queued anew, who is not parked, who leaves at once (G8, G9)."""

from __future__ import annotations

from tests.support.dispatcher_harness import FOREVER, GOOD, DispatcherHarness
from tests.support.private import Account


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
