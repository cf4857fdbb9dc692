"""``pool.breaker`` in event loops: coroutines are guarded to their end, and nothing blocks the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pybreaker
import pytest

from colony_pool import AsyncColonyPool, BreakerConfig
from colony_pool.testing import FakeColony


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


def counting(colony: FakeColony) -> AsyncColonyPool:
    config = BreakerConfig(fail_max=3, count_guarded_calls=True)
    return AsyncColonyPool(colony.base_url, breaker=config, token_cache=None, registry=None)


async def boom() -> None:
    raise KeyError("mine")


def test_g2_guarded_coroutines_run_side_by_side_and_may_ask_the_pool(colony: FakeColony) -> None:
    async def main() -> None:
        async with counting(colony) as pool:
            inside, go_on = list[int](), asyncio.Event()

            async def plain_work(number: int) -> str:
                inside.append(number)
                if len(inside) == 50:
                    go_on.set()
                await go_on.wait()
                return await pool.agent(f"col_{number}").token()

            work: Any = pool.breaker(plain_work)
            assert 50 == len(set(await asyncio.gather(*(work(number) for number in range(50)))))

    asyncio.run(asyncio.wait_for(main(), 60.0))


def test_g10_a_coroutine_counts_when_it_has_ended(colony: FakeColony) -> None:
    async def main() -> None:
        async with counting(colony) as pool:
            breaker: Any = pool.breaker
            for _ in range(2):
                with pytest.raises(KeyError):
                    await breaker(boom)()
            assert 2 == breaker.fail_counter
            with breaker.calling():
                await asyncio.sleep(0)
            assert 0 == breaker.fail_counter
            for _ in range(2):
                with pytest.raises(KeyError):
                    await breaker.call_async(boom)
            with pytest.raises(pybreaker.CircuitBreakerError):
                await breaker(boom)()
            assert ("open", "open") == (breaker.current_state, pool.status().breaker.state)
            with pytest.raises(pybreaker.CircuitBreakerError):
                await breaker.call_async(asyncio.sleep, 0)

    asyncio.run(main())


def test_g3_a_task_that_is_cancelled_in_a_guarded_call_is_no_failure(colony: FakeColony) -> None:
    async def main() -> None:
        async with counting(colony) as pool:
            breaker: Any = pool.breaker
            for _ in range(5):
                task = asyncio.ensure_future(breaker.call_async(asyncio.sleep, 60))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert ("closed", 0) == (pool.breaker.current_state, pool.breaker.fail_counter)

    asyncio.run(main())


def test_g1_of_tasks_that_come_when_it_is_half_open_one_finds_out(colony: FakeColony) -> None:
    async def main() -> None:
        async with counting(colony) as pool:
            breaker: Any = pool.breaker
            breaker.half_open()
            results = await asyncio.gather(
                *(breaker.call_async(asyncio.sleep, 0.01, number) for number in range(20)),
                return_exceptions=True,
            )
            assert 0 == results[0]
            assert [True] * 19 == [isinstance(error, pybreaker.CircuitBreakerError) for error in results[1:]]
            assert "closed" == pool.breaker.current_state

    asyncio.run(main())
