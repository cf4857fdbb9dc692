"""A store in memory, at the other end of a wire, with the faults that such a store has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import copy

from tests.support.private import (
    KeyState,
    MemoryStore,
    OpenState,
    SharedDenial,
    SharedState,
    StoreReport,
    StoreUnavailable,
)


class FaultyStore(MemoryStore):
    """``latency`` seconds away (the verbs in ``slow`` are farther), and broken in the verbs of ``failing``."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None], latency: float = 0.001) -> None:
        super().__init__(clock, carries_tokens=True)
        self._sleep = sleep
        self.latency = latency
        self.slow: dict[str, float] = {}
        self.failing: set[str] = set()
        self.calls: Counter[str] = Counter()

    def forget(self) -> None:
        """Begin anew, empty: as a server that was restarted."""
        super().__init__(self._clock, carries_tokens=True)

    def twin(self) -> FaultyStore:
        """The same record at the end of another wire, which has faults of its own."""
        twin = copy(self)
        twin.slow, twin.failing, twin.calls = {}, set(), Counter()
        return twin

    def view(self) -> SharedState:
        """What it knows, for the test that asks."""
        return super().look()

    def _meet(self, verb: str) -> None:
        self.calls[verb] += 1
        self._sleep(self.slow.get(verb, self.latency))
        if verb in self.failing:
            raise StoreUnavailable(f"{verb} failed")

    def look(self) -> SharedState:
        self._meet("look")
        return super().look()

    def survey(self) -> StoreReport:
        self._meet("survey")
        return super().survey()

    def open(self, owner: str, generation: int, opening: OpenState) -> SharedState:
        self._meet("open")
        return super().open(owner, generation, opening)

    def claim_probe(self, owner: str, seconds: float) -> tuple[int | None, SharedState]:
        self._meet("claim_probe")
        return super().claim_probe(owner, seconds)

    def conclude(self, owner: str, fence: int, opening: OpenState | None) -> SharedState:
        self._meet("conclude")
        return super().conclude(owner, fence, opening)

    def hold(self, seconds: float, cause: str, *, age: float = 0.0) -> SharedState:
        self._meet("hold")
        return super().hold(seconds, cause, age=age)

    def join(self, owner: str, seconds: float) -> SharedState:
        self._meet("join")
        return super().join(owner, seconds)

    def leave(self, owner: str) -> None:
        self._meet("leave")
        super().leave(owner)

    def claim_key(self, owner: str, key: str, seconds: float, *, min_life: float = 0.0) -> KeyState:
        self._meet("claim_key")
        return super().claim_key(owner, key, seconds, min_life=min_life)

    def release_key(
        self, owner: str, key: str, *, denial: SharedDenial | None = None, token: tuple[str, float] | None = None
    ) -> None:
        self._meet("release_key")
        super().release_key(owner, key, denial=denial, token=token)

    def forget_key(self, key: str) -> None:
        self._meet("forget_key")
        super().forget_key(key)

    def clear_hold(self) -> None:
        self._meet("clear_hold")
        super().clear_hold()

    def reset(self, *, keep_hold: bool = False) -> None:
        self._meet("reset")
        super().reset(keep_hold=keep_hold)
