"""Tasks of event loops behind the same door. ``tests/scenarios`` run on asyncio, too; this is the rest."""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import colony_pool as cp
from colony_pool.testing import FakeColony
from tests.support.aio import fast, nothing_is_left, until
from tests.support.private import PoolOptions, listen


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


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
    from tests.support.private import HttpTransport, MemoryStore, TokenCache

    seen: dict[str, set[int]] = {}

    def watched(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def wrapper(*args: Any, **options: Any) -> Any:
            seen.setdefault(name, set()).add(threading.get_ident())
            return real(*args, **options)

        monkeypatch.setattr(owner, name, wrapper)

    for name in ("_read", "save", "remove"):
        watched(TokenCache, name)
    watched(HttpTransport, "send")
    watched(MemoryStore, "claim_key")
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path))

    def code() -> str:
        seen.setdefault("code", set()).add(threading.get_ident())
        return "123456"

    async def main() -> None:
        async with fast(colony, token_cache="disk", shared=MemoryStore()) as pool:
            threads = seen.setdefault("told", set())
            listen(pool.pool, lambda _: threads.add(threading.get_ident()))
            for key in ("col_a", "col_b"):
                await pool.agent(key).get("/users/me")
                await pool.agent(key).invalidate()
                await pool.agent(key).token()
            await pool.agent("col_2fa", totp=code).token()

    asyncio.run(main())
    assert {"_read", "save", "remove", "send", "claim_key", "code", "told"} == {what for what in seen if seen[what]}
    assert threading.get_ident() not in set().union(*seen.values())


@pytest.mark.parametrize("wrapped", [False, True], ids=["coroutine function", "callable that returns a coroutine"])
def test_g15_a_coroutine_may_give_the_code_and_none_is_sent_twice(wrapped: bool, colony: FakeColony) -> None:
    async def main() -> None:
        loops: list[Any] = []

        async def code(digits: str = "123456") -> str:
            await asyncio.sleep(0)
            loops.append(asyncio.get_running_loop())
            return digits

        async with fast(colony) as pool:
            ask: Callable[[], Awaitable[str]] = (lambda: code("123456")) if wrapped else code
            for _ in range(2):
                assert await pool.agent("col_2fa", totp=ask).token()
                assert [asyncio.get_running_loop()] == loops
            await pool.agent("col_2fa").invalidate()
            with pytest.raises(cp.ColonyAPIError, match="was sent before"):
                await pool.agent("col_2fa", totp=lambda: code("123456")).token(max_wait=0)
        assert 1 == colony.count("/auth/token")

    asyncio.run(main())


def test_outside_of_a_loop_a_coroutine_cannot_give_the_code_and_the_error_says_so(colony: FakeColony) -> None:
    async def code() -> str:
        return "123456"

    view = fast(colony)
    agent = view.agent("col_2fa", totp=code)
    with pytest.raises(RuntimeError, match="no event loop to await it in"):
        asyncio.run(agent.token())
    assert asyncio.run(view.agent("col_b", totp=lambda: "123456").token())
    view.pool.close()


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


def test_the_options_are_those_of_the_pool() -> None:
    """By name and type; the defaults are the pool's, since nothing else has any."""
    theirs = {
        name: parameter.annotation
        for name, parameter in inspect.signature(cp.ColonyPool).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert theirs == {name: hint.__forward_arg__ for name, hint in PoolOptions.__annotations__.items()}


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
