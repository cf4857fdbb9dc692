"""The window's arithmetic, number by number: its slots, its pace and its growth (G8)."""

from __future__ import annotations

import math

import pytest

from colony_pool.config import PolicyConfig
from tests.support.private import ConcurrencyLimiter, _LossStats
from tests.support.windows import RTT, fill, window

# -- tallies


def test_a_tally_counts_and_its_older_half_fades() -> None:
    tally = _LossStats()
    for i in range(64):
        tally.count(i < 32)
    assert (64.0, 32.0) == (tally.seen, tally.bad)
    tally.count(True)
    assert (33.0, 17.0) == (tally.seen, tally.bad)


@pytest.mark.parametrize(
    ("seen", "bad", "attempts", "tolerated"),
    [
        (7.0, 7.0, 16, 0.0),
        (8.0, 0.0, 16, 0.0),
        (8.0, 8.0, 16, 16.0),
        (16.0, 4.0, 16, 4.0 + 32.0 * math.sqrt(0.25 * 0.75 * 2 / 16)),
        (64.0, 32.0, 16, 8.0 + 32.0 * math.sqrt(0.25 * (1 / 16 + 1 / 64))),
    ],
)
def test_a_tally_tolerates_two_sigma_more_than_its_ratio(
    seen: float, bad: float, attempts: float, tolerated: float
) -> None:
    assert tolerated == pytest.approx(_LossStats(seen, bad).tolerates(attempts))


# -- round trips, levels and slots


def test_the_first_round_trip_is_believed_and_later_ones_by_a_fifth() -> None:
    made = ConcurrencyLimiter(PolicyConfig(), 8)
    assert made.rtt == 0.05
    made.record_rtt(0.1)
    assert made.rtt == 0.1
    made.record_rtt(0.2)
    assert made.rtt == pytest.approx(0.12)
    made.record_rtt(0.0)
    assert made.rtt == pytest.approx(0.12 - 0.2 * 0.119), "none takes less than a millisecond"


@pytest.mark.parametrize(
    ("size", "level"), [(0.1, 0), (0.2, 0), (0.39, 0), (0.4, 1), (0.8, 2), (1.6, 3), (64.0, 8), (1e9, 23)]
)
def test_each_octave_above_the_floor_is_a_level(size: float, level: int) -> None:
    assert level == window(size).level


def test_a_new_window_is_one_slot_and_knows_nothing() -> None:
    made = ConcurrencyLimiter(PolicyConfig(), 8)
    assert (1.0, 0, 1, 0.0) == (made.limit, made.active, made.round, made.next_start_at(0.0))
    assert (1.0, -math.inf, 0) == (made.chance(16), made._last_start, made._peak)
    assert [0.0] * 24 == [level.seen for level in made._levels]


def test_a_window_opens_while_there_is_a_slot() -> None:
    made = window(2.9)
    fill(made, 1)
    assert made.next_start_at(7.0) == 7.0
    fill(made, 1)
    assert made.next_start_at(7.0) == math.inf, "when one ends"


def test_the_slot_of_a_failure_comes_back_after_a_round_trip() -> None:
    made = window(1.0)
    level, started_round = made.start(10.0)
    made.failed(level, started_round, 10.0, 10.005, shed=False)
    made.limit = 1.0
    assert made.next_start_at(10.01) == pytest.approx(10.02)
    assert made.next_start_at(10.02) == 10.02


def test_a_failure_that_took_a_round_trip_keeps_no_slot() -> None:
    made = window(4.0)
    level, started_round = made.start(10.0)
    made.failed(level, started_round, 10.0, 10.0 + RTT)
    assert made._cooldowns == []


@pytest.mark.parametrize(
    ("size", "rtt", "pause"), [(0.5, RTT, 0.04), (0.1, RTT, 0.2), (0.05, RTT, 0.25), (0.5, 6.0, 0.25)]
)
def test_below_one_it_is_a_pace_of_a_quarter_of_a_second_at_the_slowest(
    size: float, rtt: float, pause: float
) -> None:
    made = window(size)
    made.rtt = rtt
    made.start(10.0)
    made.release()
    assert made.next_start_at(10.0) == pytest.approx(10.0 + pause)


# -- starts


def test_a_start_takes_a_slot_of_its_level_and_round() -> None:
    made = window(1.6)
    assert (3, made.round) == made.start(1.0)
    assert (1, 1, 1.0) == (made.active, made._peak, made._last_start)
    made._cooldowns = [99.0]
    assert (3, made.round) == made.start(1.5)
    assert (2, 3) == (made.active, made._peak)


@pytest.mark.parametrize(
    ("pause", "alone"), [(0.2, False), (0.2475, False), (0.2476, True), (0.25, True), (5.0, True)]
)
def test_who_leaves_long_after_the_last_one_left_alone(pause: float, alone: bool) -> None:
    made = window()
    made.start(10.0)
    made.release()
    assert alone == (made.start(10.0 + pause)[0] == -1)


def test_without_a_gap_whoever_leaves_when_nobody_is_out_leaves_alone() -> None:
    made = ConcurrencyLimiter(PolicyConfig(overload_spacing=0.0), 8)
    made.start(10.0)
    made.release()
    assert made.start(10.0)[0] == -1


def test_neither_the_very_first_nor_who_has_company_leaves_alone() -> None:
    made = window(4.0)
    assert made.start(10.0)[0] == made.level
    assert made.start(11.0)[0] == made.level


@pytest.mark.parametrize(
    ("size", "pause", "left"),
    [(8.0, 1.0, 8.0), (8.0, 2.0, 2.0), (8.0, 1e9, 1.0), (2.0, 2.0, 1.0), (1.0, 9.0, 1.0), (0.5, 9.0, 0.5)],
)
def test_a_window_halves_for_each_second_without_a_start(size: float, pause: float, left: float) -> None:
    made = window(size, slow_start=False)
    made.start(10.0)
    made.release()
    made.start(10.0 + pause)
    assert left == pytest.approx(made.limit)
    assert (size > 1.0 and pause > 1.0) == made._slow_start


def test_a_window_in_use_is_not_idle() -> None:
    made = window(8.0)
    made.start(10.0)
    made.start(20.0)
    assert made.limit == 8.0


# -- growth


@pytest.mark.parametrize(
    ("size", "out", "slow", "grown"),
    [
        (0.25, 1, True, 0.5), (0.75, 1, True, 1.0), (0.4, 1, False, 0.5), (0.9, 1, False, 1.0),
        (4.0, 2, True, 5.0), (4.0, 1, True, 4.0), (5.0, 2, True, 5.0), (64.0, 64, True, 64.0),
        (4.0, 4, False, 4.0 + 0.25 / 4 + 1 / 16), (4.0, 3, False, 4.0), (4.9, 4, False, 4.9 + 0.25 / 4.9 + 1 / 16),
        (1.0, 1, False, 1.0 + 0.25 + 1 / 16), (1.0, 1, True, 2.0),
    ],
)  # fmt: skip
def test_g8_a_success_grows_a_window_that_is_used(size: float, out: int, slow: bool, grown: float) -> None:
    made = window(size, slow_start=slow)
    [(level, started_round), *_] = fill(made, out)
    made.succeeded(level, started_round, RTT)
    assert made.limit == pytest.approx(grown)
    assert made.active == out - 1


def test_a_slot_that_cools_counts_as_used() -> None:
    made = window(4.0, slow_start=False, cooldowns=[99.0])
    [(level, started_round), *_] = fill(made, 3)
    made.succeeded(level, started_round, RTT)
    assert made.limit > 4.0


def test_g10_a_success_ends_a_streak_and_teaches_its_level() -> None:
    made = window(1.6, streak=7)
    level, started_round = made.start(0.0)
    made.succeeded(level, started_round, 0.12)
    assert (0, 1.0, 0.0, 1.0) == (made._streak, made._levels[level].seen, made._levels[level].bad, made._overall.seen)
    assert made.rtt == pytest.approx(0.04)


def test_who_left_alone_teaches_the_floor_and_what_503s_mean() -> None:
    made = window(1.6)
    made.succeeded(-1, made.round, RTT)
    made.failed(-1, made.round, 0.0, RTT, shed=True)
    assert (2.0, 1.0) == (made._solo.seen, made._solo.bad)
    assert (2.0, 0.0) == (made._levels[0].seen, made._levels[0].bad), "a 503 is no loss"
    assert (2.0, 1.0) == (made._overall.seen, made._overall.bad)
    made.failed(-1, made.round, 0.0, RTT)
    assert (3.0, 1.0, 3.0, 1.0) == (
        made._solo.seen, made._solo.bad, made._levels[0].seen, made._levels[0].bad,
    )  # fmt: skip
    assert made._overall.bad == 2.0
