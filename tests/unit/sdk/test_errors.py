"""What the pool raises through a client of the SDK is caught by the SDK's name for it, and by ours."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import colony_sdk
import pytest

import colony_pool
from colony_pool import ColonyPool
from colony_pool.sdk import AsyncColonyClient, ColonyClient
from colony_pool.testing import FakeColony

TOKEN = "/auth/token"
Raised = Callable[[ColonyPool], Any]


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def pool(colony: FakeColony) -> Iterator[ColonyPool]:
    retry = colony_pool.RetryConfig(max_retries=0)
    with ColonyPool(colony.base_url, token_cache=None, registry=None, auth_token_retry=retry) as made:
        yield made


def by_threads(pool: ColonyPool) -> Any:
    impatient = colony_sdk.RetryConfig(max_retries=0)
    client = ColonyClient("col_a", pool=pool, auth_token_retry=impatient)
    with pytest.raises(colony_sdk.ColonyAPIError) as caught:
        client.get_me()
    return caught.value


def by_tasks(pool: ColonyPool) -> Any:
    async def ask() -> None:
        async with AsyncColonyClient("col_a", pool=pool) as client:
            await client.get_me()

    with pytest.raises(colony_sdk.ColonyAPIError) as caught:
        asyncio.run(ask())
    return caught.value


@pytest.fixture(params=[by_threads, by_tasks], ids=["sync", "async"])
def raised(request: pytest.FixtureRequest) -> Raised:
    found: Raised = request.param
    return found


def deny(colony: FakeColony, pool: ColonyPool) -> None:
    colony.deny("col_a")


def second_factor(colony: FakeColony, pool: ColonyPool) -> None:
    colony.key("col_a", totp_secret="JBSWY3DPEHPK3PXP")


def limited(colony: FakeColony, pool: ColonyPool) -> None:
    colony.behave("status", status=429, headers={"Retry-After": "3600"}, only=TOKEN)


def down(colony: FakeColony, pool: ColonyPool) -> None:
    colony.behave("status", status=502, only=TOKEN)


def opened(colony: FakeColony, pool: ColonyPool) -> None:
    pool.breaker.open()


def gone(colony: FakeColony, pool: ColonyPool) -> None:
    colony.stop_listening()


def closed(colony: FakeColony, pool: ColonyPool) -> None:
    pool.close()


CASES = [
    (deny, "ColonyAuthError", "ColonyAuthError"),
    (second_factor, "ColonyTwoFactorRequiredError", "ColonyTwoFactorRequiredError"),
    (limited, "ColonyRateLimitError", "ColonyRateLimitError"),
    (down, "ColonyServerError", "ColonyServerError"),
    (opened, "ColonyServerError", "CircuitOpenError"),
    (gone, "ColonyNetworkError", "ColonyNetworkError"),
    (closed, "ColonyNetworkError", "PoolClosedError"),
]


@pytest.mark.parametrize(("happens", "theirs", "ours"), CASES, ids=[case[0].__name__ for case in CASES])
def test_an_error_of_the_pool_is_of_both_classes_and_pickles(
    happens: Callable[[FakeColony, ColonyPool], None], theirs: str, ours: str, raised: Raised, colony: FakeColony,
    pool: ColonyPool,
) -> None:  # fmt: skip
    happens(colony, pool)
    error = raised(pool)
    assert isinstance(error, getattr(colony_sdk, theirs))
    assert isinstance(error, getattr(colony_pool, ours))
    assert type(error).__name__ == ours
    assert isinstance(error.__cause__, getattr(colony_pool, ours))
    for twin in (
        pickle.loads(pickle.dumps(error)),
        copy.copy(error),
        copy.deepcopy(error),
        type(error)(*error.args),
        type(error)(*json.loads(json.dumps(error.args))),
    ):
        assert type(twin) is type(error)
        assert vars(twin) == vars(error)
        assert (str(twin), repr(twin)) == (str(error), repr(error))


def test_an_open_breaker_says_when_to_come_back(raised: Raised, pool: ColonyPool) -> None:
    pool.breaker.open()
    error = raised(pool)
    assert 0 < error.retry_after < 60
    assert ("open", "opened by an operator", 503) == (error.state, error.cause, error.status)
    assert "next probe in" in str(error)


def test_a_rate_limit_has_whole_seconds_as_the_sdks(raised: Raised, colony: FakeColony, pool: ColonyPool) -> None:
    limited(colony, pool)
    for _ in range(2):  # told by the server, and then by the pool
        error = raised(pool)
        assert isinstance(error.retry_after, int)
        assert 3590 < error.retry_after <= 3600


def test_an_error_of_an_api_call_is_the_sdks_own(colony: FakeColony, pool: ColonyPool) -> None:
    colony.behave("status", status=404, only="/users/me")
    with pytest.raises(colony_sdk.ColonyNotFoundError) as caught:
        ColonyClient("col_a", pool=pool).get_me()
    assert type(caught.value) is colony_sdk.ColonyNotFoundError
