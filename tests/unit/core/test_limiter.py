"""The window's law by itself: how it moves, and what it can never do (G8, G10)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colony_pool.config import PolicyConfig
from tests.support.private import ConcurrencyLimiter, _baseline, _LossStats

MAXSIZE = 8
STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "start", "good", "lost", "shed", "neutral"]), st.floats(0.0, 3.0)),
    max_size=200,
)


class Shop:
    """A window and the attempts that are out."""

    def __init__(self, maxsize: int = 64) -> None:
        self.window = ConcurrencyLimiter(PolicyConfig(), maxsize)
        self.now = 0.0
        self.out: list[tuple[int, int, float]] = []

    def start(self) -> bool:
        if self.window.next_start_at(self.now) > self.now:
            return False
        self.out.append((*self.window.start(self.now), self.now))
        return True

    def land(self, what: str, index: int = 0) -> bool:
        level, started_round, started = self.out.pop(index)
        if what == "good":
            self.window.succeeded(level, started_round, self.now - started)
        elif what == "neutral":
            self.window.release()
        else:
            return self.window.failed(level, started_round, started, self.now, shed=what == "shed")
        return False

    def fill(self) -> None:
        """Start as many as the window allows: there is always somebody who wants to."""
        while self.start():
            pass

    def turn(self, outcome: Callable[[int], str], seconds: float = 0.02) -> int:
        """Land those who are out, one after the other, each followed by new starts, as the dispatcher does."""
        self.fill()
        if not self.out:
            self.now = max(self.window.next_start_at(self.now), math.nextafter(self.now, math.inf))
            return 0
        self.now += seconds
        herd = len(self.out)
        for place in range(herd):
            self.land(outcome(place))
            self.fill()
        return herd

    def play(self, count: int, outcome: str, seconds: float = 0.02) -> None:
        """At least so many attempts that all end in the same way; nobody is out afterwards."""
        while count > 0:
            count -= self.turn(lambda place: outcome, seconds)
        self.leave()

    def leave(self) -> None:
        while self.out:
            self.land("neutral")


def known(shop: Shop, rng: random.Random, loss: float, attempts: int = 400) -> None:
    """Let the window see so many attempts of a server that loses ``loss`` of them."""
    while attempts > 0:
        attempts -= shop.turn(lambda place: "lost" if rng.random() < loss else "good")


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(1, MAXSIZE))
def test_g8_whatever_happens_the_window_keeps_its_bounds_and_permits_come_back(
    steps: list[tuple[str, float]], maxsize: int
) -> None:
    shop = Shop(maxsize)
    window = shop.window
    for what, seconds in steps:
        shop.now += seconds
        if what == "start":
            held = len(shop.out)
            if shop.start():
                assert held < max(1, int(window.limit)), "a slot too many"
        elif shop.out:
            shop.land(what, len(shop.out) // 2)
        assert len(shop.out) == window.active
        assert 0.0 < window.limit <= maxsize
        assert shop.window.next_start_at(shop.now) <= shop.now + window.rtt + 0.25 or shop.out, "nobody starves"
    shop.leave()
    assert window.active == 0
    assert window.next_start_at(shop.now) < math.inf


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["good", "lost", "shed"]), max_size=80), st.sampled_from(["lost", "shed"]))
def test_g8_a_success_never_shrinks_a_full_window_and_a_failure_never_grows_it(past: list[str], bad: str) -> None:
    for what in ("good", bad):
        shop = Shop()
        for outcome in past:
            shop.play(1, outcome)
        while not shop.start():
            shop.now = max(shop.window.next_start_at(shop.now), math.nextafter(shop.now, math.inf))
        shop.fill()
        before = shop.window.limit
        shop.now += 0.02
        shop.land(what)
        assert shop.window.limit >= before if what == "good" else shop.window.limit <= before


def test_g8_it_begins_with_one_attempt_and_doubles_each_round_trip() -> None:
    shop = Shop()
    assert [shop.turn(lambda place: "good") for _ in range(7)] == [1, 2, 4, 8, 16, 32, 64]


def test_g8_a_503_shrinks_the_window_and_the_attempts_of_the_same_herd_do_not_again() -> None:
    shop = Shop()
    shop.play(40, "good")
    shop.fill()
    before = shop.window.limit
    shop.land("good")
    cuts = [shop.land("shed") for _ in range(8)]
    assert cuts == [True] + [False] * 7
    assert 0.65 * before < shop.window.limit < 0.75 * before


def test_g8_a_server_that_says_too_much_is_asked_four_times_a_second_at_least() -> None:
    shop = Shop()
    shop.play(8, "good", 0.005)
    for _ in range(20):
        shop.play(7, "shed", 0.005)
        shop.play(1, "good", 0.005)
        assert shop.window.rtt / shop.window.limit <= 0.25 + 1e-9


def test_g10_a_server_that_says_too_much_to_everybody_is_found_down_within_two_seconds() -> None:
    shop = Shop()
    for _ in range(50):  # one at a time, as on a quiet day
        assert shop.start()
        shop.now += 0.02
        shop.land("good")
    began = shop.now
    shop.play(17, "shed")
    assert shop.now - began < 2.0


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("loss", [0.1, 0.3, 0.6])
def test_g8_bad_luck_that_is_known_does_not_starve_anybody(loss: float, seed: int) -> None:
    shop, rng = Shop(), random.Random(seed)
    known(shop, rng, loss)
    herds = [shop.turn(lambda place: "lost" if rng.random() < loss else "good") for _ in range(400)]
    assert sum(herds) / 400 > 8.0


def test_g8_losses_that_come_with_size_are_load_even_without_a_503() -> None:
    shop = Shop()
    herds = [shop.turn(lambda place: "good" if place < 10 else "lost") for _ in range(300)]
    assert 5.0 < sum(herds[100:]) / 200 < 16.0
    assert max(herds[100:]) <= 20, "never knocked over"


def test_g8_a_failed_attempt_keeps_its_slot_for_one_round_trip() -> None:
    shop = Shop()
    shop.play(1, "good", 0.1)
    assert shop.start()
    assert shop.start()
    shop.now += 0.005
    shop.land("shed")
    shop.land("good")
    assert not shop.start()
    shop.now += 0.1
    assert shop.start()


def test_g8_a_window_that_stood_idle_halves_each_second() -> None:
    shop = Shop()
    shop.play(200, "good")
    assert shop.window.limit == 64.0
    shop.now += 5.0
    assert shop.start()
    assert shop.window.limit == pytest.approx(2.0, rel=0.05)


def test_g8_a_window_larger_than_what_is_used_does_not_stay_so() -> None:
    shop = Shop()
    shop.play(200, "good")
    for _ in range(300):
        assert shop.start()
        assert shop.start()
        shop.now += 0.02
        shop.land("good")
        shop.land("good")
    assert shop.window.limit < 4.0


def test_g10_a_streak_that_luck_cannot_explain_leaves_two_in_flight_at_most() -> None:
    shop = Shop()
    shop.play(200, "good")
    shop.fill()
    assert len(shop.out) == 64
    cuts = [shop.land("lost") for _ in range(64)]
    assert sum(cuts) == 2, "the first failure, and the streak"
    shop.now += 1.0
    assert shop.window.limit <= 2.0


@pytest.mark.parametrize("seed", range(20))
def test_g10_a_streak_is_judged_by_the_losses_that_are_known(seed: int) -> None:
    healthy, lossy = Shop(), Shop()
    known(healthy, random.Random(seed), 0.0)
    known(lossy, random.Random(seed), 0.6)
    assert Shop().window.chance(16) == 1.0, "nothing is known"
    assert healthy.window.chance(16) < 1e-6 < lossy.window.chance(16)


def test_g10_an_outage_does_not_teach_that_failing_is_normal() -> None:
    shop = Shop()
    shop.play(200, "good")
    shop.play(500, "lost")
    assert shop.window.chance(16) < 1e-6


def test_g8_restart_forgets_everything_but_the_round_trip() -> None:
    shop = Shop()
    shop.play(100, "good", 0.3)
    shop.play(30, "lost")
    rtt, started_round = shop.window.rtt, shop.window.round
    shop.window.restart()
    assert (1.0, 0, rtt) == (shop.window.limit, shop.window.active, shop.window.rtt)
    assert shop.window.round > started_round, "what is out is history"
    assert shop.window.chance(1) == 1.0


def test_g8_a_round_trip_that_grew_does_not_stretch_the_pace() -> None:
    shop = Shop()
    shop.play(8, "good", 0.005)
    shop.play(8, "shed", 0.005)
    shop.window.rtt = 6.0
    assert shop.window.next_start_at(shop.now) <= shop.now + 6.0
    shop.now += 6.0
    assert shop.start(), "the failed attempt's slot is back, and no pace is slower than overload_spacing"


@pytest.mark.parametrize(
    ("levels", "known"),
    [
        ([], (0, 0)),
        ([(20, 0), (40, 0)], (60, 0)),
        ([(20, 0), (40, 15)], (20, 0)),  # an overloaded level does not teach the next one that failing is normal
        ([(20, 6), (40, 15)], (60, 21)),
        ([(20, 6), (0, 0), (40, 30), (40, 15)], (60, 21)),
        ([(4, 0), (40, 15)], (4, 0)),  # too little is known to believe anybody
    ],
)
def test_g8_a_level_joins_the_baseline_if_it_fails_no_more_than_those_below(
    levels: list[tuple[int, int]], known: tuple[int, int]
) -> None:
    baseline = _baseline([_LossStats(seen, bad) for seen, bad in levels])
    assert known == (baseline.seen, baseline.bad)


def test_g8_without_a_floor_it_is_one_at_a_time_as_fast_as_answers_come() -> None:
    window = ConcurrencyLimiter(PolicyConfig(max_spacing=0.0, overload_spacing=0.0), 8)
    for i in range(20):
        level, started_round = window.start(float(i))
        window.failed(level, started_round, float(i), i + 0.9, shed=i % 2 == 0)
    assert (1.0, 0) == (window.limit, window.level)
