"""Throughput of ``agent.get()`` against a bare ``urllib3.PoolManager`` doing the same requests."""

from __future__ import annotations

import sys

if __name__ == "__main__" and "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.tools.bench.report import emit

N, ROUNDS = 1500, 7


def main(runtime: Any) -> None:
    import urllib3

    from colony_pool import ColonyPool
    from colony_pool.testing import FakeColony

    with (
        FakeColony() as colony,
        ColonyPool(colony.base_url, runtime=runtime, token_cache=None, registry=None) as pool,
    ):
        agent = pool.agent("col_get")
        headers = {"Authorization": f"Bearer {agent.token()}", "Accept": "application/json"}
        manager = urllib3.PoolManager(maxsize=64)
        url = colony.base_url + "/users/me"
        ours, bare = [], []
        for _ in range(ROUNDS):
            bare.append(_rate(lambda: manager.request("GET", url, headers=headers).json()))
            ours.append(_rate(lambda: agent.get("/users/me").json()))
    ratio = statistics.median(mine / other for mine, other in zip(ours, bare, strict=True))
    emit(client="colony_pool, `agent.get()`", rate=round(statistics.median(ours)), ratio=round(ratio, 3))
    emit(client="bare `urllib3.PoolManager`", rate=round(statistics.median(bare)), ratio=1.0)


def _rate(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(N):
        call()
    return N / (time.perf_counter() - start)


if __name__ == "__main__":
    main(sys.argv[1])
