"""``AsyncColonyClient``: the SDK's own, with a pool's tokens. It makes its API calls with httpx, as before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import colony_sdk
import httpx
from colony_sdk import RetryConfig

from .._aio.agent import AsyncAgent, agent_behind, invalidate_soon, invalidated, run_off_loop, waiting_of
from .._aio.pool import AsyncColonyPool
from ..agent import replays_of
from ..errors import ColonyAPIError
from ..pool import ColonyPool
from ._call import CallState
from ._compat import check_async, sdk
from ._errors import is_refusal, translated
from ._importlib_bootstrap_async import AsyncRenewingClient, Theirs
from ._reference import PoolReference, chosen
from ._replaced import has_method_replaced, tell_once
from ._replaced_httpx import is_httpx_replaced
from ._rotations import RotatingKey, note_rotation

__all__ = ["AsyncColonyClient", "Theirs"]

check_async(Theirs)

# The token that the call of this task carries, and whose it is: tasks share a client, and another may have renewed
# its token by now; and one task has several clients.
_carried: ContextVar[tuple[AsyncAgent, str] | None] = ContextVar("colony_pool.sdk.carried_by_task", default=None)


class AsyncColonyClient(AsyncRenewingClient):
    """The SDK's ``AsyncColonyClient`` with a pool's tokens: same constructor, methods, results and errors.

    Arguments, beside the SDK's:
        pool: a ``ColonyPool`` or ``AsyncColonyPool`` whose tokens are used; default as for ``ColonyClient``.

    ``client`` stays the ``httpx.AsyncClient`` that API calls go over, the SDK's own unless one is given. While that
    sends nothing to the network (a mock's, a transport for tests), the SDK asks for tokens by it, too, without the
    pool.
    """

    _reference: PoolReference
    _given: str | None = None  # the pool's last token, to know it from one that somebody has put into _token
    api_key = RotatingKey()

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
            base_url, on_disk = self._reference.base_url, self._reference.keeps_on_disk
            super().__init__(api_key, base_url, timeout, client, retry, typed, on_disk, totp)
        finally:
            del api_key, totp  # no traceback of ours holds a secret

    @property
    def pool(self) -> ColonyPool:
        """The pool whose tokens are used: the given one, or the default one of ``base_url`` as it is."""
        return self._pools().pool

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "api_key": self.api_key}  # a key that was rotated is not known to be so elsewhere

    async def __aenter__(self) -> AsyncColonyClient:
        return self

    # -- what is overridden; ``_compat`` says why --------------------------------------------------------

    async def _ensure_token(self) -> None:
        if self._token and time.time() < self._token_expiry:  # no token of ours has an expiry here
            return
        if self._is_replaced():
            tell_once()
            if not self._token or self._token != self._given or not self._pools().is_fresh(self.api_key, self._totp):
                await super()._ensure_token()
            return
        while True:
            key = self.api_key
            agent = self._agent()
            try:
                await invalidated(agent)
                self._given = token = await agent.token()
                self._token = token
                _carried.set((agent, token))
                return
            except ColonyAPIError as error:
                if self.api_key == key:
                    raise translated(error) from error
                # Rotated by another task meanwhile: it was the old key that failed.
            finally:
                token = key = ""  # no traceback of ours holds a secret

    def _clear_cached_token(self) -> None:
        """Called when a key goes, and for another token. No coroutine, as the SDK has it.

        What may block is done elsewhere, and the next call that asks for a token waits for that.
        """
        if self._is_replaced():
            super()._clear_cached_token()
            return
        with suppress(colony_sdk.ColonyAuthError):  # it is no key
            invalidate_soon(self._agent())

    @contextmanager
    def _one_call(self, *, transfer: bool) -> Iterator[CallState]:
        before = _carried.set(None)
        try:
            yield CallState(transfer=transfer)
        finally:
            _carried.reset(before)

    async def _begin(self, call: CallState) -> None:
        if call.transfer and self._token in (None, self._given):  # else it is one that somebody has put here
            await self._ensure_token()
        call.failures = self._consecutive_failures

    async def _helps(self, call: CallState, error: colony_sdk.ColonyAuthError) -> bool:
        if not is_refusal(error) or not await self._is_another_at_hand(call):
            return False
        if self._consecutive_failures > call.failures:  # the SDK counts calls that fail: this one has not yet
            self._consecutive_failures -= 1
        return True

    def _worked(self, call: CallState) -> None:
        if (carried := _carried.get()) is not None:
            replays_of(agent_behind(carried[0])).worked(carried[1])

    def _is_replaced(self) -> bool:
        return has_method_replaced(self, AsyncColonyClient, Theirs) or is_httpx_replaced(
            self._get_client(), self.base_url
        )

    def _rotated(self, old: str) -> None:
        if not self._is_replaced():
            note_rotation(self.base_url, old, self.api_key)

    # -- its own ----------------------------------------------------------------------------------------

    async def _is_another_at_hand(self, call: CallState) -> bool:
        """Tell the pool that the token of this task's call was refused; whether making the call again can help."""
        carried = _carried.get()
        try:
            if carried is None:  # it had one that somebody has put here
                self._token, self._token_expiry = None, 0
                return call.may_drop_token()
            agent = carried[0]
            if agent is not self._agent():  # rotated by another task meanwhile: it was the old key's token
                return True
            if call.replays is None:
                call.replays = replays_of(agent_behind(agent), once=True)
            pause = await run_off_loop(agent, call.replays.pause, carried[1])
        finally:
            del carried  # no traceback of ours holds a token
        if pause:
            await waiting_of(agent).pause(pause)
        return pause is not None

    def _pools(self) -> PoolReference:
        self._reference = reference = self._reference.for_now(self.base_url, None)
        return reference

    def _agent(self) -> AsyncAgent:
        """The pool's handle for the key of the moment."""
        return self._pools().async_agent(self.api_key, self._totp)
