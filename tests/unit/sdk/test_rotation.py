"""``rotate_key()`` of one client, and what becomes of others with the same key in this process."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import colony_sdk
import pytest

from colony_pool import ColonyPool
from colony_pool.sdk import AsyncColonyClient, ColonyClient, adopt
from tests.tools.sdk.server import TOKEN, ApiServer, Handler


class Keys(ApiServer):
    """Knows one key, which it changes when asked to; tokens of an older one are refused, if ``tokens_die``."""

    tokens_die = True

    def __init__(self) -> None:
        super().__init__()
        self.key = "col_0"
        self._owners: dict[str, str] = {}
        self.asked_by: list[str] = []

    def keep(self, handler: Handler, path: str, body: bytes) -> None:
        super().keep(handler, path, body)
        if path == TOKEN:
            self.asked_by.append(json.loads(body)["api_key"])

    def answer(self, handler: Handler, path: str) -> tuple[int, dict[str, str], Any]:
        if path == TOKEN:
            if self.asked_by[-1] != self.key:
                return 401, {}, {"detail": {"message": "Invalid API key", "code": "AUTH_INVALID_KEY"}}
            token = f"jwt-of-{self.key}"
            self._owners[token] = self.key
            return 200, {}, {"access_token": token, "expires_in": 86_400}
        owner = self._owners.get(handler.headers.get("Authorization", "").removeprefix("Bearer "))
        if owner is None or (self.tokens_die and owner != self.key):
            return 401, {}, {"detail": {"message": "Token refused.", "code": "AUTH_INVALID_TOKEN"}}
        if path == "/auth/rotate-key":
            self.key = f"col_{int(self.key[4:]) + 1}"
            return 200, {}, {"api_key": self.key}
        return 200, {}, {"username": owner}


Run = Callable[[Any], Any]


@pytest.fixture(params=[True, False], ids=["tokens die with their key", "tokens outlive their key"])
def server(request: pytest.FixtureRequest) -> Iterator[Keys]:
    with Keys() as made:
        made.tokens_die = request.param
        yield made


@pytest.fixture
def pool(server: Keys) -> Iterator[ColonyPool]:
    with ColonyPool(server.base_url, token_cache=None, registry=None) as made:
        yield made


class Blocking:
    """An ``AsyncColonyClient`` whose calls are run to their end."""

    def __init__(self, client: AsyncColonyClient) -> None:
        self.client = client

    @property
    def api_key(self) -> str:
        return self.client.api_key

    def __getattr__(self, name: str) -> Callable[[], Any]:
        async def call() -> Any:
            try:
                return await getattr(self.client, name)()
            finally:
                await self.client.aclose()

        return lambda: asyncio.run(call())


def client_of(kind: str, key: str, pool: ColonyPool) -> Any:
    return Blocking(AsyncColonyClient(key, pool=pool)) if kind == "async" else ColonyClient(key, pool=pool)


@pytest.mark.parametrize("other", ["sync", "async"])
@pytest.mark.parametrize("one", ["sync", "async"])
def test_the_other_clients_of_a_rotated_key_go_on_with_the_new_one(
    one: str, other: str, server: Keys, pool: ColonyPool
) -> None:
    rotating, before, unused = (client_of(kind, "col_0", pool) for kind in (one, other, other))
    foreign = ColonyClient("col_of_somebody_else", pool=pool)
    assert "col_0" == before.get_me()["username"]
    assert "col_1" == rotating.rotate_key()["api_key"]
    later = client_of(other, "col_0", pool)
    for client in (rotating, before, unused, later):
        assert "col_1" == client.api_key
        assert "col_1" == client.get_me()["username"]
    assert ["col_0", "col_1"] == server.asked_by, "the old key is never asked for again"
    assert "col_2" == before.rotate_key()["api_key"]
    assert {"col_2"} == {client.get_me()["username"] for client in (rotating, before, unused, later)}
    assert foreign.api_key == "col_of_somebody_else"


def test_a_client_of_another_pool_and_one_that_was_adopted_go_on_too(server: Keys, pool: ColonyPool) -> None:
    with ColonyPool(server.base_url, token_cache=None, registry=None) as second:
        theirs = adopt(colony_sdk.ColonyClient("col_0", base_url=server.base_url, cache_token=False), second)
        assert "col_0" == theirs.get_me()["username"]
        ColonyClient("col_0", pool=pool).rotate_key()
        assert ("col_1", "col_1") == (theirs.api_key, theirs.get_me()["username"])


def test_the_same_key_at_another_api_is_another_key(server: Keys, pool: ColonyPool) -> None:
    with Keys() as elsewhere, ColonyPool(elsewhere.base_url, token_cache=None, registry=None) as other:
        client = ColonyClient("col_0", pool=other)
        ColonyClient("col_0", pool=pool).rotate_key()
        assert ("col_0", "col_0") == (client.api_key, client.get_me()["username"])


def test_copies_and_pickles_have_the_new_key(server: Keys, pool: ColonyPool) -> None:
    client = ColonyClient("col_0", pool=pool)
    early = copy.copy(client)
    ColonyClient("col_0", pool=pool).rotate_key()
    assert ["col_1"] * 3 == [twin.api_key for twin in (early, copy.copy(client), copy.deepcopy(client))]
    assert b"col_0" not in pickle.dumps(ColonyClient("col_0", pool=pool)), (
        "where it goes, nobody knows of the rotation"
    )


def test_a_key_that_a_user_puts_into_a_client_is_its_key(server: Keys, pool: ColonyPool) -> None:
    client, other = ColonyClient("col_x", pool=pool), ColonyClient("col_x", pool=pool)
    client.api_key = "col_0"
    assert "col_0" == client.get_me()["username"]
    assert "col_x" == other.api_key, "that was no rotation"


def test_a_recovered_key_moves_nobody_else(pool: ColonyPool) -> None:
    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as mine:
        client, other = ColonyClient("col_any", pool=mine), ColonyClient("col_any", pool=mine)
        client.confirm_key_recovery("from the mail")
        assert ("col_recovered", "col_any") == (client.api_key, other.api_key), "it may be another agent's"


def test_a_rotation_that_a_mock_has_answered_moves_nobody(pool: ColonyPool) -> None:
    client, other = ColonyClient("col_m", pool=pool), ColonyClient("col_m", pool=pool)
    client._token, client._token_expiry = "of a test", 4e9
    with mock.patch.object(client, "_raw_request", return_value={"api_key": "col_n"}):
        client.rotate_key()
    assert ("col_n", "col_m") == (client.api_key, other.api_key)


def test_a_client_without_a_key_has_none() -> None:
    with pytest.raises(AttributeError, match="api_key"):
        ColonyClient.__new__(ColonyClient).api_key  # noqa: B018
    assert not hasattr(ColonyClient, "api_key")
