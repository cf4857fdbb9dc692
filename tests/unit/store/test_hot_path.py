"""While the breaker is closed and the token fresh, a pool that shares a store does what one that shares none does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from colony_pool import Agent, ColonyPool
from colony_pool.testing import FakeColony
from tests.support.private import MemoryStore
from tests.support.servers import until

VERBS = ("look", "survey", "open", "claim_probe", "conclude", "hold", "join", "leave", "claim_key", "release_key")


class Watched(MemoryStore):
    """A store that says what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(carries_tokens=True)  # else keys are exchanged without a word to it

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in VERBS:
            return found

        def ask(*args: Any, **kwargs: Any) -> Any:  # not when looked up: until 3.11, an instance check does that
            self.asked.append(name)
            return found(*args, **kwargs)

        return ask


def steps(work: Callable[[], object]) -> list[tuple[str, int]]:
    """Each line that ``work`` executes, by file and number."""
    taken: list[tuple[str, int]] = []

    def count(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            taken.append((frame.f_code.co_filename, frame.f_lineno))
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return taken


@pytest.mark.parametrize("work", [lambda agent: agent.token(), lambda agent: agent.get("/users/me")])
def test_g17_g18_a_token_that_is_held_costs_the_same_with_a_store_and_without(
    work: Callable[[Agent], object],
) -> None:
    with FakeColony() as colony:
        taken, store = [], Watched()
        for shared in (None, store):
            with ColonyPool(
                colony.base_url, shared=shared, registry=None, token_cache=None, runtime="threads"
            ) as pool:
                agent = pool.agent("col_agent_a")
                for _ in range(3):  # the first opens a connection, and has what can be kept made
                    agent.get("/users/me")
                until(lambda: shared is None or "release_key" in store.asked)  # noqa: B023 - called at once
                asked = len(store.asked)
                # The shortest of several: on a busy machine a second passes, after which a token is looked at anew.
                ways = [steps(lambda agent=agent: work(agent)) for _ in range(10)]  # type: ignore[misc]
                taken.append([step for step in min(ways, key=len) if "colony_pool" in step[0]])
                assert asked == len(store.asked)
        assert taken[0]
        assert taken[0] == taken[1]
        assert "claim_key" in store.asked, "it was asked when there was no token"
