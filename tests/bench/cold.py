"""1,000 cold agents on a healthy server, against the same POSTs through a bare ``urllib3.PoolManager``."""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable

N, ROUNDS = 1000, 5


def main(runtime: str) -> None:
    from colony_pool.testing import FakeColony

    with FakeColony() as colony:
        colony.latency(0.005)
        ours, bare = [], []
        for round_number in range(ROUNDS):
            bare.append(_timed(_bare(colony.base_url, round_number), runtime))
            ours.append(_timed(_ours(colony.base_url, runtime, round_number), runtime))
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    print(f"\n{N} cold agents ({runtime}): ours {statistics.median(ours):.2f} s, bare urllib3 {statistics.median(bare):.2f} s, "
          f"median ratio {ratio:.2f}")  # fmt: skip
    print("json " + json.dumps({"bench": "cold", "runtime": runtime, "ratio": round(ratio, 3)}))


def _timed(work: Callable[[int], object], runtime: str) -> float:
    start = time.perf_counter()
    if runtime == "gevent":
        import gevent

        gevent.joinall([gevent.spawn(work, i) for i in range(N)], raise_error=True)
    else:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(N)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return time.perf_counter() - start


def _bare(base_url: str, round_number: int) -> Callable[[int], object]:
    import urllib3

    # block=True keeps at most 64 connections, as the pool does: otherwise it would open 1,000.
    manager = urllib3.PoolManager(maxsize=64, block=True)

    def work(i: int) -> object:
        reply = manager.request("POST", base_url + "/auth/token", json={"api_key": f"col_b{round_number}_{i}"})
        return reply.json()["access_token"]

    return work


def _ours(base_url: str, runtime: str, round_number: int) -> Callable[[int], object]:
    from colony_pool import ColonyPool

    pool = ColonyPool(base_url, runtime=runtime, token_cache=None, registry=None)
    return lambda i: pool.agent(f"col_o{round_number}_{i}").token()


if __name__ == "__main__":
    if sys.argv[1] == "gevent":
        from gevent import monkey

        monkey.patch_all()
    threading.stack_size(256 * 1024)
    main(sys.argv[1])
