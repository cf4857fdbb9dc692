"""What a desk learns from the store, when it looks, and what it passes on (G8, G13, G20)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colony_pool.config import BreakerConfig
from tests.support.desk import COUNTING, GOOD, START, WALL, Desk
from tests.support.fleet_desk import OPENING, FleetDesk, opened
from tests.support.private import Instant, SharedState
from tests.support.private import actions as act
from tests.support.private import events as ev

NOTHING = SharedState()


def held(seconds: float = 30.0) -> FleetDesk:
    """A caller waits for the end of a hold that began here at 100, and looks."""
    desk = FleetDesk()
    desk.at(100.0)
    desk.ask()
    desk.answer(desk.out[0], replace(COUNTING, retry_after=seconds))
    desk.told.clear()
    desk.ask(patience=1000.0)
    assert 1 == len(desk.all(act.PollStore))
    return desk


def moves(desk: FleetDesk) -> list[ev.StateChanged]:
    return [event for event in desk.events if isinstance(event, ev.StateChanged)]


# -- holds ------------------------------------------------------------------------------------------------


def test_g13_a_hold_of_less_than_a_second_is_one() -> None:
    desk = FleetDesk()
    desk.learn(SharedState(hold_for=0.5))
    assert 0.5 == desk.desk.rate_limit.paused_until


@pytest.mark.parametrize(("theirs", "told"), [(30.0, False), (29.0, False), (28.5, True)])
def test_g13_holds_that_end_within_a_second_are_one(theirs: float, told: bool) -> None:
    desk = held()
    desk.learn(SharedState(hold_for=theirs))
    expected = act.PublishRateLimit(desk.desk.breaker.generation, 30.0, "HTTP 429 from the rate limit", desk.now)
    assert ([expected] if told else []) == desk.all(act.PublishRateLimit)


def test_g13_a_hold_is_told_with_its_cause_and_the_generation_of_now() -> None:
    desk = FleetDesk()
    desk.ask()
    desk.answer(desk.out[0], COUNTING)
    expected = act.PublishRateLimit(desk.desk.breaker.generation, 30.0, "HTTP 429 from the rate limit", desk.now)
    assert [expected] == desk.all(act.PublishRateLimit)


def test_g13_g8_after_a_hold_all_processes_together_begin_at_one() -> None:
    desk = held()
    desk.learn(SharedState(hold_for=30.0, members=10))
    desk.at(130.0)
    assert (False, 0.1) == (desk.desk.rate_limit._is_on, desk.desk.limiter.limit)


# -- openings and closings --------------------------------------------------------------------------------


def test_g8_a_closing_elsewhere_is_told_to_listeners_as_learnt_and_to_nobody_else() -> None:
    desk = FleetDesk()
    desk.learn(SharedState(generation=3, opening=OPENING))
    desk.learn(SharedState(generation=4))
    assert [("open", True, False), ("closed", True, False)] == [
        (event.new, event.learnt, event.by_operator) for event in moves(desk)
    ]
    assert [] == desk.told


def test_an_opening_that_got_lost_is_told_as_it_is_now() -> None:
    desk = opened()
    desk.told.clear()
    desk.learn(SharedState(generation=0))
    circuit = desk.desk.breaker
    assert [act.PublishOpen(circuit.generation, 0, circuit.open_state(desk.now))] == desk.all(act.PublishOpen)


def test_an_answer_to_what_was_told_is_no_reason_to_tell_it_again() -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", START))
    desk.learn(NOTHING)
    assert 1 == len(desk.all(act.PublishOpen))


@pytest.mark.parametrize(("members", "size"), [(0, 1.0), (1, 1.0), (2, 0.5)])
def test_g8_each_process_begins_at_its_share(members: int, size: float) -> None:
    desk = FleetDesk()
    desk.learn(SharedState(generation=3, opening=OPENING, members=members))
    desk.learn(SharedState(generation=4, members=members))
    assert size == desk.desk.limiter.limit


def test_g8_who_has_heard_of_nobody_begins_as_one() -> None:
    desk = FleetDesk()
    desk.feed(desk.desk.force("open", START))
    desk.feed(desk.desk.force("closed", START))
    assert 1.0 == desk.desk.limiter.limit


def test_g8_a_fleet_of_one_begins_as_a_process_that_shares_nothing() -> None:
    fleet, alone = FleetDesk(), Desk()
    for desk in (fleet, alone):
        desk.feed(desk.desk.force("open", START))
        desk.feed(desk.desk.force("closed", START))
        desk.at(10.0)
        desk.ask()
    assert (alone.started[0].level, alone.started[0].round) == (fleet.started[0].level, fleet.started[0].round)


def test_g8_a_share_doubles_with_a_success_in_slow_start_as_any_window_does() -> None:
    desk = FleetDesk()
    desk.learn(SharedState(generation=3, opening=OPENING, members=100))
    desk.learn(SharedState(generation=4, members=100))
    window = desk.desk.limiter
    window.start(0.0)
    window.succeeded(0, window.round, 0.05)
    assert 0.02 == pytest.approx(window.limit)


# -- looks ------------------------------------------------------------------------------------------------


def test_a_look_that_got_lost_is_not_the_last_and_the_next_comes_in_its_time() -> None:
    desk = held()
    desk.lose(desk.all(act.PollStore)[0])
    assert 1 == len(desk.all(act.PollStore))
    desk.at(101.0)
    assert len(desk.all(act.PollStore)) > 1


def test_after_a_look_that_got_lost_nothing_is_told_for_its_sake() -> None:
    desk = opened()
    desk.lose(desk.all(act.PollStore)[0])
    desk.told.clear()
    desk.learn(NOTHING)
    assert [] == desk.all(act.PublishOpen)


def test_a_look_leaves_in_the_moment_in_which_it_is_due() -> None:
    desk = held()
    desk.learn(SharedState(hold_for=30.0))
    assert desk.desk.coordinator is not None
    desk.at(desk.coordinator._next_poll)
    assert 2 == len(desk.all(act.PollStore))


@pytest.mark.parametrize(("rand", "pause"), [(0.0, 0.1875), (0.5, 0.25), (1.0, 0.3125)])
def test_looks_are_a_quarter_of_a_second_apart_and_never_in_step(rand: float, pause: float) -> None:
    desk = held()
    desk.rand = lambda: rand
    desk.learn(SharedState(hold_for=30.0))
    assert desk.desk.coordinator is not None
    assert 100.0 + pause == pytest.approx(desk.coordinator._next_poll)


def test_a_probe_that_is_due_soon_is_not_overlooked() -> None:
    desk = FleetDesk()
    desk.at(1000.0)
    desk.rand = lambda: 0.5
    desk.learn(SharedState(generation=1, opening=replace(OPENING, probe_in=0.5)))
    assert desk.desk.coordinator is not None
    assert 1000.5 == pytest.approx(desk.coordinator._next_poll)


def test_who_is_held_while_closed_looks_as_often_as_ever_whatever_delay_was_before() -> None:
    desk = FleetDesk(breaker=BreakerConfig(open_delay=60.0))
    for state in ("open", "closed"):
        desk.feed(desk.desk.force(state, Instant(0.0, WALL + 0.0)))
    desk.learn(SharedState(hold_for=30.0))
    assert desk.desk.coordinator is not None
    assert desk.coordinator._next_poll <= 1.25 * 0.25


# -- members ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("later", "join_for"), [(15.0, 0.0), (15.5, 30.0)])
def test_who_waits_on_joins_anew_in_the_second_half_of_its_time(later: float, join_for: float) -> None:
    desk = held(60.0)
    desk.now += later  # nothing was heard of the time between: a machine that stood still
    desk.feed(desk.desk.tick(desk.moment))
    assert [30.0, join_for] == [look.join_for for look in desk.all(act.PollStore)]


def test_who_has_left_leaves_once_and_joins_again() -> None:
    desk = held(10.0)
    desk.at(112.0)
    while desk.out:
        desk.answer(desk.out[0], GOOD)
    desk.at(113.0)
    assert 1 == len(desk.all(act.LeaveGroup))
    desk.learn(SharedState(hold_for=10.0))
    desk.told.clear()
    desk.ask(patience=1000.0)
    desk.at(114.0)
    assert 30.0 == next(look.join_for for look in desk.all(act.PollStore))


# -- both clocks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["learn", "granted", "refused", "led", "unavailable"])
def test_whatever_the_store_answers_books_the_time_since(answer: str) -> None:
    desk = opened()
    desk.to_ask()
    core = desk.desk
    ask, asked = act.RequestProbeLease(1, 6.0), core.breaker.generation
    now, wall = desk.now + 1.0, WALL + 4000.0
    before = sum(core.waiters.times.until(desk.now, 0).values())
    if answer == "learn":
        core.learn(NOTHING, asked, Instant(now, wall))
    elif answer == "granted":
        core.granted(ask, 7, Instant(now, wall))
    elif answer == "refused":
        core.refused(ask, NOTHING, Instant(now, wall))
    elif answer == "led":
        core.led(act.RequestLeadership(asked, 5.0), NOTHING, Instant(now, wall), busy=True)
    else:
        core.unavailable(ask, Instant(now, wall))
    assert sum(core.waiters.times.until(now, 0).values()) == pytest.approx(before + core.waiters.count)
