"""The breaker's own arithmetic: delays, counts and generations (G4, G5, G6, G10)."""

from __future__ import annotations

import math

import pytest

from colony_pool.config import BreakerConfig
from tests.support.private import CircuitBreaker


def circuit(fail_max: int = 3) -> CircuitBreaker:
    return CircuitBreaker(
        BreakerConfig(fail_max=fail_max, jitter=0.0, open_delay=2.0, open_delay_max=60.0, reset_after=3)
    )


def test_a_new_breaker_is_closed_and_has_no_past() -> None:
    new = circuit()
    assert ("closed", 0, 0, 0, "", 0) == (
        new.state,
        new.failures,
        new.level,
        new.lost_probes,
        new.cause,
        new.last_status,
    )
    assert (-math.inf, -math.inf) == (new.opened_at, new.probe_at)


def test_g5_every_move_begins_the_next_generation() -> None:
    moving = circuit()
    seen = [moving.generation]
    for step in range(6):
        moving.open(0.0, "down", 502, 0.0)
        seen.append(moving.generation)
        (lambda: moving.half_open(0.0), moving.close)[step % 2]()
        seen.append(moving.generation)
    assert list(range(13)) == seen, "it counts the moves, as status() says; and a flight that was never tried says -1"


def test_g6_the_delay_doubles_with_each_opening_to_its_cap() -> None:
    opening = circuit()
    delays = []
    for _ in range(8):
        opening.open(100.0, "down", 502, 0.0)
        delays.append(opening.probe_at - 100.0)
    assert [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0] == delays


def test_g6_an_outage_without_end_overflows_nothing() -> None:
    opening = circuit()
    opening.level = 100_000
    opening.open(0.0, "down", 502, 0.0)
    assert opening.probe_at == 60.0


def test_g6_an_opening_that_is_not_the_endpoints_fault_does_not_grow_the_delay() -> None:
    opening = circuit()
    opening.open(0.0, "HTTP 429", 429, 0.0, grow=False)
    opening.open(0.0, "down", 502, 0.0)
    assert (2.0, 1) == (opening.probe_at, opening.level)


def test_g6_the_delay_starts_anew_after_so_many_successes_of_one_closed_period() -> None:
    recovering = circuit()
    recovering.level = 5
    for _ in range(2):
        recovering.succeeded()
    recovering.close()
    for _ in range(2):
        recovering.succeeded()
    assert recovering.level == 5, "four, but not in one period"
    recovering.succeeded()
    assert recovering.level == 0


def test_g6_a_probe_is_postponed_and_never_brought_forward() -> None:
    opening = circuit()
    opening.open(0.0, "down", 503, 0.0)
    opening.postpone(1.0)
    assert opening.probe_at == 2.0
    opening.postpone(30.0)
    assert opening.probe_at == 30.0


@pytest.mark.parametrize("between", ["half_open", "close"])
def test_g6_what_a_server_once_asked_for_postpones_no_later_opening(between: str) -> None:
    opening = circuit()
    opening.open(0.0, "busy", 503, 0.0)
    opening.postpone(300.0)
    opening.half_open(5.0) if between == "half_open" else opening.close()
    opening.open(10.0, "down", 502, 0.0)
    assert opening.probe_at == 14.0


def test_g10_the_last_straw_is_known_before_it_comes() -> None:
    failing = circuit()
    steps = []
    for _ in range(3):
        steps.append((failing.one_failure_left, failing.failed()))
    assert [(False, False), (False, False), (True, True)] == steps
    failing.succeeded()
    assert (False, 0) == (failing.one_failure_left, failing.failures)


def test_it_is_open_since_it_was_last_closed_whatever_its_probes_do() -> None:
    opening = circuit()
    opening.open(10.0, "down", 502, 0.0)
    opening.half_open(0.0)
    opening.open(20.0, "", 0, 0.0)
    assert (10.0, "down", 502) == (opening.opened_at, opening.cause, opening.last_status)
    opening.close()
    opening.open(30.0, "slow", 504, 0.0)
    assert (30.0, "slow", 504) == (opening.opened_at, opening.cause, opening.last_status)


def test_closing_forgets_failures_and_void_leases() -> None:
    closing = circuit()
    closing.failed()
    closing.lost_probes = 4
    closing.close()
    assert (0, 0) == (closing.failures, closing.lost_probes)


def test_g6_an_empty_queue_starts_the_delay_anew() -> None:
    closing = circuit()
    closing.level = 5
    closing.reset_delay()
    assert closing.level == 0


@pytest.mark.parametrize(
    ("rand", "delays"), [(0.0, [2.0, 3.36, 8.0]), (0.5, [1.8, 3.28, 7.2]), (1.0, [1.6, 3.2, 6.4])]
)
def test_g6_the_second_delay_is_near_the_short_end_of_what_it_may_be(rand: float, delays: list[float]) -> None:
    opening = CircuitBreaker(BreakerConfig(jitter=0.2, open_delay=2.0, open_delay_max=60.0))
    found = []
    for _ in delays:
        opening.open(0.0, "down", 502, rand)
        found.append(opening.probe_at)
        opening.half_open(0.0)
    assert delays == pytest.approx(found)


@pytest.mark.parametrize(("by", "probe_at", "level"), [(101.0, 101.0, 0), (102.0, 102.0, 1), (103.0, 102.0, 1)])
def test_g6_a_probe_that_leaves_before_its_time_does_not_grow_the_delay(
    by: float, probe_at: float, level: int
) -> None:
    opening = circuit()
    opening.open(100.0, "down", 502, 0.0, by=by)
    assert (probe_at, level) == (opening.probe_at, opening.level)


def test_g8_each_closing_begins_a_period() -> None:
    closing = circuit()
    periods = [closing.period]
    for _ in range(2):
        closing.close()
        periods.append(closing.period)
    assert [0, 1, 2] == periods
