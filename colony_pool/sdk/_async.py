"""``AsyncColonyClient``: the SDK's own, with a pool's tokens. It makes its API calls with httpx, as before."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import colony_sdk
import httpx
from colony_sdk import RetryConfig
from colony_sdk.async_client import AsyncColonyClient as Theirs

from .._aio.agent import AsyncAgent, agent_behind, invalidate_soon, invalidated, run_off_loop, waiting_of
from .._aio.pool import AsyncColonyPool
from .._driver.replays import Replays
from ..agent import replays_of
from ..errors import ColonyAPIError
from ..pool import ColonyPool
from ._compat import check_async, sdk
from ._errors import is_refusal, translated
from ._reference import PoolReference, chosen

__all__ = ["AsyncColonyClient", "Theirs"]

check_async(Theirs)

# The token that the call of this task carries, and whose it is: tasks share a client, and another may have renewed
# its token by now; and one task has several clients.
_carried: ContextVar[tuple[AsyncAgent, str] | None] = ContextVar("colony_pool.sdk.carried_by_task", default=None)


class AsyncColonyClient(Theirs):
    """The SDK's ``AsyncColonyClient`` with a pool's tokens: same constructor, methods, results and errors.

    Arguments, beside the SDK's:
        pool: a ``ColonyPool`` or ``AsyncColonyPool`` whose tokens are used; default as for ``ColonyClient``.

    ``client`` stays the ``httpx.AsyncClient`` that API calls go over, the SDK's own unless one is given.
    """

    _reference: PoolReference

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
            self._reference = chosen(pool, given, None, cache_token)
            super().__init__(api_key, self.pool.base_url, timeout, client, retry, typed, cache_token, totp)
        finally:
            del api_key, totp  # no traceback of ours holds a secret

    @property
    def pool(self) -> ColonyPool:
        """The pool whose tokens are used."""
        return self._reference.pool

    async def __aenter__(self) -> AsyncColonyClient:
        return self

    # -- what is overridden; ``_compat`` says why --------------------------------------------------------

    async def _ensure_token(self) -> None:
        if self._token and time.time() < self._token_expiry:  # no token of ours has an expiry here
            return
        while True:
            key = self.api_key
            agent = self._agent()
            try:
                await invalidated(agent)
                self._token = token = await agent.token()
                _carried.set((agent, token))
                return
            except ColonyAPIError as error:
                if self.api_key == key:
                    raise translated(error) from error
                # Rotated by another task meanwhile: it was the old key that failed.
            finally:
                token = ""  # no traceback of ours holds a token

    def _clear_cached_token(self) -> None:
        """Called when a key goes, and for another token. No coroutine, as the SDK has it.

        What may block is done elsewhere, and the next call that asks for a token waits for that.
        """
        with suppress(colony_sdk.ColonyAuthError):  # it is no key
            invalidate_soon(self._agent())

    async def _raw_request(self, *args: Any, **kwargs: Any) -> Any:
        if "_token_refreshed" in kwargs:  # the SDK makes its call again
            return await super()._raw_request(*args, **kwargs)
        kwargs["_token_refreshed"] = True
        return await self._renewing(functools.partial(super()._raw_request, *args, **kwargs))

    async def _raw_multipart_upload(self, *args: Any, **kwargs: Any) -> Any:
        return await self._renewing(functools.partial(super()._raw_multipart_upload, *args, **kwargs), ask_first=True)

    async def _raw_request_bytes(self, *args: Any, **kwargs: Any) -> Any:
        return await self._renewing(functools.partial(super()._raw_request_bytes, *args, **kwargs), ask_first=True)

    # -- its own ----------------------------------------------------------------------------------------

    async def _renewing(self, call: Callable[[], Awaitable[Any]], *, ask_first: bool = False) -> Any:
        """Make ``call``, and make it again as long as its token was refused and that can help.

        ``ask_first``: it takes whatever token this client has.
        """
        before, replays = _carried.set(None), list[Replays]()
        try:
            while True:
                if ask_first:
                    await self._ensure_token()
                failures = self._consecutive_failures
                try:
                    answer = await call()
                    break
                except colony_sdk.ColonyAuthError as error:
                    if not is_refusal(error) or not await self._helps(replays):
                        raise
                if self._consecutive_failures > failures:  # the SDK counts calls that fail: this one has not yet
                    self._consecutive_failures -= 1
            if (carried := _carried.get()) is not None:
                replays_of(agent_behind(carried[0])).worked(carried[1])
            return answer
        finally:
            _carried.reset(before)

    async def _helps(self, replays: list[Replays]) -> bool:
        """Tell the pool that the token of this task's call was refused; whether making the call again can help.

        ``replays`` has what has been done about that in this call, and is empty at first.
        """
        carried = _carried.get()
        try:
            if carried is None:  # a call without a token, or with one that somebody has put here
                preset, self._token_expiry = self._token_expiry, 0
                return bool(preset)
            agent = carried[0]
            if agent is not self._agent():  # rotated by another task meanwhile: it was the old key's token
                return True
            if not replays:
                replays.append(replays_of(agent_behind(agent), once=True))
            pause = await run_off_loop(agent, replays[0].pause, carried[1])
        finally:
            del carried  # no traceback of ours holds a token
        if pause:
            await waiting_of(agent).pause(pause)
        return pause is not None

    def _agent(self) -> AsyncAgent:
        """The pool's handle for the key of the moment."""
        return self._reference.async_agent(self.api_key, self._totp)
