"""A dispatcher of a fleet without a store: tests read what it wants of one, and answer."""

from __future__ import annotations

from typing import Any, TypeVar

from tests.support.dispatcher_harness import DOWN_502, START, DispatcherHarness
from tests.support.private import Coordinator, OpenState, SharedState, Waiter
from tests.support.private import actions as act

OPENING = OpenState(probe_in=8.0, level=3, opened_for=5.0, cause="HTTP 503", status=503)
A = TypeVar("A", bound=act.ForStore)


class CoordinatedHarness(DispatcherHarness):
    """Keeps what is for the store apart, in ``told``."""

    def __init__(self, seed: int = 0, **options: Any) -> None:
        self.store_actions: list[act.ForStore] = []
        self._led = 0
        super().__init__(seed, store_poll_interval=0.25, **options)

    def feed(self, actions: list[act.Action]) -> None:
        self.store_actions += [action for action in actions if isinstance(action, act.ForStore)]
        super().feed([action for action in actions if not isinstance(action, act.ForStore)])

    def learn(self, view: SharedState, asked: int | None = None) -> None:
        asked = self.dispatcher.breaker.generation if asked is None else asked
        self.feed(self.dispatcher.learn(view, asked, self.moment))

    def all(self, kind: type[A]) -> list[A]:
        return [action for action in self.store_actions if isinstance(action, kind)]

    def to_ask(self) -> act.RequestProbeLease:
        """Go to the moment at which the dispatcher asks for a probe."""
        before = len(self.all(act.RequestProbeLease))
        while len(self.all(act.RequestProbeLease)) == before:
            self.at(self.wake)
        return self.all(act.RequestProbeLease)[-1]

    def trip(self, n: int = 40) -> list[Waiter]:
        waiters = [self.ask(patience=36_000.0) for _ in range(n)]
        self.trip_alone()
        return waiters

    def grant(self, ask: act.RequestProbeLease, fence: int = 7) -> None:
        self.feed(self.dispatcher.granted(ask, fence, self.moment))

    def refuse(self, ask: act.RequestProbeLease, view: SharedState) -> None:
        self.feed(self.dispatcher.refused(ask, view, self.moment))

    def lose(self, request: act.ForStore) -> None:
        self.feed(self.dispatcher.unavailable(request, self.moment))

    def trip_alone(self) -> None:
        """Fail until the breaker opens; nobody else leads."""
        if not self.dispatcher.waiters.count:
            for _ in range(40):
                self.ask(patience=36_000.0)
        while self.state == "closed":
            while self.out and self.state == "closed":
                self.answer(self.out[0], DOWN_502)
            for lead in self.all(act.RequestLeadership)[self._led :]:
                self._led += 1
                self.lose(lead)
            self.at(self.now + 0.1)

    @property
    def coordinator(self) -> Coordinator:
        assert isinstance(self.dispatcher.coordinator, Coordinator)
        return self.dispatcher.coordinator

    @property
    def state(self) -> str:
        return self.dispatcher.breaker.state


def opened(**options: Any) -> CoordinatedHarness:
    """Open, and three callers wait."""
    harness = CoordinatedHarness(**options)
    harness.feed(harness.dispatcher.force("open", START))
    for _ in range(3):
        harness.ask(patience=36_000.0)
    return harness
