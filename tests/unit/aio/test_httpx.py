"""What httpx would do by itself, or leave undone, and agents must not see (G3, G22, G23)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

import colony_pool as cp
from colony_pool.testing import FakeColony
from tests.support.aio import fast, nothing_is_left, sockets, until

TOKEN = b'{"access_token": "a.b.c", "expires_in": 3600}'


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


class Server:
    """Answers each request with a token, or with ``head`` and an empty object; keeps the heads of the requests."""

    def __init__(self, head: str) -> None:
        self._head = head.encode()
        self.heads: list[str] = []

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                if head.startswith("POST /auth/token"):
                    await reader.readuntil(b"}")
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(TOKEN), TOKEN))
                else:
                    writer.write(b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\n{}" % self._head)
        except asyncio.IncompleteReadError:
            writer.close()


def test_g23_a_cookie_that_one_agent_is_given_is_sent_by_none() -> None:
    async def main() -> None:
        async with (
            Server("200 OK\r\nSet-Cookie: session=of-a; Path=/") as server,
            cp.AsyncColonyPool(server.base_url, token_cache=None, registry=None) as pool,
        ):
            for key in ("col_a", "col_b", "col_a"):
                assert 200 == (await pool.agent(key).get("/users/me")).status
            calls = [head for head in server.heads if head.startswith("GET")]
            assert 3 == len(calls)
            assert not any("cookie" in head.lower() for head in calls)

    asyncio.run(main())


@pytest.mark.parametrize("location", ["http://a:b:c/", "/elsewhere", "https://127.0.0.1:1/"])
def test_g22_a_redirect_is_an_error_of_ours_wherever_it_leads(location: str) -> None:
    async def main() -> None:
        async with (
            Server(f"302 Found\r\nLocation: {location}") as server,
            cp.AsyncColonyPool(server.base_url, token_cache=None, registry=None) as pool,
        ):
            with pytest.raises(cp.ColonyAPIError):
                await pool.agent("col_a").get("/users/me")
            assert ["POST", "GET"] == [head.split()[0] for head in server.heads]

    asyncio.run(main())


def test_g3_who_cancels_a_call_goes_at_once_and_its_connection_with_it(colony: FakeColony) -> None:
    """Nothing waits for the garbage collector, and httpcore keeps none that nobody uses."""

    async def main() -> None:
        async with fast(colony) as pool:
            agent = pool.agent("col_a")
            await agent.token()
            colony.behave("hang", only="/users/me")
            before = sockets()
            for number in range(1, 4):
                call = asyncio.create_task(agent.get("/users/me"))
                await until(lambda: colony.stats().in_flight == 1)
                call.cancel()
                for _ in range(10):
                    await asyncio.sleep(0)
                assert call.cancelled(), number
                await until(lambda: nothing_is_left(pool) and sockets() == before and not colony.stats().in_flight)

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_g3_a_call_cancelled_between_any_two_steps_leaves_no_connection(colony: FakeColony) -> None:
    """Also where httpcore (1.0) forgets one that it has just made, or just given out."""

    async def main() -> None:
        async with fast(colony) as pool:
            agent = pool.agent("col_a")
            await agent.token()
            before = sockets()
            steps, ended = 0, False
            while not ended:
                steps += 1
                call = asyncio.create_task(agent.get("/users/me"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                ended = call.done()
                call.cancel()
                await asyncio.wait({call})
                await until(lambda: nothing_is_left(pool) and len(sockets() - before) <= 1, "but one that is idle")
            assert steps > 10

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_a_token_that_is_awaited_takes_no_slot_from_calls_that_have_one(colony: FakeColony) -> None:
    async def main() -> None:
        async with fast(colony, maxsize=2) as pool:
            steady = pool.agent("col_steady")
            await steady.token()
            colony.behave("status", status=502, only="/auth/token")
            parked: list[Any] = [asyncio.create_task(pool.agent(f"col_{i}").get("/users/me")) for i in range(10)]
            await until(lambda: pool.status().waiters == 10)
            assert 200 == (await steady.get("/users/me")).status
            colony.behave("healthy")
            assert {200} == {answer.status for answer in await asyncio.gather(*parked)}

    asyncio.run(main())
