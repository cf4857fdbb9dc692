"""The outage of 2026-05-21 over real sockets, with all schedules divided by 180: an hour in 20 seconds.

``python -m tests.outage --client colony_pool --agents 200 --runtime gevent`` plays it once and prints one JSON
line. Everything is counted by the server. The clients: ``colony_pool`` and, for comparison, ``colony-sdk``,
``tenacity`` and raw ``pybreaker`` (``call`` and ``calling``), each with the same schedule, scaled alike.

The tokens run out one by one during the first half of the outage. Afterwards the server comes back with a
capacity of N/4 requests a second and can be knocked over. A supervisor restarts a lost agent after a scaled
minute; an agent is counted as lost each time that its call failed.
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

from colony_pool._demo.run import Fetch, Maker, Plan, Run, spawner
from colony_pool.testing import FakeColony

SCALE = 180.0


def clients(name: str, base_url: str, patience: float | None) -> tuple[Maker, Any]:
    """``make(key) -> (first fetch, fetch after expiry)``, and what is to be closed."""
    if name == "colony_pool":
        return _colony_pool(base_url, patience)
    if name == "colony-sdk":
        return _sdk(base_url), None
    return _plain(name, base_url), None


def _colony_pool(base_url: str, patience: float | None) -> tuple[Maker, Any]:
    from colony_pool import ColonyPool
    from colony_pool.config import DeskConfig, scaled

    fast = scaled(DeskConfig(), SCALE)
    pool = ColonyPool(
        base_url, auth_token_retry=fast.retry, breaker=fast.breaker, retry_budget=fast.budget, window=fast.window,
        tokens=fast.token, denial=fast.denial, probe_timeout=1.0, max_wait=patience, token_cache=None, registry=None,
    )  # fmt: skip

    def make(key: str) -> tuple[Fetch, Fetch]:
        agent = pool.agent(key)
        return agent.token, agent.token

    return make, pool


def _sdk(base_url: str) -> Maker:
    from colony_sdk import ColonyClient, RetryConfig

    schedule = RetryConfig(
        max_retries=6, base_delay=2 / SCALE, max_delay=60 / SCALE, retry_on=frozenset({502, 503, 504})
    )

    def make(key: str) -> tuple[Fetch, Fetch]:
        client = ColonyClient(key, base_url=base_url, cache_token=False)
        client.auth_token_retry = schedule

        def again() -> object:
            client.refresh_token()
            return client.get_auth_token()

        return client.get_auth_token, again

    return make


def _plain(name: str, base_url: str) -> Maker:
    import pybreaker
    import tenacity
    import urllib3

    manager = urllib3.PoolManager(maxsize=64)
    breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=60 / SCALE)

    def post(key: str) -> str:
        reply = manager.request(
            "POST", base_url + "/auth/token", json={"api_key": key}, retries=False, timeout=urllib3.Timeout(5, 30)
        )
        if reply.status != 200:
            raise RuntimeError(f"HTTP {reply.status}")
        return str(reply.json()["access_token"])

    def calling(key: str) -> str:
        with breaker.calling():
            return post(key)

    once = {"tenacity": post, "pybreaker.call": lambda key: breaker.call(post, key), "pybreaker.calling": calling}[
        name
    ]

    def make(key: str) -> tuple[Fetch, Fetch]:
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(7),
            wait=tenacity.wait_exponential(multiplier=2 / SCALE, max=60 / SCALE),
            reraise=True,
        )

        def fetch() -> object:
            return retrying(once, key)

        return fetch, fetch

    return make


def play(client: str, n: int, runtime: str, outage: float, patience: float | None) -> dict[str, Any]:
    """Play one outage and return what the server counted."""
    plan = Plan(warm_up=4.0, life=12.0, down_at=6.5, outage=outage)
    with FakeColony() as colony:
        colony.latency(0.01)
        make, closing = clients(client, colony.base_url, patience)
        run = Run(client, colony, make, n, plan, restart=60.0 / SCALE, give_up=60.0)
        joins = run.begin(spawner(runtime))
        threading.Event().wait(plan.down_at)
        run.go_down()
        for join in joins:
            join()
        if closing is not None:
            closing.close()
        return run.outcome().as_dict()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.outage", description=__doc__)
    parser.add_argument("--client", default="colony_pool")
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--runtime", choices=("threads", "gevent"), default="threads")
    parser.add_argument("--outage", type=float, default=20.0)
    parser.add_argument("--patience", type=float, default=None, help="max_wait, seconds; default: 122 / 180")
    args = parser.parse_args()
    print(json.dumps(play(args.client, args.agents, args.runtime, args.outage, args.patience)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
