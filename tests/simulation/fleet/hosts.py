"""The protocol among many hosts: one real dispatcher each, one store, a model of the server, one clock for all.

There is no shell here, only what it would do: so ten thousand hosts play a minute in minutes. Keys are not claimed,
as with a Redis that carries no tokens: what a host does not look up it has to find out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import cast

from colony_pool.config import DispatcherConfig
from tests.simulation.capacity import Capacity
from tests.support.private import (
    OK,
    UNAVAILABLE,
    VERBS,
    Account,
    Dispatcher,
    EndpointRecord,
    Instant,
    KeyState,
    MemoryStore,
    Outcome,
    Permit,
    SharedState,
    Waiter,
)
from tests.support.private import actions as act
from tests.support.private import events as ev

WALL = 1_790_000_000.0
GOOD = Outcome(OK, 200, jwt="jwt", life=86_400.0)


@dataclass(frozen=True)
class Plan:
    """What is played: agents come within ``over`` seconds, the endpoint is down for ``outage`` seconds."""

    hosts: int
    agents: int
    outage: float = 120.0
    over: float = 30.0
    latency: float = 0.02
    store_latency: float = 0.002
    rate: float = 2000.0
    poll_interval: float = 1.0
    seed: int = 0


class Sky:
    """All hosts, and the clock."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.now = 0.0
        self.dice = random.Random(plan.seed)
        self.capacity = Capacity(plan.rate)
        self.store = MemoryStore(lambda: self.now)
        self.store._endpoint = _Record()
        self.sent: list[float] = []
        self.served: list[float] = []
        self.store_calls: Counter[int] = Counter()  # in each second
        self.verbs: Counter[str] = Counter()
        self.probes: list[float] = []
        self.closed: list[float] = []
        self.inside = 0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._serial = 0
        self.hosts = [Host(self, number) for number in range(plan.hosts)]
        for host in self.hosts:
            for _ in range(plan.agents):
                self.at(self.dice.random() * plan.over, host.demand)

    def at(self, when: float, fn: Callable[[], object]) -> None:
        self._serial += 1
        heappush(self._events, (when, self._serial, fn))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until and len(self.served) < self.agents:
            self.now, _, fn = heappop(self._events)
            fn()

    @property
    def agents(self) -> int:
        return self.plan.hosts * self.plan.agents


class _Record(EndpointRecord):
    """Counts its members once a second: ten thousand of them at each look would be most of the play."""

    counted: tuple[float, int] = (-1.0, 0)

    def view(self, now: float) -> SharedState:
        members = self.members
        if now >= self.counted[0] + 1.0:
            self.counted = (now, sum(until > now for until in members.values()))
        self.members = {}
        seen = replace(super().view(now), members=self.counted[1])
        self.members = members
        return seen


class Host:
    """One dispatcher; what a shell would do for it is done by the ``Sky``."""

    def __init__(self, sky: Sky, number: int) -> None:
        self._sky = sky
        self._owner = f"host{number}"
        self._dispatcher = Dispatcher(DispatcherConfig(store_poll_interval=sky.plan.poll_interval), sky.dice.random)
        self._wakeup = float("inf")

    def demand(self) -> None:
        waiter = Waiter(Account(), 36_000.0)
        self._do(self._dispatcher.demand(waiter, Instant(self._sky.now, WALL + self._sky.now)))

    def _tick(self, wakeup: float) -> None:
        if wakeup == self._wakeup:
            self._wakeup = float("inf")
            self._do(self._dispatcher.tick(Instant(self._sky.now, WALL + self._sky.now)))

    def _do(self, actions: list[act.Action]) -> None:
        sky = self._sky
        for action in actions:
            if isinstance(action, act.StartAttempt):
                self._send(action.permit)
            elif isinstance(action, act.WakeAt):
                if action.at < self._wakeup:
                    self._wakeup = action.at
                    sky.at(action.at, lambda at=action.at: self._tick(at))  # type: ignore[misc]
            elif isinstance(action, act.ForStore):
                sky.at(sky.now + sky.plan.store_latency / 2, lambda action=action: self._ask(action))  # type: ignore[misc]
            elif isinstance(action, ev.StateChanged) and action.new == ev.CLOSED:
                sky.closed.append(sky.now)

    def _send(self, permit: Permit) -> None:
        sky = self._sky
        sky.sent.append(sky.now)
        if permit.is_probe:
            sky.probes.append(sky.now)
        down = sky.now < sky.plan.outage
        status = 502 if down else sky.capacity.refuse(sky.now, sky.inside)
        outcome = Outcome(UNAVAILABLE, status, f"HTTP {status}") if status else GOOD
        sky.inside += 1
        sky.at(sky.now + (0.005 if status == 503 else sky.plan.latency), lambda: self._land(permit, outcome))

    def _land(self, permit: Permit, outcome: Outcome) -> None:
        sky = self._sky
        sky.inside -= 1
        if outcome is GOOD:
            sky.served.append(sky.now)
        self._do(self._dispatcher.result(permit, outcome, Instant(sky.now, WALL + sky.now)))

    def _ask(self, action: act.ForStore) -> None:
        sky = self._sky
        sky.store_calls[int(sky.now)] += 1
        sky.verbs[type(action).__name__] += 1
        answer = VERBS[type(action)](sky.store, self._owner, action, sky.now)
        sky.at(sky.now + sky.plan.store_latency / 2, lambda: self._hear(action, answer))

    def _hear(self, action: act.ForStore, answer: object) -> None:
        dispatcher, now, wall = self._dispatcher, self._sky.now, WALL + self._sky.now
        said: list[act.Action] = []
        if isinstance(action, act.RequestProbeLease):
            fence, view = cast("tuple[int | None, SharedState]", answer)
            if fence is not None:
                said = dispatcher.granted(action, fence, Instant(now, wall))
            else:
                said = dispatcher.refused(action, view, Instant(now, wall))
        elif isinstance(action, act.RequestLeadership):
            state = cast(KeyState, answer)
            said = dispatcher.led(action, state.view, Instant(now, wall), busy=state.busy_for > 0.0)
        elif isinstance(action, (act.PollStore, act.PublishOpen, act.ReportProbe, act.PublishRateLimit)):
            said = dispatcher.learn(cast(SharedState, answer), action.asked, Instant(now, wall))
        self._do(said)


@dataclass(frozen=True)
class PlayResult:
    """What a play came to."""

    in_outage: int
    before_open: int
    probes: int
    intervals: int
    knocks: int
    lost: int
    per_token: float
    recovery: float
    ideal: float
    store_mean: float
    store_peak: int
    verbs: dict[str, int]


def play(plan: Plan, most: float = 40.0) -> PlayResult:
    """Play ``plan``, for at most ``most`` times the ideal drain after the outage."""
    sky = Sky(plan)
    sky.run(plan.outage)
    opened = min((at for at in sky.probes), default=0.0)
    during, probes = len(sky.sent), len(sky.probes)
    distinct = sum(later - earlier > 1.0 for earlier, later in zip([-10.0, *sky.probes], sky.probes, strict=False))
    calls = sum(sky.store_calls.values())
    ideal = sky.agents / plan.rate
    sky.run(plan.outage + 120.0 + most * ideal)
    back = min((at for at in sky.closed if at >= plan.outage), default=plan.outage)
    return PlayResult(
        in_outage=during,
        before_open=sum(at < opened for at in sky.sent),
        probes=probes,
        intervals=distinct,
        knocks=sky.capacity.knocks,
        lost=sky.agents - len(sky.served),
        per_token=(len(sky.sent) - during) / max(1, len(sky.served)),
        recovery=(max(sky.served, default=back) - back),
        ideal=ideal,
        store_mean=calls / plan.outage,
        store_peak=max(sky.store_calls.values(), default=0),
        verbs=dict(sky.verbs),
    )
