"""The breaker, its probe and its recovery, on virtual time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from colony_pool.config import BreakerConfig
from colony_pool.errors import CircuitOpenError, ColonyNetworkError, ColonyServerError
from tests.support.desk import COUNTING, DOWN_502, GOOD, REFUSED, SILENCE, START, WALL, Desk
from tests.support.private import LOCAL, SERVER_ERROR, UNAVAILABLE, Account, Instant, Outcome
from tests.support.private import events as ev


@pytest.mark.parametrize("n", [1, 10, 1000, 10_000])
def test_g1_exactly_one_attempt_until_its_verdict(n: int) -> None:
    desk = Desk()
    desk.feed(desk.desk.force("open", START))
    for _ in range(n):
        desk.ask(patience=36_000.0)
    probe = desk.to_probe()
    for _ in range(n % 50):
        desk.ask(patience=36_000.0)
    desk.at(desk.now + 1.0)
    assert [probe] == desk.out


def test_g4_a_silent_probe_is_void_at_its_deadline_and_the_lease_doubles() -> None:
    desk = Desk()
    desk.trip()
    timeouts = []
    for _ in range(5):
        probe = desk.to_probe()
        timeouts.append(probe.timeout)
        desk.at(probe.deadline)
        assert desk.desk.breaker.state == "open"
        assert not probe.alive
        desk.out.remove(probe)
    assert [5.0, 10.0, 20.0, 30.0, 30.0] == timeouts


def test_g5_a_late_verdict_changes_nothing_but_a_late_token_serves() -> None:
    desk = Desk()
    desk.trip()
    probe = desk.to_probe()
    desk.at(probe.deadline)
    desk.out.remove(probe)
    generation = desk.desk.breaker.generation
    desk.answer(probe, DOWN_502)
    assert (generation, "open") == (desk.desk.breaker.generation, desk.desk.breaker.state)
    desk.answer(probe, GOOD)
    assert desk.desk.breaker.state == "open"
    assert desk.done
    assert desk.done[-1].token is not None


def test_g6_the_open_delay_doubles_to_a_minute_with_jitter() -> None:
    desk = Desk()
    desk.trip()
    delays = []
    for _ in range(8):
        delays.append(desk.desk.breaker.probe_at - desk.now)
        desk.answer(desk.to_probe(), DOWN_502)
    for delay, full in zip(delays, [2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.8 * full - 0.1 <= delay <= full  # the first one is looked at up to 0.1 s after it began


def test_g6_retry_after_of_a_503_raises_the_delay_to_a_quarter_of_an_hour_at_most() -> None:
    desk = Desk()
    desk.trip()
    desk.answer(desk.to_probe(), Outcome("down", 503, "HTTP 503", retry_after=86_400.0))
    assert desk.desk.breaker.probe_at == pytest.approx(desk.now + 900.0)


def test_g6_the_delay_resets_when_success_has_emptied_the_queue() -> None:
    desk = Desk()
    desk.trip(1)
    for _ in range(6):
        desk.answer(desk.to_probe(), DOWN_502)
    desk.answer(desk.to_probe(), GOOD)
    desk.feed(desk.desk.force("open", desk.moment))
    assert desk.desk.breaker.probe_at - desk.now <= 2.0


def test_g7_the_probe_is_a_proven_key_without_totp_and_few_failures() -> None:
    desk = Desk()
    poisoned, second_factor, fresh, proven = Account(), Account(totp=True), Account(), Account()
    poisoned._failures = 5
    poisoned.has_succeeded = proven.has_succeeded = second_factor.has_succeeded = True
    desk.feed(desk.desk.force("open", START))
    for account in (poisoned, second_factor, fresh, proven):
        desk.ask(account, 36_000.0)
    desk.to_probe()
    for _ in range(3):  # each gives the role back, and the next one leaves at once
        desk.answer(desk.out[0], Outcome(LOCAL, local_error=RuntimeError()))
    order = [permit.account for permit in desk.started]
    assert [proven, fresh, second_factor, poisoned] == order


def test_g7_a_refused_probe_proves_that_the_endpoint_lives() -> None:
    desk = Desk()
    desk.trip()
    desk.answer(desk.to_probe(), REFUSED)
    assert desk.desk.breaker.state == "closed"


def test_g8_a_good_probe_closes_forgives_and_starts_with_one() -> None:
    desk = Desk()
    waiters = desk.trip(100)
    for _ in range(6):
        desk.answer(desk.to_probe(), DOWN_502)
    desk.answer(desk.to_probe(), GOOD)
    assert desk.desk.breaker.state == "closed"
    assert len(desk.out) == 1
    for _ in range(1000):
        if not desk.out:
            break
        desk.answer(desk.out[0], GOOD)
    assert all(waiter.token for waiter in waiters), "nobody waits for his own backoff any more"


def test_g8_the_queue_leaves_by_failures_then_by_deadline() -> None:
    desk = Desk()
    first = desk.ask()
    late, early, failed = Account(), Account(), Account()
    failed._failures = 1
    desk.ask(failed, 10.0)
    desk.ask(late, 100.0)
    desk.ask(early, 50.0)
    order = []
    desk.answer(desk.out[0], GOOD)
    while desk.out:
        order.append(desk.out[0].account)
        desk.answer(desk.out[0], GOOD)
    assert [early, late, failed] == order
    assert first.token


def test_g9_patience_ends_the_call_not_before_waiting_is_vain() -> None:
    desk = Desk()
    desk.trip()
    hasty = desk.ask(patience=0.5)
    assert hasty.failure is not None
    assert hasty.failure.error is CircuitOpenError
    patient = desk.ask(patience=1e4)
    assert not patient.done


def test_g9_the_clock_stands_still_while_the_own_attempt_is_out() -> None:
    desk = Desk()
    waiter = desk.ask(patience=3.0)
    desk.at(25.0)
    assert not waiter.done
    desk.answer(desk.out[0], DOWN_502)
    assert not waiter.done
    desk.at(27.0)
    assert len(desk.out) == 1, "the retry after 2 s of its own clock"


def test_g9_max_wait_0_queues_in_a_healthy_period_and_never_parks() -> None:
    desk = Desk()
    calls = [desk.ask(patience=0.0) for _ in range(20)]
    assert not any(call.done for call in calls)
    while desk.out:
        desk.answer(desk.out[0], GOOD)
    assert all(call.token for call in calls)
    calls = [desk.ask(patience=0.0) for _ in range(3)]
    desk.feed(desk.desk.force("open", desk.moment))
    desk.at(desk.now)
    assert sum(call.done for call in calls) >= 3 - len(desk.out)
    assert desk.ask(patience=0.0).done


def test_g10_sixteen_failures_in_a_row_open_it() -> None:
    desk = Desk()
    for _ in range(40):
        desk.ask()
    count = 0
    while desk.desk.breaker.state == "closed":
        if desk.out:
            desk.answer(desk.out[0], DOWN_502)
            count += 1
        desk.at(desk.now + 0.1)
    assert count == 16
    assert desk.replays[-2:] == ["failure", "open"]


def test_g10_a_success_between_starts_the_count_anew() -> None:
    desk = Desk(breaker=BreakerConfig(fail_max=3, min_failure_time=0.0))
    for outcome in (DOWN_502, DOWN_502, GOOD, DOWN_502, DOWN_502):
        desk.ask(patience=0.0)
        desk.answer(desk.out[0], outcome)
        desk.at(desk.now + 1.0)
    assert desk.desk.breaker.state == "closed"


def test_g10_chance_alone_does_not_open_it_within_a_second() -> None:
    desk = Desk()
    for _ in range(3):
        desk.ask()
        desk.answer(desk.out[0], GOOD)
    for _ in range(60):
        desk.ask(patience=0.0)
    for _ in range(60):
        if desk.out:
            desk.answer(desk.out[0], DOWN_502)
    assert desk.desk.breaker.state == "closed"


def test_g11_a_network_error_is_raised_at_once_first_hand_and_parks_a_probe() -> None:
    desk = Desk()
    first_hand = desk.ask()
    desk.answer(desk.out[0], SILENCE)
    assert first_hand.failure is not None
    assert first_hand.failure.error is ColonyNetworkError
    desk = Desk()
    waiters = desk.trip()
    probe = desk.to_probe()
    desk.answer(probe, SILENCE)
    assert sum(waiter.done for waiter in waiters) == 0


def test_g11_a_fault_is_told_and_not_retried() -> None:
    desk = Desk()
    waiter = desk.ask()
    desk.answer(desk.out[0], Outcome(SERVER_ERROR, 500, "HTTP 500"))
    assert waiter.failure is not None
    assert waiter.failure.error is ColonyServerError


def test_g11_a_probe_that_was_given_back_leaves_the_role_to_the_next() -> None:
    desk = Desk()
    desk.trip()
    probe = desk.to_probe()
    desk.answer(probe, Outcome(LOCAL, local_error=RuntimeError("mine")))
    assert len(desk.out) == 1
    assert desk.out[0].is_probe
    assert desk.out[0] is not probe


def test_g13_a_throttled_probe_does_not_grow_the_delay() -> None:
    desk = Desk()
    desk.trip()
    level = desk.desk.breaker.level
    desk.answer(desk.to_probe(), COUNTING)
    assert (level, "open") == (desk.desk.breaker.level, desk.desk.breaker.state)
    assert desk.to_probe().started >= 30.0


def test_a_lone_agent_keeps_the_seeds_exact_schedule() -> None:
    desk = Desk()
    waiter = desk.ask()
    times = []
    while not waiter.done:
        if desk.out:
            times.append(desk.now)
            desk.answer(desk.out[0], DOWN_502)
        else:
            desk.at(desk.wake)
    assert [2.0, 4.0, 8.0, 16.0, 32.0, 60.0] == [b - a for a, b in pairwise(times)]
    assert waiter.failure is not None
    assert waiter.failure.error is ColonyServerError


@pytest.mark.parametrize("state", ["closed", "half_open"])
def test_an_operator_who_asks_for_what_is_changes_nothing_and_nothing_is_told(state: str) -> None:
    desk = Desk()
    desk.feed(desk.desk.force(state, Instant(0.0, WALL + 0.0)))
    before = len(desk.events)
    desk.feed(desk.desk.force(state, Instant(1.0, WALL + 1.0)))
    assert [] == [event for event in desk.events[before:] if isinstance(event, ev.StateChanged)]


def test_g6_an_operator_who_opens_what_is_open_brings_no_probe_forward() -> None:
    desk = Desk()
    desk.trip()
    desk.answer(desk.to_probe(), Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=300.0))
    asked = desk.desk.breaker.probe_at
    desk.feed(desk.desk.force("open", Instant(desk.now + 1.0, WALL + desk.now + 1.0)))
    assert asked == desk.desk.breaker.probe_at
