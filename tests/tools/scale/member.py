"""One process of a fleet: its agents through one outage. ``play`` starts it, and reads what became of them."""

from __future__ import annotations

import sys

if __name__ == "__main__" and "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all(ssl=False)  # there is none here

import json
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from colony_pool import ColonyPool
from colony_pool.config import DispatcherConfig, scaled
from tests.support.private import engine_of, spawner
from tests.tools.outage import SCALE
from tests.tools.scale.networks import join_network

PATIENCE = 90.0  # seconds: covers the outage, on a machine that is busy, too


@dataclass(frozen=True, slots=True)
class Orders:
    """What a process is to play.

    Arguments:
        base_url: the server.
        shared: as ``ColonyPool`` has it.
        agents: numbers of its agents, out of ``total``.
        total: agents of the whole fleet: they start one by one within ``warm_up`` seconds, whoever has them.
        warm_up: seconds.
        life: seconds of each first token.
        address: this process's own in a network of its own; empty: it stays in its parent's.
    """

    base_url: str
    shared: str | None
    agents: tuple[int, ...]
    total: int
    warm_up: float
    life: float
    address: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Counted:
    """A store whose calls are counted."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls: Counter[str] = Counter()

    def __getattr__(self, verb: str) -> Any:
        self.calls[verb] += 1
        return getattr(self._store, verb)


class Agents:
    """The agents of one process; each is lost for good when a call of its raises."""

    def __init__(self, pool: ColonyPool, orders: Orders) -> None:
        self.errors: Counter[str] = Counter()
        self._pool, self._orders = pool, orders
        self._counting = threading.Lock()  # guards errors

    def play(self, runtime: str, start: float) -> None:
        """Have all of them live from ``start`` (monotonic) on, until the last one is back or lost."""
        spawn = spawner(runtime)
        for join in [spawn(self._live, number, start) for number in self._orders.agents]:
            join()

    def _live(self, number: int, start: float) -> None:
        agent = self._pool.agent(f"col_agent_{number:05d}")
        _sleep_until(start + self._orders.warm_up * number / self._orders.total)
        try:
            agent.token()
            _sleep_until(time.monotonic() + self._orders.life)
            agent.token()
        except Exception as error:
            with self._counting:
                self.errors[type(error).__name__] += 1


def _sleep_until(at: float) -> None:
    threading.Event().wait(max(0.0, at - time.monotonic()))


def pool_of(orders: Orders) -> ColonyPool:
    """A pool whose schedules are ``SCALE`` times as fast; network, server and store keep their own pace."""
    fast = scaled(DispatcherConfig(), SCALE)
    return ColonyPool(
        orders.base_url, auth_token_retry=fast.retry, breaker=fast.breaker, retry_budget=fast.retry_budget,
        policy=fast.policy, max_wait=PATIENCE, shared=orders.shared,
        registry=None, allow_insecure=True,
    )  # fmt: skip


def count_calls(pool: ColonyPool) -> Counter[str]:
    """Count what ``pool`` asks of its store from now on."""
    store = engine_of(pool).store
    if store is None:
        return Counter()
    calls = store._connections[0].worker
    counted = calls._store = Counted(calls._store)
    return counted.calls


def main(runtime: str, orders: Orders) -> None:
    if orders.address:
        join_network(orders.address)
    with pool_of(orders) as pool:
        calls = count_calls(pool)
        agents = Agents(pool, orders)
        print("ready", flush=True)
        agents.play(runtime, float(sys.stdin.readline()))
    print(json.dumps({"errors": agents.errors, "store_calls": calls}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Orders(**json.loads(sys.argv[2])))
