"""Pools for tasks of event loops, and what must be left of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import colony_pool as cp
from colony_pool.config import DispatcherConfig, scaled
from colony_pool.testing import FakeColony
from tests.support.private import engine_behind, engine_of


def fast(colony: FakeColony, **options: Any) -> cp.AsyncColonyPool:
    """A pool whose schedules are a hundred times as fast."""
    quick = scaled(DispatcherConfig(), 100.0)
    mine: dict[str, Any] = {"auth_token_retry": quick.retry, "breaker": quick.breaker, "max_wait": 3600.0}
    mine |= {"token_cache": None, "registry": None}
    return cp.AsyncColonyPool(colony.base_url, **{**mine, **options})


async def until(condition: Callable[[], object], what: str = "a condition") -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{what} never came true")


def nothing_is_left(pool: cp.AsyncColonyPool) -> bool:
    dispatcher, bulkhead = engine_of(pool.pool).dispatcher, engine_of(pool.pool).network.bulkhead
    left = (dispatcher.waiters.count, dispatcher.waiters.flights, dispatcher.in_flight.probe)
    return left == (0, {}, None) and 0 == bulkhead.in_use == bulkhead.waiting == len(engine_behind(pool).waiting)


def sockets() -> set[int]:
    """Numbers of this process's descriptors that are sockets."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            is_socket = os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:  # that of the listing itself
            continue
        found |= {int(name)} if is_socket else set()
    return found
