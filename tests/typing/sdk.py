"""The drop-in and the adapters as users write them; mypy --strict reads it, nobody runs it."""

from __future__ import annotations

import colony_sdk
import httpx
import requests

import colony_pool.httpx
import colony_pool.requests
from colony_pool import AsyncColonyPool, ColonyPool
from colony_pool.sdk import (
    COLONIES,
    AsyncColonyClient,
    ColonyAPIError,
    ColonyClient,
    MockColonyClient,
    Post,
    RetryConfig,
    adopt,
    default_pool,
    verify_webhook,
)


class Mine(colony_sdk.ColonyClient):
    pass


def with_the_sdk(key: str, pool: ColonyPool) -> None:
    client = ColonyClient(key, timeout=30, retry=colony_sdk.RetryConfig(max_retries=1), typed=True, pool=pool)
    plain: colony_sdk.ColonyClient = client
    image: bytes = client.get_message_attachment("id", variant="thumb")
    limit: colony_sdk.RateLimitInfo | None = client.last_rate_limit
    mine: Mine = adopt(Mine(key), pool)
    shared: ColonyPool = default_pool()
    print(plain, image, limit, mine, shared, ColonyClient(key).pool)


async def with_the_asynchronous_sdk(key: str, pool: AsyncColonyPool) -> None:
    async with AsyncColonyClient(key, pool=pool) as client:
        plain: colony_sdk.AsyncColonyClient = client
        image: bytes = await client.get_message_attachment("id", variant="thumb")
        print(plain, image, client.pool, adopt(colony_sdk.AsyncColonyClient(key)))
    httpx.AsyncClient(auth=colony_pool.httpx.ColonyAuth(pool.agent(key)))


def with_others(pool: ColonyPool, key: str) -> None:
    agent = pool.agent(key)
    httpx.Client(auth=colony_pool.httpx.ColonyAuth(agent))
    httpx.AsyncClient(auth=colony_pool.httpx.ColonyAuth(agent))
    requests.get("https://thecolony.ai/api/v1/users/me", auth=colony_pool.requests.ColonyAuth(agent), timeout=30)


def with_names_of_the_sdk(key: str) -> int | None:
    client = ColonyClient(key, retry=RetryConfig(max_retries=0))
    mocked: colony_sdk.testing.MockColonyClient = MockColonyClient()
    post: colony_sdk.Post = Post.from_dict({})
    good: bool = verify_webhook(b"", "", "")
    print(COLONIES["findings"], mocked, post, good)
    try:
        client.get_me()
    except ColonyAPIError as error:
        return error.status
    return None
