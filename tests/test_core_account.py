"""What the desk knows of a key, a call and a flight, and the clock of those who wait (G9, G16)."""

from __future__ import annotations

import math

import pytest

from tests.support.private import Account, Flight, Permit, Waiter


def flight(account: Account | None = None) -> Flight:
    return Flight(account or Account(), 0.0)


def join(flight: Flight, patience: float, now: float = 0.0, home: str | None = None) -> Waiter:
    waiter = Waiter(flight.account, patience, None, home)
    flight.join(waiter, now, patience)
    return waiter


def send(flight: Flight, now: float) -> None:
    flight.permit = Permit(flight, 0, now, 30.0, is_probe=False)


def test_a_waiter_keeps_the_shells_things_and_its_own_end_is_open() -> None:
    event = object()
    waiter = Waiter(Account(), 5.0, event, "home")
    assert (event, "home", math.inf, False) == (waiter.event, waiter.home, waiter.deadline, waiter.done)
    assert math.isnan(waiter.joined)
    assert (None, None) == (waiter.token, waiter.failure)


def test_a_new_account_knows_nothing_and_rests_nowhere() -> None:
    secret = object()
    account = Account(secret=secret)
    assert account.secret is secret
    assert (None, None, None) == (account.token, account.last_expiry, account.listener)
    assert (False, False) == (account.ever_good, account.forced)
    assert (math.inf, math.inf) == (account.lost_at, account.without_since)
    assert [-math.inf] * 4 == [account.held_until, account.totp_at, account.rest_until, account.record.forced_at]


def test_a_new_permit_is_a_first_attempt_with_a_deadline_and_no_shell() -> None:
    passengers = flight()
    join(passengers, 5.0, home="hub")
    permit = Permit(passengers, 3, 7.0, 30.0, is_probe=False)
    assert (7.0, 30.0, 37.0) == (permit.started, permit.timeout, permit.deadline)
    assert (False, 0, 0, "hub", None) == (permit.is_retry, permit.level, permit.round, permit.home, permit.shell)


def test_a_flight_lives_where_one_of_its_waiters_does() -> None:
    passengers = flight()
    assert passengers.home() is None
    join(passengers, 5.0, home="hub")
    assert passengers.home() == "hub"


def test_a_new_flight_has_asked_nobody_and_was_tried_in_no_period() -> None:
    passengers = flight()
    assert (0, 0, 0) == (passengers.fails, passengers.asked, passengers.stamp)
    assert passengers.tried_in < 0, "no generation of a breaker is below 0"


def test_a_flights_trigger_is_what_began_it() -> None:
    forced = Account()
    forced.forced = True
    assert [Flight(account, 0.0).trigger for account in (Account(), forced)] == ["miss", "forced"]
    assert Flight(Account(), 0.0, soft=True).trigger == "soft"


def test_g9_the_clock_of_the_waiters_stands_still_while_an_attempt_is_out() -> None:
    passengers = flight()
    join(passengers, 10.0, now=2.0)
    assert passengers.deadline() == 12.0
    for started, landed in ((3.0, 7.0), (8.0, 9.0)):
        send(passengers, started)
        passengers.landed(landed)
    assert passengers.deadline() == 17.0, "five seconds of attempts"


def test_g9_who_joins_while_an_attempt_is_out_waits_from_then_on() -> None:
    passengers = flight()
    send(passengers, 1.0)
    passengers.landed(4.0)
    send(passengers, 5.0)
    waiter = join(passengers, 10.0, now=8.0)
    assert waiter.deadline == 8.0 - 3.0 - 3.0 + 10.0
    passengers.landed(9.0)
    assert passengers.deadline() == 19.0, "the attempt took one second of its time"


def test_g9_a_landing_without_an_attempt_moves_no_clock() -> None:
    passengers = flight()
    join(passengers, 10.0)
    passengers.landed(5.0)
    assert passengers.deadline() == 10.0


@pytest.mark.parametrize(("limit", "late"), [(4.9, 0), (5.0, 1), (7.0, 2), (100.0, 3)])
def test_g9_patience_ends_at_its_deadline_and_not_before(limit: float, late: int) -> None:
    passengers = flight()
    waiters = [join(passengers, patience) for patience in (5.0, 6.0, 8.0)]
    assert waiters[:late] == passengers.overdue(limit)
    assert waiters[late:] == list(passengers.waiters)
    assert passengers.background == (late == 3)


def test_a_flight_whose_callers_have_all_left_lives_nowhere() -> None:
    passengers = flight()
    for waiter in [join(passengers, 5.0), join(passengers, 6.0)]:
        passengers.leave(waiter)
    assert passengers.home() is None


def test_a_waiter_that_is_done_has_no_deadline_any_more() -> None:
    passengers = flight()
    first, second = join(passengers, 5.0), join(passengers, 6.0)
    first.done = True
    passengers.leave(first)
    assert passengers.deadline() == 6.0
    second.done = True
    assert passengers.deadline() == math.inf


def test_g3_those_who_left_take_little_room_and_those_who_stay_keep_their_deadlines() -> None:
    passengers = flight()
    stays = [join(passengers, 100.0 + i) for i in range(10)]
    for _ in range(1000):
        gone = join(passengers, 1.0)
        gone.done = True
        passengers.leave(gone)
        assert len(passengers._heap) <= 2 * len(stays) + 64 + 1
    assert passengers.deadline() == 100.0
    assert stays == passengers.overdue(1000.0)


def test_g3_the_dead_are_not_swept_while_they_are_few() -> None:
    passengers = flight()
    waiters = [join(passengers, float(i)) for i in range(64)]
    for waiter in waiters:
        waiter.done = True
        passengers.leave(waiter)
    assert len(passengers._heap) == 64, "sweeping costs, too"


def test_take_all_leaves_nobody() -> None:
    passengers = flight()
    waiters = [join(passengers, 5.0) for _ in range(3)]
    assert waiters == passengers.take_all()
    assert passengers.background
