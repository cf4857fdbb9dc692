"""G26: ``close`` wakes all who wait, and nothing is left. An idle pool keeps nothing standing either."""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

from tests.support.private import engine_of

from . import Task, World, error_of, scenario


def _has_no_greenlet(runtime: Any) -> bool:
    return not runtime._greenlets


def _nothing_is_left(w: World, threads: int, sockets: int) -> None:
    gc.collect()
    w.until(lambda: w.threads() <= threads, "all threads end")
    w.until(lambda: w.sockets() <= sockets, "all sockets are closed")
    w.until(lambda: w.colony.stats().open_connections == 0, "the server has seen them close")
    if w.gevent:
        from tests.support.private import GeventRuntime

        for pool in w.pools:
            assert isinstance(engine_of(pool).runtime, GeventRuntime)
            w.until(partial(_has_no_greenlet, engine_of(pool).runtime), "no greenlet is left")


@scenario()
def g26_close_wakes_every_waiter_and_leaves_nothing(w: World) -> None:
    from colony_pool import PoolClosedError

    w.colony.stats()
    threads, sockets = w.threads(), w.sockets()
    pool = w.pool()
    warm = pool.agent("col_warm")
    warm.token()
    w.colony.behave("hang")
    tasks = [w.spawn(pool.agent(f"col_{i}").token) for i in range(100)]
    w.until(lambda: pool.status().waiters == 100 and pool.status().in_flight > 0)
    pool.close()
    assert {type(task.join().error) for task in tasks} == {PoolClosedError}
    assert type(error_of(warm.token)) is PoolClosedError
    assert type(error_of(warm.get, "/users/me")) is PoolClosedError
    assert pool.status().in_flight == 0
    _nothing_is_left(w, threads, sockets)
    pool.close()


@scenario()
def g26_close_in_an_outage_with_a_thousand_parked(w: World) -> None:
    from colony_pool import BreakerConfig, PoolClosedError

    n = 300 if w.kind == "threads" else 1000
    threads, sockets = w.threads(), w.sockets()
    pool = w.pool(breaker=BreakerConfig(fail_max=1, open_delay=60.0, min_failure_time=0.0), max_wait=3600.0)
    w.colony.behave("status", status=502)
    tasks = [w.spawn(pool.agent(f"col_{i}").token) for i in range(n)]
    w.until(lambda: pool.status().waiters == n and pool.status().breaker.state == "open")
    asked = len(w.token_requests())
    closers = [w.spawn(pool.close) for _ in range(3)]
    for closer in closers:
        closer.result()
    assert {type(task.join().error) for task in tasks} == {PoolClosedError}
    assert len(w.token_requests()) == asked, "nobody asks any more"
    _nothing_is_left(w, threads, sockets)


@scenario()
def g26_close_from_another_thread_and_during_api_calls(w: World) -> None:
    """The closer has a hub of its own; the calls end by themselves, and their sockets with them."""
    threads, sockets = w.threads(), w.sockets()
    pool = w.pool()
    agents = [pool.agent(f"col_{i}") for i in range(10)]
    for agent in agents:
        agent.get("/users/me")
    w.colony.latency(0.3)
    calls: list[Task] = []
    while w.colony.stats().in_flight < 10:  # on a slow machine the first may end before the last begins
        for call in calls:
            call.join()
        calls[:] = [w.spawn(agent.get, "/users/me") for agent in agents]
        w.until(lambda: w.colony.stats().in_flight == 10 or any(call.has_ended for call in calls))
    w.until(w.native(pool.close), "close returns")
    assert [call.join().value.status for call in calls] == [200] * 10, "what is at work may finish"
    _nothing_is_left(w, threads, sockets)


@scenario()
def g26_close_ends_a_wait_between_two_attempts_of_an_api_call(w: World) -> None:
    from colony_pool import PoolClosedError, RetryConfig

    pool = w.pool(retry=RetryConfig(base_delay=30.0, max_delay=30.0))
    agent = pool.agent("col_a")
    agent.token()
    w.colony.behave("status", status=502, only="/thing")
    call = w.spawn(agent.get, "/thing")
    w.until(lambda: w.colony.count("/thing") == 1)
    pool.close()
    assert type(call.join().error) is PoolClosedError


@scenario()
def g26_close_ends_a_wait_for_a_slot(w: World) -> None:
    """Who has it is at work, and may finish."""
    from colony_pool import PoolClosedError

    pool = w.pool(maxsize=1)
    agent = pool.agent("col_a")
    agent.token()
    w.colony.pause()
    try:
        at_work = w.spawn(agent.get, "/users/me")
        w.until(lambda: engine_of(pool).network.bulkhead.in_use == 1)
        waits = w.spawn(agent.get, "/users/me")
        w.until(lambda: engine_of(pool).network.bulkhead.waiting == 1)
        pool.close()
        assert type(waits.join().error) is PoolClosedError
    finally:
        w.colony.resume()
    at_work.join()
    assert (engine_of(pool).network.bulkhead.in_use, engine_of(pool).network.bulkhead.waiting) == (0, 0)
    assert w.colony.count("/users/me") <= 1, "nobody has asked after the end"


@scenario("threads")  # which gevent patches here
def g26_close_ends_a_pool_of_threads_that_gevent_has_patched_late(w: World) -> None:
    """A native thread is still at work for ``close``, which waits for it in a hub that has nothing else to do."""
    import time
    import warnings

    from gevent import monkey

    from colony_pool import ColonyPool

    nap = time.sleep
    pool: Any = ColonyPool(w.colony.base_url, token_cache=None, registry=None)
    pool.agent("col_a").token()
    warnings.simplefilter("ignore")  # gevent says that it is late
    monkey.patch_all()
    dispatcher: Any = engine_of(pool).dispatcher
    decide = dispatcher.close
    dispatcher.close = lambda at: (nap(0.2), decide(at))[1]
    pool.close()


@scenario()
def an_idle_pool_keeps_no_thread(w: World) -> None:
    threads = w.threads()
    pool = w.pool()
    for i in range(20):
        pool.agent(f"col_{i}").token()
    calls: list[Any] = [w.spawn(pool.agent(f"col_{i}").get, "/users/me") for i in range(20)]
    for call in calls:
        call.result()
    w.until(lambda: w.threads() <= threads, "idle threads end")
    assert pool.agent("col_0").get("/users/me").status == 200, "and new ones start"
