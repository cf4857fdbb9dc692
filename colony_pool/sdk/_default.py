"""The pools of clients that were given none: one per API, proxy and cache policy, for the whole process.

They are made by the first client that needs one and live as long as the process: a forked child renews them, a late
``monkey.patch_all()`` turns them to greenlets (as any ``ColonyPool``), and what is idle holds nothing but a few
sockets, which are closed when the interpreter ends.
"""

from __future__ import annotations

import atexit
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from .._aio.pool import AsyncColonyPool
from ..pool import ColonyPool, engines_of

__all__ = ["chosen_pool", "default_pool"]

_pools: dict[tuple[str | None, str | None, bool], ColonyPool] = {}


def default_pool(base_url: str | None = None, *, proxy: str | None = None, cache_token: bool = True) -> ColonyPool:
    """The pool that clients without ``pool=`` share: for its status, its breaker, its metrics.

    Arguments:
        base_url: the API; default: ``COLONY_BASE_URL``, else the public one.
        proxy: as the SDK's; default: what the environment says, as for the SDK.
        cache_token: whether tokens are kept on disk.
    """
    key = (base_url.rstrip("/") if base_url else None, proxy, cache_token)
    pool = _pools.get(key)
    if pool is not None and not engines_of(pool).is_closed:
        return pool
    new = ColonyPool(base_url, proxy=proxy or _proxy_for(base_url), token_cache="disk" if cache_token else None)
    if pool is not None:
        _pools[key] = new  # somebody has closed the old one
        return new
    # No lock: one made at import is no greenlet's if gevent patches later. Who comes second throws its own away.
    first = _pools.setdefault(key, new)
    if first is not new:
        new.close()
    elif len(_pools) == 1:
        atexit.register(_close_all)
    return first


def chosen_pool(
    pool: ColonyPool | AsyncColonyPool | None, base_url: str | None, proxy: str | None, cache_token: bool
) -> ColonyPool:
    """The pool that a client asks for; ``ValueError`` for an option that the pool has otherwise."""
    if isinstance(pool, AsyncColonyPool):
        pool = pool.pool
    if pool is None:
        return default_pool(base_url, proxy=proxy, cache_token=cache_token)
    if base_url is not None and base_url.rstrip("/") != pool.base_url:
        raise ValueError(f"base_url={base_url!r}: this pool is for {pool.base_url}")
    if proxy is not None:
        raise ValueError("proxy: is an option of the pool: ColonyPool(proxy=...)")
    if not cache_token and engines_of(pool).current.options.on_disk:
        raise ValueError("cache_token=False: this pool keeps tokens on disk; make it with token_cache=None")
    return pool


def _proxy_for(base_url: str | None) -> str | None:
    parts = urlsplit(base_url or "https://thecolony.ai")
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _close_all() -> None:
    for pool in list(_pools.values()):
        if not engines_of(pool).is_closed:
            engines_of(pool).ready()  # gevent may have patched since: what it waits with is then a greenlet's
            pool.close()
