"""``totp=`` of clients behind a pool, beside the SDK's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import colony_sdk
import pytest

from colony_pool import ColonyPool
from colony_pool.sdk import AsyncColonyClient, ColonyClient
from colony_pool.testing import FakeColony, totp_code

SECRET = "JBSWY3DPEHPK3PXP"


async def asked(client: Any) -> Any:
    try:
        return await client.get_me()
    finally:
        await client.aclose()


def outcome(client: Any) -> Any:
    """The whole of what a caller sees."""
    try:
        me = asyncio.run(asked(client)) if isinstance(client, colony_sdk.AsyncColonyClient) else client.get_me()
        return me["username"]
    except colony_sdk.ColonyAPIError as error:
        return type(error).__name__, error.status, error.code, str(error)


def played(make: Callable[[str, Any], Any], colony: FakeColony) -> list[Any]:
    """Without a code, with a wrong one, with a callable, with a good one."""
    codes = {
        "col_none": None,
        "col_wrong": "000000",
        "col_called": lambda: totp_code(SECRET),
        "col_fixed": totp_code(SECRET),
    }
    for key in codes:
        colony.key(key, totp_secret=SECRET)
    return [outcome(make(key, totp)) for key, totp in codes.items()]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_g15_a_second_factor_is_asked_for_refused_and_accepted_as_by_the_sdk(asynchronous: bool) -> None:
    theirs: Any = colony_sdk.AsyncColonyClient if asynchronous else colony_sdk.ColonyClient
    ours: Any = AsyncColonyClient if asynchronous else ColonyClient
    with FakeColony() as colony:
        plain = {"base_url": colony.base_url, "cache_token": False}
        expected = played(lambda key, totp: theirs(key, totp=totp, **plain), colony)
    with FakeColony() as colony, ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        assert expected == played(lambda key, totp: ours(key, totp=totp, pool=pool), colony)
    assert ["AUTH_2FA_REQUIRED", "AUTH_2FA_INVALID"] == [error[2] for error in expected[:2]]
    assert [str, str] == [type(what) for what in expected[2:]]
