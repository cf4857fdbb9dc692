"""Several loops, threads and greenlets behind one door, and what comes of each when a loop, a view or a pool ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

import colony_pool as cp
from colony_pool.testing import FakeColony
from tests.support.aio import fast, nothing_is_left, until
from tests.support.private import clients_of, engine_of, engines_of


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


def test_g1_threads_and_two_loops_that_share_a_pool_make_one_probe(colony: FakeColony) -> None:
    view = fast(colony)
    pool = view.pool
    colony.behave("status", status=502)
    tokens: list[str] = []

    async def tasks(number: int) -> None:
        mine = cp.AsyncColonyPool(pool=pool)
        tokens.extend(await asyncio.gather(*(mine.agent(f"col_{number}_{i}").token() for i in range(50))))
        await mine.close()

    bodies: list[Callable[[], object]] = [lambda n=n: asyncio.run(tasks(n)) for n in range(2)]  # type: ignore[misc]
    bodies += [lambda n=n: tokens.append(pool.agent(f"col_t_{n}").token()) for n in range(20)]  # type: ignore[misc]
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()

    async def watch() -> None:
        await until(lambda: pool.status().waiters == 120 and pool.status().breaker.state == "open")
        colony.latency(0.05)
        await until(lambda: pool.status().in_flight <= 1)
        colony.reset_stats()
        await until(lambda: colony.count("/auth/token") >= 3, "three probes")
        assert 1 == colony.stats().max_in_flight
        colony.latency(0.0)
        colony.behave("healthy")

    asyncio.run(watch())
    for thread in threads:
        thread.join()
    assert 120 == len(set(tokens))
    assert not engines_of(pool).is_closed
    assert nothing_is_left(view)
    pool.close()


def test_a_loop_that_is_closed_with_waiters_parked_takes_nobody_with_it(colony: FakeColony) -> None:
    view = fast(colony)
    colony.behave("status", status=502)
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(view.agent(f"col_{i}").token()) for i in range(20)]
    loop.run_until_complete(until(lambda: view.status().waiters == 20))
    loop.close()
    colony.behave("healthy")
    assert view.pool.agent("col_3").token(), "who shares a flight with one of them is served"
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined] # it is what this test does
    tasks.clear()
    del task
    asyncio.run(until(lambda: gc.collect() >= 0 and nothing_is_left(view)))
    view.pool.close()


def test_a_loop_that_ends_while_it_is_asked_for_a_code_cancels_nobody_elses_call(colony: FakeColony) -> None:
    """Not those of other loops, nor of threads, that wait for the same token: they are told what has happened."""
    view = fast(colony)
    asked = threading.Event()
    ends: list[object] = []

    async def code() -> str:
        asked.set()
        await asyncio.Event().wait()
        return "123456"

    async def owner() -> None:
        call = asyncio.create_task(view.agent("col_2fa", totp=code).token())
        await until(lambda: view.status().waiters == 3)
        assert not call.done()

    async def guest() -> None:
        try:
            await view.agent("col_2fa").token()
        except BaseException as error:
            ends.append(error)

    def thread() -> None:
        try:
            view.pool.agent("col_2fa").token()
        except BaseException as error:
            ends.append(error)

    def begin(body: Callable[[], object]) -> None:
        asked.wait()
        body()

    bodies: list[Callable[[], object]] = [thread, lambda: asyncio.run(guest())]
    others = [threading.Thread(target=begin, args=(body,)) for body in bodies]
    for other in others:
        other.start()
    asyncio.run(owner())
    for other in others:
        other.join()
    assert [RuntimeError, RuntimeError] == [type(end) for end in ends], ends
    assert "its event loop ended" in str(ends[0])
    view.pool.close()


def test_g26_a_call_that_is_out_when_the_pool_closes_is_told_so(colony: FakeColony) -> None:
    async def main() -> None:
        colony.behave("hang", only="/users/me")
        async with fast(colony) as pool:
            await pool.agent("col_a").token()
            call = asyncio.ensure_future(pool.agent("col_a").get("/users/me"))
            await until(lambda: colony.stats().in_flight == 1)
        with pytest.raises(cp.PoolClosedError):
            await call

    asyncio.run(main())


def test_g26_loops_that_come_and_go_leave_no_socket(colony: FakeColony) -> None:
    """A thread runs ``asyncio.run`` again and again, on a view that outlives each of these loops.

    asyncio warns of what such a loop leaves open; who closes a view within its loop does not hear of it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        _come_and_go(colony)
        gc.collect()


def _come_and_go(colony: FakeColony) -> None:
    with cp.ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        view = cp.AsyncColonyPool(pool=pool)
        pool.agent("col_a").token()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(12):
            assert 200 == asyncio.run(view.agent("col_a").get("/users/me")).status
        assert len(os.listdir("/proc/self/fd")) <= before + 1, "the last one's socket is closed with the pool"
        assert 1 == len(clients_of(view))
    asyncio.run(until(lambda: colony.stats().open_connections == 0, "the server has seen them close"))


def test_g26_loops_that_nobody_closes_end_with_their_threads(colony: FakeColony) -> None:
    """Worker threads that make a loop, and leave it to the garbage collector: no descriptor stays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        _leave_loops_behind(colony)
        gc.collect()


def _leave_loops_behind(colony: FakeColony) -> None:
    view = cp.AsyncColonyPool(colony.base_url, token_cache=None, registry=None)

    def work() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(view.agent("col_a").get("/users/me"))

    asyncio.run(view.agent("col_a").get("/users/me"))
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(8):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert 0 == view.status().connections[0]
    view.pool.close()


def test_httpx_is_imported_when_the_pool_is_made() -> None:
    """And not by the first call, in the loop, which would stand still meanwhile."""
    code = """if True:
        import sys
        from colony_pool import AsyncColonyPool
        assert "httpx" not in sys.modules
        AsyncColonyPool("http://127.0.0.1:9", token_cache=None, registry=None)
        assert "httpx" in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_g26_close_wakes_every_task_and_a_pool_that_was_given_stays_open(colony: FakeColony) -> None:
    async def main() -> None:
        colony.behave("status", status=502)
        async with fast(colony) as owner:
            guest = cp.AsyncColonyPool(pool=owner.pool)
            tasks = [asyncio.create_task(view.agent("col_a").token()) for view in (owner, guest)]
            await until(lambda: owner.status().waiters == 2)
            await guest.close()
            with pytest.raises(cp.PoolClosedError):
                await tasks[1]
            for call in (guest.agent("col_a").token(), guest.agent("col_a").get("/x")):
                with pytest.raises(cp.PoolClosedError):
                    await call
            colony.behave("healthy")
            assert await tasks[0]
        with pytest.raises(cp.PoolClosedError):
            await owner.agent("col_a").token()

    asyncio.run(main())


def test_g26_close_wakes_a_task_whose_call_the_dispatcher_forgets_at_once(colony: FakeColony) -> None:
    """Another thread may have told the dispatcher that the call is over, before the call itself looks why."""

    async def main() -> None:
        colony.behave("status", status=502)
        async with fast(colony) as owner:
            guest = cp.AsyncColonyPool(pool=owner.pool)
            call = asyncio.create_task(guest.agent("col_a").token())
            await until(lambda: owner.status().waiters == 1)
            driver = engine_of(owner.pool).driver
            driver.submit_async = driver.submit  # type: ignore[method-assign]
            await guest.close()
            with pytest.raises(cp.PoolClosedError):
                await call
            assert 0 == owner.status().waiters

    asyncio.run(main())


# Told from a thread, so that the signal finds the loop at rest: in the middle of a step Python 3.10 raises it there,
# as a failure of that task, and does not just end asyncio.run.
CTRL_C = """
import asyncio, sys, threading
from colony_pool import AsyncColonyPool
def tell(pool):
    while pool.status().waiters < 20:
        pause.wait(0.01)
    print("parked", flush=True)
async def main():
    async with AsyncColonyPool(sys.argv[1], token_cache=None, registry=None, max_wait=3600) as pool:
        threading.Thread(target=tell, args=(pool,), daemon=True).start()
        await asyncio.gather(*(pool.agent(f"col_{i}").token() for i in range(20)))
pause = threading.Event()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_g3_ctrl_c_ends_asyncio_run_with_tasks_parked(colony: FakeColony) -> None:
    colony.behave("hang")
    command = [sys.executable, "-W", "error", "-c", CTRL_C, colony.base_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "parked\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert ("interrupted\n", "", 0) == (out, err, process.returncode)


@pytest.mark.parametrize("patched", ["patched", "unpatched"])
def test_g1_in_a_gevent_process_greenlets_and_loops_make_one_probe(patched: str) -> None:
    command = [sys.executable, "-m", "tests.support.programs.loops_beside_gevent", patched]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100, env=dict(os.environ))
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
