"""Tokens and keys behind ``colony_pool.sdk.AsyncColonyClient``."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from pathlib import Path
from typing import Any

import colony_sdk
import httpx
import pytest

from colony_pool import AsyncColonyPool, ColonyPool
from colony_pool.sdk import AsyncColonyClient, ColonyClient, adopt
from tests.support.aio import until
from tests.support.private import TokenCache
from tests.tools.sdk.calls import PNG, POST
from tests.tools.sdk.server import GATEWAYS, TOKEN, ApiServer
from tests.unit.sdk.test_client import saved


def tokens(server: ApiServer) -> int:
    return sum(request.path == TOKEN for request in server.requests)


async def ask(client: AsyncColonyClient, call: str) -> object:
    """A call of each kind that the SDK makes in a way of its own."""
    if call == "upload":
        return await client.upload_group_avatar(POST, "a.png", PNG, "image/png")
    return await (client.get_me() if call == "get_me" else client.get_group_avatar(POST))


@pytest.mark.slow
@pytest.mark.parametrize("call", ["get_me", "upload", "download"])
def test_g19_a_token_that_was_refused_is_renewed_once_and_the_call_replayed(call: str) -> None:
    async def scenario(server: ApiServer) -> None:
        async with (
            AsyncColonyPool(server.base_url, token_cache=None, registry=None) as pool,
            AsyncColonyClient("col_a", pool=pool) as client,
        ):
            server.revoked.add(await client.get_auth_token())
            await ask(client, call)
            assert 2 == tokens(server)
            server.bad_tokens = True
            for _ in range(2):
                with pytest.raises(colony_sdk.ColonyAuthError):
                    await ask(client, call)
                assert 3 == tokens(server), "at once for one that has worked; for one that never has once a minute"

    with ApiServer() as server:
        asyncio.run(scenario(server))


@pytest.mark.slow
@pytest.mark.parametrize("call", ["get_me", "upload"])
def test_g19_a_token_that_the_api_does_not_know_yet_is_not_thrown_away(call: str) -> None:
    async def scenario(server: ApiServer) -> None:
        async with (
            AsyncColonyPool(server.base_url, token_cache=None, registry=None) as pool,
            AsyncColonyClient("col_a", pool=pool) as client,
        ):
            await ask(client, call)
            assert 1 == tokens(server)

    with ApiServer() as server:
        server.unknown_for = 1
        asyncio.run(scenario(server))


@pytest.mark.parametrize("call", ["get_me", "upload", "download"])
def test_g19_a_gateways_own_401_throws_no_token_away(call: str) -> None:
    async def scenario(server: ApiServer) -> None:
        async with (
            AsyncColonyPool(server.base_url, token_cache=None, registry=None) as pool,
            AsyncColonyClient("col_a", pool=pool) as client,
        ):
            token = await client.get_auth_token()
            for server.gateway in GATEWAYS:
                with pytest.raises(colony_sdk.ColonyAuthError) as caught:
                    await ask(client, call)
                assert 401 == caught.value.status
            assert 1 + len(GATEWAYS) == len(server.requests), "no call is made again"
            server.gateway = None
            await ask(client, call)
            assert (token, 1) == (await client.get_auth_token(), tokens(server))

    with ApiServer() as server:
        asyncio.run(scenario(server))


def test_g19_the_401_of_a_call_without_a_token_is_no_word_of_the_one_that_its_client_has() -> None:
    async def scenario(server: ApiServer) -> None:
        async with (
            AsyncColonyPool(server.base_url, token_cache=None, registry=None) as pool,
            AsyncColonyClient("col_a", pool=pool) as client,
        ):
            token = await client.get_auth_token()
            server.bad_tokens = True
            with pytest.raises(colony_sdk.ColonyAuthError):
                await client.confirm_key_recovery("of last year")
            assert (token, 1) == (await client.get_auth_token(), tokens(server))

    with ApiServer() as server:
        asyncio.run(scenario(server))


@pytest.mark.slow
def test_g19_a_refused_token_that_is_renewed_is_no_failure_to_the_sdks_own_breaker() -> None:
    async def scenario(server: ApiServer) -> None:
        async with (
            AsyncColonyPool(server.base_url, token_cache=None, registry=None) as pool,
            AsyncColonyClient("col_a", pool=pool) as client,
        ):
            client.enable_circuit_breaker(1)
            server.revoked.add(await client.get_auth_token())
            await client.get_me()
            server.bad_tokens = True
            with pytest.raises(colony_sdk.ColonyAuthError):
                await client.get_me()
            with pytest.raises(colony_sdk.ColonyNetworkError, match="after 1 consecutive"):
                await client.get_me()

    with ApiServer() as server:
        asyncio.run(scenario(server))


def test_g19_a_token_of_a_key_that_another_task_rotates_meanwhile_is_replaced_by_the_new_keys() -> None:
    """The call is out with the old key's token as the key goes, and that token with it."""

    async def scenario(server: ApiServer, pool: ColonyPool) -> None:
        rotated: list[str] = []

        async def rotate(request: httpx.Request) -> None:
            if request.url.path.endswith("/users/me") and not rotated:
                rotated.append(client._token or "")
                await contextvars.Context().run(asyncio.ensure_future, client.rotate_key())
                server.revoked.add(rotated[0])

        transport = httpx.AsyncClient(event_hooks={"request": [rotate]})
        async with AsyncColonyClient("col_old", pool=pool, client=transport) as client:
            await client.get_me()
            assert client.api_key == "col_rotated"
        await transport.aclose()

    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        asyncio.run(scenario(server, pool))


def test_rotate_key_and_refresh_token_reach_the_pool_that_threads_share() -> None:
    async def scenario(server: ApiServer, pool: ColonyPool) -> None:
        async with AsyncColonyClient("col_old", pool=pool) as client:
            old = await client.get_auth_token()
            assert old == ColonyClient("col_old", pool=pool).get_auth_token()
            client.refresh_token()
            assert old != await client.get_auth_token()
            await client.rotate_key()
            await client.get_me()
            assert 3 == tokens(server)

    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        asyncio.run(scenario(server, pool))
        assert pool.agent("col_old").token() != pool.agent("col_rotated").token()
        assert 4 == tokens(server), "the old key's token is gone from memory, too"


@pytest.mark.slow
@pytest.mark.parametrize("change", ["rotate_key", "confirm_key_recovery"])
def test_g19_a_key_that_goes_takes_no_other_clients_token_along(change: str) -> None:
    """Clients of several keys in one task, as in most scripts."""

    async def scenario(server: ApiServer, pool: ColonyPool) -> None:
        async with AsyncColonyClient("col_a", pool=pool) as one, AsyncColonyClient("col_b", pool=pool) as other:
            kept = await other.get_auth_token()
            await (one.rotate_key() if change == "rotate_key" else one.confirm_key_recovery("from the mail"))
            assert kept == await other.get_auth_token()
            server.revoked.add(kept)
            await other.get_me()
            assert kept != await other.get_auth_token()

    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        asyncio.run(scenario(server, pool))


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("COLONY_SDK_NO_TOKEN_CACHE", raising=False)
    return tmp_path


@pytest.mark.parametrize("change", ["rotate_key", "confirm_key_recovery"])
def test_a_new_key_leaves_no_token_of_the_old_one(change: str, on_disk: Path) -> None:
    """Not even of one whose token another client has asked for."""

    async def scenario(server: ApiServer, pool: ColonyPool) -> None:
        async with AsyncColonyClient("col_old", pool=pool) as other:
            await other.get_me()
        before = await asyncio.to_thread(saved, on_disk)
        async with AsyncColonyClient("col_old", pool=pool) as client:
            await (client.rotate_key() if change == "rotate_key" else client.confirm_key_recovery("from the mail"))
            assert client.api_key in ("col_rotated", "col_recovered")
            await until(lambda: set() == before & set(on_disk.iterdir()), "it is removed")
            await client.get_me()
            assert 2 == tokens(server)

    with ApiServer() as server, ColonyPool(server.base_url, registry=None) as pool:
        asyncio.run(scenario(server, pool))


def test_a_lost_key_is_recovered_by_a_client_that_has_none() -> None:
    async def scenario(pool: ColonyPool) -> None:
        async with AsyncColonyClient("lost", pool=pool) as client:
            assert {"api_key": "col_recovered"} == await client.confirm_key_recovery("from the mail")
            await client.get_me()

    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        asyncio.run(scenario(pool))


def test_refresh_token_does_in_the_loop_nothing_that_may_block(
    on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of the cache is removed by another thread, and before the next call looks for it."""
    removed_in: list[int] = []
    remove = TokenCache.remove

    def watched(self: TokenCache, *args: Any) -> None:
        removed_in.append(threading.get_ident())
        remove(self, *args)

    async def scenario(server: ApiServer, pool: ColonyPool) -> None:
        async with AsyncColonyClient("col_a", pool=pool) as client:
            for number in range(1, 6):
                await client.get_me()
                assert number == tokens(server)
                client.refresh_token()

    monkeypatch.setattr(TokenCache, "remove", watched)
    with ApiServer() as server, ColonyPool(server.base_url, registry=None) as pool:
        asyncio.run(scenario(server, pool))
    assert 5 <= len(removed_in)
    assert threading.get_ident() not in removed_in


@pytest.mark.parametrize("asynchronous", [False, True], ids=["ColonyPool", "AsyncColonyPool"])
def test_an_existing_client_is_adopted(asynchronous: bool) -> None:
    async def scenario(server: ApiServer, given: ColonyPool) -> None:
        pool = AsyncColonyPool(pool=given) if asynchronous else given
        async with colony_sdk.AsyncColonyClient("col_a", base_url=server.base_url, cache_token=False) as client:
            assert adopt(client, pool) is client
            assert isinstance(client, AsyncColonyClient)
            await client.get_me()
            assert 1 == pool.status().tokens.fresh

    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        asyncio.run(scenario(server, pool))


def test_an_asynchronous_client_with_a_token_of_its_own_is_not_adopted() -> None:
    class Own(colony_sdk.AsyncColonyClient):
        async def _ensure_token(self) -> None:
            self._token = "mine"

    with ColonyPool(token_cache=None, registry=None) as pool, pytest.raises(TypeError, match="its own _ensure_token"):
        adopt(Own("col_a", base_url=pool.base_url, cache_token=False), pool)
