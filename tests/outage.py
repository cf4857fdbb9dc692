"""The outage of 2026-05-21 over real sockets, with all schedules divided by 180: an hour in 20 seconds.

``python -m tests.outage --client colony_pool --agents 200 --runtime gevent`` plays it once and prints one JSON
line. Everything is counted by the server. The clients: ``colony_pool`` and, for comparison, ``colony-sdk``,
``tenacity`` and raw ``pybreaker`` (``call`` and ``calling``), each with the same schedule, scaled alike.

The tokens run out one by one during the first half of the outage. Afterwards the server comes back with a
capacity of N/4 requests a second and can be knocked over. A supervisor restarts a lost agent after a scaled
minute; an agent is counted as lost each time that its call failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

SCALE = 180.0
WARM_UP = 4.0  # seconds over which the first tokens are fetched
LIFE = 12.0
DOWN_AT = 6.5  # before the first soft point: 0.6 x LIFE
LONGEST = 60.0  # a run gives up this long after the recovery

Fetch = Callable[[], object]


def clients(name: str, base_url: str, patience: float | None) -> tuple[Callable[[str], tuple[Fetch, Fetch]], Any]:
    """``make(key) -> (first fetch, fetch after expiry)``, and what is to be closed."""
    if name == "colony_pool":
        return _colony_pool(base_url, patience)
    if name == "colony-sdk":
        return _sdk(base_url), None
    return _plain(name, base_url), None


def _colony_pool(base_url: str, patience: float | None) -> tuple[Callable[[str], tuple[Fetch, Fetch]], Any]:
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


def _sdk(base_url: str) -> Callable[[str], tuple[Fetch, Fetch]]:
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


def _plain(name: str, base_url: str) -> Callable[[str], tuple[Fetch, Fetch]]:
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


class Run:
    """One outage."""

    def __init__(self, colony: Any, client: str, n: int, outage: float, patience: float | None) -> None:
        self.colony, self.n, self.outage = colony, n, outage
        self.make, self.closing = clients(client, colony.base_url, patience)
        self.client = client
        self.start = time.monotonic()
        self.back = self.start + DOWN_AT + outage
        self.lost = 0
        self.errors: dict[str, int] = {}
        self.done: list[float] = []
        self.never = 0

    def agent(self, i: int) -> None:
        first, again = self.make(f"col_agent_{i:05d}")
        self._sleep_until(self.start + WARM_UP * i / self.n)
        first()
        self._sleep_until(time.monotonic() + LIFE + 0.01)
        while time.monotonic() < self.back + LONGEST:
            try:
                again()
            except Exception as error:  # noqa: BLE001 - whatever the client raises, its agent is lost
                self.lost += 1
                name = type(error).__name__
                self.errors[name] = self.errors.get(name, 0) + 1
                time.sleep(60 / SCALE)
            else:
                self.done.append(time.monotonic())
                return
        self.never += 1

    @staticmethod
    def _sleep_until(at: float) -> None:
        time.sleep(max(0.0, at - time.monotonic()))

    def play(self, spawn: Callable[[Callable[[int], None], int], Callable[[], None]]) -> dict[str, Any]:
        self.colony.expires_in(LIFE)
        joins = [spawn(self.agent, i) for i in range(self.n)]
        self._sleep_until(self.start + DOWN_AT)
        self.colony.behave("status", status=502)
        down = self.colony.now()
        self._sleep_until(self.back)
        self.colony.expires_in(86_400.0)
        self.colony.capacity(rate=max(20.0, self.n / 4), max_in_flight=64, knockout=1.0)
        self.colony.behave("healthy")
        back, recovered = self.colony.now(), time.monotonic()
        for join in joins:
            join()
        if self.closing is not None:
            self.closing.close()
        arrivals = [r.at for r in self.colony.requests() if r.path.endswith("/auth/token")]
        after = sorted(at for at in arrivals if at >= back)
        burst = max((sum(at <= t < at + 0.1 for t in after) for at in after[:500]), default=0)
        return {
            "client": self.client,
            "agents": self.n,
            "outage_s": self.outage,
            "attempts_during_outage": sum(down <= at < back for at in arrivals),
            "burst_per_100ms": burst,
            "requests_after": len(after),
            "knocks": self.colony.stats().knocks,
            "lost": self.lost,
            "never_back": self.never,
            "last_back_s": round(max(self.done, default=0.0) - recovered, 2),
            "errors": self.errors,
        }


def play(client: str, n: int, runtime: str, outage: float, patience: float | None) -> dict[str, Any]:
    from colony_pool.testing import FakeColony

    with FakeColony(expires_in=LIFE) as colony:
        colony.latency(0.01)
        return Run(colony, client, n, outage, patience).play(_spawner(runtime))


def _spawner(runtime: str) -> Callable[[Callable[[int], None], int], Callable[[], None]]:
    if runtime == "gevent":
        import gevent

        return lambda fn, i: gevent.spawn(fn, i).join
    threading.stack_size(256 * 1024)

    def spawn(fn: Callable[[int], None], i: int) -> Callable[[], None]:
        thread = threading.Thread(target=fn, args=(i,), daemon=True)
        thread.start()
        return thread.join

    return spawn


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
    if "gevent" in sys.argv:
        from gevent import monkey

        monkey.patch_all()
    raise SystemExit(main())
