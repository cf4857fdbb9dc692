"""The runtime of threads, where the system grants none."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from tests.support.private import Job, ThreadPool, ThreadRuntime, threads


@pytest.fixture
def runtime() -> Iterator[ThreadRuntime]:
    runtime = ThreadRuntime()
    yield runtime
    runtime.close(10.0)


def _refuse(patch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    patch.setattr(threading.Thread, "start", start)


def test_a_timer_set_without_a_thread_fires_when_there_is_one_again(
    runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = threading.Event(), threading.Event()
    with monkeypatch.context() as patch:
        _refuse(patch)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            runtime.call_later(0.0, first.set)
    runtime.call_later(0.0, second.set)
    assert first.wait(60)
    assert second.wait(60)


def test_a_timer_that_gets_no_worker_runs_where_time_is_kept(
    runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    done = threading.Event()

    def fire() -> None:
        ran.append(threading.current_thread().name)
        if len(ran) == 2:
            done.set()

    runtime.call_later(0.05, fire)
    with monkeypatch.context() as patch:
        _refuse(patch)
        runtime.call_later(0.06, fire)
        assert done.wait(60)
    assert ran == ["colony_pool-timer", "colony_pool-timer"]


def test_an_earlier_timer_overtakes_and_a_cancelled_one_keeps_silent(runtime: ThreadRuntime) -> None:
    done, never = threading.Event(), threading.Event()
    late = runtime.call_later(3600.0, never.set)
    runtime.call_later(0.001, done.set)
    assert done.wait(60)
    late.cancel()
    runtime.close(60.0)
    assert not runtime._threads
    assert not never.is_set()


def test_g3_ctrl_c_at_any_step_of_setting_a_timer_spares_the_next_one() -> None:
    step, reached, struck = 0, 0, True

    def strike(frame: Any, event: str, _: Any) -> Any:
        nonlocal reached, struck
        if frame.f_code.co_filename != threads.__file__:
            return None
        reached += 1
        if reached == step:
            struck = True
            raise KeyboardInterrupt
        return strike

    while struck:
        step, reached, struck, done, runtime = step + 1, 0, False, threading.Event(), ThreadRuntime()
        sys.settrace(strike)
        with suppress(KeyboardInterrupt):
            runtime.call_later(0.0, lambda: None)
        sys.settrace(None)
        runtime.call_later(0.0, done.set)
        assert done.wait(60), f"struck at step {step}"
        runtime.close(60.0)
    assert step > 10, "there are so many steps"


def test_a_timer_that_raises_where_no_thread_is_to_be_had_ends_no_other(
    runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    runtime.call_later(0.05, lambda: 1 / 0)
    with monkeypatch.context() as patch:
        _refuse(patch)
        runtime.call_later(0.06, done.set)
        assert done.wait(60)


def test_the_main_thread_does_not_wait_for_a_worker_that_is_busy(
    runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, ran = threading.Event(), []
    runtime.spawn(busy.wait, 60.0)
    with monkeypatch.context() as patch:
        _refuse(patch)
        runtime.run_uninterrupted(lambda: ran.append(busy.is_set()))
    busy.set()
    assert ran == [False]


def test_a_job_that_gets_no_thread_is_done_by_one_that_became_free_meanwhile() -> None:
    busy, done, began = threading.Event(), threading.Event(), []

    def start(work: Job) -> None:
        began.append(work)
        if len(began) == 1:
            threading.Thread(target=work, daemon=True).start()
            return
        busy.set()
        while not workers._idle:  # it has looked for more, and waits
            pass
        raise RuntimeError("can't start new thread")

    workers = ThreadPool(start, threading.Lock)
    workers.submit(lambda: busy.wait(60))
    workers.submit(done.set)
    assert done.wait(60)


def test_g3_ctrl_c_with_an_idle_worker_in_hand_loses_no_thread() -> None:
    """It comes when the worker has been taken out and has no job yet."""
    ended = threading.Event()

    def start(work: Job) -> None:
        def run() -> None:
            work()
            ended.set()

        threading.Thread(target=run, daemon=True).start()

    def strike(frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_name == "submit" and event == "line" and not workers._idle:
            sys.settrace(None)
            raise KeyboardInterrupt
        return strike

    workers, first = ThreadPool(start, threading.Lock), threading.Event()
    workers.submit(first.set)
    assert first.wait(60)
    while not workers._idle:
        assert not ended.is_set()
    before = sys.gettrace()
    sys.settrace(strike)
    try:
        with pytest.raises(KeyboardInterrupt):
            workers.submit(first.clear)
    finally:
        sys.settrace(before)
    assert ended.wait(60)


def test_g3_a_finaliser_may_set_a_timer_while_one_is_set(
    runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collected just as the thread is made: it must not wait for the one that it has interrupted."""
    first, second, third = threading.Event(), threading.Event(), threading.Event()
    make = threading.Thread.__init__

    def collect(thread: threading.Thread, *args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(threading.Thread, "__init__", make)
        runtime.call_later(0.0, second.set)
        make(thread, *args, **kwargs)

    def set_it() -> None:
        runtime.call_later(0.0, first.set)
        third.set()

    monkeypatch.setattr(threading.Thread, "__init__", collect)
    caller = threading.Thread.__new__(threading.Thread)
    make(caller, target=set_it, daemon=True)
    caller.start()
    assert third.wait(60)
    assert first.wait(60)
    assert second.wait(60)
