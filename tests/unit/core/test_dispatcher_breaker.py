"""The breaker, its probe and its recovery, on virtual time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from colony_pool.config import BreakerConfig
from colony_pool.errors import CircuitOpenError, ColonyNetworkError, ColonyServerError
from tests.support.dispatcher_harness import (
    COUNTING,
    DOWN_502,
    FOREVER,
    GOOD,
    REFUSED,
    SILENCE,
    START,
    WALL,
    DispatcherHarness,
    opened,
)
from tests.support.private import LOCAL, SERVER_ERROR, UNAVAILABLE, Account, Instant, Outcome
from tests.support.private import events as ev


@pytest.mark.parametrize("n", [1, 10, 1000, 10_000])
def test_g1_exactly_one_attempt_until_its_verdict(n: int) -> None:
    harness = DispatcherHarness()
    harness.feed(harness.dispatcher.force("open", START))
    for _ in range(n):
        harness.ask(patience=36_000.0)
    probe = harness.to_probe()
    for _ in range(n % 50):
        harness.ask(patience=36_000.0)
    harness.at(harness.now + 1.0)
    assert [probe] == harness.out


def test_g4_a_silent_probe_is_void_at_its_deadline_and_the_lease_doubles() -> None:
    harness = DispatcherHarness()
    harness.trip()
    timeouts = []
    for _ in range(5):
        probe = harness.to_probe()
        timeouts.append(probe.timeout)
        harness.at(probe.deadline)
        assert harness.dispatcher.breaker.state == "open"
        assert not probe.alive
        harness.out.remove(probe)
    assert [5.0, 10.0, 20.0, 30.0, 30.0] == timeouts


def test_g5_a_late_verdict_changes_nothing_but_a_late_token_serves() -> None:
    harness = DispatcherHarness()
    harness.trip()
    probe = harness.to_probe()
    harness.at(probe.deadline)
    harness.out.remove(probe)
    generation = harness.dispatcher.breaker.generation
    harness.answer(probe, DOWN_502)
    assert (generation, "open") == (harness.dispatcher.breaker.generation, harness.dispatcher.breaker.state)
    harness.answer(probe, GOOD)
    assert harness.dispatcher.breaker.state == "open"
    assert harness.done
    assert harness.done[-1].token is not None


def test_g6_the_open_delay_doubles_to_a_minute_with_jitter() -> None:
    harness = DispatcherHarness()
    harness.trip()
    delays = []
    for _ in range(8):
        delays.append(harness.dispatcher.breaker.probe_at - harness.now)
        harness.answer(harness.to_probe(), DOWN_502)
    for delay, full in zip(delays, [2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.8 * full - 0.1 <= delay <= full  # the first one is looked at up to 0.1 s after it began


def test_g6_retry_after_of_a_503_raises_the_delay_to_a_quarter_of_an_hour_at_most() -> None:
    harness = DispatcherHarness()
    harness.trip()
    harness.answer(harness.to_probe(), Outcome("down", 503, "HTTP 503", retry_after=86_400.0))
    assert harness.dispatcher.breaker.probe_at == pytest.approx(harness.now + 900.0)


def test_g6_the_delay_resets_when_success_has_emptied_the_queue() -> None:
    harness = DispatcherHarness()
    harness.trip(1)
    for _ in range(6):
        harness.answer(harness.to_probe(), DOWN_502)
    harness.answer(harness.to_probe(), GOOD)
    harness.feed(harness.dispatcher.force("open", harness.moment))
    assert harness.dispatcher.breaker.probe_at - harness.now <= 2.0


def test_g7_the_probe_is_a_proven_key_without_totp_and_few_failures() -> None:
    harness = DispatcherHarness()
    poisoned, second_factor, fresh, proven = Account(), Account(totp=True), Account(), Account()
    poisoned._failures = 5
    poisoned.has_succeeded = proven.has_succeeded = second_factor.has_succeeded = True
    harness.feed(harness.dispatcher.force("open", START))
    for account in (poisoned, second_factor, fresh, proven):
        harness.ask(account, 36_000.0)
    harness.to_probe()
    for _ in range(3):  # each gives the role back, and the next one leaves at once
        harness.answer(harness.out[0], Outcome(LOCAL, local_error=RuntimeError()))
    order = [permit.account for permit in harness.started]
    assert [proven, fresh, second_factor, poisoned] == order


def test_g7_a_refused_probe_proves_that_the_endpoint_lives() -> None:
    harness = DispatcherHarness()
    harness.trip()
    harness.answer(harness.to_probe(), REFUSED)
    assert harness.dispatcher.breaker.state == "closed"


def test_g8_a_good_probe_closes_forgives_and_starts_with_one() -> None:
    harness = DispatcherHarness()
    waiters = harness.trip(100)
    for _ in range(6):
        harness.answer(harness.to_probe(), DOWN_502)
    harness.answer(harness.to_probe(), GOOD)
    assert harness.dispatcher.breaker.state == "closed"
    assert len(harness.out) == 1
    for _ in range(1000):
        if not harness.out:
            break
        harness.answer(harness.out[0], GOOD)
    assert all(waiter.token for waiter in waiters), "nobody waits for his own backoff any more"


def test_g8_the_queue_leaves_by_failures_then_by_deadline() -> None:
    harness = DispatcherHarness()
    first = harness.ask()
    late, early, failed = Account(), Account(), Account()
    failed._failures = 1
    harness.ask(failed, 10.0)
    harness.ask(late, 100.0)
    harness.ask(early, 50.0)
    order = []
    harness.answer(harness.out[0], GOOD)
    while harness.out:
        order.append(harness.out[0].account)
        harness.answer(harness.out[0], GOOD)
    assert [early, late, failed] == order
    assert first.token


def test_g9_patience_ends_the_call_not_before_waiting_is_vain() -> None:
    harness = DispatcherHarness()
    harness.trip()
    hasty = harness.ask(patience=0.5)
    assert hasty.failure is not None
    assert hasty.failure.error is CircuitOpenError
    patient = harness.ask(patience=1e4)
    assert not patient.done


def test_g9_the_clock_stands_still_while_the_own_attempt_is_out() -> None:
    harness = DispatcherHarness()
    waiter = harness.ask(patience=3.0)
    harness.at(25.0)
    assert not waiter.done
    harness.answer(harness.out[0], DOWN_502)
    assert not waiter.done
    harness.at(27.0)
    assert len(harness.out) == 1, "the retry after 2 s of its own clock"


def test_g9_max_wait_0_queues_in_a_healthy_period_and_never_parks() -> None:
    harness = DispatcherHarness()
    calls = [harness.ask(patience=0.0) for _ in range(20)]
    assert not any(call.done for call in calls)
    while harness.out:
        harness.answer(harness.out[0], GOOD)
    assert all(call.token for call in calls)
    calls = [harness.ask(patience=0.0) for _ in range(3)]
    harness.feed(harness.dispatcher.force("open", harness.moment))
    harness.at(harness.now)
    assert sum(call.done for call in calls) >= 3 - len(harness.out)
    assert harness.ask(patience=0.0).done


def test_g10_sixteen_failures_in_a_row_open_it() -> None:
    harness = DispatcherHarness()
    for _ in range(40):
        harness.ask()
    count = 0
    while harness.dispatcher.breaker.state == "closed":
        if harness.out:
            harness.answer(harness.out[0], DOWN_502)
            count += 1
        harness.at(harness.now + 0.1)
    assert count == 16
    assert harness.replays[-2:] == ["failure", "open"]


def test_g10_a_success_between_starts_the_count_anew() -> None:
    harness = DispatcherHarness(breaker=BreakerConfig(fail_max=3, min_failure_time=0.0))
    for outcome in (DOWN_502, DOWN_502, GOOD, DOWN_502, DOWN_502):
        harness.ask(patience=0.0)
        harness.answer(harness.out[0], outcome)
        harness.at(harness.now + 1.0)
    assert harness.dispatcher.breaker.state == "closed"


def test_g10_chance_alone_does_not_open_it_within_a_second() -> None:
    harness = DispatcherHarness()
    for _ in range(3):
        harness.ask()
        harness.answer(harness.out[0], GOOD)
    for _ in range(60):
        harness.ask(patience=0.0)
    for _ in range(60):
        if harness.out:
            harness.answer(harness.out[0], DOWN_502)
    assert harness.dispatcher.breaker.state == "closed"


def test_g11_a_network_error_is_raised_at_once_first_hand_and_parks_a_probe() -> None:
    harness = DispatcherHarness()
    first_hand = harness.ask()
    harness.answer(harness.out[0], SILENCE)
    assert first_hand.failure is not None
    assert first_hand.failure.error is ColonyNetworkError
    harness = DispatcherHarness()
    waiters = harness.trip()
    probe = harness.to_probe()
    harness.answer(probe, SILENCE)
    assert sum(waiter.done for waiter in waiters) == 0


def test_g11_a_fault_is_told_and_not_retried() -> None:
    harness = DispatcherHarness()
    waiter = harness.ask()
    harness.answer(harness.out[0], Outcome(SERVER_ERROR, 500, "HTTP 500"))
    assert waiter.failure is not None
    assert waiter.failure.error is ColonyServerError


def test_g11_a_probe_that_was_given_back_leaves_the_role_to_the_next() -> None:
    harness = DispatcherHarness()
    harness.trip()
    probe = harness.to_probe()
    harness.answer(probe, Outcome(LOCAL, local_error=RuntimeError("mine")))
    assert len(harness.out) == 1
    assert harness.out[0].is_probe
    assert harness.out[0] is not probe


def test_g13_a_throttled_probe_does_not_grow_the_delay() -> None:
    harness = DispatcherHarness()
    harness.trip()
    level = harness.dispatcher.breaker.level
    harness.answer(harness.to_probe(), COUNTING)
    assert (level, "open") == (harness.dispatcher.breaker.level, harness.dispatcher.breaker.state)
    assert harness.to_probe().started >= 30.0


def test_a_lone_agent_keeps_the_seeds_exact_schedule() -> None:
    harness = DispatcherHarness()
    waiter = harness.ask()
    times = []
    while not waiter.done:
        if harness.out:
            times.append(harness.now)
            harness.answer(harness.out[0], DOWN_502)
        else:
            harness.at(harness.wake)
    assert [2.0, 4.0, 8.0, 16.0, 32.0, 60.0] == [b - a for a, b in pairwise(times)]
    assert waiter.failure is not None
    assert waiter.failure.error is ColonyServerError


@pytest.mark.parametrize("state", ["closed", "half_open"])
def test_an_operator_who_asks_for_what_is_changes_nothing_and_nothing_is_told(state: str) -> None:
    harness = DispatcherHarness()
    harness.feed(harness.dispatcher.force(state, Instant(0.0, WALL + 0.0)))
    before = len(harness.events)
    harness.feed(harness.dispatcher.force(state, Instant(1.0, WALL + 1.0)))
    assert [] == [event for event in harness.events[before:] if isinstance(event, ev.StateChanged)]


def test_g6_an_operator_who_opens_what_is_open_brings_no_probe_forward() -> None:
    harness = DispatcherHarness()
    harness.trip()
    harness.answer(harness.to_probe(), Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=300.0))
    asked = harness.dispatcher.breaker.probe_at
    harness.feed(harness.dispatcher.force("open", Instant(harness.now + 1.0, WALL + harness.now + 1.0)))
    assert asked == harness.dispatcher.breaker.probe_at


def test_g1_no_probe_leaves_while_attempts_of_before_take_all_the_room() -> None:
    harness = DispatcherHarness(maxsize=1)
    before = harness.ask(patience=FOREVER)
    harness.feed(harness.dispatcher.force("open", harness.moment))
    harness.ask(patience=FOREVER)
    harness.at(harness.dispatcher.breaker.probe_at + 1.0)
    assert [before.account] == [permit.account for permit in harness.out]
    harness.answer(harness.out[0], DOWN_502)
    assert [True] == [permit.is_probe for permit in harness.out]


def test_g1_a_probe_that_was_put_off_leaves_in_the_moment_to_which_it_was() -> None:
    harness = opened()
    harness.ask(patience=36_000.0)
    harness.answer(harness.to_probe(), Outcome(LOCAL, detail="no free connection", is_transient=True))
    assert [] == harness.out
    harness.now = harness.dispatcher.in_flight.probe_not_before
    harness.feed(harness.dispatcher.tick(harness.moment))
    assert [True] == [permit.is_probe for permit in harness.out]


def test_g7_a_key_whose_probe_has_failed_lets_another_one_probe() -> None:
    harness, first, second = DispatcherHarness(breaker=BreakerConfig(jitter=0.0)), Account(), Account()
    for state in ("open", "closed", "open"):
        harness.feed(harness.dispatcher.force(state, harness.moment))
    harness.ask(first, 1000.0)
    harness.ask(second, 2000.0)
    probes = []
    for _ in range(2):
        probes.append(harness.to_probe().account)
        harness.answer(harness.out[0], DOWN_502)
    assert [first, second] == probes


def test_g15_while_one_key_is_asked_for_its_code_another_one_starts() -> None:
    harness, account = DispatcherHarness(), Account(totp=True)
    harness.gives_codes = False
    harness.feed(harness.dispatcher.force("open", harness.moment))
    harness.ask(account, 10.0)
    other = harness.ask(patience=FOREVER)
    harness.feed(harness.dispatcher.force("closed", harness.moment))
    assert ([account], [other.account]) == (harness.asked, [permit.account for permit in harness.out])


def test_g8_an_attempt_that_left_alone_a_while_after_the_last_one_cannot_be_too_much() -> None:
    harness = DispatcherHarness()
    harness.ask()
    harness.answer(harness.out[0], GOOD)
    harness.at(0.5)
    harness.ask()
    harness.ask()
    assert [-1, harness.dispatcher.limiter.level] == [permit.level for permit in harness.out]


def test_g8_the_first_attempt_after_an_outage_is_not_known_to_be_alone() -> None:
    harness = DispatcherHarness()
    for state in ("open", "closed"):
        harness.feed(harness.dispatcher.force(state, harness.moment))
    harness.at(1.0)
    harness.ask()
    assert [harness.dispatcher.limiter.level] == [permit.level for permit in harness.out]
