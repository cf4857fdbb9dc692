"""``python -m tests.tools.sdk.compare``: the script of calls through the SDK's client and through ours, call by call.

Prints a line for each call that differs, in its result, its error or its requests, and how many do not. It imports
nothing but the two clients, so that it can be run against any version of the SDK.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import colony_sdk
from colony_sdk import RetryConfig
from colony_sdk.async_client import AsyncColonyClient as TheirAsync

from colony_pool import ColonyPool
from colony_pool.sdk import AsyncColonyClient, ColonyClient
from tests.tools.sdk.calls import CALLS
from tests.tools.sdk.server import TOKEN, ApiServer, Request

RETRY = RetryConfig(max_retries=1, base_delay=0.001)
Play = dict[str, tuple[Any, list[Request]]]


def outcome(call: Callable[[Any], Any], client: Any) -> Any:
    """What a call gives, or raises: everything of an error that a caller can see."""
    try:
        return call(client)
    except colony_sdk.ColonyAPIError as error:
        seen = (error.status, error.code, error.response, getattr(error, "retry_after", None))
        return type(error).__module__, type(error).__name__, str(error), seen
    except (ValueError, TypeError) as error:
        return type(error).__name__, str(error)
    except Exception as error:  # an SDK without this method, or a script that is wrong: not equal to anything
        return object(), "".join(traceback.format_exception_only(error))


def play(make: Callable[[str], Any], names: list[str]) -> Play:
    """Play the script against a server of its own."""
    rows: Play = {}
    with ApiServer() as server:
        client = make(server.base_url)
        for name in names:
            before = len(server.requests)
            result = outcome(CALLS[name], client)
            sent = [request for request in server.requests[before:] if request.path != TOKEN]
            rows[name] = (_plain(result, server.base_url), sent)
    return rows


def _plain(value: Any, base_url: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__, dataclasses.asdict(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(part, base_url) for part in value)
    return value.replace(base_url, "BASE") if isinstance(value, str) else value


def plain(base_url: str) -> Any:
    return colony_sdk.ColonyClient("col_compare", base_url=base_url, retry=RETRY, cache_token=False)


def pooled(base_url: str) -> Any:
    pool = ColonyPool(base_url, token_cache=None, registry=None)
    return ColonyClient("col_compare", pool=pool, retry=RETRY, cache_token=False)


class Awaited:
    """An asynchronous client that the same script can play: each of its coroutines is run to its end."""

    def __init__(self, client: Any) -> None:
        self.__dict__.update(client=client, loop=asyncio.new_event_loop())

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.client, name, value)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = found(*args, **kwargs)
            if inspect.isasyncgen(answer):
                answer = _all(answer)
            return self.loop.run_until_complete(answer) if inspect.isawaitable(answer) else answer

        return call


async def _all(rows: Any) -> list[Any]:
    return [row async for row in rows]


def plain_async(base_url: str) -> Any:
    return Awaited(TheirAsync("col_compare", base_url=base_url, retry=RETRY, cache_token=False))


def pooled_async(base_url: str) -> Any:
    pool = ColonyPool(base_url, token_cache=None, registry=None)
    return Awaited(AsyncColonyClient("col_compare", pool=pool, retry=RETRY, cache_token=False))


# The SDK's asynchronous client has no cache.
NOT_ASYNC = ("caching",)


def differences(ours: Play, theirs: Play) -> list[str]:
    """One line for each call that differs."""
    return [f"{name}:\n  SDK  {theirs[name]}\n  ours {ours[name]}" for name in theirs if theirs[name] != ours[name]]


def main() -> int:
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ResourceWarning)  # this script closes no event loop
    failed = 0
    for kind, mine, theirs in (("", pooled, plain), ("async ", pooled_async, plain_async)):
        names = [name for name in CALLS if not kind or name not in NOT_ASYNC]
        found = differences(play(mine, names), play(theirs, names))
        failed += len(found)
        print("\n".join(found))
        print(f"colony-sdk {colony_sdk.__version__}: {len(names) - len(found)} of {len(names)} {kind}calls are alike")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
