"""The pool that a client has, and its handle on the key of the moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .._aio.agent import AsyncAgent
from .._aio.pool import AsyncColonyPool, default_view
from ..agent import Agent, state_of
from ..pool import ColonyPool, engines_of
from ._default import default_base_url, default_pool
from ._errors import bad_key

__all__ = ["PoolReference", "chosen"]

H = TypeVar("H", Agent, AsyncAgent)


class PoolReference:
    """A client's pool.

    A copy of the client has the same one. A pickled client has, in the process that it comes to, the pool that it
    would have there if it were made without ``pool=``.

    Arguments:
        given: the pool that the client was given; ``None`` for the default one, which is made when it is needed.
        view: the ``AsyncColonyPool`` that it was given by, or ``None``.
        base_url: the API.
        proxy: the client's.
        keeps_on_disk: whether tokens of the client are kept on disk.
    """

    def __init__(
        self,
        given: ColonyPool | None,
        view: AsyncColonyPool | None,
        base_url: str,
        proxy: str | None,
        keeps_on_disk: bool,
    ) -> None:
        self.base_url = base_url
        self.keeps_on_disk = keeps_on_disk
        self._given = given
        self._pool = given
        self._view = view
        self._proxy = proxy
        self._agents: _Latest[Agent] = _Latest()
        self._async_agents: _Latest[AsyncAgent] = _Latest()

    @property
    def pool(self) -> ColonyPool:
        """The pool.

        Raises:
            ValueError: there is no default pool for this ``base_url`` or proxy.
        """
        if self._pool is None:
            self._pool = default_pool(self.base_url, proxy=self._proxy, cache_token=self.keeps_on_disk)
        return self._pool

    def for_now(self, base_url: str, proxy: str | None) -> PoolReference:
        """This one, or another for a client whose ``base_url`` or ``proxy`` has changed to these.

        Raises:
            ValueError: the client was given a pool, and that is for another API.
        """
        if base_url.rstrip("/") == self.base_url and (self._given is not None or proxy == self._proxy):
            return self
        return chosen(self._given, base_url, proxy, self.keeps_on_disk)

    def agent(self, api_key: str, totp: Any) -> Agent:
        """The pool's handle on ``api_key``."""
        return self._agents.get(api_key, totp, self.pool.agent)

    def async_agent(self, api_key: str, totp: Any) -> AsyncAgent:
        """The same for tasks of event loops."""
        if self._view is None:
            self._view = default_view(self.pool)
        return self._async_agents.get(api_key, totp, self._view.agent)

    def is_fresh(self, api_key: str, totp: Any) -> bool:
        """Whether the pool would give out the token of ``api_key`` that it has, and ask nobody."""
        return engines_of(self.pool).current.runtime.monotonic() < state_of(self.agent(api_key, totp)).fresh_until

    def __deepcopy__(self, memo: object) -> PoolReference:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return chosen, (None, self.base_url, self._proxy, self.keeps_on_disk)


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
    """The pool that a client asks for; ``ValueError`` for an option that a given pool has otherwise."""
    view, mine = (pool, pool.pool) if isinstance(pool, AsyncColonyPool) else (None, pool)
    if mine is None:
        return PoolReference(None, None, default_base_url(base_url), proxy, cache_token)
    if base_url is not None and base_url.rstrip("/") != mine.base_url:
        raise ValueError(f"base_url={base_url!r}: this pool is for {mine.base_url}")
    on_disk = engines_of(mine).current.options.on_disk
    if on_disk and not cache_token:
        raise ValueError("cache_token=False: this pool keeps tokens on disk; make it with token_cache=None")
    return PoolReference(mine, view, mine.base_url, proxy, on_disk)
