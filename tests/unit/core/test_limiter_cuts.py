"""The window's arithmetic, number by number: what cuts it, its rounds and its streaks (G8, G10)."""

from __future__ import annotations

import math

import pytest

from colony_pool.config import PolicyConfig
from tests.support.private import ConcurrencyLimiter, _LossStats
from tests.support.windows import RTT, fill, floor_knows, window

# -- cuts


@pytest.mark.parametrize(("served", "size"), [(True, 5.6), (False, 4.0)])
@pytest.mark.parametrize("shed", [True, False])
def test_g8_a_cut_takes_a_third_or_half_if_nothing_succeeded_since(served: bool, size: float, shed: bool) -> None:
    made = window(8.0, served=served)
    before = made.round
    assert made.failed(made.level, before, 0.0, RTT, shed=shed)
    assert made.limit == pytest.approx(size)
    assert made.round == before + 1
    assert (False, False, 0, 0, 0) == (
        made._slow_start,
        made._served,
        made._seen,
        made._random_losses,
        made._overloads,
    )


def test_g10_who_began_before_the_cut_is_the_same_event() -> None:
    made = window(8.0)
    old = made.round
    made.failed(made.level, old, 0.0, RTT)
    size = made.limit
    assert not made.failed(made.level, old, 0.0, RTT)
    assert (size, old + 1) == (made.limit, made.round)


def test_g8_losses_shrink_it_to_the_floor_and_no_further() -> None:
    made = window(0.4)
    made.failed(made.level, made.round, 0.0, RTT)
    assert made.limit == pytest.approx(0.2)
    assert made.level == 0
    assert not made.failed(0, made.round, 0.0, RTT), "the floor teaches, and is not cut"


@pytest.mark.parametrize(("streak", "size"), [(3, 0.08), (4, 0.1)])
def test_g10_503s_shrink_it_further_but_not_when_nobody_is_served(streak: int, size: float) -> None:
    made = window(0.11, streak=streak)
    made._solo = _LossStats(8.0, 0.0)
    made.failed(0, made.round, 0.0, RTT, shed=True)
    assert made.limit == pytest.approx(max(size, 0.055) if streak == 3 else 0.11)


def test_g8_503s_that_hit_who_leaves_alone_as_well_cut_nothing() -> None:
    made = window(8.0, solo=_LossStats(16.0, 16.0))
    assert not made.failed(made.level, made.round, 0.0, RTT, shed=True)
    assert made.limit == 8.0


def test_g8_losses_that_the_floor_knows_cut_nothing() -> None:
    made = window(8.0)
    floor_knows(made, 64.0, 32.0)
    cuts = [made.failed(made.level, made.round, 0.0, RTT) for _ in range(8)]
    assert not any(cuts)
    assert made._random_losses == 8


@pytest.mark.parametrize("shed", [True, False])
def test_g8_a_round_that_is_all_bad_luck_cuts_nothing_if_all_luck_is_bad(shed: bool) -> None:
    made = window(8.0, solo=_LossStats(16.0, 16.0))
    floor_knows(made, 16.0, 16.0)
    assert not any(made.failed(made.level, made.round, 0.0, RTT, shed=shed) for _ in range(16))
    assert made._seen == 0, "the round is over"


def test_g8_losses_beyond_two_sigma_of_what_the_floor_knows_are_load() -> None:
    made = window(8.0, served=True)
    floor_knows(made, 64.0, 6.4)
    tolerated = _LossStats(64.0, 6.4).tolerates(16)
    cuts: list[bool] = []
    while not any(cuts):
        made._streak = 0
        cuts.append(made.failed(made.level, made.round, 0.0, RTT))
    assert len(cuts) == math.floor(tolerated) + 1


def test_g8_the_second_cut_in_a_row_asks_the_floor_if_it_was_never_asked() -> None:
    made = window(8.0, served=True)
    made.failed(made.level, made.round, 0.0, RTT)
    assert made.limit == pytest.approx(5.6)
    made._served = True
    made.failed(made.level, made.round, 0.0, RTT)
    assert made.limit == pytest.approx(0.2)


@pytest.mark.parametrize(("served", "seen", "bad"), [(False, 0.0, 0.0), (True, 20.0, 0.0), (True, 8.0, 0.01)])
def test_g8_it_is_not_asked_when_nobody_is_served_or_when_it_is_known(served: bool, seen: float, bad: float) -> None:
    made = window(8.0, served=True)
    floor_knows(made, seen, bad)
    made.failed(made.level, made.round, 0.0, RTT)
    made._served = served
    made.failed(made.level, made.round, 0.0, RTT)
    assert made.limit == pytest.approx(5.6 * (0.7 if served else 0.5))


def test_g8_a_cut_spends_a_tenth_of_each_spotless_tally_below_it() -> None:
    made = window(8.0)
    made._levels[0], made._levels[1] = _LossStats(20.0, 0.0), _LossStats(10.0, 1.0)
    made.failed(made.level, made.round, 0.0, RTT)
    assert (18.0, 10.0) == (made._levels[0].seen, made._levels[1].seen)


# -- rounds


def test_g8_a_round_is_sixteen_attempts_or_as_many_as_fit() -> None:
    for size, attempts in ((4.0, 16), (20.0, 20)):
        made = window(size, slow_start=False, decreases=1)
        for _ in range(attempts - 1):
            fill(made, int(made.limit) - made.active)
            made.succeeded(5, made.round, RTT)
            made.limit = size
        assert (attempts - 1, 1) == (made._seen, made._decreases)
        fill(made, int(made.limit) - made.active)
        made.succeeded(5, made.round, RTT)
        assert (0, 0, 0, 0) == (made._seen, made._random_losses, made._overloads, made._decreases)


def test_g8_a_window_that_was_not_filled_falls_half_way_to_what_a_round_took() -> None:
    made = window(8.0, seen=15)
    made._peak = 2
    made.active = 1
    made.succeeded(5, made.round, RTT)
    assert (5.0, False, 0) == (made.limit, made._slow_start, made._peak)


def test_g8_a_window_that_was_filled_stays_in_slow_start() -> None:
    made = window(8.0, seen=15)
    made._peak = 9
    made.active = 8
    made.succeeded(5, made.round, RTT)
    assert (9.0, True, 7) == (made.limit, made._slow_start, made._peak)


def test_a_new_round_counts_the_slots_that_are_taken() -> None:
    made = window(8.0, cooldowns=[99.0])
    fill(made, 3)
    made._lower_to(4.0)
    assert made._peak == 4


@pytest.mark.parametrize("size", [8.0, 9.0])
def test_a_cut_to_no_less_is_none(size: float) -> None:
    made = window(8.0)
    before = made.round
    assert not made._lower_to(size)
    assert (8.0, before) == (made.limit, made.round)


# -- streaks


@pytest.mark.parametrize(
    ("seen", "bad", "streak", "chance"),
    [
        (7.0, 0.0, 16, 1.0),
        (8.0, 0.0, 1, 0.1 + 2 * math.sqrt(0.1 * 0.9 / 8)),
        (64.0, 0.0, 2, (1 / 66 + 2 * math.sqrt(1 / 66 * 65 / 66 / 64)) ** 2),
        (64.0, 64.0, 16, 1.0),
    ],
)
def test_g10_how_likely_a_streak_is_by_what_was_lost_before(
    seen: float, bad: float, streak: int, chance: float
) -> None:
    assert chance == pytest.approx(window(overall=_LossStats(seen, bad)).chance(streak))


@pytest.mark.parametrize(("rtt", "size"), [(0.02, 0.5), (1.0, 2.0)])
def test_g10_a_streak_beyond_luck_leaves_two_at_most_and_fewer_with_a_short_round_trip(
    rtt: float, size: float
) -> None:
    made = window(32.0, overall=_LossStats(64.0, 0.0), streak=5)
    made.rtt = rtt
    floor_knows(made, 64.0, 64.0)
    assert made.failed(-1, made.round - 1, 0.0, rtt)
    assert made.limit == pytest.approx(size)


def test_g10_503s_in_a_row_are_no_such_streak() -> None:
    made = window(32.0, overall=_LossStats(64.0, 0.0), streak=5)
    assert not made.failed(-1, made.round - 1, 0.0, RTT, shed=True)


def test_g10_eight_failures_in_a_row_teach_and_the_ninth_does_not() -> None:
    made = window(0.2)
    for _ in range(12):
        made.failed(0, made.round, 0.0, RTT)
    assert (8.0, 8.0) == (made._levels[0].seen, made._levels[0].bad)


def test_a_slot_that_is_given_back_is_free() -> None:
    made = window(1.0)
    made.start(0.0)
    made.release()
    assert (0, 0.0, 0) == (made.active, made.next_start_at(0.0), made._streak)


def test_restart_forgets_the_window_and_not_the_round_trip() -> None:
    made = window(
        8.0,
        streak=5,
        decreases=3,
        served=True,
        cooldowns=[99.0],
        solo=_LossStats(9.0, 1.0),
        overall=_LossStats(9.0, 1.0),
    )
    made.start(5.0)
    before = made.round
    made.restart()
    assert (1.0, 0, before + 1, RTT) == (made.limit, made.active, made.round, made.rtt)
    assert (True, [], -math.inf, 0, 0, False, 0) == (
        made._slow_start, made._cooldowns, made._last_start, made._streak, made._decreases, made._served, made._peak,
    )  # fmt: skip
    assert (0.0, 0.0) == (made._solo.seen, made._overall.seen)


def test_g8_without_a_gap_the_floor_is_one() -> None:
    made = ConcurrencyLimiter(PolicyConfig(max_spacing=0.0, overload_spacing=0.0), 8)
    assert (1.0, 0.5) == (made._floor(0.0), made._floor(0.1))
    made.record_rtt(1.0)
    assert made._floor(0.1) == 1.0


def test_g8_503s_beyond_two_sigma_of_what_hits_who_leaves_alone_are_load() -> None:
    made = window(8.0, served=True, solo=_LossStats(64.0, 6.4))
    cuts: list[bool] = []
    while not any(cuts):
        cuts.append(made.failed(made.level, made.round, 0.0, RTT, shed=True))
    assert len(cuts) == math.floor(_LossStats(64.0, 6.4).tolerates(16)) + 1
