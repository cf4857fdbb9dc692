"""1,000 cold agents on a healthy server, against the same POSTs through a bare ``urllib3.PoolManager``.

Bare in two ways: as one writes it (``maxsize=64``, so that each call that finds no idle connection opens one), and
with ``block=True``, which keeps to 64 connections as the pool does, but loses slots when callers are killed.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import logging
import statistics
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

from tests.tools.bench.report import emit

N, ROUNDS = 1000, 7
BARE = "bare `urllib3.PoolManager`"


def main(runtime: str) -> None:
    from colony_pool.testing import FakeColony

    makers: dict[str, Callable[[str, int], Callable[[int], object]]] = {
        "colony_pool": lambda url, number: _ours(url, runtime, number),
        BARE: lambda url, number: _bare(url, number, block=False),
        BARE + ", `block=True`": lambda url, number: _bare(url, number, block=True),
    }
    times: dict[str, list[float]] = {name: [] for name in makers}
    with FakeColony() as colony:
        colony.latency(0.005)
        for number in range(ROUNDS):  # interleaved: the machine's mood hits all alike
            for name, make in makers.items():
                times[name].append(_timed(make(colony.base_url, number), runtime))
    for name, values in times.items():
        ratio = statistics.median(mine / bare for mine, bare in zip(values, times[BARE], strict=True))
        emit(client=name, seconds=round(statistics.median(values), 3), ratio=round(ratio, 3))


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


def _bare(base_url: str, number: int, *, block: bool) -> Callable[[int], object]:
    import urllib3

    manager = urllib3.PoolManager(maxsize=64, block=block)

    def work(i: int) -> object:
        reply = manager.request("POST", base_url + "/auth/token", json={"api_key": f"col_b{number}_{block}_{i}"})
        return reply.json()["access_token"]

    return work


def _ours(base_url: str, runtime: Any, number: int) -> Callable[[int], object]:
    from colony_pool import ColonyPool

    pool: Any = ColonyPool(base_url, runtime=runtime, token_cache=None, registry=None)
    return lambda i: pool.agent(f"col_o{number}_{i}").token()


if __name__ == "__main__":
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # "Connection pool is full", a thousand times
    warnings.simplefilter("ignore", ResourceWarning)
    threading.stack_size(256 * 1024)
    main(sys.argv[1])
