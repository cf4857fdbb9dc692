"""Where the system grants no thread: nobody hangs, and what was left undone is done with the next thread."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from tests.support.driver_bench import StillRuntime
from tests.support.private import (
    SLOW,
    STORE_UNAVAILABLE,
    WORKING,
    DeliveryQueue,
    LatencyBudget,
    MemoryStore,
    Store,
    StoreHealth,
    StoreUnavailable,
    StoreWorker,
)

# From 3.12 on no thread is granted once the main one has ended.
AFTER_MAIN = """
import threading
from colony_pool import ColonyPool, ColonyNetworkError
from colony_pool.testing import FakeColony
colony = FakeColony()
pool = ColonyPool(colony.base_url, token_cache=None, registry=None)
pool.breaker.open()
def late():
    threading.main_thread().join()
    try:
        assert pool.agent("col_late").token(max_wait=3600)
    except ColonyNetworkError as error:
        assert "no thread for an attempt" in str(error), error
    print("told")
threading.Thread(target=late).start()
"""


def test_g9_who_is_parked_when_the_main_thread_has_ended_gets_a_token_or_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AFTER_MAIN], check=False, capture_output=True, text=True, timeout=100
    )
    assert (0, "told\n") == (done.returncode, done.stdout), done.stderr


def test_g2_a_callback_that_no_thread_runs_waits_for_the_next_one() -> None:
    runtime, heard = StillRuntime(), list[object]()
    box = DeliveryQueue(runtime, heard.append)
    runtime.no_threads = True
    box.post(lambda: heard.append("first"))
    assert [] == heard, "not in the task of who leaves it"
    runtime.no_threads = False
    box.post(lambda: heard.append("second"))
    runtime.run_one()
    assert (["first", "second"], 0) == (heard, box.dropped)


def test_g2_callbacks_that_no_thread_runs_are_bounded_and_counted() -> None:
    runtime, heard, lost = StillRuntime(), list[int](), list[int]()
    box = DeliveryQueue(runtime, lost.append, most=3)
    runtime.no_threads = True
    for number in range(5):
        box.post(lambda number=number: heard.append(number))  # type: ignore[misc]
    runtime.no_threads = False
    box.flush()
    runtime.run_one()
    assert ([2, 3, 4], [2], 2) == (heard, lost, box.dropped)


def test_a_store_that_no_thread_can_ask_counts_as_slow_until_one_can() -> None:
    runtime, made = StillRuntime(), list[str]()
    health = StoreHealth("p", runtime, LatencyBudget(runtime, lambda: math.inf))
    calls = StoreWorker(MemoryStore(), runtime, health)

    def verb(store: Store) -> str:
        made.append("asked")
        return "answer"

    runtime.no_threads = True
    call = calls.ask(verb)
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        calls.wait(call)
    waits = [seconds for flag in runtime.flags for seconds in flag.waits]
    assert [call.patience] == waits, "for its patience, and no longer"
    assert (STORE_UNAVAILABLE, 1, []) == (health.state, health.failures[SLOW], made)
    runtime.no_threads = False
    runtime.time += 60.0
    with pytest.raises(StoreUnavailable):
        calls.wait(calls.ask(verb))  # has it tried in the background
    assert (WORKING, []) == (health.state, made), "what was given up is not made any more"
    assert "answer" == calls.wait(calls.ask(verb))
