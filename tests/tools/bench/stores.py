"""What the verbs of a shared store cost: one process, one after the other, nobody else at it."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.tools.bench.report import FAILED, emit

KINDS = ("host", "redis", "valkey")
_BATCHES, _CALLS = 50, 100
_LONG = 1e6


def main(kind: str) -> None:
    from tests.support.servers import Server, program

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.environ["COLONY_POOL_STATE_DIR"] = folder
        if kind == "host":
            emit(**measured("host"))
        elif program(kind) is None:
            emit(**{FAILED: f"no {kind}-server here"})
        else:
            server = Server(kind, Path(folder))
            stack.callback(server.kill)
            emit(**measured(server.url))


def measured(shared: str) -> dict[str, float]:
    """Microseconds a verb. While closed: keys and members; while open, with another one's lease: the probe."""
    from tests.support.private import OpenState, open_store

    store = open_store(shared, "https://api.example")
    assert store is not None
    row = {
        "claim_key": cost(lambda: store.claim_key("a", "k", _LONG)),
        "release_key": cost(lambda: store.release_key("a", "k")),
        "join": cost(lambda: store.join("a", _LONG)),
    }
    store.open("a", store.look().generation, OpenState(0.0, 1, 0.0, "502", 502))
    store.claim_probe("a", _LONG)
    row |= {"look": cost(store.look), "claim_probe": cost(lambda: store.claim_probe("b", _LONG))}
    store.close()
    return row


def cost(verb: Callable[[], object]) -> float:
    times = []
    for _ in range(_BATCHES):
        began = time.perf_counter()
        for _ in range(_CALLS):
            verb()
        times.append((time.perf_counter() - began) / _CALLS * 1e6)
    return round(min(times), 1)  # the rest is what else the machine did


if __name__ == "__main__":
    main(sys.argv[1])
