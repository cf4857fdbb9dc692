"""uvloop, which many servers run on, instead of asyncio's own loop."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from colony_pool.testing import FakeColony
from tests.conftest import until as at_last
from tests.support.aio import fast, nothing_is_left, sockets, until


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.mark.parametrize("ending", ["view", "pool", "loop"])
def test_uvloop_serves_as_well(ending: str, colony: FakeColony) -> None:
    """Its sockets are none: they keep no weak reference, and only the loop may close them."""
    uvloop = pytest.importorskip("uvloop")
    colony.stats()
    before = sockets()
    with warnings.catch_warnings():
        warnings.simplefilter("error" if ending == "view" else "ignore", ResourceWarning)
        _serve_and_end(uvloop, ending, colony)
        at_last(lambda: gc.collect() >= 0 and sockets() <= before)
    at_last(lambda: colony.stats().open_connections == 0)


def _serve_and_end(uvloop: Any, ending: str, colony: FakeColony) -> None:
    loop = uvloop.new_event_loop()
    view = fast(colony, maxsize=8)

    async def main() -> None:
        agent = view.agent("col_a")
        calls = [asyncio.create_task(agent.get("/users/me")) for _ in range(40)]
        assert {200} == {answer.status for answer in await asyncio.gather(*calls)}
        assert 0 < view.status().connections[1] <= 9, "the token's is one"
        colony.behave("hang", only="/users/me")
        late = asyncio.create_task(agent.get("/users/me"))
        await until(lambda: colony.stats().in_flight == 1)
        late.cancel()
        await until(lambda: nothing_is_left(view))
        if ending == "view":
            await view.close()

    loop.run_until_complete(main())
    if ending == "pool":
        view.pool.close()
        loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
    view.pool.close()
