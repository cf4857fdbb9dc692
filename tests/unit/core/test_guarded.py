"""Calls of users' own that the breaker guards: who passes, and what counts (G1, G5, G6, G10)."""

from __future__ import annotations

import pytest

from colony_pool.config import BreakerConfig, DispatcherConfig, RetryConfig, Timeout
from tests.support.dispatcher_harness import COUNTING, DOWN_502, FOREVER, GOOD, MINE, DispatcherHarness
from tests.support.private import Dispatcher, GuardedCall
from tests.support.private import events as ev

THREE = BreakerConfig(
    fail_max=3, jitter=0.0, open_delay=2.0, open_delay_max=60.0, min_failure_time=0.0, reset_after=2
)
TRIAL = 30.0  # seconds that a trial keeps others


class Guards(DispatcherHarness):
    """Makes guarded calls, too."""

    def __init__(self) -> None:
        super().__init__(breaker=THREE, retry=RetryConfig(max_retries=6), timeout=Timeout(total=TRIAL))

    def call(self) -> GuardedCall:
        """A call that comes, and waits for leave if it has to."""
        call = self.dispatcher.guarded.arrive()
        if not call.passes:
            self.feed(self.dispatcher.admit_guarded(call, self.moment))
        return call

    def end(self, call: GuardedCall, failure: str | None = "") -> None:
        self.feed(self.dispatcher.guarded_ended(call, failure, self.moment))

    def force(self, state: str) -> None:
        self.feed(self.dispatcher.force(state, self.moment))

    def is_open_after(self, *failures: str | None) -> list[bool]:
        """Whether the breaker is open after each of so many calls that ended so."""
        states = []
        for failure in failures:
            self.end(self.call(), failure)
            states.append(self.state == "open")
        return states

    @property
    def state(self) -> str:
        return self.dispatcher.breaker.state

    @property
    def failures(self) -> int:
        return self.dispatcher.breaker.failures

    def moves(self) -> list[tuple[str, str]]:
        return [(event.old, event.new) for event in self.events if isinstance(event, ev.StateChanged)]


@pytest.fixture
def guards() -> Guards:
    return Guards()


# -- while it is closed -----------------------------------------------------------------------------------


def test_g10_so_many_failed_calls_in_a_row_open_it(guards: Guards) -> None:
    assert [False, False, True] == guards.is_open_after("boom", "boom", "bang")
    assert (3, "bang", 0) == (guards.failures, guards.dispatcher.breaker.cause, guards.dispatcher.breaker.last_status)
    opened = guards.events[-1]
    assert (True, True, 2.0, False) == (opened.guarded, opened.known_good, opened.next_probe_in, opened.by_operator)


def test_g10_a_success_ends_the_row_and_an_interrupted_call_does_not(guards: Guards) -> None:
    assert [False] * 5 == guards.is_open_after("boom", "boom", "", "boom", "boom")
    assert [False, True] == guards.is_open_after(None, "boom")


def test_g10_failures_of_calls_and_of_attempts_are_one_row(guards: Guards) -> None:
    guards.is_open_after("boom", "boom")
    guards.ask(patience=FOREVER)
    guards.answer(guards.out[0], DOWN_502)
    assert ("open", 3) == (guards.state, guards.failures)
    assert not guards.events[-1].guarded, "it is the endpoint's failure that has opened it"


def test_g10_only_the_call_that_opens_it_is_told_so(guards: Guards) -> None:
    calls = [guards.call() for _ in range(5)]
    for call in calls:
        guards.end(call, "boom")
    assert [False, False, True, False, False] == [call.has_opened for call in calls]
    assert 3 == guards.failures, "what fails once it is open is no further failure"


def test_g5_a_result_of_an_earlier_closed_period_counts_nothing(guards: Guards) -> None:
    old, older = guards.call(), guards.call()
    guards.force("open")
    guards.force("closed")
    guards.is_open_after("boom")
    guards.end(old, "boom")
    guards.end(older, "")
    assert 1 == guards.failures


def test_a_result_counts_after_a_pause_of_the_rate_limit_has_ended(guards: Guards) -> None:
    """That begins a generation, but it is the same closed period."""
    call = guards.call()
    guards.ask(patience=FOREVER)
    guards.answer(guards.out[0], COUNTING)
    guards.at(31.0)
    guards.end(call, "boom")
    assert 1 == guards.failures


def test_g3_an_input_that_is_put_again_counts_once(guards: Guards) -> None:
    call = guards.call()
    guards.end(call, "boom")
    guards.end(call, "boom")
    assert 1 == guards.failures


def test_successes_of_calls_reset_the_delay(guards: Guards) -> None:
    guards.force("open")
    guards.force("closed")
    assert 1 == guards.dispatcher.breaker.level
    guards.is_open_after("", "")
    assert 0 == guards.dispatcher.breaker.level


# -- while it is not --------------------------------------------------------------------------------------


def test_g1_while_open_nothing_passes_before_the_probe_is_due(guards: Guards) -> None:
    guards.force("open")
    assert not guards.call().passes
    assert not guards.dispatcher.guarded.may_pass(1.9)
    guards.at(1.9)
    assert not guards.call().passes
    assert [("closed", "open")] == guards.moves()


def test_g1_then_one_call_is_the_trial(guards: Guards) -> None:
    guards.force("open")
    guards.at(2.0)
    assert guards.dispatcher.guarded.may_pass(2.0)
    trial = guards.call()
    assert (True, True, "half_open") == (trial.passes, trial.is_trial, guards.state)
    assert [False] * 3 == [guards.call().passes for _ in range(3)]


def test_g8_a_trial_that_succeeds_closes_it(guards: Guards) -> None:
    guards.is_open_after("boom", "boom", "boom")
    guards.at(2.0)
    guards.end(guards.call(), "")
    assert ("closed", 0) == (guards.state, guards.failures)
    assert [("closed", "open"), ("open", "half_open"), ("half_open", "closed")] == guards.moves()


def test_g6_a_trial_that_fails_opens_it_for_twice_as_long(guards: Guards) -> None:
    guards.is_open_after("boom", "boom", "boom")
    guards.at(2.0)
    trial = guards.call()
    guards.end(trial, "bang")
    assert ("open", 4, True) == (guards.state, guards.failures, trial.has_opened)
    assert (6.0, "bang") == (guards.dispatcher.breaker.probe_at, guards.dispatcher.breaker.cause)
    assert not guards.call().passes


def test_g4_a_trial_that_is_interrupted_is_given_back(guards: Guards) -> None:
    guards.force("half_open")
    guards.end(guards.call(), None)
    assert "half_open" == guards.state
    assert guards.call().passes


def test_g4_a_trial_without_a_verdict_is_void_at_its_deadline(guards: Guards) -> None:
    guards.force("half_open")
    late = guards.call()
    guards.at(TRIAL - 0.1)
    assert not guards.call().passes
    guards.at(TRIAL)
    second = guards.call()
    assert second.passes
    guards.end(late, None)
    assert not guards.call().passes, "the second one is the trial"
    guards.end(second, "")
    assert "closed" == guards.state


def test_g5_the_verdict_of_a_trial_counts_in_its_own_generation_alone(guards: Guards) -> None:
    guards.force("half_open")
    trial = guards.call()
    guards.force("open")
    generation = guards.dispatcher.breaker.generation
    guards.end(trial, "")
    assert (generation, "open") == (guards.dispatcher.breaker.generation, guards.state)
    guards.force("half_open")
    trial = guards.call()
    guards.force("closed")
    guards.end(trial, "boom")
    assert ("closed", 0) == (guards.state, guards.failures)


def test_g4_a_trial_of_an_earlier_generation_keeps_nobody(guards: Guards) -> None:
    guards.force("half_open")
    guards.call()
    guards.force("open")
    guards.force("half_open")
    assert guards.call().passes


def test_g3_a_trial_that_is_let_pass_again_after_an_interrupt_is_the_same_one(guards: Guards) -> None:
    guards.force("half_open")
    trial = guards.call()
    trial.passes = False
    guards.feed(guards.dispatcher.admit_guarded(trial, guards.moment))
    assert trial.passes
    guards.end(trial, "")
    assert "closed" == guards.state


def test_what_is_made_in_a_trial_is_part_of_it_while_its_verdict_is_awaited(guards: Guards) -> None:
    def parts() -> list[bool]:
        return [guards.dispatcher.guarded.is_trial(call) for call in (trial, other)]

    trial = other = guards.call()
    assert [False, False] == parts()
    guards.force("half_open")
    trial = guards.call()
    assert [True, False] == parts()
    guards.force("open")
    assert [False, False] == parts()
    guards.force("half_open")
    trial = guards.call()
    guards.end(trial, None)
    assert [False, False] == parts()


def test_a_call_that_comes_when_it_has_just_closed_is_no_trial(guards: Guards) -> None:
    guards.force("half_open")
    waiting = GuardedCall()
    guards.force("closed")
    guards.feed(guards.dispatcher.admit_guarded(waiting, guards.moment))
    guards.end(waiting, "boom")
    assert (True, False, 1) == (waiting.passes, waiting.is_trial, guards.failures)


# -- the probe, beside it ---------------------------------------------------------------------------------


def test_g1_nothing_passes_while_a_probe_is_out(guards: Guards) -> None:
    guards.ask(patience=FOREVER)
    guards.answer(guards.out[0], MINE)
    guards.force("open")
    guards.ask(patience=FOREVER)
    guards.to_probe()
    assert not guards.call().passes
    assert not guards.dispatcher.guarded.may_pass(guards.now)


def test_g7_a_trial_that_asks_for_a_token_is_the_probes_caller(guards: Guards) -> None:
    """Else it would wait for itself."""
    guards.force("open")
    guards.at(2.0)
    trial = guards.call()
    waiter = guards.ask(patience=FOREVER)
    assert [True] == [permit.is_probe for permit in guards.out], "its probe leaves at once"
    guards.answer(guards.out[0], GOOD)
    assert waiter.token is not None
    assert "closed" == guards.state
    guards.end(trial, "boom")
    assert ("closed", 0) == (guards.state, guards.failures), "the probe was first"


def test_g5_a_trial_that_is_first_makes_the_probe_history(guards: Guards) -> None:
    guards.force("open")
    guards.at(2.0)
    trial = guards.call()
    waiter = guards.ask(patience=FOREVER)
    guards.end(trial, "")
    assert "closed" == guards.state
    guards.answer(guards.out[0], DOWN_502)
    assert ("closed", 0) == (guards.state, guards.failures)
    guards.at(10.0)
    guards.answer(guards.out[0], GOOD)
    assert waiter.token is not None


def test_g13_nothing_passes_before_the_rate_limit_ends_unless_it_is_closed(guards: Guards) -> None:
    guards.ask(patience=FOREVER)
    guards.answer(guards.out[0], COUNTING)
    assert guards.call().passes
    guards.force("half_open")
    assert not guards.call().passes
    guards.at(31.0)
    assert guards.call().passes


# -- so many failures -------------------------------------------------------------------------------------


def test_g10_an_operator_says_how_many(guards: Guards) -> None:
    guards.is_open_after("boom")
    guards.feed(guards.dispatcher.set_fail_max(2, guards.moment))
    assert [True] == guards.is_open_after("boom")


def test_g10_if_there_are_as_many_the_next_one_opens_it(guards: Guards) -> None:
    guards.is_open_after("boom", "boom")
    guards.feed(guards.dispatcher.set_fail_max(1, guards.moment))
    assert "closed" == guards.state
    guards.ask(patience=FOREVER)
    guards.answer(guards.out[0], DOWN_502)
    assert ("open", 3) == (guards.state, guards.failures)


def test_g10_more_may_be_asked_for(guards: Guards) -> None:
    guards.feed(guards.dispatcher.set_fail_max(5, guards.moment))
    assert [False, False, False, False, True] == guards.is_open_after(*["boom"] * 5)


def test_g10_a_dispatcher_that_follows_another_keeps_what_was_set() -> None:
    first, next_ = (Dispatcher(DispatcherConfig(breaker=THREE), lambda: 0.0, fail_max=given) for given in (None, 7))
    assert (3, 7) == (first.breaker.fail_max, next_.breaker.fail_max)
