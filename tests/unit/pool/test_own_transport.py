"""``ColonyPool(transport=...)``: what users write in place of the network serves threads and event loops alike."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest

import colony_pool as cp
from colony_pool.types import NetworkFailure, RawResponse

pytestmark = pytest.mark.unit
URL = "http://127.0.0.1:9/api/v1"


class Issuing:
    """Issues tokens ``t1``, ``t2``, ..., and knows the latest alone."""

    def __init__(self) -> None:
        self.tokens = 0
        self.calls: list[tuple[str, str, str]] = []
        self.is_closed = False
        self.resting = threading.Event()  # a request for /slow has come
        self.rested = threading.Event()

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, **options: Any
    ) -> RawResponse:
        assert set(options) == {"total", "max_body", "cancel", "priority", "once", "since"}
        if path == "/api/v1/auth/token":
            self.tokens += 1
            return RawResponse(200, {}, json.dumps({"access_token": f"t{self.tokens}", "expires_in": 3600}).encode())
        jwt = headers["Authorization"].removeprefix("Bearer ")
        self.calls.append((method, path, jwt))
        if path.endswith("/slow"):
            self.resting.set()
            self.rested.wait(30.0)
        if path.endswith("/lost"):
            raise NetworkFailure("timeout", "no answer in time", sent=True)
        if jwt != f"t{self.tokens}":
            return RawResponse(401, {"content-type": "application/json"}, b'{"detail": "Could not validate"}')
        return RawResponse(200, {}, body or b"{}")

    def connections(self) -> tuple[int, int]:
        return 0, 1

    def opened(self) -> int:
        return 1

    def close(self) -> None:
        self.is_closed = True

    def after_fork(self) -> None: ...


def pool_of(server: Issuing) -> cp.ColonyPool:
    return cp.ColonyPool(
        URL, transport=server, runtime="threads", token_cache=None, registry=None,
        policy=cp.PolicyConfig(forced_refresh_interval=0.0, new_token_grace=0.0),
    )  # fmt: skip


def test_threads_are_served() -> None:
    server = Issuing()
    with pool_of(server) as pool:
        agent = pool.agent("col_a")
        assert {"x": 1} == agent.post("/posts", json={"x": 1}).json()
        server.tokens += 1  # another process has had one
        assert 200 == agent.get("/posts").status
        with pytest.raises(cp.ColonyNetworkError, match="no answer in time"):
            agent.get("/lost")
        assert (0, 1) == pool.status().connections
    assert server.is_closed
    assert ["t1", "t1", "t3", "t3"] == [jwt for _, _, jwt in server.calls]


def test_event_loops_are_served_as_well() -> None:
    server = Issuing()

    async def main() -> None:
        async with cp.AsyncColonyPool(pool=pool_of(server)) as pool:
            agent = pool.agent("col_a")
            assert {"x": 1} == (await agent.post("/posts", json={"x": 1})).json()
            server.tokens += 1
            assert 200 == (await agent.get("/posts")).status
            with pytest.raises(cp.ColonyNetworkError, match="no answer in time"):
                await agent.get("/lost")
            await asyncio.to_thread(pool.pool.close)

    asyncio.run(main())
    assert server.is_closed
    assert ["t1", "t1", "t3", "t3"] == [jwt for _, _, jwt in server.calls]


@pytest.mark.parametrize("ended_by", ["close", "cancel"])
def test_a_task_does_not_wait_for_a_transport_that_hangs(ended_by: str) -> None:
    server = Issuing()

    async def main() -> None:
        pool = cp.AsyncColonyPool(pool=pool_of(server))
        call = asyncio.ensure_future(pool.agent("col_a").get("/slow"))
        await asyncio.to_thread(server.resting.wait)
        if ended_by == "cancel":
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await pool.close()
        if ended_by == "close":
            with pytest.raises(cp.PoolClosedError):
                await call
        server.rested.set()
        await asyncio.to_thread(pool.pool.close)

    asyncio.run(main())
