"""``python -m tests.sdk.outage --runtime gevent``: clients of the SDK, each with a key of its own, in an outage.

Prints one JSON line: how many came back, and the most token requests that the server had at once while it was down.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import argparse
import json
import threading
from typing import Any

from colony_pool import BreakerConfig, ColonyPool
from colony_pool.sdk import ColonyClient
from colony_pool.testing import FakeColony, FakeRequest

PROBES = 3  # failed ones, before the server comes back


def play(n: int) -> dict[str, Any]:
    """``n`` clients in ``n`` threads, or greenlets, ask while the endpoint is down; then it comes back."""
    quick = BreakerConfig(open_delay=0.05, open_delay_max=0.2)
    with FakeColony() as colony, ColonyPool(colony.base_url, breaker=quick, token_cache=None, registry=None) as pool:
        colony.latency(0.02)
        colony.behave("status", status=502, only="/auth/token")
        pool.breaker.open()
        names: list[str] = []
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
        failed = [r for r in colony.requests() if r.path.endswith("/auth/token") and r.status == 502]
        return {"back": len(set(names)), "at_once": at_once(failed), "probes": len(failed)}


def at_once(requests: list[FakeRequest]) -> int:
    """The most of these requests that were in the server at one time."""
    return max(sum(other.at <= one.at < other.at + other.seconds for other in requests) for one in requests)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sdk.outage", description=__doc__)
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--runtime", choices=("threads", "gevent"), default="threads")
    print(json.dumps(play(parser.parse_args().clients)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
