"""What the dispatcher knows of a key, a call and a flight, and the clock of those who wait (G9, G16)."""

from __future__ import annotations

import math

import pytest

from colony_pool.config import PolicyConfig, RetryConfig
from tests.support.dispatcher_harness import START
from tests.support.private import Account, Flight, Permit, Waiter, issue


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
    assert (5.0, 0.0, math.inf, False) == (waiter.max_wait, waiter.tokenless_for, waiter.deadline, waiter.done)
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


def test_a_permit_of_a_breaker_that_never_moved_is_of_its_first_generation_and_period() -> None:
    permit = Permit(flight(), 0.0, 30.0)
    assert (0, 0) == (permit.generation, permit.period)


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


# -- attempts of one key -------------------------------------------------------------------------------------------


def test_g8_of_one_key_three_attempts_may_begin_within_a_second_and_the_fourth_waits() -> None:
    account = Account()
    spaced = []
    for now in (0.0, 0.25, 0.5, 5.0):
        account.attempt_started(now)
        account.space_attempts()
        spaced.append(account.spaced_until)
    assert [-math.inf, -math.inf, 0.0 + 1.1, 0.25 + 1.1] == spaced


def test_g8_an_attempt_that_never_left_takes_no_room() -> None:
    account = Account()
    for now in (0.0, 0.25, 0.5):
        account.attempt_started(now)
    account.attempt_never_left()
    account.space_attempts()
    assert account.spaced_until == -math.inf
    account.attempt_started(1.0)
    account.space_attempts()
    assert account.spaced_until == 0.0 + 1.1


@pytest.mark.parametrize(
    ("began", "moment", "room"), [((0.5,), 0.5, True), ((0.0, 0.5), 1.1, True), ((0.0, 0.5), 1.0, False)]
)
def test_g8_a_quick_retry_leaves_room_for_the_scheduled_one(
    began: tuple[float, ...], moment: float, room: bool
) -> None:
    account = Account()
    for now in began:
        account.attempt_started(now)
    assert room == account.has_room_at(moment)


def test_g8_failures_count_within_their_period() -> None:
    account = Account()
    for period, failures in ((0, 1), (0, 2), (3, 1)):
        account.attempt_failed(period)
        assert failures == account.failures_in(period)
    assert (0, 0) == (account.failures_in(0), account.failures_in(4))


def test_g19_a_token_that_was_refused_is_no_news() -> None:
    account = Account()
    account.record.replaced(issue("refused", 3600.0, 0.0, 0.0, START, PolicyConfig()))
    assert (False, True) == (account.is_news("refused", 7200.0), account.is_news("another", 7200.0))


# -- a flight's schedule -------------------------------------------------------------------------------------------


def test_g6_a_schedule_that_is_over_goes_on_when_all_its_delays_would_have_passed_without_jitter() -> None:
    retry = RetryConfig(max_retries=2, base_delay=2.0, max_delay=4.0, jitter=0.5)
    passengers, due = flight(), []
    assert passengers.steps == 0
    for now in (0.0, 1.0, 2.0):
        passengers.attempt_failed(now, 1, retry, lambda step: 1.0)
        due.append(passengers.due())
    assert [1.0, 2.0, 2.0 + 4.0 + 1.0] == due


@pytest.mark.parametrize(("late", "due"), [(-1e-6, 2.0), (-0.5, 1.0), (0.5, 2.0), (1.0, 2.0), (1.5, 3.5)])
def test_g6_what_a_machine_is_late_does_not_add_up_and_a_quick_retry_is_no_step(late: float, due: float) -> None:
    passengers = flight()
    for now in (0.0, 1.0 + late):
        passengers.attempt_failed(now, 1, RetryConfig(), lambda step: 1.0)
    assert due == passengers.due()


def test_g8_a_new_life_begins_the_schedule_again() -> None:
    passengers, steps = flight(), []
    for now, life in ((0.0, 1), (1.0, 1), (2.0, 2)):
        passengers.attempt_failed(now, life, RetryConfig(), lambda step: 1.0)
        steps.append(passengers.steps)
    assert [1, 2, 1] == steps


def test_who_waits_in_a_flight_is_known_be_it_alone_or_not() -> None:
    passengers, other = flight(), Waiter(Account(), 5.0)
    first = join(passengers, 5.0)
    assert (True, False) == (passengers.has(first), passengers.has(other))
    second = join(passengers, 5.0)
    assert (True, True, False) == (passengers.has(first), passengers.has(second), passengers.has(other))
