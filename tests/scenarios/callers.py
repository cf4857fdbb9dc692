"""Who makes an attempt: a worker, or the caller that waits for it, where that is sure to do no harm."""

from __future__ import annotations

from typing import Any

from . import World, error_of, scenario

# gevent: an attempt needs no thread there, and none is saved. asyncio: an attempt of a caller's would block its loop.
RUNTIMES = ("threads",)


def _warm(w: World, **options: Any) -> Any:
    """A pool with an idle connection and no worker."""
    w.colony.stats()
    threads = w.threads()
    pool = w.pool(**options)
    pool.agent("col_warm").token()
    w.until(lambda: w.threads() <= threads, "the worker that opened the connection ends")
    return pool


def _workers(pool: Any) -> int:
    """Without the thread that keeps time."""
    return sum(thread.name == "colony_pool-worker" for thread in list(pool._runtime._threads))


@scenario(*RUNTIMES)
def a_caller_with_an_idle_connection_makes_its_own_attempt(w: World) -> None:
    pool = _warm(w)
    w.colony.latency(0.2)
    first = w.spawn(pool.agent("col_a").token)
    w.until(lambda: pool.status().in_flight == 1)
    others = [w.spawn(pool.agent("col_a").token) for _ in range(5)]
    w.until(lambda: pool.status().waiters == 6)
    assert _workers(pool) == 0
    assert {task.result() for task in others} == {first.result()}
    assert w.colony.count("/auth/token") == 2


@scenario(*RUNTIMES)
def g3_the_main_thread_never_does_since_ctrl_c_may_raise_in_it(w: World) -> None:
    pool = _warm(w)
    pool.agent("col_a").token()
    assert _workers(pool) >= 1


@scenario(*RUNTIMES)
def a_callers_own_attempt_opens_no_connection_which_might_hang_in_the_look_up_of_a_name(w: World) -> None:
    pool = _warm(w)
    w.colony.close_idle()
    assert w.spawn(pool.agent("col_a").token).result()
    assert _workers(pool) >= 1


@scenario(*RUNTIMES)
def g2_a_callers_own_attempt_calls_no_callback_which_might_hang(w: World) -> None:
    pool = _warm(w)
    callers: list[int] = []

    def totp() -> str:
        callers.append(_workers(pool))
        return "123456"

    assert w.spawn(pool.agent("col_2fa", totp=totp).token).result()
    assert callers[0] >= 1


@scenario(*RUNTIMES)
def g26_close_ends_a_callers_own_attempt(w: World) -> None:
    from colony_pool import PoolClosedError

    pool = _warm(w)
    w.colony.behave("hang")
    task = w.spawn(lambda: error_of(pool.agent("col_a").token))
    w.until(lambda: pool.status().in_flight == 1)
    assert _workers(pool) == 0
    pool.close()
    assert type(task.result()) is PoolClosedError


@scenario(*RUNTIMES)
def g11_a_callers_own_attempt_that_fails_is_retried_by_a_worker(w: World) -> None:
    pool = _warm(w)
    w.colony.behave("status", status=502)
    task = w.spawn(pool.agent("col_a").token)
    w.until(lambda: w.colony.count("/auth/token", status=502) >= 1)
    w.colony.behave("healthy")
    assert task.result()
