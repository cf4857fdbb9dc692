"""``python -m tests.tools.sdk.outage --runtime gevent``: clients of the SDK, each with a key of its own, in an
outage.

Prints one JSON line: how many came back, and the most token requests that the server had at once while it was down.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import argparse
import asyncio
import json
import threading
from typing import Any

import httpx

from colony_pool import BreakerConfig, ColonyPool
from colony_pool.sdk import AsyncColonyClient, ColonyClient
from colony_pool.testing import FakeColony, FakeRequest

PROBES = 3  # failed ones, before the server comes back


def play(n: int, asynchronous: bool) -> dict[str, Any]:
    """``n`` clients in ``n`` threads, or greenlets, ask while the endpoint is down; then it comes back."""
    quick = BreakerConfig(open_delay=0.05, open_delay_max=0.2)
    with FakeColony() as colony, ColonyPool(colony.base_url, breaker=quick, token_cache=None, registry=None) as pool:
        colony.latency(0.02)
        colony.behave("status", status=502, only="/auth/token")
        pool.breaker.open()
        names: list[str] = []
        if asynchronous:
            return asyncio.run(_play_async(n, colony, pool))
        clients = [ColonyClient(f"col_{number}", pool=pool) for number in range(n)]
        tasks = [threading.Thread(target=lambda c=c: names.append(c.get_me()["username"])) for c in clients]
        for task in tasks:
            task.start()
        pause = threading.Event()
        while pool.status().waiters < n or colony.count("/auth/token", status=502) < PROBES:
            pause.wait(0.02)
        colony.behave("healthy")
        for task in tasks:
            task.join()
        return outcome(set(names), colony)


async def _play_async(n: int, colony: FakeColony, pool: ColonyPool) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=60.0) as http:  # its 5 s are too few for 300 at once on a busy machine
        clients = [AsyncColonyClient(f"col_{number}", pool=pool, client=http) for number in range(n)]
        tasks = [asyncio.create_task(client.get_me()) for client in clients]
        while pool.status().waiters < n or colony.count("/auth/token", status=502) < PROBES:
            await asyncio.sleep(0.02)
        colony.behave("healthy")
        return outcome({me["username"] for me in await asyncio.gather(*tasks)}, colony)


def outcome(names: set[str], colony: FakeColony) -> dict[str, Any]:
    failed = [r for r in colony.requests() if r.path.endswith("/auth/token") and r.status == 502]
    return {"back": len(names), "at_once": at_once(failed), "probes": len(failed)}


def at_once(requests: list[FakeRequest]) -> int:
    """The most of these requests that were in the server at one time."""
    return max(sum(other.at <= one.at < other.at + other.seconds for other in requests) for one in requests)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.sdk.outage", description=__doc__)
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--runtime", choices=("threads", "gevent", "asyncio"), default="threads")
    args = parser.parse_args()
    print(json.dumps(play(args.clients, args.runtime == "asyncio")))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
