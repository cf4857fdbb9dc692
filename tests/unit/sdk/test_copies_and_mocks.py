"""What users do to clients of the SDK, in programs and in tests of theirs, works after the change of one import."""

from __future__ import annotations

import asyncio
import copy
import io
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock
from urllib.response import addinfourl

import colony_sdk
import httpx
import pytest

from colony_pool import AsyncColonyPool, ColonyPool
from colony_pool.sdk import AsyncColonyClient, ColonyClient, adopt, default_pool
from colony_pool.testing import FakeColony
from tests.tools.sdk.server import TOKEN, ApiServer

LATER = 4e9  # unix time


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def pool(colony: FakeColony) -> Iterator[ColonyPool]:
    with ColonyPool(colony.base_url, token_cache=None, registry=None) as made:
        yield made


def answer(*_: Any, **__: Any) -> Any:
    """What a mocked ``urlopen`` gives."""
    response: Any = addinfourl(io.BytesIO(b'{"username": "mocked"}'), Message(), "http://mocked", 200)
    response.getheaders = list
    return response


def api_calls(colony: FakeColony) -> int:
    return sum(not request.path.endswith(TOKEN) for request in colony.requests())


def test_a_test_that_puts_a_token_there_asks_for_none(colony: FakeColony, pool: ColonyPool) -> None:
    client = ColonyClient("col_a", pool=pool)
    client._token, client._token_expiry = "of a test", LATER
    with mock.patch("colony_sdk.client.urlopen", side_effect=answer):
        assert "mocked" == client.get_me()["username"]
        assert "of a test" == client.get_auth_token()
    assert [] == colony.requests()
    assert client.get_me()["username"] != "mocked", "the API refuses it: the next one is the pool's"
    assert 1 == colony.count(TOKEN)


def test_an_asynchronous_test_may_do_the_same(colony: FakeColony, pool: ColonyPool) -> None:
    async def scenario() -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"username": "mocked"}))
        async with httpx.AsyncClient(transport=transport) as mocked:
            client = AsyncColonyClient("col_a", pool=pool, client=mocked)
            client._token, client._token_expiry = "of a test", LATER
            assert "mocked" == (await client.get_me())["username"]
        assert [] == colony.requests()
        async with AsyncColonyClient("col_a", pool=pool) as client:
            client._token, client._token_expiry = "of a test", LATER
            assert (await client.get_me())["username"] != "mocked"
        assert 1 == colony.count(TOKEN)

    asyncio.run(scenario())


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("cls", [ColonyClient, AsyncColonyClient])
def test_a_copy_of_a_client_has_its_pool(
    cls: type, duplicate: Callable[[Any], Any], colony: FakeColony, pool: ColonyPool
) -> None:
    client = cls("col_a", pool=pool)
    twin = duplicate(client)
    assert (cls, pool, client.api_key) == (type(twin), twin.pool, twin.api_key)
    for one in (client, twin):
        me = one.get_me()
        assert (asyncio.run(_asked(one, me)) if asyncio.iscoroutine(me) else me)["username"]
    assert 1 == colony.count(TOKEN)


async def _asked(client: AsyncColonyClient, call: Any) -> Any:
    try:
        return await call
    finally:
        await client.aclose()


@pytest.mark.parametrize("cls", [ColonyClient, AsyncColonyClient])
def test_a_pickled_client_has_the_pool_that_one_made_without_pool_would_have(cls: type, colony: FakeColony) -> None:
    client = cls("col_a", base_url=colony.base_url, cache_token=False)
    again = pickle.loads(pickle.dumps(client))
    assert client.pool is again.pool is default_pool(colony.base_url, cache_token=False)
    with ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        mine = cls("col_a", pool=AsyncColonyPool(pool=pool))
        other = pickle.loads(pickle.dumps(mine))
        assert other.pool is client.pool is not pool, "tokens of a pool that keeps none on disk stay off it"
    client.pool.close()


def name_of(client: ColonyClient) -> Any:
    """In another process."""
    try:
        return client.get_me()["username"]
    finally:
        client.pool.close()


def test_a_client_goes_to_a_spawned_process(colony: FakeColony) -> None:
    client = ColonyClient("col_a", base_url=colony.base_url, cache_token=False)
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        assert client.get_me()["username"] == workers.apply(name_of, (client,))
    client.pool.close()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_an_adopted_client_gives_up_the_token_that_it_had(asynchronous: bool, pool: ColonyPool) -> None:
    theirs: Any = colony_sdk.AsyncColonyClient if asynchronous else colony_sdk.ColonyClient
    client = theirs("col_a", base_url=pool.base_url, cache_token=False)
    client._token, client._token_expiry = "of its own", LATER
    adopt(client, pool)
    token = client.get_auth_token()
    assert pool.agent("col_a").token() == (asyncio.run(_asked(client, token)) if asynchronous else token)


def test_hooks_and_the_sdks_own_retries_see_what_they_saw(colony: FakeColony, pool: ColonyPool) -> None:
    seen: list[str] = []
    client = ColonyClient("col_a", pool=pool, retry=colony_sdk.RetryConfig(max_retries=1, base_delay=0.001))
    client.on_request(lambda method, url, body: seen.append(url))
    colony.behave("status", status=503, only="/users/me")
    with pytest.raises(colony_sdk.ColonyServerError):
        client.get_me()
    assert [f"{colony.base_url}/users/me"] * 2 == seen
    assert (2, 1) == (api_calls(colony), colony.count(TOKEN))


class Proxy(BaseHTTPRequestHandler):
    """Answers itself."""

    def do_GET(self) -> None:
        body = b'{"username": "by proxy"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


def test_a_proxy_of_the_client_is_for_api_calls_and_one_of_its_pool_for_tokens() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy, ApiServer() as server:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{proxy.server_address[1]}"
        with ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
            assert "by proxy" == ColonyClient("col_a", pool=pool, proxy=url).get_me()["username"]
        assert [TOKEN] == [request.path for request in server.requests]
        proxy.shutdown()
