"""What a dispatcher learns from the store, when it looks, and what it passes on (G8, G13, G20)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colony_pool.config import BreakerConfig
from tests.support.coordinated_harness import OPENING, CoordinatedHarness, opened
from tests.support.dispatcher_harness import COUNTING, GOOD, START, WALL, DispatcherHarness
from tests.support.private import Instant, SharedState
from tests.support.private import actions as act
from tests.support.private import events as ev

NOTHING = SharedState()


def rate_limited(seconds: float = 30.0) -> CoordinatedHarness:
    """A caller waits for the end of a hold that began here at 100, and looks."""
    harness = CoordinatedHarness()
    harness.at(100.0)
    harness.ask()
    harness.answer(harness.out[0], replace(COUNTING, retry_after=seconds))
    harness.store_actions.clear()
    harness.ask(patience=1000.0)
    assert 1 == len(harness.all(act.PollStore))
    return harness


def moves(harness: CoordinatedHarness) -> list[ev.StateChanged]:
    return [event for event in harness.events if isinstance(event, ev.StateChanged)]


# -- holds ------------------------------------------------------------------------------------------------


def test_g13_a_pause_of_less_than_a_second_is_one() -> None:
    harness = CoordinatedHarness()
    harness.learn(SharedState(hold_for=0.5))
    assert 0.5 == harness.dispatcher.rate_limit.paused_until


@pytest.mark.parametrize(("theirs", "published"), [(30.0, False), (29.0, False), (28.5, True)])
def test_g13_pauses_that_end_within_a_second_are_one(theirs: float, published: bool) -> None:
    harness = rate_limited()
    harness.learn(SharedState(hold_for=theirs))
    expected = act.PublishRateLimit(
        harness.dispatcher.breaker.generation, 30.0, "HTTP 429 from the rate limit", harness.now
    )
    assert ([expected] if published else []) == harness.all(act.PublishRateLimit)


def test_g13_a_pause_is_told_with_its_cause_and_the_generation_of_now() -> None:
    harness = CoordinatedHarness()
    harness.ask()
    harness.answer(harness.out[0], COUNTING)
    expected = act.PublishRateLimit(
        harness.dispatcher.breaker.generation, 30.0, "HTTP 429 from the rate limit", harness.now
    )
    assert [expected] == harness.all(act.PublishRateLimit)


def test_g13_g8_after_a_pause_all_processes_together_begin_at_one() -> None:
    harness = rate_limited()
    harness.learn(SharedState(hold_for=30.0, members=10))
    harness.at(130.0)
    assert (False, 0.1) == (harness.dispatcher.rate_limit._is_on, harness.dispatcher.limiter.limit)


# -- openings and closings --------------------------------------------------------------------------------


def test_g8_a_closing_elsewhere_is_told_to_listeners_as_learnt_and_to_nobody_else() -> None:
    harness = CoordinatedHarness()
    harness.learn(SharedState(generation=3, opening=OPENING))
    harness.learn(SharedState(generation=4))
    assert [("open", True, False), ("closed", True, False)] == [
        (event.new, event.learnt, event.by_operator) for event in moves(harness)
    ]
    assert [] == harness.store_actions


def test_an_opening_that_got_lost_is_told_as_it_is_now() -> None:
    harness = opened()
    harness.store_actions.clear()
    harness.learn(SharedState(generation=0))
    circuit = harness.dispatcher.breaker
    assert [act.PublishOpen(circuit.generation, 0, circuit.open_state(harness.now))] == harness.all(act.PublishOpen)


def test_an_answer_to_what_was_told_is_no_reason_to_tell_it_again() -> None:
    harness = CoordinatedHarness()
    harness.feed(harness.dispatcher.force("open", START))
    harness.learn(NOTHING)
    assert 1 == len(harness.all(act.PublishOpen))


@pytest.mark.parametrize(("members", "size"), [(0, 1.0), (1, 1.0), (2, 0.5)])
def test_g8_each_process_begins_at_its_share(members: int, size: float) -> None:
    harness = CoordinatedHarness()
    harness.learn(SharedState(generation=3, opening=OPENING, members=members))
    harness.learn(SharedState(generation=4, members=members))
    assert size == harness.dispatcher.limiter.limit


def test_g8_who_has_heard_of_nobody_begins_as_one() -> None:
    harness = CoordinatedHarness()
    harness.feed(harness.dispatcher.force("open", START))
    harness.feed(harness.dispatcher.force("closed", START))
    assert 1.0 == harness.dispatcher.limiter.limit


def test_g8_a_fleet_of_one_begins_as_a_process_that_shares_nothing() -> None:
    fleet, alone = CoordinatedHarness(), DispatcherHarness()
    for harness in (fleet, alone):
        harness.feed(harness.dispatcher.force("open", START))
        harness.feed(harness.dispatcher.force("closed", START))
        harness.at(10.0)
        harness.ask()
    assert (alone.started[0].level, alone.started[0].round) == (fleet.started[0].level, fleet.started[0].round)


def test_g8_a_share_doubles_with_a_success_in_slow_start_as_any_window_does() -> None:
    harness = CoordinatedHarness()
    harness.learn(SharedState(generation=3, opening=OPENING, members=100))
    harness.learn(SharedState(generation=4, members=100))
    window = harness.dispatcher.limiter
    window.start(0.0)
    window.succeeded(0, window.round, 0.05)
    assert 0.02 == pytest.approx(window.limit)


# -- looks ------------------------------------------------------------------------------------------------


def test_a_poll_that_got_lost_is_not_the_last_and_the_next_comes_in_its_time() -> None:
    harness = rate_limited()
    harness.lose(harness.all(act.PollStore)[0])
    assert 1 == len(harness.all(act.PollStore))
    harness.at(101.0)
    assert len(harness.all(act.PollStore)) > 1


def test_after_a_poll_that_got_lost_nothing_is_told_for_its_sake() -> None:
    harness = opened()
    harness.lose(harness.all(act.PollStore)[0])
    harness.store_actions.clear()
    harness.learn(NOTHING)
    assert [] == harness.all(act.PublishOpen)


def test_the_clock_alone_has_the_store_looked_at_again() -> None:
    harness = rate_limited()
    harness.learn(SharedState(hold_for=30.0))
    assert harness.wake <= 100.0 + 1.25 * 0.25, "though the hold lasts for half a minute"
    harness.at(harness.wake)
    assert 2 == len(harness.all(act.PollStore))


def test_a_poll_leaves_in_the_moment_in_which_it_is_due() -> None:
    harness = rate_limited()
    harness.learn(SharedState(hold_for=30.0))
    assert harness.dispatcher.coordinator is not None
    harness.at(harness.coordinator._next_poll)
    assert 2 == len(harness.all(act.PollStore))


@pytest.mark.parametrize(("rand", "pause"), [(0.0, 0.1875), (0.5, 0.25), (1.0, 0.3125)])
def test_polls_are_a_quarter_of_a_second_apart_and_never_in_step(rand: float, pause: float) -> None:
    harness = rate_limited()
    harness.rand = lambda: rand
    harness.learn(SharedState(hold_for=30.0))
    assert harness.dispatcher.coordinator is not None
    assert 100.0 + pause == pytest.approx(harness.coordinator._next_poll)


def test_a_probe_that_is_due_soon_is_not_overlooked() -> None:
    harness = CoordinatedHarness()
    harness.at(1000.0)
    harness.rand = lambda: 0.5
    harness.learn(SharedState(generation=1, opening=replace(OPENING, probe_in=0.5)))
    assert harness.dispatcher.coordinator is not None
    assert 1000.5 == pytest.approx(harness.coordinator._next_poll)


def test_who_is_held_while_closed_polls_as_often_as_ever_whatever_delay_was_before() -> None:
    harness = CoordinatedHarness(breaker=BreakerConfig(open_delay=60.0))
    for state in ("open", "closed"):
        harness.feed(harness.dispatcher.force(state, Instant(0.0, WALL + 0.0)))
    harness.learn(SharedState(hold_for=30.0))
    assert harness.dispatcher.coordinator is not None
    assert harness.coordinator._next_poll <= 1.25 * 0.25


# -- members ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("later", "join_for"), [(15.0, 0.0), (15.5, 30.0)])
def test_who_waits_on_joins_anew_in_the_second_half_of_its_time(later: float, join_for: float) -> None:
    harness = rate_limited(60.0)
    harness.now += later  # nothing was heard of the time between: a machine that stood still
    harness.feed(harness.dispatcher.tick(harness.moment))
    assert [30.0, join_for] == [poll.join_for for poll in harness.all(act.PollStore)]


def test_who_has_left_leaves_once_and_joins_again() -> None:
    harness = rate_limited(10.0)
    harness.at(112.0)
    while harness.out:
        harness.answer(harness.out[0], GOOD)
    harness.at(113.0)
    assert 1 == len(harness.all(act.LeaveGroup))
    harness.learn(SharedState(hold_for=10.0))
    harness.store_actions.clear()
    harness.ask(patience=1000.0)
    harness.at(114.0)
    assert 30.0 == next(poll.join_for for poll in harness.all(act.PollStore))


# -- both clocks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["learn", "granted", "refused", "led", "unavailable"])
def test_whatever_the_store_answers_books_the_time_since(answer: str) -> None:
    harness = opened()
    harness.to_ask()
    core = harness.dispatcher
    ask, asked = act.RequestProbeLease(1, 6.0), core.breaker.generation
    now, wall = harness.now + 1.0, WALL + 4000.0
    before = sum(core.waiters.times.until(harness.now, 0).values())
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
