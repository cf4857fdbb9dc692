"""How a call joins a flight: who is queued anew, who is not parked, who leaves at once (G8, G9)."""

from __future__ import annotations

from tests.support.desk import FOREVER, GOOD, Desk
from tests.support.private import Account


def test_g9_a_patience_of_a_second_is_one() -> None:
    desk = Desk(maxsize=1)
    desk.ask(patience=FOREVER)
    waiter = desk.ask(patience=1.0)
    desk.at(1.0)
    assert not waiter.done
    desk.at(1.1)
    assert waiter.done


def test_g9_g13_who_never_parks_leaves_the_very_moment_that_its_keys_hold_ends() -> None:
    desk, account = Desk(), Account()
    account.cooldown_until = desk.now
    desk.ask(account, 0.0)
    assert [account] == [permit.account for permit in desk.out]


def test_g8_a_refresh_in_the_queue_that_a_call_joins_leaves_as_a_calls_attempt() -> None:
    desk, account = Desk(maxsize=1), Account()
    desk.ask(account)
    desk.answer(desk.out[0], GOOD)
    desk.at(60_000.0)
    desk.ask()
    desk.feed(desk.desk.refresh(account, desk.moment))
    patient = desk.ask(patience=FOREVER)
    desk.feed(desk.desk.invalidate(account, desk.moment))
    desk.ask(account, 60.0)
    desk.answer(desk.out[0], GOOD)
    assert [account] == [permit.account for permit in desk.out], "not behind all who wait"
    assert not patient.done


def test_g9_who_leaves_at_once_leaves_nothing_that_is_started_later() -> None:
    desk, account = Desk(), Account()
    account.cooldown_until = 50.0
    assert desk.ask(account, 5.0).done
    desk.at(60.0)
    assert [] == desk.started
