"""The driver carries out what the dispatcher decided: all of it, in order, whoever is killed (G2, G3, G24)."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

import pytest

from tests.support.driver_bench import Bench, Flag, Pybreaker, StillRuntime, permit
from tests.support.private import AT_ONCE, LOCAL, Account, Instant, Notifier, Outcome, Turn, Waiter
from tests.support.private import actions as act
from tests.support.private import events as ev

EVENT, OTHER = ev.WindowCut(1.0), ev.WindowCut(2.0)


class KilledError(BaseException):
    """As a greenlet that is killed, or a Ctrl-C."""


class Wire:
    """An attempt that can be cancelled."""

    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


def test_an_input_is_put_with_both_clocks_where_nothing_can_interrupt_it() -> None:
    bench = Bench()
    assert [Instant(5.0, 1e9)] == bench.feed()
    assert bench.runtime.hurries == 1


def test_every_kind_of_action_is_carried_out() -> None:
    bench, flag, wire = Bench(), Flag(), Wire()
    out, starts = permit(), permit()
    bench.attempts.can_be_cancelled(out, wire)
    granted = act.TokenChanged(starts.account, None)
    bench.feed(
        act.CancelAttempt(out),
        granted,
        act.StartAttempt(starts, bench.wait(context="hub")),
        act.Wake(bench.wait(flag)),
        act.MirrorToPybreaker("success"),
        EVENT,
    )
    assert (True, 1, [granted]) == (flag.flag, wire.cancelled, bench.changed)
    assert (["success"], [EVENT]) == (bench.breaker.replayed, bench.events)
    assert ["hub"] == [context for _, _, context in bench.runtime.tasks]
    bench.runtime.run_one()
    assert [starts] == bench.made
    assert ("result", starts, bench.outcome, Instant(5.0, 1e9)) == bench.script.heard[-1]


def test_what_has_not_begun_is_not_aborted_and_without_pybreaker_nothing_is_mirrored() -> None:
    bench, flag = Bench(breaker=None), Flag()
    bench.feed(
        act.CancelAttempt(permit()),
        act.TokenChanged(permit().account, None),
        act.MirrorToPybreaker("success"),
        act.Wake(bench.wait(flag)),
    )
    assert flag.flag


def test_it_is_told_in_order() -> None:
    bench = Bench()
    log: list[Any] = []
    bench.listeners.append(log.append)
    bench.breaker.mirror = log.append  # type: ignore[method-assign, assignment]
    bench.feed(EVENT, act.MirrorToPybreaker("open"), OTHER)
    assert [EVENT, "open", OTHER] == log


def test_g2_a_listener_that_raises_changes_nothing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()

    def broken(event: ev.Event) -> None:
        raise ValueError("private")

    bench.listeners.insert(0, broken)
    bench.feed(EVENT, OTHER)
    assert [EVENT, OTHER] == bench.events
    assert [logging.ERROR] * 2 == [record.levelno for record in caplog.records]
    assert "a listener raised on WindowCut; it changes nothing" in caplog.records[0].getMessage()


def test_g2_a_listener_may_feed_the_runner() -> None:
    bench = Bench()
    bench.listeners.append(lambda event: bench.feed(OTHER) if event is EVENT else None)
    bench.feed(EVENT)
    assert [EVENT, OTHER] == bench.events


def test_g3_an_input_that_comes_in_the_middle_of_a_decision_is_next() -> None:
    bench, order = Bench(), []

    def finaliser(at: Instant) -> list[act.Action]:
        order.append("second")
        return [OTHER]

    def decision(at: Instant) -> list[act.Action]:
        bench.driver.submit(finaliser)
        order.append("first")
        return [EVENT]

    bench.driver.submit(decision)
    assert (["first", "second"], [EVENT, OTHER]) == (order, bench.events)


def test_a_dispatcher_that_fails_is_logged_and_the_next_input_is_served(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    fed: list[int] = []

    def broken(at: Instant) -> list[act.Action]:
        if not fed:
            fed.append(1)
            bench.driver.submit(bench.script.tick)
        raise ValueError("a bug")

    bench.script.says.append([EVENT])
    bench.driver.submit(broken)
    assert [EVENT] == bench.events
    words = "colony_pool: the dispatcher failed; this is a bug, please report it: ValueError"
    assert caplog.records[0].getMessage().startswith(words)


@pytest.mark.parametrize("kind", [ValueError, KilledError])
def test_g3_what_comes_from_outside_in_a_decision_passes_through_and_the_input_is_put_again(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    bench, times = Bench(), [0]

    def struck(at: Instant) -> list[act.Action]:
        times[0] += 1
        if times[0] == 1:
            raise kind("from outside")
        return [EVENT]

    with pytest.raises(kind, match="from outside"):
        bench.driver.submit(struck)
    assert (2, [EVENT], []) == (times[0], bench.events, caplog.records)
    mended = len(bench.script.mended)
    assert mended > 0
    bench.feed(EVENT)
    assert [EVENT, EVENT] == bench.events, "nothing is locked"
    assert mended == len(bench.script.mended), "what is whole is not mended"


def test_g3_what_cannot_be_carried_out_keeps_nothing_else_from_being_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "colony_pool")
    flag, gone = Flag(), permit()

    def dead_hub(changed: Any) -> None:
        raise ValueError("its hub is gone")

    bench = Bench(token_changed=dead_hub)
    bench.feed(act.TokenChanged(gone.account, None), act.Wake(bench.wait(flag)))
    assert flag.flag
    assert ["colony_pool: TokenChanged was not carried out"] == [record.getMessage() for record in caplog.records]


class Emptied(deque[Any]):
    """Actions that another thread has carried out just now."""

    def popleft(self) -> Any:
        raise IndexError


def test_g3_who_comes_too_late_for_the_last_action_still_reports_the_events() -> None:
    bench = Bench()
    bench.driver._actions = Emptied([act.Wake(bench.wait())])
    bench.feed(EVENT)
    assert [EVENT] == bench.events


def test_g3_a_task_that_is_killed_here_leaves_nothing_undone() -> None:
    flag, killed, kills = Flag(), permit(), [1]

    def kill(changed: Any) -> None:
        if not kills:
            return
        kills.clear()
        bench.driver._inbox.put(lambda at: [EVENT])  # another caller's, who did not get the lock
        raise KilledError

    bench: Bench = Bench(token_changed=kill)
    with pytest.raises(KilledError):
        bench.feed(act.TokenChanged(killed.account, None), act.Wake(bench.wait(flag)))
    assert (True, [EVENT]) == (flag.flag, bench.events)


def test_g3_an_attempt_that_is_killed_gives_its_permit_back() -> None:
    bench, mine = Bench(), permit()

    def killed(permit: Any) -> Outcome:
        raise KilledError

    bench.driver._attempt = killed
    bench.feed(act.StartAttempt(mine, None))
    with pytest.raises(KilledError):
        bench.runtime.run_one()
    abandoned = Outcome(LOCAL, detail="the attempt was abandoned", is_transient=True)
    assert [("result", mine, abandoned, Instant(5.0, 1e9))] == bench.script.heard
    bench.driver.stop(1.0)
    assert bench.runtime.flags[0].waits == [], "nobody works any more"


def test_an_attempt_without_a_thread_is_given_back_and_says_why() -> None:
    bench, mine, flag = Bench(), permit(), Flag()
    bench.runtime.no_threads = True
    bench.script.says.append([act.Wake(bench.wait(flag))])
    bench.feed(act.StartAttempt(mine, None))
    *_, (what, of, outcome, at) = bench.script.heard
    words = "no thread for an attempt: can't start new thread"
    assert ("result", mine, LOCAL, words, Instant(5.0, 1e9)) == (what, of, outcome.kind, outcome.detail, at)
    assert flag.flag


@pytest.mark.parametrize("ends", [False, True])
def test_a_probe_without_a_thread_is_passed_on_unless_the_interpreter_ends(ends: bool) -> None:
    bench, mine = Bench(), permit()
    mine.is_probe, bench.runtime.no_threads, bench.runtime.ends = True, True, ends
    bench.feed(act.StartAttempt(mine, None))
    [(_, _, outcome, _)] = bench.script.heard
    assert outcome.is_transient is (not ends), "no other key would be granted one, either"
    assert bench.attempts.has_begun(mine), "it waits for nothing any more"


def test_g9_without_a_timer_who_waits_looks_when_something_is_due() -> None:
    bench = Bench()
    bench.feed(act.WakeAt(7.0))
    assert bench.driver.recheck_within(60.0) == 60.0
    bench.runtime.no_threads = True
    bench.feed(act.WakeAt(6.0))
    assert bench.driver.recheck_within(60.0) == 1.0
    assert bench.driver.recheck_within(0.5) == 0.5


@pytest.mark.parametrize("late", [False, True])
def test_g3_nothing_is_kept_of_a_call_that_is_gone_even_before_it_was_heard(late: bool) -> None:
    bench, gone = Bench(), Waiter(Account(), 5.0)
    if late:
        bench.driver.cancel(gone, bench.driver.submit)
    bench.driver.request_token(gone, Flag(), None)
    if not late:
        bench.driver.cancel(gone, bench.driver.submit)
    assert ({}, 1 if late else 2) == (bench.driver._callers, len(bench.script.heard))


def test_g15_a_call_whose_code_no_thread_can_ask_for_hears_of_it() -> None:
    bench, account, flag = Bench(), Account(), Flag()
    bench.runtime.no_threads = True
    bench.script.says.append([act.Wake(bench.wait(flag))])
    bench.feed(act.AskCode(account, None))
    *_, (what, of, outcome, at) = bench.script.heard
    assert ("code_missing", account, Instant(5.0, 1e9)) == (what, of, at)
    words = "no thread for totp(): can't start new thread"
    assert (LOCAL, words, False) == (outcome.kind, outcome.detail, outcome.is_transient)
    assert flag.flag


@pytest.mark.parametrize(("context", "spawned"), [(None, 0), ("hub", 0), ("another", 1)])
def test_a_worker_takes_the_next_attempt_with_it_if_that_may_be_made_here(context: str | None, spawned: int) -> None:
    bench, first, second = Bench(), permit(), permit()
    bench.runtime.here = "hub"
    here, there = bench.wait(context="hub"), bench.wait(context=context)
    bench.script.says.append([act.StartAttempt(second, there)])
    bench.feed(act.StartAttempt(first, here))
    bench.runtime.run_one()
    assert spawned == len(bench.runtime.tasks)
    assert ([first] if spawned else [first, second]) == bench.made


def test_a_worker_takes_one_attempt_and_leaves_the_others_to_others() -> None:
    bench, first, second, third = Bench(), permit(), permit(), permit()
    bench.script.says.append([act.StartAttempt(second, None), act.StartAttempt(third, None)])
    bench.feed(act.StartAttempt(first, None))
    bench.runtime.run_one()
    assert ([first, second], 1) == (bench.made, len(bench.runtime.tasks))
    bench.runtime.run_one()
    assert [first, second, third] == bench.made


def test_what_is_left_to_do_is_done_when_everybody_was_told() -> None:
    done: list[Any] = []
    first, flag = permit(), Flag()
    bench = Bench(after=lambda permit, outcome: done.append((permit, outcome, flag.flag)))
    bench.script.says.append([act.Wake(bench.wait(flag))])
    bench.feed(act.StartAttempt(first, None))
    bench.runtime.run_one()
    assert [] == done, "in a task of its own"
    bench.runtime.run_one()
    assert [(first, bench.outcome, True)] == done


def test_g21_what_is_left_to_do_waits_until_the_dispatcher_has_heard_of_the_outcome() -> None:
    """Another task may be at it just then, and what is left to do asks what has become of the key."""
    done: list[Any] = []
    bench: Bench = Bench(after=lambda permit, outcome: done.append(len(bench.script.heard)))
    bench.feed(act.StartAttempt(permit(), None))
    bench.driver._inbox._lock.acquire(False)
    bench.runtime.run_one()
    assert ([], 0) == (bench.script.heard, len(bench.runtime.tasks))
    bench.driver._inbox._lock.release()
    bench.feed()
    bench.runtime.run_one()
    assert [1] == done


def test_g21_g26_stop_waits_for_what_is_left_to_do_before_it_has_begun() -> None:
    bench = Bench(after=lambda permit, outcome: None)
    bench.feed(act.StartAttempt(permit(), bench.wait(context="hub")))
    bench.runtime.here = "hub"
    bench.runtime.run_one()
    assert ["hub"] == [context for _, _, context in bench.runtime.tasks]
    bench.driver.stop(1.0)
    idle = bench.runtime.flags[0]
    assert ([1.0], False) == (idle.waits, idle.flag)
    bench.runtime.run_one()
    assert idle.flag


def test_g21_g26_stop_waits_for_all_that_is_left_to_do() -> None:
    bench = Bench(after=lambda permit, outcome: None)
    bench.feed(act.StartAttempt(permit(), None), act.StartAttempt(permit(), None))
    for _ in range(3):  # both attempts, and what the first has left to do
        bench.runtime.run_one()
    bench.driver.stop(1.0)
    assert [1.0] == bench.runtime.flags[0].waits


def test_g26_what_is_left_to_do_and_gets_no_thread_keeps_nobody() -> None:
    bench = Bench(after=lambda permit, outcome: None)
    bench.feed(act.StartAttempt(permit(), None))
    bench.runtime.no_threads = True
    bench.runtime.run_one()
    bench.driver.stop(1.0)
    assert [] == bench.runtime.flags[0].waits


@pytest.mark.parametrize("done_at_once", [True, False])
def test_settle_waits_for_its_own_actions_and_for_a_second_at_most(done_at_once: bool) -> None:
    bench, flag = Bench(), Flag()
    if not done_at_once:
        bench.driver._inbox._lock.acquire(False)
    heard: list[Instant] = []
    bench.driver.submit_and_wait(lambda at: heard.append(at) or [act.Wake(bench.wait(flag))])  # type: ignore[func-returns-value]
    mark = bench.runtime.flags[-1]
    assert (done_at_once, done_at_once, [1.0]) == (flag.flag, mark.flag, mark.waits)
    assert ([Instant(5.0, 1e9)] if done_at_once else []) == heard


def test_g26_stop_waits_for_those_who_work_and_for_nobody_else() -> None:
    bench = Bench()
    bench.driver.stop(1.0)
    idle = bench.runtime.flags[0]
    assert idle.waits == []

    def stop(permit: Any) -> Outcome:
        bench.driver.stop()
        bench.driver.stop(1.0)
        assert not idle.flag
        return bench.outcome

    bench.driver._attempt = stop
    bench.feed(act.StartAttempt(permit(), None))
    bench.runtime.run_one()
    assert ([1.0], True) == (idle.waits, idle.flag)


def test_g26_whoever_comes_home_before_the_end_wakes_nobody() -> None:
    bench = Bench()
    bench.feed(act.StartAttempt(permit(), None))
    bench.runtime.run_one()
    assert not bench.runtime.flags[0].flag


def test_g26_stop_cancels_the_wakeup() -> None:
    bench = Bench()
    bench.feed(act.WakeAt(7.5))
    [timer] = bench.runtime.timers
    assert (2.5, False) == (timer.delay, timer.cancelled)
    bench.driver.stop()
    assert timer.cancelled


def test_the_wakeup_ticks_the_dispatcher() -> None:
    bench = Bench()
    bench.feed(act.WakeAt(7.5))
    bench.runtime.timers[0].fire()
    assert [("tick", Instant(5.0, 1e9))] == bench.script.heard


def test_g24_a_forked_childs_copy_stands_still() -> None:
    bench, flag = Bench(), Flag()
    bench.feed(act.WakeAt(7.5))
    bench.driver.after_fork()
    assert bench.runtime.forked
    assert bench.runtime.timers[0].cancelled
    assert [] == bench.feed(act.Wake(bench.wait(flag)), EVENT)
    bench.driver._actions.append(act.Wake(bench.wait(flag)))
    bench.driver._notifier.add(EVENT)
    bench.feed()
    assert (False, [], 1) == (flag.flag, bench.events, len(bench.runtime.timers))


# -- calls ----------------------------------------------------------------------------------------------------------


def test_a_call_is_heard_with_the_time_of_now_and_for_how_long_its_key_has_had_no_token() -> None:
    bench, first, second = Bench(), Waiter(Account(), 5.0), Waiter(Account(), 5.0)
    bench.driver.request_token(first, Flag(), None)
    bench.driver.request_token(second, Flag(), None, tokenless_for=7.0)
    bench.driver.cancel(first, bench.driver.submit)
    now = Instant(5.0, 1e9)
    assert [("demand", first, now), ("demand", second, now), ("cancel", first, now)] == bench.script.heard
    assert [0.0, 7.0] == bench.script.tokenless_for


def test_g3_a_call_that_was_cancelled_before_it_asked_is_heard_once(caplog: pytest.LogCaptureFixture) -> None:
    bench, gone = Bench(), Waiter(Account(), 5.0)
    bench.driver._inbox._lock.acquire(False)  # another task is at it
    bench.driver.cancel(gone, bench.driver.submit)
    bench.driver.request_token(gone, Flag(), None)
    bench.driver._inbox._lock.release()
    bench.feed()
    assert (["cancel"], {}) == ([what for what, *_ in bench.script.heard], bench.driver._callers)
    assert [] == caplog.records


def test_of_a_call_that_was_woken_nothing_is_kept() -> None:
    bench = Bench()
    bench.feed(act.Wake(bench.wait()))
    assert {} == bench.driver._callers


def test_g9_before_there_is_a_timer_who_waits_looks_no_more_often_than_it_wants_to() -> None:
    assert Bench().driver.recheck_within(0.001) == 0.001


# -- one-time codes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, Outcome(LOCAL, detail="no code at hand")])
def test_g15_a_code_is_asked_for_in_the_callers_context_and_the_dispatcher_hears_what_came(
    missing: Outcome | None,
) -> None:
    asked: list[Account] = []

    def ask(account: Account) -> Outcome | None:
        asked.append(account)
        return missing

    bench, account = Bench(ask_code=ask), Account()
    bench.feed(act.AskCode(account, bench.wait(context="hub")))
    assert ([], ["hub"]) == (asked, [context for _, _, context in bench.runtime.tasks])
    bench.runtime.run_one()
    assert ([account], {}) == (asked, bench.driver._asking)
    heard = ("code_given", account) if missing is None else ("code_missing", account, missing)
    assert (*heard, Instant(5.0, 1e9)) == bench.script.heard[-1]


def test_g3_g15_a_callable_that_is_killed_has_given_no_code_this_time() -> None:
    def killed(account: Account) -> Outcome | None:
        raise KilledError

    bench, account, flag = Bench(ask_code=killed), Account(), Flag()
    waiter = bench.wait(flag)
    bench.script.says.append([act.Wake(waiter)])
    bench.feed(act.AskCode(account, waiter))
    with pytest.raises(KilledError):
        bench.runtime.run_one()
    ended = Outcome(LOCAL, detail="the task that called totp() was ended", is_transient=True)
    assert ("code_missing", account, ended, Instant(5.0, 1e9)) == bench.script.heard[-1]
    assert flag.flag, "what it has left is carried out"


def test_g15_a_key_is_asked_by_one_task_at_a_time() -> None:
    asked: list[Account] = []

    def ask(account: Account) -> Outcome | None:
        asked.append(account)
        bench.runtime.run_one()
        return None

    bench, account = Bench(ask_code=ask), Account()
    bench.feed(act.AskCode(account, None), act.AskCode(account, None))
    bench.runtime.run_one()
    assert ([account], 0) == (asked, len(bench.runtime.tasks))


# -- after an interrupt ---------------------------------------------------------------------------------------------


def test_g3_after_an_interrupt_the_dispatcher_hears_who_waits_and_who_is_being_asked() -> None:
    def ask(account: Account) -> Outcome | None:
        bench.driver._asking[Account()] = Turn()  # of a task that died
        bench.driver._inbox.note_interrupt()
        bench.feed()
        assert [account] == list(bench.driver._asking)
        return None

    bench, account = Bench(ask_code=ask), Account()
    waiter = bench.wait()
    bench.feed(act.AskCode(account, waiter))
    bench.runtime.run_one()
    assert [((waiter,), {account}, Instant(5.0, 1e9))] == bench.script.mended


def test_g3_after_an_interrupt_what_nobody_makes_any_more_is_not_taken_for_made() -> None:
    bench, mine, dead = Bench(), permit(), permit()

    def attempt(permit: Any) -> Outcome:
        bench.driver._making[dead] = Turn()
        bench.driver._inbox.note_interrupt()
        bench.feed()
        assert [mine] == list(bench.driver._making)
        return bench.outcome

    bench.driver._attempt = attempt
    bench.feed(act.StartAttempt(mine, None))
    bench.runtime.run_one()
    assert (1, {}) == (len(bench.script.mended), bench.driver._making)


def test_g3_what_was_never_interrupted_is_not_mended() -> None:
    bench = Bench()
    bench.feed()
    bench.feed()
    assert [] == bench.script.mended


def test_g3_what_comes_from_outside_while_it_is_mended_passes_through_and_it_is_mended_once_more() -> None:
    bench = Bench()
    mend, strikes = bench.script.mend, [1]

    def struck(callers: Any, asked: Any, at: Instant) -> list[act.Action]:
        if strikes:
            strikes.clear()
            raise ValueError("from outside")
        return mend(callers, asked, at)

    bench.script.mend = struck  # type: ignore[method-assign]
    bench.driver._inbox.note_interrupt()
    with pytest.raises(ValueError, match="from outside"):
        bench.driver._inbox.work_off()
    bench.feed()
    assert 1 == len(bench.script.mended)


# -- what has happened ----------------------------------------------------------------------------------------------


def test_who_wants_one_kind_of_event_is_told_of_it_after_the_listeners_and_of_no_other() -> None:
    log: list[Any] = []
    runtime: Any = StillRuntime()
    kinds: dict[type, Any] = {ev.WindowCut: lambda event: log.append(("kind", event))}
    notifier = Notifier(runtime, None, [log.append], AT_ONCE, kinds)
    other = ev.RetryDenied("budget")
    notifier.add(EVENT)
    notifier.add(other)
    notifier.notify()
    assert [EVENT, ("kind", EVENT), other] == log


def test_g24_in_a_forked_child_nobody_is_told_of_anything() -> None:
    log: list[Any] = []
    runtime: Any = StillRuntime()
    breaker: Any = Pybreaker()
    notifier = Notifier(runtime, breaker, [log.append], AT_ONCE, {ev.WindowCut: log.append})
    notifier.add(EVENT)
    notifier.end()
    notifier.add(act.MirrorToPybreaker("open"))
    notifier.add(OTHER)
    notifier.notify()
    assert ([], [], 0) == (log, breaker.replayed, breaker.delivered)


# -- attempts -------------------------------------------------------------------------------------------------------


def test_g3_an_attempt_that_was_given_up_or_is_being_made_is_not_begun_again() -> None:
    bench, gone, mine = Bench(), permit(), permit()
    gone.alive = False

    def attempt(permit: Any) -> Outcome:
        bench.feed(act.StartAttempt(mine, None))
        assert 0 == len(bench.runtime.tasks)
        return bench.outcome

    bench.driver._attempt = attempt
    bench.feed(act.StartAttempt(gone, None), act.StartAttempt(mine, None))
    assert 1 == len(bench.runtime.tasks)
    bench.runtime.run_one()
    assert [mine] == [of for what, of, *_ in bench.script.heard if what == "result"]


def test_g3_an_attempt_that_was_given_up_or_made_before_it_got_its_thread_is_not_made() -> None:
    bench, gone, mine = Bench(), permit(), permit()

    def attempt(permit: Any) -> Outcome:
        bench.made.append(permit)
        bench.runtime.run_one()  # the other task that was to make it
        return bench.outcome

    bench.driver._attempt = attempt
    bench.feed(act.StartAttempt(gone, None), act.StartAttempt(mine, None), act.StartAttempt(mine, None))
    gone.alive = False
    bench.runtime.run_one()
    assert ([], True) == (bench.made, bench.attempts.has_begun(gone))
    bench.runtime.run_one()
    assert ([mine], 0, {}) == (bench.made, len(bench.runtime.tasks), bench.driver._making)


def test_g4_an_attempt_has_begun_when_it_has_its_thread_and_cannot_be_cancelled_when_it_is_over() -> None:
    bench, mine, wire, begun = Bench(), permit(), Wire(), []

    def attempt(permit: Any) -> Outcome:
        begun.append(bench.attempts.has_begun(mine))
        bench.attempts.can_be_cancelled(mine, wire)
        return bench.outcome

    bench.driver._attempt = attempt
    bench.feed(act.StartAttempt(mine, None))
    assert not bench.attempts.has_begun(mine)
    bench.runtime.run_one()
    bench.attempts.cancel(mine)
    assert ([True], 0) == (begun, wire.cancelled)


def test_g26_stop_waits_for_each_of_those_who_work() -> None:
    bench = Bench()

    def attempt(permit: Any) -> Outcome:
        bench.driver.stop()
        if bench.runtime.tasks:
            bench.runtime.run_one()
            assert not bench.runtime.flags[0].flag, "one has come home"
        return bench.outcome

    bench.driver._attempt = attempt
    bench.feed(act.StartAttempt(permit(), None), act.StartAttempt(permit(), None))
    bench.runtime.run_one()
    assert bench.runtime.flags[0].flag


def test_what_is_left_to_do_after_an_attempt_that_a_worker_took_with_it_is_done_in_its_callers_context() -> None:
    bench = Bench(after=lambda permit, outcome: None)
    bench.runtime.here = "hub"
    bench.script.says.append([act.StartAttempt(permit(), bench.wait(context="hub"))])
    bench.feed(act.StartAttempt(permit(), None))
    bench.runtime.run_one()
    assert [None, "hub"] == [context for _, _, context in bench.runtime.tasks]
