"""``ColonyClient``: the SDK's own, with a pool's tokens. Its API calls are the SDK's, ``urlopen`` and all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

import colony_sdk
from colony_sdk import RetryConfig

from .._aio.pool import AsyncColonyPool
from ..agent import Agent, replays_of
from ..config import AUTH_TOKEN_RETRY
from ..config import RetryConfig as PoolRetry
from ..errors import ColonyAPIError
from ..pool import ColonyPool, engines_of
from ._call import CallState
from ._compat import adopted_class, check_sync, sdk
from ._errors import is_refusal, translated
from ._importlib_bootstrap import RenewingClient
from ._reference import PoolReference, chosen
from ._replaced import has_method_replaced, is_urllib_replaced, tell_once
from ._rotations import RotatingKey, note_rotation

__all__ = ["ColonyClient", "adopt"]

check_sync()

Client = TypeVar("Client", bound="colony_sdk.ColonyClient | colony_sdk.AsyncColonyClient")
# The token that the call of this task carries, and whose it is: threads share a client, and another may have renewed
# its token by now; and one task has several clients.
_carried: ContextVar[tuple[Agent, str] | None] = ContextVar("colony_pool.sdk.carried", default=None)


class ColonyClient(RenewingClient):
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
    ``_token_expiry``, is used as by the SDK until the API refuses it, and the pool is not asked. Nor is it while
    something stands in for ``urlopen`` or what that calls: the SDK then asks for tokens itself, by the same way.
    """

    _reference: PoolReference
    _given: str | None = None  # the pool's last token, to know it from one that somebody has put into _token
    api_key = RotatingKey()

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
                api_key,
                self._reference.base_url,
                timeout,
                retry,
                typed,
                proxy,
                auth_token_retry,
                self._reference.keeps_on_disk,
                totp,
            )
        finally:
            del api_key, totp  # no traceback of ours holds a secret

    @property
    def pool(self) -> ColonyPool:
        """The pool whose tokens are used: the given one, or the default one of ``base_url`` and ``proxy``."""
        return self._pools().pool

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "api_key": self.api_key}  # a key that was rotated is not known to be so elsewhere

    # -- what is overridden; ``_compat`` says why --------------------------------------------------------

    def _ensure_token(self) -> None:
        if self._token and time.time() < self._token_expiry:  # no token of ours has an expiry here
            return
        if self._is_replaced():
            tell_once()
            if not self._token or self._token != self._given or not self._pools().is_fresh(self.api_key, self._totp):
                super()._ensure_token()
            return
        while True:
            key = self.api_key
            agent = self._agent()
            try:
                self._given = token = agent.token(max_wait=self._patience())
                self._token = token
                _carried.set((agent, token))
                return
            except ColonyAPIError as error:
                if self.api_key == key:
                    raise translated(error) from error
                # Rotated by another thread meanwhile: it was the old key that failed.
            finally:
                token = key = ""  # no traceback of ours holds a secret

    def _clear_cached_token(self) -> None:
        """Called when a key goes, and for another token."""
        if self._is_replaced():
            super()._clear_cached_token()
            return
        with suppress(colony_sdk.ColonyAuthError):  # it is no key
            self._agent().invalidate()

    # -- its own ----------------------------------------------------------------------------------------

    @contextmanager
    def _one_call(self, *, transfer: bool) -> Iterator[CallState]:
        before = _carried.set(None)
        try:
            yield CallState(transfer=transfer)
        finally:
            _carried.reset(before)

    def _begin(self, call: CallState) -> None:
        if call.transfer and self._token in (None, self._given):  # else it is one that somebody has put here
            self._ensure_token()
        call.failures = self._consecutive_failures

    def _helps(self, call: CallState, error: colony_sdk.ColonyAuthError) -> bool:
        if not is_refusal(error) or not self._is_another_at_hand(call):
            return False
        if self._consecutive_failures > call.failures:  # the SDK counts calls that fail: this one has not yet
            self._consecutive_failures -= 1
        return True

    def _worked(self, call: CallState) -> None:
        if (carried := _carried.get()) is not None:
            replays_of(carried[0]).worked(carried[1])

    def _is_another_at_hand(self, call: CallState) -> bool:
        """Tell the pool that the token of this task's call was refused; whether making the call again can help."""
        carried = _carried.get()
        try:
            if carried is None:  # it had one that somebody has put here
                self._token, self._token_expiry = None, 0
                return call.may_drop_token()
            if carried[0] is not self._agent():  # rotated by another thread meanwhile: it was the old key's token
                return True
            if call.replays is None:
                call.replays = replays_of(carried[0], once=True)
            pause = call.replays.pause(carried[1])
        finally:
            del carried  # no traceback of ours holds a token
        if pause:
            engines_of(self.pool).current.closing.wait(pause)
        return pause is not None

    def _is_replaced(self) -> bool:
        return is_urllib_replaced() or has_method_replaced(self, ColonyClient, colony_sdk.ColonyClient)

    def _rotated(self, old: str) -> None:
        if not self._is_replaced():
            note_rotation(self.base_url, old, self.api_key)

    def _pools(self) -> PoolReference:
        self._reference = reference = self._reference.for_now(self.base_url, self.proxy)
        return reference

    def _agent(self) -> Agent:
        """The pool's handle for the key of the moment."""
        return self._pools().agent(self.api_key, self._totp)

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
    adopted._reference, adopted._given, adopted._token, adopted._token_expiry = reference, None, None, 0
    adopted.cache_token = reference.keeps_on_disk
    return client
