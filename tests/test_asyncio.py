"""Tasks of event loops behind the same door. ``tests/scenarios`` run on asyncio, too; this is the rest."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import colony_pool as cp
from colony_pool.config import DeskConfig, scaled
from colony_pool.testing import FakeColony


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


def fast(colony: FakeColony, **options: Any) -> cp.AsyncColonyPool:
    """A pool whose schedules are a hundred times as fast."""
    quick = scaled(DeskConfig(), 100.0)
    mine: dict[str, Any] = {"auth_token_retry": quick.retry, "breaker": quick.breaker, "max_wait": 3600.0}
    mine |= {"token_cache": None, "registry": None}
    return cp.AsyncColonyPool(colony.base_url, **{**mine, **options})


async def until(condition: Callable[[], object], what: str = "a condition") -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{what} never came true")


def nothing_is_left(pool: cp.AsyncColonyPool) -> bool:
    desk, bulkhead = pool.pool._runner.dispatcher, pool.pool._transport.bulkhead
    return (desk.waiting, desk.flights, desk.lease, bulkhead.in_use, bulkhead.waiting, len(pool._parked)) == (
        0, {}, None, 0, 0, 0,
    )  # fmt: skip


def test_g1_a_thousand_tasks_in_an_outage_are_one_probe_and_few_threads(colony: FakeColony) -> None:
    async def main() -> None:
        async with fast(colony, maxsize=8) as pool:
            colony.behave("status", status=502)
            before = threading.active_count()
            tasks = [asyncio.create_task(pool.agent(f"col_{i}").token()) for i in range(1000)]
            await until(lambda: pool.status().waiters == 1000 and pool.status().breaker.state == "open")
            colony.latency(0.05)
            await until(lambda: pool.status().in_flight <= 1)
            colony.reset_stats()
            await until(lambda: colony.count("/auth/token") >= 3, "three probes")
            assert 1 == colony.stats().max_in_flight
            assert threading.active_count() - before <= 8 + 3 + 4 + 1, "attempts, hands, errands and a timer"
            colony.latency(0.0)
            colony.behave("healthy")
            assert 1000 == len(set(await asyncio.gather(*tasks)))
            assert nothing_is_left(pool)

    asyncio.run(main())


def test_the_loop_goes_on_while_a_token_and_an_answer_are_awaited(colony: FakeColony) -> None:
    """The server answers only after a task of the same loop has let it."""

    async def main() -> None:
        async with fast(colony) as pool:
            agent = pool.agent("col_a")
            calls: list[Callable[[], Awaitable[object]]] = [agent.token, lambda: agent.get("/users/me")]
            for call in calls:
                colony.pause()
                waits = asyncio.ensure_future(call())
                try:
                    for _ in range(100):
                        await asyncio.sleep(0.001)
                    assert not waits.done()
                finally:
                    colony.resume()
                assert await waits

    asyncio.run(main())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_calls_one_after_the_other_share_a_connection(tls: bool, tmp_path: Path) -> None:
    """Fails, too, when httpcore keeps elsewhere what came behind an answer; then no connection is kept."""
    files = [tmp_path / name for name in ("server.pem", "server.key", "root.pem")]
    if tls:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        files[0].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(files[1]))
        authority.cert_pem.write_to_path(str(files[2]))

    async def main(colony: FakeColony) -> None:
        async with fast(colony, ca_certs=str(files[2]) if tls else None) as pool:
            for _ in range(5):
                assert "agent-" in (await pool.agent("col_a").get("/users/me")).text
        calls = [request for request in colony.requests() if request.path.endswith("/users/me")]
        assert (5, 1) == (len(calls), len({request.connection for request in calls}))

    with FakeColony(tls=(str(files[0]), str(files[1])) if tls else None) as colony:
        asyncio.run(main(colony))


def test_a_cached_token_is_served_without_giving_way(colony: FakeColony) -> None:
    async def main() -> None:
        async with fast(colony) as pool:
            agent = pool.agent("col_a")
            token = await agent.token()
            with pytest.raises(StopIteration) as done:
                agent.token().__await__().send(None)
            assert token == done.value.value

    asyncio.run(main())


def test_nothing_that_blocks_is_done_in_the_loops_thread(
    colony: FakeColony, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts, the cache on disk, the shared store, sync codes, listeners: each says in which thread it runs."""
    from colony_pool._shared.memory import MemoryStore
    from colony_pool._shell.token_cache import TokenCache
    from colony_pool._shell.transport import Transport

    seen: dict[str, set[int]] = {}

    def watched(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def wrapper(*args: Any, **options: Any) -> Any:
            seen.setdefault(name, set()).add(threading.get_ident())
            return real(*args, **options)

        monkeypatch.setattr(owner, name, wrapper)

    for name in ("_read", "save", "remove"):
        watched(TokenCache, name)
    watched(Transport, "send")
    watched(MemoryStore, "claim_key")
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path))

    def code() -> str:
        seen.setdefault("code", set()).add(threading.get_ident())
        return "123456"

    async def main() -> None:
        async with fast(colony, token_cache="disk", shared=MemoryStore()) as pool:
            pool.pool._runner.listeners.append(lambda _: seen.setdefault("told", set()).add(threading.get_ident()))
            for key in ("col_a", "col_b"):
                await pool.agent(key).get("/users/me")
                await pool.agent(key).invalidate()
                await pool.agent(key).token()
            await pool.agent("col_2fa", totp=code).token()

    asyncio.run(main())
    assert {"_read", "save", "remove", "send", "claim_key", "code", "told"} == set(seen)
    assert threading.get_ident() not in set().union(*seen.values())


def test_a_coroutine_may_give_the_code(colony: FakeColony) -> None:
    async def main() -> None:
        loops: list[Any] = []

        async def code() -> str:
            await asyncio.sleep(0)
            loops.append(asyncio.get_running_loop())
            return f"{len(loops):06d}"

        async with fast(colony) as pool:
            assert await pool.agent("col_2fa", totp=code).token()
            assert await pool.agent("col_2fa", totp=code).token()
            assert [asyncio.get_running_loop()] == loops

    asyncio.run(main())


def test_g3_four_thousand_cancellations_leak_nothing(colony: FakeColony) -> None:
    dice = random.Random(7)
    colony.latency(0.01)
    ends = {"cancelled": 0, "survived": 0}

    async def victim(agent: cp.AsyncAgent, get: bool) -> None:
        try:
            if get:
                await agent.get("/users/me")
            await agent.invalidate()
            await agent.token()
            ends["survived"] += 1
        except asyncio.CancelledError:
            ends["cancelled"] += 1
            raise

    async def main() -> None:
        async with fast(colony, maxsize=16) as pool:
            steady = pool.agent("col_steady")
            running = [True]

            async def innocent() -> int:
                calls = 0
                while running:
                    assert (await steady.get("/users/me")).status == 200
                    calls += 1
                return calls

            innocents = [asyncio.create_task(innocent()) for _ in range(4)]
            for round_number in range(40):
                victims = [
                    asyncio.create_task(victim(pool.agent(f"col_{round_number}_{i % 50}"), i % 2 == 0))
                    for i in range(100)
                ]
                for task in victims:
                    asyncio.get_running_loop().call_later(dice.random() * 0.1, task.cancel)
                await asyncio.wait(victims)
            running.clear()
            assert all(await asyncio.gather(*innocents))
            assert ends["cancelled"] > 1000, ends
            await until(lambda: nothing_is_left(pool), "everything comes back")
            assert 0 == pool.status().breaker.failures
            assert await pool.agent("col_after").token()

    asyncio.run(main())


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
    assert not pool._closed
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


def test_a_pool_and_options_at_once_are_refused(colony: FakeColony) -> None:
    with cp.ColonyPool(colony.base_url, registry=None) as pool, pytest.raises(ValueError, match="pool"):
        cp.AsyncColonyPool(pool=pool, maxsize=3)


def test_without_httpx_tokens_come_and_a_call_says_what_to_install(
    colony: FakeColony, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)

    async def main() -> None:
        async with fast(colony) as pool:
            assert await pool.agent("col_a").token()
            with pytest.raises(ImportError, match=r"colony_pool\[asyncio\]"):
                await pool.agent("col_a").get("/users/me")

    asyncio.run(main())


CTRL_C = """
import asyncio, sys
from colony_pool import AsyncColonyPool
async def main():
    async with AsyncColonyPool(sys.argv[1], token_cache=None, registry=None, max_wait=3600) as pool:
        waits = [asyncio.ensure_future(pool.agent(f"col_{i}").token()) for i in range(20)]
        while pool.status().waiters < 20:
            await asyncio.sleep(0.01)
        print("parked", flush=True)
        await asyncio.gather(*waits)
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
    command = [sys.executable, "-m", "tests.loops_beside_gevent", patched]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100, env=dict(os.environ))
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
