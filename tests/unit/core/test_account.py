"""What the dispatcher knows of a key, a call and a flight, and the clock of those who wait (G9, G16)."""

from __future__ import annotations

import math

import pytest

from tests.support.private import Account, Flight, Permit, Waiter


def flight(account: Account | None = None) -> Flight:
    return Flight(account or Account(), 0.0)


def join(flight: Flight, patience: float, now: float = 0.0) -> Waiter:
    waiter = Waiter(flight.account, patience)
    flight.join(waiter, now, patience)
    return waiter


def send(flight: Flight, now: float) -> None:
    flight.permit = Permit(flight, now, 30.0)


def test_a_new_waiter_has_not_asked_yet_and_its_end_is_open() -> None:
    waiter = Waiter(Account(), 5.0)
    assert (5.0, math.inf, False) == (waiter.max_wait, waiter.deadline, waiter.done)
    assert math.isnan(waiter.joined)
    assert (None, None) == (waiter.token, waiter.failure)


def test_a_new_account_knows_nothing_and_rests_nowhere() -> None:
    owner = object()
    account = Account(owner=owner)
    assert account.owner is owner
    assert (None, None) == (account.token, account.last_expiry)
    assert (False, False) == (account.has_succeeded, account.forced)
    assert (math.inf, math.inf) == (account._ended_at, account.tokenless_since)
    assert [-math.inf] * 4 == [
        account.cooldown_until,
        account.next_code_at,
        account.refresh_not_before,
        account.record.forced_at,
    ]


def test_a_new_permit_is_a_first_attempt_with_a_deadline() -> None:
    passengers = flight()
    join(passengers, 5.0)
    permit = Permit(passengers, 7.0, 30.0, generation=3, is_probe=False)
    assert (7.0, 30.0, 37.0) == (permit.started, permit.timeout, permit.deadline)
    assert (False, 0, 0, 3) == (permit.is_retry, permit.level, permit.round, permit.generation)


def test_a_flights_first_waiter_is_who_has_waited_longest() -> None:
    passengers = flight()
    assert passengers.first_waiter is None
    first = join(passengers, 5.0)
    assert passengers.first_waiter is first
    join(passengers, 1.0)
    assert passengers.first_waiter is first


def test_a_new_flight_has_asked_nobody_and_was_tried_in_no_period() -> None:
    passengers = flight()
    assert (0, 0, 0) == (passengers.failures, passengers.attempts, passengers.heap_version)
    assert passengers.last_generation < 0, "no generation of a breaker is below 0"


def test_a_flights_trigger_is_what_began_it() -> None:
    forced = Account()
    forced.forced = True
    assert [Flight(account, 0.0).trigger for account in (Account(), forced)] == ["miss", "forced"]
    assert Flight(Account(), 0.0, advisory=True).trigger == "soft"


def test_g9_the_clock_of_the_waiters_stands_still_while_an_attempt_is_out() -> None:
    passengers = flight()
    join(passengers, 10.0, now=2.0)
    assert passengers.deadline() == 12.0
    for started, landed in ((3.0, 7.0), (8.0, 9.0)):
        send(passengers, started)
        passengers.attempt_ended(landed)
    assert passengers.deadline() == 17.0, "five seconds of attempts"


def test_g9_who_joins_while_an_attempt_is_out_waits_from_then_on() -> None:
    passengers = flight()
    send(passengers, 1.0)
    passengers.attempt_ended(4.0)
    send(passengers, 5.0)
    waiter = join(passengers, 10.0, now=8.0)
    assert waiter.deadline == 8.0 - 3.0 - 3.0 + 10.0
    passengers.attempt_ended(9.0)
    assert passengers.deadline() == 19.0, "the attempt took one second of its time"


def test_g9_a_landing_without_an_attempt_moves_no_clock() -> None:
    passengers = flight()
    join(passengers, 10.0)
    passengers.attempt_ended(5.0)
    assert passengers.deadline() == 10.0


@pytest.mark.parametrize(("limit", "late"), [(4.9, 0), (5.0, 1), (7.0, 2), (100.0, 3)])
def test_g9_patience_ends_at_its_deadline_and_not_before(limit: float, late: int) -> None:
    passengers = flight()
    waiters = [join(passengers, patience) for patience in (5.0, 6.0, 8.0)]
    assert waiters[:late] == passengers.take_expired(limit)
    assert waiters[late:] == list(passengers.waiters)
    assert passengers.has_no_waiters == (late == 3)


def test_a_flight_whose_callers_have_all_left_lives_nowhere() -> None:
    passengers = flight()
    for waiter in [join(passengers, 5.0), join(passengers, 6.0)]:
        passengers.leave(waiter)
    assert passengers.first_waiter is None


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
    assert stays == passengers.take_expired(1000.0)


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
    assert passengers.has_no_waiters
