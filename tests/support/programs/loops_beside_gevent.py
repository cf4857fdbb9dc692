"""``python -m tests.support.programs.loops_beside_gevent patched|unpatched``: greenlets and two event loops, one
pool, one probe."""

import sys

from gevent import monkey

if sys.argv[1:] == ["patched"]:
    monkey.patch_all()

import asyncio
import gc
import os

import gevent

from colony_pool import AsyncColonyPool, BreakerConfig, ColonyPool
from colony_pool.testing import FakeColony

EACH = 30
BREAKER = BreakerConfig(fail_max=1, open_delay=0.2, open_delay_max=0.3, min_failure_time=0.0)


def until(condition: object) -> None:
    assert callable(condition)
    while not condition():
        gevent.event.Event().wait(0.01)  # the other greenlets go on


def main() -> None:
    colony = FakeColony()
    pool = ColonyPool(
        colony.base_url, token_cache=None, registry=None, runtime="gevent", breaker=BREAKER, max_wait=3600.0
    )
    colony.behave("status", status=502)
    answers: list[object] = []

    async def tasks(number: int) -> list[str]:
        async with AsyncColonyPool(pool=pool) as view:
            agents = [view.agent(f"col_{number}_{i}") for i in range(EACH)]
            tokens = await asyncio.gather(*(agent.token() for agent in agents))
            calls = await asyncio.gather(*(agent.get("/users/me") for agent in agents))
            assert {200} == {call.status for call in calls}
            return tokens

    def loop(number: int) -> None:
        try:
            answers.append(asyncio.run(tasks(number)))
        except BaseException as error:
            answers.append(error)

    before = len(os.listdir("/proc/self/task"))
    start = monkey.get_original("_thread", "start_new_thread")
    for number in range(2):
        start(loop, (number,))
    greenlets = [gevent.spawn(pool.agent(f"col_g_{i}").token) for i in range(EACH)]
    until(lambda: pool.status().waiters == 3 * EACH and pool.status().breaker.state == "open")
    colony.latency(0.05)
    until(lambda: pool.status().in_flight <= 1)
    colony.reset_stats()
    until(lambda: colony.count("/auth/token") >= 3)
    assert 1 == colony.stats().max_in_flight, "two probes at once"
    colony.latency(0.0)
    colony.behave("healthy")
    gevent.joinall(greenlets, raise_error=True)
    until(lambda: len(answers) == 2)
    for answer in answers:
        assert isinstance(answer, list), answer
        assert EACH == len(set(answer))
    pool.close()
    until(lambda: len(os.listdir("/proc/self/task")) - gevent.get_hub().threadpool.size <= before)
    # gevent closes a socket one turn of its hub later, and the thread of a loop that has ended takes no more turns.
    until(lambda: gc.collect() >= 0 and colony.stats().open_connections == 0)
    colony.close()
    print("ok")


main()
