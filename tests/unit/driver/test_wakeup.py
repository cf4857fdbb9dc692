"""One timer per context that fires in time, and none that is not needed (G24, and hubs that die)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.driver_bench import Bench, Later, StillRuntime
from tests.support.private import WakeupTimer
from tests.support.private import actions as act


class Hub:
    """A context."""


class Set:
    """An alarm and how often it rang."""

    def __init__(self) -> None:
        self.runtime, self.rings = StillRuntime(), 0
        self.wakeup = WakeupTimer(self.runtime, self.ring)

    def ring(self) -> None:
        self.rings += 1

    def arm(self, at: float) -> None:
        self.wakeup.at = at
        self.wakeup.arm()

    @property
    def pending(self) -> list[float]:
        return [timer.delay for timer in self.runtime.timers if not timer.cancelled]


def test_it_rings_in_time_and_once() -> None:
    made = Set()
    made.arm(7.5)
    assert [2.5] == made.pending
    made.runtime.timers[0].fire()
    assert made.rings == 1
    made.arm(8.0)
    assert len(made.runtime.timers) == 2, "the one that has rung is forgotten"


def test_a_timer_that_rings_though_it_was_cancelled_does_no_harm() -> None:
    made = Set()
    made.arm(7.5)
    made.arm(math.inf)
    made.runtime.timers[0].fire()
    assert made.rings == 1


def test_a_timer_that_fires_before_it_can_be_noted_is_not_waited_for() -> None:
    """Another thread runs it at once; what was noted afterwards would count as set for ever."""
    made = Set()
    later = made.runtime.call_later

    def at_once(delay: float, fn: Callable[[], object]) -> Later:
        timer = later(delay, fn)
        timer.fire()
        return timer

    made.runtime.call_later = at_once  # type: ignore[method-assign]
    made.arm(5.0)
    assert made.rings == 1
    made.runtime.call_later = later  # type: ignore[method-assign]
    made.arm(8.0)
    assert 3.0 in made.pending


@pytest.mark.parametrize(("then", "pending"), [(9.0, [2.5]), (7.5, [2.5]), (6.0, [1.0]), (math.inf, [])])
def test_a_timer_that_rings_early_enough_stays(then: float, pending: list[float]) -> None:
    made = Set()
    made.arm(7.5)
    made.arm(then)
    assert pending == made.pending
    assert (1 if then >= 7.5 else 2) == len(made.runtime.timers)


def test_a_timer_that_was_cancelled_is_not_taken_for_one_that_rings() -> None:
    made = Set()
    made.arm(7.5)
    made.arm(math.inf)
    made.arm(9.0)
    assert [4.0] == made.pending


def test_a_timer_may_ring_while_it_is_replaced() -> None:
    made = Set()
    made.runtime.here = hub = Hub()
    made.arm(7.5)
    [due] = made.wakeup._timers.values()

    def rings_meanwhile() -> Hub:
        made.wakeup._timers.clear()
        return hub

    due.context = rings_meanwhile
    made.arm(6.0)
    assert [1.0] == made.pending


def test_without_anything_to_wake_for_there_is_no_timer() -> None:
    made = Set()
    made.wakeup.arm()
    made.arm(math.inf)
    assert made.runtime.timers == []


def test_what_is_overdue_rings_at_once() -> None:
    made = Set()
    made.arm(1.0)
    assert [0.0] == made.pending


def test_each_home_has_its_own() -> None:
    made, hubs = Set(), [Hub(), Hub()]
    for hub in hubs:
        made.runtime.here = hub
        made.arm(7.5)
    assert [2.5, 2.5] == made.pending
    made.arm(6.0)
    assert [2.5, 1.0] == made.pending
    made.wakeup.cancel()
    assert made.pending == []
    made.arm(6.0)
    assert [1.0] == made.pending


def test_a_hub_in_the_place_of_one_that_died_gets_a_timer_of_its_own() -> None:
    made = Set()
    made.runtime.here = hub = Hub()
    made.arm(7.5)
    [due] = made.wakeup._timers.values()
    due.context = lambda: None  # as if another had lived at its address
    made.arm(9.0)
    assert [2.5, 4.0] == made.pending, "the dead one's timer is not touched: its thread is gone"
    made.arm(10.0)
    assert (2, True) == (len(made.runtime.timers), made.runtime.current_context() is hub)


def test_it_keeps_no_hub_alive() -> None:
    made = Set()
    made.runtime.here = Hub()
    made.arm(7.5)
    [due] = made.wakeup._timers.values()
    assert due.context() is made.runtime.here
    made.runtime.here = None
    assert due.context() is None


def test_a_time_that_is_moved_while_a_timer_is_made_is_looked_at_again() -> None:
    made = Set()
    plain = made.runtime.call_later

    def moving(delay: float, fire: Any) -> Later:
        if not made.runtime.timers:
            made.wakeup.at = 6.0  # another thread
        return plain(delay, fire)

    made.runtime.call_later = moving  # type: ignore[method-assign, assignment]
    made.arm(7.5)
    assert [1.0] == made.pending


def test_a_timer_that_gets_no_thread_is_set_by_whoever_comes_next() -> None:
    bench = Bench()
    plain = bench.runtime.call_later

    def refuse(delay: float, fire: Any) -> Later:
        raise RuntimeError("can't start new thread")

    bench.runtime.call_later = refuse  # type: ignore[method-assign, assignment]
    bench.feed(act.WakeAt(7.5))
    assert [] == bench.runtime.timers
    bench.runtime.call_later = plain  # type: ignore[method-assign]
    bench.feed()
    assert [2.5] == [timer.delay for timer in bench.runtime.timers]


def test_of_a_timer_that_has_rung_nothing_is_kept_and_of_one_that_took_its_place_all() -> None:
    made = Set()
    made.arm(7.5)
    [first] = made.runtime.timers
    made.arm(6.0)
    first.fire()  # though it was cancelled
    [second] = made.wakeup._timers.values()
    assert second.timer is made.runtime.timers[-1]
    made.runtime.timers[-1].fire()
    assert {} == made.wakeup._timers
