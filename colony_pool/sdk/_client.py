"""``ColonyClient``: the SDK's own, with a pool's tokens. Its API calls are the SDK's, ``urlopen`` and all."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar

import colony_sdk
from colony_sdk import RetryConfig

from .._aio.pool import AsyncColonyPool
from .._driver.replays import Replays
from ..agent import Agent, replays_of
from ..config import AUTH_TOKEN_RETRY
from ..config import RetryConfig as PoolRetry
from ..errors import ColonyAPIError
from ..pool import ColonyPool, engines_of
from ._compat import adopted_class, check_sync, sdk
from ._errors import is_refusal, translated
from ._reference import PoolReference, chosen

__all__ = ["ColonyClient", "adopt"]

check_sync()

Client = TypeVar("Client", bound="colony_sdk.ColonyClient | colony_sdk.AsyncColonyClient")
# The token that the call of this task carries, and whose it is: threads share a client, and another may have renewed
# its token by now; and one task has several clients.
_carried: ContextVar[tuple[Agent, str] | None] = ContextVar("colony_pool.sdk.carried", default=None)


class ColonyClient(colony_sdk.ColonyClient):
    """The SDK's ``ColonyClient`` with a pool's tokens: same constructor, methods, results and errors.

    Arguments, beside the SDK's:
        pool: a ``ColonyPool``, or an ``AsyncColonyPool`` for that behind it, whose tokens are used. Default: the one
            that all clients of this process share that have the same ``base_url``, ``proxy`` and ``cache_token``
            (``default_pool``).

    With ``pool``, ``base_url`` is the pool's, and ``cache_token=False`` is an option of the pool: given here they
    raise ``ValueError`` unless they agree; ``proxy`` is for API calls, as the pool's own is for tokens.
    ``auth_token_retry`` is a patience: the sum of its delays is how long a call waits for a token; left out, it is
    the pool's ``max_wait``.

    A token is never asked for but through the pool: no hook sees that request, and no 429 of ``/auth/token`` is
    answered by another attempt. All other requests are the SDK's own. ``register_begin`` and ``register_confirm``
    have no client, no token, and nothing of the pool. A token that a test puts into ``_token``, with a
    ``_token_expiry``, is used as by the SDK, and the pool is not asked.
    """

    _reference: PoolReference

    def __init__(
        self,
        api_key: str,
        base_url: str = sdk.DEFAULT_BASE_URL,
        timeout: int = 30,
        retry: RetryConfig | None = None,
        typed: bool = False,
        proxy: str | None = None,
        auth_token_retry: RetryConfig | None = None,
        cache_token: bool = True,
        totp: str | Callable[[], str] | None = None,
        *,
        pool: ColonyPool | AsyncColonyPool | None = None,
    ) -> None:
        try:
            given = None if base_url == sdk.DEFAULT_BASE_URL else base_url
            self._reference = chosen(pool, given, proxy, cache_token)
            super().__init__(
                api_key, self.pool.base_url, timeout, retry, typed, proxy, auth_token_retry, cache_token, totp
            )
        finally:
            del api_key, totp  # no traceback of ours holds a secret

    @property
    def pool(self) -> ColonyPool:
        """The pool whose tokens are used."""
        return self._reference.pool

    # -- what is overridden; ``_compat`` says why --------------------------------------------------------

    def _ensure_token(self) -> None:
        if self._token and time.time() < self._token_expiry:  # no token of ours has an expiry here
            return
        while True:
            key = self.api_key
            agent = self._agent()
            try:
                self._token = agent.token(max_wait=self._patience())
                _carried.set((agent, self._token))
                return
            except ColonyAPIError as error:
                if self.api_key == key:
                    raise translated(error) from error
                # Rotated by another thread meanwhile: it was the old key that failed.

    def _clear_cached_token(self) -> None:
        """Called when a key goes, and for another token."""
        with suppress(colony_sdk.ColonyAuthError):  # it is no key
            self._agent().invalidate()

    def _raw_request(self, *args: Any, **kwargs: Any) -> Any:
        if "_token_refreshed" in kwargs:  # the SDK makes its call again
            return super()._raw_request(*args, **kwargs)
        kwargs["_token_refreshed"] = True
        return self._renewing(functools.partial(super()._raw_request, *args, **kwargs))

    def _raw_multipart_upload(self, *args: Any, **kwargs: Any) -> Any:
        return self._renewing(functools.partial(super()._raw_multipart_upload, *args, **kwargs), ask_first=True)

    def _raw_request_bytes(self, *args: Any, **kwargs: Any) -> Any:
        return self._renewing(functools.partial(super()._raw_request_bytes, *args, **kwargs), ask_first=True)

    # -- its own ----------------------------------------------------------------------------------------

    def _renewing(self, call: Callable[[], Any], *, ask_first: bool = False) -> Any:
        """Make ``call``, and make it again as long as its token was refused and that can help.

        ``ask_first``: it takes whatever token this client has.
        """
        before, replays = _carried.set(None), list[Replays]()
        try:
            while True:
                if ask_first:
                    self._ensure_token()
                failures = self._consecutive_failures
                try:
                    answer = call()
                    break
                except colony_sdk.ColonyAuthError as error:
                    if not is_refusal(error) or not self._helps(replays):
                        raise
                if self._consecutive_failures > failures:  # the SDK counts calls that fail: this one has not yet
                    self._consecutive_failures -= 1
            if (carried := _carried.get()) is not None:
                replays_of(carried[0]).worked(carried[1])
            return answer
        finally:
            _carried.reset(before)

    def _helps(self, replays: list[Replays]) -> bool:
        """Tell the pool that the token of this task's call was refused; whether making the call again can help.

        ``replays`` has what has been done about that in this call, and is empty at first.
        """
        carried = _carried.get()
        try:
            if carried is None:  # a call without a token, or with one that somebody has put here
                preset, self._token_expiry = self._token_expiry, 0
                return bool(preset)
            if carried[0] is not self._agent():  # rotated by another thread meanwhile: it was the old key's token
                return True
            if not replays:
                replays.append(replays_of(carried[0], once=True))
            pause = replays[0].pause(carried[1])
        finally:
            del carried  # no traceback of ours holds a token
        if pause:
            engines_of(self.pool).current.closing.wait(pause)
        return pause is not None

    def _agent(self) -> Agent:
        """The pool's handle for the key of the moment."""
        return self._reference.agent(self.api_key, self._totp)

    def _patience(self) -> float | None:
        """Seconds; ``None``, the pool's own, unless this client was given another schedule than the usual one."""
        retry = self.auth_token_retry
        delays = PoolRetry(max_retries=retry.max_retries, base_delay=retry.base_delay, max_delay=retry.max_delay)
        return None if delays.patience == AUTH_TOKEN_RETRY.patience else delays.patience


def adopt(client: Client, pool: ColonyPool | AsyncColonyPool | None = None) -> Client:
    """Give an existing client of the SDK the tokens of ``pool`` (or the default one); return it.

    From here on ``client`` is an instance of ``colony_pool.sdk``'s class, and still of its own.

    Raises:
        TypeError: its class has replaced what would have to be replaced.
        ValueError: ``pool`` is for another ``base_url``, or must not keep this client's tokens on disk.
    """
    adopted: Any = client
    if isinstance(client, colony_sdk.ColonyClient):
        cls: type = adopted_class(type(client), colony_sdk.ColonyClient, ColonyClient)
        reference = chosen(pool, client.base_url, client.proxy, client.cache_token)
    else:
        from ._async import AsyncColonyClient, Theirs  # needs httpx, which an asynchronous client has

        cls = adopted_class(type(client), Theirs, AsyncColonyClient)
        reference = chosen(pool, client.base_url, None, client.cache_token)
    adopted.__class__ = cls
    adopted._reference, adopted._token, adopted._token_expiry = reference, None, 0
    return client
