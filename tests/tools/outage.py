"""The outage of 2026-05-21 over real sockets, with all schedules divided by 180: an hour in 20 seconds.

``python -m tests.tools.outage --client colony_pool --agents 200 --runtime gevent`` plays it once and prints one JSON
line. Requests are counted by the server. The clients are those of ``tests.tools.bench.peers``, and have the same
schedule.

The tokens run out one by one before the outage is over. Then the server comes back with a capacity of N/4 requests a
second, 500 at most, and can be knocked over. A supervisor restarts a lost agent after a scaled minute; an agent is
counted as lost each time that its call failed.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import argparse
import json
import math
import threading
import time
from typing import Any

from colony_pool.testing import FakeColony, FakeRequest
from tests.support.private import AgentGroup, Schedule, Timeline, capacity, spawner
from tests.tools.bench.peers import NAMES, client
from tests.tools.bench.space import resident

SCALE = 180.0
LATENCY = 0.01  # what the server takes for an answer, seconds
MOST = 500.0  # requests a second; one process of a client must be able to send more, or nothing is knocked over
STARTS = 1000.0  # agents a second that any client can start
GRACE = 5.0  # seconds that a call may take that began just before the agents stop trying
WATCHED = 0.9  # the part of the outage after which memory is looked at: by then every token has run out


def plan(n: int, outage: float, give_up: float = 60.0) -> Schedule:
    """When what happens to ``n`` agents: a large fleet needs longer to start."""
    warm_up = max(4.0, n / STARTS)
    down_at = warm_up + 2.5
    # The first soft point, at 0.6 of a life, comes after the outage has begun.
    return Schedule(warm_up, life=max(12.0, down_at / 0.6), down_at=down_at, outage=outage, give_up=give_up)


def rate(n: int) -> float:
    """Requests a second that the server bears once it is back."""
    return min(capacity(n), MOST)


def play(
    name: str, n: int, runtime: str, outage: float, patience: float | None, give_up: float = 60.0
) -> dict[str, Any]:
    """Play one outage and return what it cost."""
    when = plan(n, outage, give_up)
    with FakeColony() as colony:
        colony.latency(LATENCY)
        make, close = client(name, colony.base_url, SCALE, patience)
        group, timeline = AgentGroup(make, range(n), n, when, restart=60.0 / SCALE), Timeline(colony, n, when)
        small, worked = resident(), time.process_time()
        start = time.monotonic()
        timeline.begin(start)
        joins = group.begin(spawner(runtime), start)
        _wait(when.down_at)
        timeline.go_down()
        colony.capacity(rate(n))
        back = colony.now() + outage
        _wait(WATCHED * outage)
        large = resident()
        for join in joins:
            join(max(0.0, start + when.end + GRACE - time.monotonic()))
        group.stop()  # a client that lets one call in at a time would go on for minutes
        worked = time.process_time() - worked
        close()
        row = timeline.counts(name, [group.totals()]).as_dict()
        return {
            **row,
            **_recovery(colony.requests(since=back - outage / 2), back, n, row["requests_after"]),
            "ideal_s": n / rate(n),
            "cpu_s": round(worked, 2),
            "kib_per_agent": round((large - small) / n / 1024, 1),
        }


def _recovery(requests: list[FakeRequest], back: float, n: int, sent: int) -> dict[str, float | None]:
    """How ``n`` agents came by new tokens with ``sent`` requests once the server was back; ``None``: never."""
    tokens = [request for request in requests if request.status == 200]
    served: dict[str, float] = {}
    for token in tokens:
        served.setdefault(token.agent, max(0.0, token.at + token.seconds - back))
    waits = sorted(served.values())

    def at(ratio: float) -> float | None:
        rank = math.ceil(ratio * n)
        return round(waits[rank - 1], 2) if rank <= len(waits) else None

    return {
        "without_token": n - len(waits),
        "requests_per_token": round(sent / len(tokens), 2) if tokens else None,
        "p50_back_s": at(0.5),
        "p99_back_s": at(0.99),
        "all_back_s": at(1.0),
    }


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.outage", description=__doc__)
    parser.add_argument("--client", choices=NAMES, default="colony_pool")
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--runtime", choices=("threads", "gevent"), default="threads")
    parser.add_argument("--outage", type=float, default=20.0)
    parser.add_argument("--patience", type=float, default=None, help="max_wait, seconds; default: 122 / 180")
    parser.add_argument("--give-up", type=float, default=60.0, help="seconds after the outage; then nobody tries")
    args = parser.parse_args()
    print(json.dumps(play(args.client, args.agents, args.runtime, args.outage, args.patience, args.give_up)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
