"""``AsyncColonyClient``: the SDK's own, with a pool's tokens. It makes its API calls with httpx, as before."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import colony_sdk
import httpx
from colony_sdk import RetryConfig
from colony_sdk.async_client import AsyncColonyClient as Theirs

from .._aio.agent import AsyncAgent
from .._aio.pool import AsyncColonyPool, default_view
from .._driver.replays import Replays
from ..agent import replays_of
from ..errors import ColonyAPIError
from ..pool import ColonyPool
from ._default import chosen_pool
from ._errors import bad_key, is_refusal, translated
from ._seam import check_async, sdk, turned

__all__ = ["AsyncColonyClient", "adopt_async"]

check_async(Theirs)

Method = TypeVar("Method", bound=Callable[..., Any])
_OWN = ("_raw_request", "_raw_multipart_upload", "_raw_request_bytes", "_ensure_token", "_clear_cached_token")

Carried = tuple[AsyncAgent, str] | None
# The token that the call of this task carries, and whose it is: tasks share a client, and another may have renewed
# its token by now; and one task has several clients.
_carried: ContextVar[Carried] = ContextVar("colony_pool.sdk.carried", default=None)
_in_a_call: ContextVar[bool] = ContextVar("colony_pool.sdk.in_a_call", default=False)


def _with_every_401(method: Method) -> Method:
    """The SDK's ``_raw_request``, which then answers no 401 by itself: it does not ask whose that is."""

    @functools.wraps(method)
    async def call(self: AsyncColonyClient, *args: Any, **kwargs: Any) -> Any:
        return await method(self, *args, **{**kwargs, "_token_refreshed": True})

    return cast(Method, call)


def _with_a_fresh_token(method: Method, *, ask_first: bool = True) -> Method:
    """A call whose token was refused is made again as long as that can help.

    ``ask_first``: ``method`` takes whatever token its client has.
    """

    @functools.wraps(method)
    async def call(self: AsyncColonyClient, *args: Any, **kwargs: Any) -> Any:
        if _in_a_call.get():  # the SDK makes its call again
            return await method(self, *args, **kwargs)
        inside, before = _in_a_call.set(True), _carried.set(None)
        replays: list[Replays] = []
        try:
            if ask_first:
                await self._ensure_token()
            while True:
                failures = self._consecutive_failures
                try:
                    answer = await method(self, *args, **kwargs)
                    break
                except colony_sdk.ColonyAuthError as error:
                    if not is_refusal(error) or not await self._helps(replays):
                        raise
                if self._consecutive_failures > failures:  # the SDK counts calls that fail: this one has not yet
                    self._consecutive_failures -= 1
                await self._ensure_token()
            if (carried := _carried.get()) is not None:
                replays_of(carried[0].of_threads).worked(carried[1])
            return answer
        finally:
            _carried.reset(before)
            _in_a_call.reset(inside)

    return cast(Method, call)


class AsyncColonyClient(Theirs):
    """The SDK's ``AsyncColonyClient`` behind a pool's door: same constructor, methods, results and errors.

    Arguments, beside the SDK's:
        pool: a ``ColonyPool`` or ``AsyncColonyPool`` whose tokens are used; default as for ``ColonyClient``.

    ``client`` stays the ``httpx.AsyncClient`` that API calls go over, the SDK's own unless one is given.
    """

    pool: ColonyPool
    _view: AsyncColonyPool
    _held: tuple[str, AsyncAgent] | None = None

    def __init__(
        self,
        api_key: str,
        base_url: str = sdk.DEFAULT_BASE_URL,
        timeout: int = 30,
        client: httpx.AsyncClient | None = None,
        retry: RetryConfig | None = None,
        typed: bool = False,
        cache_token: bool = True,
        totp: str | Callable[[], str] | None = None,
        *,
        pool: ColonyPool | AsyncColonyPool | None = None,
    ) -> None:
        try:
            given = None if base_url == sdk.DEFAULT_BASE_URL else base_url
            self._behind(pool, given, cache_token)
            super().__init__(api_key, self.pool.base_url, timeout, client, retry, typed, cache_token, totp)
        finally:
            del api_key, totp  # no traceback of ours holds a secret

    async def __aenter__(self) -> AsyncColonyClient:
        return self

    def refresh_token(self) -> None:
        """Forget the token, for all that use this key; the next call asks the server for a new one.

        No coroutine, as the SDK has it: what may block is done elsewhere, and the next call waits for that.
        """
        self._token = None
        self._agent().forget_soon()

    async def rotate_key(self) -> dict:  # type: ignore[type-arg] # as the SDK has it
        """As the SDK's. The pool forgets the old key's token, on disk too, and goes on with the new key."""
        return await self._leaving_the_old_key(super().rotate_key())

    async def confirm_key_recovery(self, token: str) -> dict:  # type: ignore[type-arg] # as the SDK has it
        """As the SDK's. The pool forgets the old key's token, on disk too, and goes on with the new key."""
        return await self._leaving_the_old_key(super().confirm_key_recovery(token))

    async def _leaving_the_old_key(self, change: Awaitable[dict]) -> dict:  # type: ignore[type-arg] # as the SDK has it
        key = self.api_key
        answer = await change
        if self.api_key != key:
            with suppress(ValueError):  # it was no key
                await self._view.agent(key).invalidate()
        return answer

    def _behind(self, pool: ColonyPool | AsyncColonyPool | None, base_url: str | None, cache_token: bool) -> None:
        self.pool = chosen_pool(pool, base_url, None, cache_token)
        self._view = pool if isinstance(pool, AsyncColonyPool) else default_view(self.pool)
        self._held = None

    _raw_request = _with_a_fresh_token(_with_every_401(Theirs._raw_request), ask_first=False)
    _raw_multipart_upload = _with_a_fresh_token(Theirs._raw_multipart_upload)
    _raw_request_bytes = _with_a_fresh_token(Theirs._raw_request_bytes)

    async def _ensure_token(self) -> None:
        while True:
            key = self.api_key
            agent = self._agent()
            try:
                await agent.forgotten()
                self._token = await agent.token()
                _carried.set((agent, self._token))
                return
            except ColonyAPIError as error:
                if self.api_key == key:
                    raise translated(error) from error
                # Rotated by another task meanwhile: it was the old key that failed.

    def _clear_cached_token(self) -> None:
        """The SDK forgets the token of a key that has gone; the pool hears of that elsewhere."""

    async def _helps(self, replays: list[Replays]) -> bool:
        """Tell the pool that the token of this task's call was refused; whether making the call again can help.

        ``replays`` has what has been done about that in this call, and is empty at first.
        """
        carried = _carried.get()
        try:
            if carried is None:  # a call without a token
                return False
            if carried[0] is not self._agent():  # rotated by another task meanwhile: it was the old key's token
                return True
            if not replays:
                replays.append(replays_of(carried[0].of_threads, once=True))
            pause = await carried[0].off_loop(replays[0].pause, carried[1])
        finally:
            del carried  # no traceback of ours holds a token
        if pause:
            await asyncio.sleep(pause)
        return pause is not None

    def _agent(self) -> AsyncAgent:
        """The pool's handle for the key of the moment."""
        held = self._held
        if held is None or held[0] != self.api_key:
            try:
                held = (self.api_key, self._view.agent(self.api_key, totp=self._totp))
            except ValueError as error:
                raise bad_key(error) from None
            self._held = held
        return held[1]


def adopt_async(client: Theirs, pool: ColonyPool | AsyncColonyPool | None) -> None:
    """``adopt`` for an asynchronous client."""
    cls = turned(type(client), Theirs, AsyncColonyClient, _OWN)
    chosen_pool(pool, client.base_url, None, client.cache_token)  # raises unless it fits
    client.__class__ = cls
    adopted: Any = client
    adopted._behind(pool, client.base_url, client.cache_token)
