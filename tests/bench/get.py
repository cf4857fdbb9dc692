"""Throughput of ``agent.get()`` against a bare ``urllib3.PoolManager`` doing the same requests."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

N, ROUNDS = 1500, 7


def main(runtime: str) -> None:
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
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    print(f"\nagent.get() ({runtime}): {statistics.median(ours):.0f}/s, "
          f"bare PoolManager {statistics.median(bare):.0f}/s, median ratio {ratio:.2f}")  # fmt: skip
    print("json " + json.dumps({"bench": "get", "runtime": runtime, "ratio": round(ratio, 3)}))


def _rate(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(N):
        call()
    return N / (time.perf_counter() - start)


if __name__ == "__main__":
    if sys.argv[1] == "gevent":
        from gevent import monkey

        monkey.patch_all()
    main(sys.argv[1])
