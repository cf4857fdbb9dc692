"""Bytes that one caller takes while it waits for the endpoint to come back, beyond its greenlet.

Measured on the same number of greenlets: parked on a bare event of their own with a time limit, and inside the
client, with the endpoint down and the schedules stretched so that everybody is still waiting when it is counted.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()

import gc
import logging
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

from tests.tools.bench.peers import NAMES, client
from tests.tools.bench.report import emit

N = 1_000
# The retry budget has nobody wait: whom it refuses is lost.
CASES = (*((name, N) for name in NAMES if name != "retry budget alone"), ("colony_pool", 10_000))
SCALE = 0.1  # the first backoff takes twenty seconds
PATIENCE = 1e6
QUIET = 2.0  # seconds without a request after which all are taken to wait
_PULSE = 0.25


def main(name: str, n: int) -> None:
    from gevent.event import Event

    from colony_pool.testing import FakeColony

    logging.disable(logging.WARNING)  # the breaker says that it opens
    with FakeColony() as colony:
        make, close = client(name, colony.base_url, SCALE, PATIENCE)
        make("col_warm")[0]()  # what is imported and made once is no waiter's
        calls = [make(f"col_{i}")[0] for i in range(n)]  # nor is what an agent has while it does not wait
        colony.behave("status", status=502)
        tracemalloc.start()
        bare = _parked([lambda: Event().wait(PATIENCE)] * n, lambda: time.sleep(QUIET))
        inside = _parked(calls, lambda: _until_quiet(lambda: colony.stats().requests))
        emit(bytes=round((inside - bare) / n), greenlet=round(bare / n))
        close()


_greenlets: list[object] = []  # they stay: what a dead one leaves behind would be counted as the next one's


def _parked(calls: list[Callable[[], object]], settle: Callable[[], object]) -> int:
    """Bytes that the process has more once every one of ``calls`` is parked in a greenlet of its own."""
    import gevent

    before = _traced()
    begun: list[None] = []
    greenlets = [gevent.spawn(_quietly, call, begun) for call in calls]
    _greenlets.extend(greenlets)
    while len(begun) < len(calls):
        time.sleep(_PULSE)
    settle()
    grown = _traced() - before
    parked = sum(not greenlet.ready() for greenlet in greenlets)
    assert parked == len(calls), f"{len(calls) - parked} of {len(calls)} do not wait any more"
    return grown


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _quietly(call: Callable[[], object], begun: list[None]) -> None:
    begun.append(None)
    with suppress(Exception):
        call()


def _until_quiet(count: Callable[[], int]) -> None:
    """Wait until requests have come and no more come."""
    last, since = 0, time.monotonic()
    while not last or time.monotonic() - since < QUIET:
        time.sleep(_PULSE)
        if (now := count()) != last:
            last, since = now, time.monotonic()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
