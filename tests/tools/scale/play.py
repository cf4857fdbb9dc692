"""One fleet of real processes through an outage of an hour over real sockets, all schedules divided by 180.

``python -m tests.tools.scale.play --processes 8 --agents 100 --shared host`` plays it once and prints one JSON line;
all counts but the lost agents are the server's. It is ``tests.tools.outage`` with the agents in several processes,
half of them on gevent: the tokens run out one by one in the outage, and then the server comes back with room for N/4
requests a second and can be knocked over. With ``--networks`` each process is in a network of its own, as on a host
of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from colony_pool.testing import FakeColony, FakeRequest
from tests.support.namespaces import Impossible
from tests.support.private import Schedule, burst
from tests.support.servers import Server
from tests.tools.outage import LATENCY, plan, rate
from tests.tools.scale import networks
from tests.tools.scale.member import Orders

SHARED = ("none", "host", "redis")
_JUST = 1.0  # seconds
_SOON = 1.0  # seconds from the word to the start: it has to reach all of them


@dataclass(frozen=True, slots=True)
class Fleet:
    """Who plays: ``processes`` with ``agents`` each. ``shared`` is one of ``SHARED``."""

    processes: int
    agents: int
    shared: str = "none"
    networks: bool = False
    outage: float = 20.0

    @property
    def total(self) -> int:
        return self.processes * self.agents


def play(fleet: Fleet) -> dict[str, Any]:
    """Play one outage and return what it cost."""
    when = _plan(fleet)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if fleet.networks:
            networks.make_hub()
        host = networks.HUB if fleet.networks else "127.0.0.1"
        shared = None if fleet.shared == "none" else fleet.shared
        if shared == "redis":
            server = Server("redis", folder, "--bind", "127.0.0.1", host, "--protected-mode", "no")
            stack.callback(server.kill)
            shared = f"redis://{host}:{server.port}/0"
        colony = stack.enter_context(FakeColony(host=host, expires_in=when.life))
        colony.latency(LATENCY)
        workers = [
            stack.enter_context(_worker(fleet, number, colony.base_url, shared, when, folder))
            for number in range(fleet.processes)
        ]
        assert {"ready"} == {_hear(worker) for worker in workers}
        start = time.monotonic() + _SOON  # one clock for all processes of a machine, in whatever namespace
        for worker in workers:
            _send(worker, str(start))
        _wait_until(start + when.down_at)
        down = _go_down(colony, fleet)
        reports = [json.loads(_hear(worker)) for worker in workers]
        requests = [request for request in colony.requests() if request.path.endswith("/auth/token")]
        return {**_cost(requests, down, down + fleet.outage), "knocks": colony.stats().knocks, **_losses(reports)}


def _plan(fleet: Fleet) -> Schedule:
    """As ``tests.tools.outage``'s, but a token runs out when the outage has just begun: nearly all of it is felt."""
    when = plan(fleet.total, fleet.outage)
    return replace(when, life=when.down_at + _JUST)


@contextmanager
def _worker(
    fleet: Fleet, number: int, base_url: str, shared: str | None, when: Schedule, folder: Path
) -> Iterator[subprocess.Popen[str]]:
    own = networks.address(number) if fleet.networks else ""
    agents = tuple(range(number, fleet.total, fleet.processes))
    orders = Orders(base_url, shared, agents, fleet.total, when.warm_up, when.life, own)
    home = folder / (f"host{number}" if fleet.networks else "host")
    env = {
        **os.environ,
        "COLONY_POOL_STATE_DIR": str(home / "state"),
        "COLONY_SDK_TOKEN_CACHE_DIR": str(home / "cache"),
    }
    runtime = "gevent" if number % 2 == 0 else "threads"
    command = [sys.executable, "-m", "tests.tools.scale.member", runtime, orders.to_json()]
    worker = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if fleet.networks:
            networks.connect(worker, number)
        yield worker
    finally:
        worker.kill()
        worker.communicate()


def _go_down(colony: FakeColony, fleet: Fleet) -> float:
    """Begin the outage, which ends by the server's clock; return when it began on that."""
    colony.schedule([(0.0, "status", {"status": 502, "html": True}), (fleet.outage, "healthy")])
    down = colony.now()
    colony.expires_in(86_400.0)
    colony.capacity(rate(fleet.total))  # what is answered 502 does not count
    return down


def _cost(requests: list[FakeRequest], down: float, back: float) -> dict[str, Any]:
    """What the server saw."""
    after = [request for request in requests if request.at >= back]
    served: dict[str, float] = {}
    for request in after:
        if request.status == 200:
            served.setdefault(request.agent, request.at + request.seconds - back)
    late = [request.at for request in after if request.status == 503]
    return {
        "attempts_in_outage": sum(down <= request.at < back for request in requests),
        "burst_per_100ms": burst([request.at for request in after], 0.1),
        "refused_in_a_second": burst(late, 1.0),
        "requests_after": len(after),
        "served": len(served),
        "last_back_s": round(max(served.values(), default=0.0), 2),
    }


def _losses(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """What the processes say."""
    calls: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for each in reports:
        calls.update(each["store_calls"])
        errors.update(each["errors"])
    return {"agents_lost": errors.total(), "errors": errors, "store_calls": calls.total(), "store_verbs": calls}


def _wait_until(at: float) -> None:
    threading.Event().wait(max(0.0, at - time.monotonic()))


def _send(worker: subprocess.Popen[str], line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(f"{line}\n")
    worker.stdin.flush()


def _hear(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline().strip()
    assert line, "a process has died"
    return line


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.scale.play", description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--agents", type=int, default=100, help="in each process")
    parser.add_argument("--shared", choices=SHARED, default="host")
    parser.add_argument("--networks", action="store_true", help="each process is in a network of its own")
    parser.add_argument("--outage", type=float, default=20.0, help="seconds")
    args = parser.parse_args(argv)
    try:
        print(json.dumps(play(Fleet(**vars(args)))))
    except Impossible as reason:
        print(json.dumps({"impossible": str(reason)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
