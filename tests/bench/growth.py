"""Cost of ``demand``, ``result`` and ``tick``, and memory of a parked waiter, as the number of keys grows."""

from __future__ import annotations

import json
import random
import sys
import time
import tracemalloc

from colony_pool._core.account import Account, Waiter
from colony_pool._core.actions import Start
from colony_pool._core.dispatch import Dispatcher
from colony_pool._core.outcome import DOWN, Outcome
from colony_pool.config import DeskConfig

DOWN_502 = Outcome(DOWN, 502, "HTTP 502")


def main() -> None:
    print("\nThe dispatcher, with all keys parked behind an open breaker")
    for n in (100, 1_000, 10_000, 100_000):
        desk, now = Dispatcher(DeskConfig(max_wait=1e6), random.Random(1).random), 0.0
        waiters = [Waiter(Account(), 1e6, None, None) for _ in range(n)]
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        demand = 0.0
        for waiter in waiters:
            start = time.perf_counter()
            actions = desk.demand(waiter, now, 1e9)
            demand += time.perf_counter() - start
            for action in actions:
                if isinstance(action, Start):
                    now += 0.2
                    desk.result(action.permit, DOWN_502, now, 1e9)
        memory = (tracemalloc.get_traced_memory()[0] - before) / n
        tracemalloc.stop()
        demand = _demand_time(n)
        probe = _probe_time(desk, now)
        print(
            f"  {n:>7} keys: demand {demand * 1e6:5.1f} us   tick + result {probe * 1e6:6.1f} us   "
            f"{memory:5.0f} bytes a waiter"
        )
        print("json " + json.dumps({"bench": "dispatch", "keys": n, "demand_us": round(demand * 1e6, 2),
                                    "probe_us": round(probe * 1e6, 2), "bytes": round(memory)}))  # fmt: skip


def _demand_time(n: int) -> float:
    desk, now = Dispatcher(DeskConfig(max_wait=1e6), random.Random(1).random), 0.0
    waiters = [Waiter(Account(), 1e6, None, None) for _ in range(n)]
    spent = 0.0
    for waiter in waiters:
        start = time.perf_counter()
        actions = desk.demand(waiter, now, 1e9)
        spent += time.perf_counter() - start
        for action in actions:
            if isinstance(action, Start):
                now += 0.2
                desk.result(action.permit, DOWN_502, now, 1e9)
    return spent / n


def _probe_time(desk: Dispatcher, now: float) -> float:
    spent, rounds = 0.0, 200
    for _ in range(rounds):
        now += 120.0
        start = time.perf_counter()
        actions = desk.tick(now, 1e9)
        for action in actions:
            if isinstance(action, Start):
                desk.result(action.permit, DOWN_502, now + 0.02, 1e9)
        spent += time.perf_counter() - start
    return spent / rounds


if __name__ == "__main__":
    assert sys.argv
    main()
