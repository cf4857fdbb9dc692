"""The queue by itself: who is foremost, who sleeps, whose patience ends (G7, G8, G9)."""

from __future__ import annotations

import math

import pytest

from colony_pool.config import PolicyConfig
from tests.support.dispatcher_harness import START
from tests.support.private import Instant, Permit, Queue, Waiter, issue
from tests.support.queues import WALL, drain, flight, holder, queue_of


def test_g8_the_order_is_who_holds_nothing_then_who_failed_least_then_who_must_leave_first() -> None:
    refresh, failed = flight(), flight(1.0, _failures=1)
    patient, hasty, twin, has_token = flight(9.0), flight(5.0), flight(5.0), holder()
    has_token.account._failures = failed.account._failures = 1
    queue = queue_of(has_token, refresh, failed, patient, hasty, twin)
    assert [hasty, twin, patient, failed] == drain(queue)[:4]
    assert [has_token, refresh] == drain(queue_of(refresh, has_token)), "a refresh that nobody waits for, last of all"


def test_g8_by_hunger_it_is_the_same_three_kinds_and_in_each_who_has_been_without_longest() -> None:
    has_token, refresh, recent, starved = (
        holder(),
        flight(),
        flight(1.0, _ended_at=-60.0),
        flight(9.0, _ended_at=-7200.0),
    )
    failed = flight(9.0, _ended_at=-3600.0, _failures=1)
    queue = queue_of(refresh, has_token, recent, failed, starved)
    queue.order(START, longest_starved_first=True)
    assert [starved, recent, failed, has_token, refresh] == drain(queue)


def test_g8_hunger_counts_to_the_minute_then_who_must_leave_first() -> None:
    patient, hasty, hungrier = (
        flight(9.0, _ended_at=-119.0),
        flight(5.0, _ended_at=-61.0),
        flight(9.0, _ended_at=-121.0),
    )
    queue = queue_of(patient, hasty)
    queue.order(START, longest_starved_first=True)
    queue.put(hungrier, START)
    assert [hungrier, hasty, patient] == drain(queue)


def test_g8_the_order_changes_back_and_whoever_was_taken_stays_away() -> None:
    hasty, starved, gone = flight(1.0, _ended_at=0.0), flight(9.0, _ended_at=-7200.0), flight(5.0, _ended_at=-9000.0)
    queue = queue_of(hasty, starved, gone)
    queue.drop(gone)
    queue.order(START, longest_starved_first=True)
    assert queue.first() is starved
    queue.order(START, longest_starved_first=False)
    assert [hasty, starved] == drain(queue)


def test_g17_refreshes_leave_in_the_order_in_which_their_tokens_end() -> None:
    later, sooner = (flight(token=issue("j", life, 0.0, 0.0, START, PolicyConfig())) for life in (7200.0, 3600.0))
    assert [sooner, later] == drain(queue_of(later, sooner))


def test_g8_whose_token_has_run_out_holds_nothing() -> None:
    late, patient = holder(), flight(math.inf)
    queue = Queue()
    queue.put(patient, Instant(3600.0, WALL + 3600.0))
    queue.put(late, Instant(3600.0, WALL + 3600.0))
    assert [late, patient] == drain(queue)


@pytest.mark.parametrize("wakes", ["wake", "forgive"])
def test_g8_who_holds_a_token_is_last_after_a_rest_too(wakes: str) -> None:
    has_token, other = holder(), flight(100.0)
    for one in (has_token, other):
        one.not_before = 5.0
    queue = queue_of(has_token, other)
    assert queue.first() is None
    if wakes == "wake":
        queue.wake(Instant(5.0, WALL + 5.0))
    else:
        queue.forgive(Instant(5.0, WALL + 5.0), 1)
    assert [other, has_token] == drain(queue)


@pytest.mark.parametrize("rest", ["not_before", "next_code_at", "cooldown_until"])
def test_a_flight_sleeps_until_the_last_of_its_rests(rest: str) -> None:
    sleeper = flight(100.0)
    sleeper.not_before = sleeper.account.next_code_at = sleeper.account.cooldown_until = 3.0
    setattr(sleeper if rest == "not_before" else sleeper.account, rest, 7.0)
    queue = queue_of(sleeper)
    assert (queue.first(), queue.next_sleeper()) == (None, 7.0)
    queue.wake(Instant(6.9, WALL))
    assert queue.first() is None
    queue.wake(Instant(7.0, WALL))
    assert queue.first() is sleeper
    assert queue.next_sleeper() == math.inf


def test_g8_forgiveness_ends_a_flights_own_backoff_and_nothing_else() -> None:
    backs_off, has_no_code, is_paused = flight(100.0), flight(100.0), flight(100.0)
    for one in (backs_off, has_no_code, is_paused):
        one.not_before = 50.0
    has_no_code.account.next_code_at, is_paused.account.cooldown_until = 20.0, 30.0
    queue = queue_of(backs_off, has_no_code, is_paused)
    queue.forgive(Instant(10.0, WALL), 0)
    assert [backs_off] == drain(queue)
    assert queue.next_sleeper() == 20.0
    queue.wake(Instant(30.0, WALL))
    assert [has_no_code, is_paused] == drain(queue)


def test_a_flight_that_is_put_again_moves_and_is_there_once() -> None:
    moves, stays = flight(5.0), flight(9.0)
    queue = queue_of(moves, stays)
    moves.account._failures = 1
    queue.put(moves, START)
    assert [stays, moves] == drain(queue)
    moves.not_before = 5.0
    queue.put(moves, START)
    moves.not_before = 3.0
    queue.put(moves, START)
    assert queue.next_sleeper() == 3.0
    queue.wake(Instant(9.0, WALL))
    assert [moves] == drain(queue)


@pytest.mark.parametrize("take", ["take", "take_for_probe"])
def test_g16_a_flight_that_moved_to_the_front_is_taken_once(take: str) -> None:
    moves = flight(5.0, _failures=1)
    queue = queue_of(moves)
    moves.account._failures = 0
    queue.put(moves, START)
    assert queue.first() is moves
    getattr(queue, take)()
    assert queue.first() is None


def test_a_flight_that_was_dropped_is_not_there_any_more() -> None:
    gone, stays, sleeps = flight(5.0), flight(9.0), flight(9.0)
    sleeps.not_before = 4.0
    queue = queue_of(gone, stays, sleeps)
    queue.put(gone, START)
    queue.drop(gone)
    queue.drop(sleeps)
    assert queue.next_sleeper() == math.inf
    queue.forgive(START, 0)
    assert [stays] == drain(queue)


def test_g7_a_probe_is_taken_once_and_the_others_stay() -> None:
    plain, proven, second_factor = (
        flight(1.0),
        flight(9.0, has_succeeded=True),
        flight(2.0, has_succeeded=True, totp=True),
    )
    queue = queue_of(plain, proven, second_factor)
    queue.put(proven, START)  # an older entry of it is dead, and stays so
    assert queue.take_for_probe() is proven
    assert [plain, second_factor] == drain(queue)
    assert queue.take_for_probe() is None


def test_g7_a_probe_that_slept_before_does_not_sleep_on() -> None:
    probe = flight(9.0)
    probe.not_before = 5.0
    queue = queue_of(probe)
    probe.not_before = 0.0
    queue.put(probe, START)
    assert queue.take_for_probe() is probe
    assert queue.next_sleeper() == math.inf


def test_g7_of_equals_the_foremost_probes() -> None:
    last, first = flight(9.0), flight(1.0)
    assert queue_of(last, first).take_for_probe() is first


def test_g7_the_probe_is_one_of_the_foremost_eight_and_of_the_fewest_failures() -> None:
    crowd = [flight(float(i)) for i in range(1, 9)]
    proven = flight(9.0, has_succeeded=True)
    assert queue_of(*crowd, proven).take_for_probe() is crowd[0], "the ninth is not looked at"
    assert queue_of(*crowd[1:], proven).take_for_probe() is proven
    failed = flight(1.0, has_succeeded=True, _failures=1)
    assert queue_of(crowd[0], failed).take_for_probe() is crowd[0]


def test_g9_patience_ends_one_after_the_other() -> None:
    both, other = flight(5.0, 9.0), flight(7.0)
    first, second = both.waiters
    queue = queue_of(both, other)
    assert queue.expired(4.9) == []
    assert queue.next_expiry() == 5.0
    assert [(both, [first])] == queue.expired(5.0)
    assert queue.next_expiry() == 7.0
    third = next(iter(other.waiters))
    assert [(other, [third]), (both, [second])] == queue.expired(9.0)
    assert queue.next_expiry() == math.inf


def test_g9_a_shorter_patience_is_watched_at_once() -> None:
    patient = flight(50.0)
    queue = queue_of(patient)
    patient.join(Waiter(patient.account, 5.0), 0.0, 5.0)
    queue.watch(patient)
    assert queue.next_expiry() == 5.0
    assert len(queue.expired(5.0)) == 1
    assert queue.next_expiry() == 50.0
    assert len(queue.expired(50.0)) == 1
    assert queue.next_expiry() == math.inf


def test_g9_nobodys_patience_ends_while_the_attempt_is_out_and_it_is_watched_again_afterwards() -> None:
    out = flight(5.0)
    queue = queue_of(out)
    out.permit = Permit(out, 0.0, 30.0, generation=0, is_probe=False)
    assert queue.next_expiry() == math.inf
    assert queue.expired(100.0) == []
    out.attempt_ended(10.0)
    queue.watch(out)
    assert queue.next_expiry() == 15.0
    assert len(queue.expired(15.0)) == 1


def test_g9_who_is_overdue_by_the_clock_but_not_by_its_own_stays() -> None:
    out = flight(5.0)
    queue = queue_of(out)
    out.permit = Permit(out, 0.0, 30.0, generation=0, is_probe=False)
    assert queue.expired(6.0) == []
    out.attempt_ended(10.0)
    queue.watch(out)
    assert queue.expired(14.9) == []
    assert len(queue.expired(15.0)) == 1


def test_g9_a_deadline_that_has_moved_is_looked_up_again() -> None:
    out = flight(5.0)
    queue = queue_of(out)
    out.permit = Permit(out, 0.0, 30.0, generation=0, is_probe=False)
    out.attempt_ended(10.0)
    assert queue.expired(10.0) == []
    assert queue.next_expiry() == 15.0


def test_g9_a_patience_that_grew_is_watched_at_its_new_end() -> None:
    out = flight(5.0)
    queue = queue_of(out)
    out.permit = Permit(out, 0.0, 30.0, generation=0, is_probe=False)
    out.attempt_ended(10.0)
    assert queue.next_expiry() == 15.0
    assert queue.expired(14.0) == []


def test_g3_what_is_dead_is_swept_and_what_lives_is_kept() -> None:
    sleepers = [flight(1000.0 + i) for i in range(300)]
    ready = [flight(2000.0 + i) for i in range(300)]
    queue = Queue()
    for _ in range(20):
        for one in sleepers:
            one.not_before = 500.0
            queue.put(one, START)
        for one in ready:
            queue.put(one, START)
    assert max(len(queue._ready), len(queue._sleeping), len(queue._expiry)) <= 2 * 600
    assert ready == drain(queue)
    queue.wake(Instant(500.0, WALL))
    assert sleepers == drain(queue)
    assert len(queue.expired(5000.0)) == 600


def test_g3_whose_callers_have_left_is_swept_from_the_deadlines() -> None:
    queue = Queue()
    for _ in range(2000):
        left = flight(10.0)
        queue.watch(left)
        left.take_all()
    assert len(queue._expiry) <= 256


def test_sweeping_is_rare_and_each_heap_has_its_own_limit() -> None:
    queue = Queue()
    for _ in range(300):
        refresh = flight()
        refresh.not_before = 5.0
        queue.put(refresh, START)
    assert [256, 512, 256] == queue._limits
    for _ in range(600):
        queue.put(flight(), START)
    assert [1024, 512, 256] == queue._limits
    for _ in range(255):
        queue.watch(flight(5.0))
    assert [1024, 512, 256] == queue._limits
    queue.watch(flight(5.0))
    assert [1024, 512, 512] == queue._limits


def test_g8_a_new_period_forgives_those_who_are_ready_and_what_fails_in_it_counts() -> None:
    failed, other, has_token = flight(1.0, _failures=1), flight(9.0), holder()
    queue = queue_of(failed, other, has_token)
    assert queue.first() is other
    queue.forgive(START, 1)
    assert queue.first() is failed, "its patience ends first, and it has failed before"
    failed.account.attempt_failed(1)
    queue.put(failed, START)
    queue.forgive(START, 1)
    assert [other, failed, has_token] == drain(queue), "no new period"
