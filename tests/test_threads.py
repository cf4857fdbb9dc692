"""The runtime of threads, where the system grants none."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from colony_pool._runtime.threads import ThreadRuntime


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
    assert runtime._scheduler is None or not runtime._scheduler.is_alive()
    assert not never.is_set()
