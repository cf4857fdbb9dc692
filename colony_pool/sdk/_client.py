"""``ColonyClient``: the SDK's own, with a pool's tokens and connections."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import colony_sdk
from colony_sdk import RetryConfig

from .._aio.pool import AsyncColonyPool
from .._driver.replays import Replays
from ..agent import Agent, replays_of
from ..config import AUTH_TOKEN_RETRY
from ..config import RetryConfig as PoolRetry
from ..errors import ColonyAPIError
from ..pool import ColonyPool
from ._default import chosen_pool
from ._door import caller, open_url
from ._errors import bad_key, translated
from ._seam import OPENERS, check_sync, sdk, turned, with_opener

__all__ = ["ColonyClient", "adopt"]

check_sync()

Method = TypeVar("Method", bound=Callable[..., Any])
Client = TypeVar("Client", bound="colony_sdk.ColonyClient | colony_sdk.AsyncColonyClient")
# Of the call that is being made: the SDK makes it again by itself, and that is the same call.
_replays: ContextVar[list[Replays] | None] = ContextVar("colony_pool.sdk.replays", default=None)
_OWN = (*OPENERS, "_ensure_token", "_clear_cached_token")


def _through_the_pool(method: Method) -> Method:
    """The SDK's ``method``, on the connections of its client's pool."""
    own = with_opener(method, open_url)

    @functools.wraps(method)
    def call(self: ColonyClient, *args: Any, **kwargs: Any) -> Any:
        mark = caller.set(self)
        first = _replays.set([]) if _replays.get() is None else None  # else the SDK makes its call again
        try:
            return own(self, *args, **kwargs)
        finally:
            if first is not None:
                _replays.reset(first)
            caller.reset(mark)

    return cast(Method, call)


def _with_a_fresh_token(method: Method) -> Method:
    """Uploads and downloads: the SDK takes whatever token it had, and gives up on a 401. One refresh, one replay."""
    send = _through_the_pool(method)

    @functools.wraps(method)
    def call(self: ColonyClient, *args: Any, **kwargs: Any) -> Any:
        self._ensure_token()
        mark = _replays.set([])
        try:
            try:
                return send(self, *args, **kwargs)
            except colony_sdk.ColonyAuthError as error:
                if error.status != 401 or not self._replays().is_new:
                    raise
                self._ensure_token()
            return send(self, *args, **kwargs)
        finally:
            _replays.reset(mark)

    return cast(Method, call)


class ColonyClient(colony_sdk.ColonyClient):
    """The SDK's ``ColonyClient`` behind a pool's door: same constructor, methods, results and errors.

    Arguments, beside the SDK's:
        pool: a ``ColonyPool``, or an ``AsyncColonyPool`` for that behind it, whose tokens and connections are used.
            Default: the one that all clients of this process share that have the same ``base_url``, ``proxy`` and
            ``cache_token`` (``default_pool``).

    With ``pool``, ``base_url`` is the pool's, and ``proxy`` and ``cache_token=False`` are options of the pool: given
    here they raise ``ValueError`` unless they agree. ``auth_token_retry`` is a patience: the sum of its delays is how
    long a call waits for a token; left out, it is the pool's ``max_wait``. ``timeout`` bounds a whole call.

    The SDK's retries of API calls stay as they are. A token is never asked for but through the pool: no hook sees
    that request, and no 429 of ``/auth/token`` is answered by another attempt. ``register_begin`` and
    ``register_confirm`` have no client, no token, and nothing of the pool.
    """

    pool: ColonyPool
    _held: tuple[str, Agent] | None = None

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
            self.pool = chosen_pool(pool, given, proxy, cache_token)
            super().__init__(
                api_key, self.pool.base_url, timeout, retry, typed, None, auth_token_retry, cache_token, totp
            )
        finally:
            del api_key, totp  # no traceback of ours holds a secret

    def refresh_token(self) -> None:
        """Forget the token, for all that use this key; the next call asks the server for a new one."""
        self._token = None
        self._agent().invalidate()

    def rotate_key(self) -> dict:  # type: ignore[type-arg] # as the SDK has it
        """As the SDK's. The pool forgets the old key's token, on disk too, and goes on with the new key."""
        return self._leaving_the_old_key(super().rotate_key)

    def confirm_key_recovery(self, token: str) -> dict:  # type: ignore[type-arg] # as the SDK has it
        """As the SDK's. The pool forgets the old key's token, on disk too, and goes on with the new key."""
        return self._leaving_the_old_key(lambda: super(ColonyClient, self).confirm_key_recovery(token))

    _raw_request = _through_the_pool(colony_sdk.ColonyClient._raw_request)
    _oauth_form_post = _through_the_pool(colony_sdk.ColonyClient._oauth_form_post)
    _raw_multipart_upload = _with_a_fresh_token(colony_sdk.ColonyClient._raw_multipart_upload)
    _raw_request_bytes = _with_a_fresh_token(colony_sdk.ColonyClient._raw_request_bytes)

    def _ensure_token(self) -> None:
        while True:
            key = self.api_key
            agent = self._agent()
            try:
                self._token = agent.token(max_wait=self._patience())
                return
            except ColonyAPIError as error:
                if self.api_key == key:
                    raise translated(error) from error
                # Rotated by another thread meanwhile: it was the old key that failed.

    def _clear_cached_token(self) -> None:
        """The SDK forgets a token here; the door has told the pool already which one was refused."""

    def _replays(self) -> Replays:
        """What is to be done about a 401 of the call that is being made."""
        of_this_call = _replays.get()
        if of_this_call is None:
            of_this_call = []
        if not of_this_call:
            of_this_call.append(replays_of(self._agent(), once=True))
        return of_this_call[0]

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

    def _patience(self) -> float | None:
        """Seconds; ``None``, the pool's own, unless this client was given another schedule than the usual one."""
        retry = self.auth_token_retry
        delays = PoolRetry(max_retries=retry.max_retries, base_delay=retry.base_delay, max_delay=retry.max_delay)
        return None if delays.patience == AUTH_TOKEN_RETRY.patience else delays.patience

    def _leaving_the_old_key(self, change: Callable[[], dict]) -> dict:  # type: ignore[type-arg] # as the SDK has it
        key = self.api_key
        answer = change()
        if self.api_key != key:
            with suppress(ValueError):  # it was no key
                self.pool.agent(key).invalidate()
        return answer


def adopt(client: Client, pool: ColonyPool | AsyncColonyPool | None = None) -> Client:
    """Put an existing client of the SDK behind ``pool`` (or the default one); return it.

    From here on ``client`` is an instance of ``colony_pool.sdk``'s class, and still of its own.

    Raises:
        TypeError: its class has replaced what would have to be replaced.
        ValueError: ``pool`` is for another ``base_url``, or must not keep this client's tokens on disk.
    """
    if isinstance(client, colony_sdk.ColonyClient):
        cls = turned(type(client), colony_sdk.ColonyClient, ColonyClient, _OWN)
        shared = chosen_pool(pool, client.base_url, client.proxy if pool is None else None, client.cache_token)
        adopted: Any = client
        adopted.__class__ = cls
        adopted.pool, adopted.proxy, adopted._held = shared, None, None
        return client
    from ._async import adopt_async  # needs httpx, which an asynchronous client has

    adopt_async(client, pool)
    return client
