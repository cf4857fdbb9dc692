"""The process in which the agents of one side live. It ends when its standard input does.

A process of its own, because gevent must patch before anything else is imported, and so that the busy side
does not slow the other one down. It says ``{"ready": ...}``, starts its agents at the first byte it reads, and
prints a line of figures every tenth of a second.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import urllib3

from .agents import Crew, Lone, Member, Pooled, make_keys, make_pool
from .plan import POOL

# Patching comes first: what `-c` runs, instead of `-m`, which would import the whole library before it.
_BOOT = "from colony_pool._demo.worker import main; main()"
_BOOT_GEVENT = f"from gevent import monkey; monkey.patch_all(); {_BOOT}"
_TICK = 0.1

Figures = Callable[[], dict[str, Any]]


def command(options: dict[str, Any]) -> list[str]:
    """The command line that starts a worker."""
    boot = _BOOT_GEVENT if options["runtime"] == "gevent" else _BOOT
    return [sys.executable, "-c", boot, json.dumps(options)]


def main() -> None:
    """Live one side of the demo."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the presenter's; this ends with its input
    options = json.loads(sys.argv[1])
    random.seed(options["seed"])
    if options["runtime"] == "threads":
        threading.stack_size(256 * 1024)
    side = _pooled if options["side"] == POOL else _alone
    crew, figures, close, port = side(options)
    _say({"ready": os.getpid(), "metrics_port": port})
    if _heard(None):
        for number in range(len(crew.members)):
            threading.Thread(target=crew.live, args=(number,), daemon=True).start()
        while not select.select([0], [], [], _TICK)[0]:
            _say({**figures(), "lost": len(crew.lost), "gave_up": crew.gave_up})
    crew.stopped = True
    close()


def _heard(timeout: float | None) -> bool:
    select.select([0], [], [], timeout)
    return bool(os.read(0, 1))


def _say(value: dict[str, Any]) -> None:
    try:
        os.write(1, json.dumps(value).encode() + b"\n")
    except BrokenPipeError:
        os._exit(0)  # nobody is left to listen


def _pooled(options: dict[str, Any]) -> tuple[Crew, Figures, Callable[[], None], int | None]:
    pool = make_pool(options["base_url"], options["runtime"])
    port = None
    if options["metrics_port"] is not None:
        port = pool.start_metrics_server(options["metrics_port"])
    members: list[Member] = [Pooled(pool.agent(key)) for key in make_keys(options["agents"])]

    def figures() -> dict[str, Any]:
        status = pool.status()
        return {
            "state": status.breaker.state,
            "next_probe": status.breaker.next_probe_in,
            "waiters": status.waiters,
            "held": status.tokens.fresh + status.tokens.soft,
            "attempts": sum(pool.journal.attempts.values()),
        }

    return Crew(members), figures, pool.close, port


def _alone(options: dict[str, Any]) -> tuple[Crew, Figures, Callable[[], None], int | None]:
    http = urllib3.PoolManager(maxsize=options["agents"], retries=False, timeout=30.0)
    lone = [Lone(http, options["base_url"], key) for key in make_keys(options["agents"])]
    crew = Crew([*lone])

    def figures() -> dict[str, Any]:
        held = sum(agent.held for agent in lone)
        return {"state": "", "next_probe": None, "waiters": crew.asking, "held": held, "attempts": Lone.sent}

    return crew, figures, http.clear, None


if __name__ == "__main__":
    main()
