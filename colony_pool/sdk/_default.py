"""The pools of clients that were given none: one per API, proxy and cache policy, for the whole process.

They are made by the first client that needs one and live as long as the process: a forked child renews them, a late
``monkey.patch_all()`` turns them to greenlets (as any ``ColonyPool``), and what is idle holds nothing but a few
sockets, which are closed when the interpreter ends.
"""

from __future__ import annotations

import atexit
import os

from ..config import DEFAULT_BASE_URL
from ..pool import ColonyPool, engines_of

__all__ = ["default_base_url", "default_pool"]

_pools: dict[tuple[str, str | None, bool], ColonyPool] = {}


def default_pool(base_url: str | None = None, *, proxy: str | None = None, cache_token: bool = True) -> ColonyPool:
    """The pool that clients without ``pool=`` share: for its status, its breaker, its metrics.

    Arguments:
        base_url: the API; default: ``COLONY_BASE_URL``, else the public one.
        proxy: for token requests; default: what the environment says, as for the SDK, but never for loopback.
        cache_token: whether tokens are kept on disk.
    """
    base_url = default_base_url(base_url)
    key = (base_url, proxy, cache_token)
    pool = _pools.get(key)
    if pool is not None and not engines_of(pool).is_closed:
        return pool
    given = f"http://{proxy}" if proxy and "://" not in proxy else proxy or "environment"  # as urllib takes it
    new = ColonyPool(base_url, proxy=given, token_cache="disk" if cache_token else None)
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


def default_base_url(base_url: str | None = None) -> str:
    """``base_url``, else that of ``COLONY_BASE_URL``, else the public API."""
    return (base_url or os.environ.get("COLONY_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")


def _close_all() -> None:
    for pool in list(_pools.values()):
        if not engines_of(pool).is_closed:
            engines_of(pool).ready()  # gevent may have patched since: what it waits with is then a greenlet's
            pool.close()
