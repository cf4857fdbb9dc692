"""The pool that a client has, and its handle on the key of the moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .._aio.agent import AsyncAgent
from .._aio.pool import AsyncColonyPool, default_view
from ..agent import Agent
from ..pool import ColonyPool, engines_of
from ._default import default_pool
from ._errors import bad_key

__all__ = ["PoolReference", "chosen"]

H = TypeVar("H", Agent, AsyncAgent)


class PoolReference:
    """A client's pool.

    A copy of the client has the same one. A pickled client has, in the process that it comes to, the pool that it
    would have there if it were made without ``pool=``.
    """

    def __init__(
        self, pool: ColonyPool, view: AsyncColonyPool | None, base_url: str, proxy: str | None, cache_token: bool
    ) -> None:
        self.pool = pool
        self._view = view
        self._default = (base_url, proxy, cache_token)
        self._agents: _Latest[Agent] = _Latest()
        self._async_agents: _Latest[AsyncAgent] = _Latest()

    def agent(self, api_key: str, totp: Any) -> Agent:
        """The pool's handle on ``api_key``."""
        return self._agents.get(api_key, totp, self.pool.agent)

    def async_agent(self, api_key: str, totp: Any) -> AsyncAgent:
        """The same for tasks of event loops."""
        if self._view is None:
            self._view = default_view(self.pool)
        return self._async_agents.get(api_key, totp, self._view.agent)

    def __deepcopy__(self, memo: object) -> PoolReference:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, self._default


class _Latest(Generic[H]):
    """The handle that was asked for last, which is kept alive by this."""

    def __init__(self) -> None:
        self._latest: tuple[str, Any, H] | None = None

    def get(self, api_key: str, totp: Any, make: Callable[..., H]) -> H:
        """The handle on ``api_key``; ``ColonyAuthError`` for a key that cannot be one."""
        latest = self._latest
        if latest is None or latest[0] != api_key or latest[1] is not totp:
            try:
                latest = self._latest = (api_key, totp, make(api_key, totp=totp))
            except ValueError as error:
                raise bad_key(error) from None
        return latest[2]


def chosen(
    pool: ColonyPool | AsyncColonyPool | None, base_url: str | None, proxy: str | None, cache_token: bool
) -> PoolReference:
    """The pool that a client asks for; ``ValueError`` for an option that the pool has otherwise."""
    view, mine = (pool, pool.pool) if isinstance(pool, AsyncColonyPool) else (None, pool)
    if mine is None:
        mine = default_pool(base_url, proxy=proxy, cache_token=cache_token)
    elif base_url is not None and base_url.rstrip("/") != mine.base_url:
        raise ValueError(f"base_url={base_url!r}: this pool is for {mine.base_url}")
    elif not cache_token and engines_of(mine).current.options.on_disk:
        raise ValueError("cache_token=False: this pool keeps tokens on disk; make it with token_cache=None")
    return PoolReference(mine, view, mine.base_url, proxy, cache_token and engines_of(mine).current.options.on_disk)


def _restored(base_url: str, proxy: str | None, cache_token: bool) -> PoolReference:
    return chosen(None, base_url, proxy, cache_token)
