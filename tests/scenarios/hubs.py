"""gevent's own: hubs in several threads, sockets that are not patched.

asyncio has no hub: ``tests/unit/aio/test_tasks.py`` and ``tests/unit/aio/test_loops.py`` prove the same of event
loops.
"""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

from tests.support.private import engine_of

from . import GEVENT, World, scenario


@scenario("gevent", "gevent-unpatched")
def one_slow_request_never_blocks_the_hub(w: World) -> None:
    import gevent

    w.colony.latency(1.0)
    ticks: list[int] = []

    def beat() -> None:
        while True:
            w.pause(0.01)
            ticks.append(1)

    beating = gevent.spawn(beat)
    tasks = [w.spawn(w.pool().agent("col_a").token) for _ in range(5)]
    for task in tasks:
        task.result()
    beating.kill()
    assert len(ticks) > 10


@scenario(*GEVENT)
def several_hubs_share_one_pool(w: World) -> None:
    import gevent
    import gevent.hub

    pool = w.fast()
    w.colony.latency(0.01)
    done: list[Any] = []
    hubs: set[int] = set()

    def thread_of_greenlets(number: int) -> None:
        hubs.add(id(gevent.get_hub()))
        greenlets = [gevent.spawn(pool.agent(f"col_{number % 3}_{i}").token) for i in range(30)]
        gevent.joinall(greenlets, raise_error=True)
        calls = [gevent.spawn(pool.agent(f"col_{number % 3}_{i}").get, "/users/me") for i in range(30)]
        gevent.joinall(calls, raise_error=True)
        done.extend(greenlet.value for greenlet in greenlets)

    threads = [w.native(partial(thread_of_greenlets, n)) for n in range(6)]
    for thread in threads:
        w.until(thread, "all threads end")
    assert len(hubs) == 6
    assert len(done) == 180
    assert len(set(done)) == 90, "one flight per key over all hubs"


@scenario(*GEVENT)
def a_hub_that_dies_with_its_thread_takes_nobody_with_it(w: World) -> None:
    """Its greenlets park first, so that timers, attempts and sockets are its own; then the thread just ends."""
    import gevent

    pool = w.fast()
    w.colony.behave("status", status=502)

    def short_lived(number: int) -> None:
        for i in range(10):
            gevent.spawn(pool.agent(f"col_{number}_{i}").token, max_wait=3600.0)
        w.pause(0.3)  # then the thread ends, with all of them parked or at work

    threads = [w.native(partial(short_lived, n)) for n in range(3)]
    stay = [w.spawn(lambda k=f"col_stay_{i}": pool.agent(k).token(max_wait=3600.0)) for i in range(10)]
    for thread in threads:
        w.until(thread, "the threads end")
    gc.collect()
    w.colony.behave("healthy")
    assert all(task.result() for task in stay)
    assert pool.agent("col_after").get("/users/me").status == 200


@scenario(*GEVENT)
def threads_with_hubs_that_come_and_go_leave_no_socket(w: World) -> None:
    import gevent

    pool = w.pool()
    pool.agent("col_a").get("/users/me")

    def visit(number: int) -> None:
        assert pool.agent(f"col_{number % 4}").get("/users/me").status == 200
        gevent.get_hub().destroy()

    for number in range(12):
        w.until(w.native(partial(visit, number)))
    engine_of(pool).network._pools.close_dead()
    gc.collect()
    assert len(engine_of(pool).network._pools._pools) <= 1
    w.until(lambda: w.colony.stats().open_connections <= 1, "their sockets are closed")


@scenario(*GEVENT, "asyncio")
def a_thousand_cold_callers(w: World) -> None:
    from colony_pool import Timeout

    pool = w.pool(timeout=Timeout(connect=300.0, read=300.0, total=300.0))  # however slow this machine is
    tasks = [w.spawn(pool.agent(f"col_{i}").get, "/users/me") for i in range(1000)]
    assert {task.result().status for task in tasks} == {200}
    assert w.colony.stats().max_in_flight <= 64
    assert len(w.token_requests()) == 1000


@scenario(*GEVENT)
def g26_the_hub_that_serves_event_loops_leaves_no_socket_when_it_ends(w: World) -> None:
    """It ends by itself, with connections at rest, when nobody has come for a while; its loop is destroyed then."""
    import asyncio

    from colony_pool import AsyncColonyPool

    pool = w.pool()
    outside: Any = engine_of(pool).runtime.external_context()
    w.colony.latency(0.05)  # so that each takes a connection of its own

    def loop(number: int) -> None:
        async def main() -> None:
            async with AsyncColonyPool(pool=pool) as view:
                await asyncio.gather(*(view.agent(f"col_{number}_{i}").token() for i in range(8)))

        asyncio.run(main())

    w.colony.stats()
    before = w.sockets()
    gc.disable()
    try:
        for number in range(2):
            w.until(w.native(partial(loop, number)))
            w.until(lambda: bool(outside._free), "its thread ends")
            assert pool.status().connections[1] > 1
        pool.close()
        w.until(lambda: w.sockets() == before, "all sockets are closed")
    finally:
        gc.enable()
