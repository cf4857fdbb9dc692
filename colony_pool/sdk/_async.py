"""``AsyncColonyClient``: the SDK's own, with a pool's tokens. It makes its API calls with httpx, as before."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import colony_sdk
import httpx
from colony_sdk import RetryConfig
from colony_sdk.async_client import AsyncColonyClient as Theirs

from ..agent import Agent
from ..errors import ColonyAPIError
from ..httpx import token_of
from ..pool import ColonyPool
from ._default import chosen_pool
from ._errors import bad_key, translated
from ._seam import check_async, sdk

__all__ = ["AsyncColonyClient"]

check_async(Theirs)

Method = TypeVar("Method", bound=Callable[..., Any])

# The token that the call of this task carries: tasks share a client, and another may have renewed its token by now.
_carried: ContextVar[str] = ContextVar("colony_pool.sdk.carried", default="")


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
        pool: whose tokens are used; as for ``ColonyClient``.

    A token at hand costs no switch. While one is waited for, a thread of the loop's executor waits.
    """

    pool: ColonyPool
    _held: tuple[str, Agent] | None = None

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
        pool: ColonyPool | None = None,
    ) -> None:
        try:
            given = None if base_url == sdk.DEFAULT_BASE_URL else base_url
            self.pool = chosen_pool(pool, given, None, cache_token)
            super().__init__(api_key, self.pool.base_url, timeout, client, retry, typed, cache_token, totp)
        finally:
            del api_key, totp  # no traceback of ours holds a secret

    def refresh_token(self) -> None:
        """Forget the token, for all that use this key; the next call asks the server for a new one."""
        self._token = None
        self._agent().invalidate()

    async def rotate_key(self) -> dict:  # type: ignore[type-arg] # as the SDK has it
        """As the SDK's. The pool forgets the old key's token, on disk too, and goes on with the new key."""
        key, held = self.api_key, self._agent()
        answer = await super().rotate_key()
        if self.api_key != key:
            held.invalidate()
        return answer

    _raw_multipart_upload = _with_a_fresh_token(Theirs._raw_multipart_upload)
    _raw_request_bytes = _with_a_fresh_token(Theirs._raw_request_bytes)

    async def _ensure_token(self) -> None:
        while True:
            key = self.api_key
            agent = self._agent()
            try:
                self._token = await token_of(agent)
                _carried.set(self._token)
                return
            except ColonyAPIError as error:
                if self.api_key == key:
                    raise translated(error) from error
                # Rotated by another task meanwhile: it was the old key that failed.

    def _clear_cached_token(self) -> None:
        """The SDK comes here when a token was refused, and for a key that has gone."""
        self._agent()._rejected(_carried.get())

    def _agent(self) -> Agent:
        """The pool's handle for the key of the moment."""
        held = self._held
        if held is None or held[0] != self.api_key:
            try:
                held = (self.api_key, self.pool.agent(self.api_key, totp=self._totp))
            except ValueError as error:
                raise bad_key(error) from None
            self._held = held
        return held[1]
