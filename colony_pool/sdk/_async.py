"""``AsyncColonyClient``: the SDK's own, with a pool's tokens. It makes its API calls with httpx, as before."""

from __future__ import annotations

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
from .._aio.pool import AsyncColonyPool
from .._aio.shared import view_of
from ..errors import ColonyAPIError
from ..pool import ColonyPool
from ._default import chosen_pool
from ._errors import bad_key, translated
from ._seam import check_async, sdk, turned

__all__ = ["AsyncColonyClient", "adopt_async"]

check_async(Theirs)

Method = TypeVar("Method", bound=Callable[..., Any])
_OWN = ("_raw_multipart_upload", "_raw_request_bytes", "_ensure_token", "_clear_cached_token")

Carried = tuple[AsyncAgent, str] | None
# The token that the call of this task carries, and whose it is: tasks share a client, and another may have renewed
# its token by now; and one task has several clients.
_carried: ContextVar[Carried] = ContextVar("colony_pool.sdk.carried", default=None)
# The one that it was refused with, until the pool has been told, which may block and is done off the loop.
_refused: ContextVar[Carried] = ContextVar("colony_pool.sdk.refused", default=None)


def _with_a_fresh_token(method: Method) -> Method:
    """As for the synchronous client: one refresh, one replay, where the SDK would give up on a 401."""

    @functools.wraps(method)
    async def call(self: AsyncColonyClient, *args: Any, **kwargs: Any) -> Any:
        await self._ensure_token()
        before = _carried.get()
        try:
            return await method(self, *args, **kwargs)
        except colony_sdk.ColonyAuthError as error:
            if error.status != 401:
                raise
            self._clear_cached_token()
            await self._ensure_token()
            if _carried.get() == before:
                raise
        return await method(self, *args, **kwargs)

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
        self._agent()._forget()

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
        self._view = pool if isinstance(pool, AsyncColonyPool) else view_of(self.pool)
        self._held = None

    _raw_multipart_upload = _with_a_fresh_token(Theirs._raw_multipart_upload)
    _raw_request_bytes = _with_a_fresh_token(Theirs._raw_request_bytes)

    async def _ensure_token(self) -> None:
        while True:
            key = self.api_key
            agent = self._agent()
            try:
                await _tell_of_the_refused()
                await agent._forgotten()
                self._token = await agent.token()
                _carried.set((agent, self._token))
                return
            except ColonyAPIError as error:
                if self.api_key == key:
                    raise translated(error) from error
                # Rotated by another task meanwhile: it was the old key that failed.

    def _clear_cached_token(self) -> None:
        """The SDK comes here when a token was refused, and for a key that has gone, which may never have had one."""
        carried, held = _carried.get(), self._held
        if carried is not None and held is not None and carried[0] is held[1]:
            _refused.set(carried)

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


async def _tell_of_the_refused() -> None:
    refused = _refused.get()
    _refused.set(None)
    try:
        if refused is not None:
            agent = refused[0]
            await agent._off_loop(agent._agent._rejected, refused[1])
    finally:
        del refused  # no traceback of ours holds a token


def adopt_async(client: Theirs, pool: ColonyPool | AsyncColonyPool | None) -> None:
    """``adopt`` for an asynchronous client."""
    cls = turned(type(client), Theirs, AsyncColonyClient, _OWN)
    chosen_pool(pool, client.base_url, None, client.cache_token)  # raises unless it fits
    client.__class__ = cls
    adopted: Any = client
    adopted._behind(pool, client.base_url, client.cache_token)
