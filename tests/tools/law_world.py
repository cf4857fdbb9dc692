"""The world in which the window's law is judged: one pool, one model of the server, virtual time.

The real dispatcher, runner and pybreaker run; only the server is a model: a bucket of R requests a second
(depth R/10), at most 64 at once; the excess gets 503 after 5 ms, and R excess arrivals within a second knock
the server over: 502 to everybody for a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from colony_pool.config import DispatcherConfig
from colony_pool.testing.sim import SimRuntime
from tests.simulation.capacity import Capacity
from tests.support.private import (
    AT_ONCE,
    OK,
    UNAVAILABLE,
    Account,
    AttemptRegistry,
    DeliveryQueue,
    Dispatcher,
    Driver,
    Notifier,
    Outcome,
    Permit,
    PoolBreaker,
    Waiter,
)
from tests.tools.law_connections import ConnectionModel

GOOD = Outcome(OK, 200, jwt="sim", life=1e9)


class Server:
    """The model. ``script(now)`` may answer a status in the place of the server; ``None`` lets it serve."""

    def __init__(self, sim: SimRuntime, latency: float) -> None:
        self.sim = sim
        self.latency = latency
        self.capacity: Capacity | None = None
        self.loss = 0.0
        self.script: Callable[[float], int | None] = lambda now: None
        self.poisoned: Account | None = None
        self.arrivals: list[float] = []
        self.served: list[float] = []
        self._inside = 0
        self.connections = {strict: ConnectionModel(sim.monotonic, strict=strict) for strict in (False, True)}

    @property
    def knocks(self) -> int:
        """How often it was knocked over."""
        return self.capacity.knocks if self.capacity is not None else 0

    def attempt(self, permit: Permit) -> Outcome:
        now = self.sim.monotonic()
        self.arrivals.append(now)
        used = {model: model.take(permit) for model in self.connections.values()}
        status, delay = self._admit(now, permit)
        self._inside += 1
        self.sim.sleep(min(delay, permit.timeout))
        self._inside -= 1
        for model, record in used.items():
            model.give_back(permit, record, status if delay <= permit.timeout else 0)
        if delay > permit.timeout:
            return Outcome("network", detail="timeout")
        if status == 200:
            self.served.append(self.sim.monotonic())
            return GOOD
        return Outcome(UNAVAILABLE, status, f"HTTP {status}")

    def _admit(self, now: float, permit: Permit) -> tuple[int, float]:
        scripted = self.script(now)
        if scripted is not None:
            return scripted, self.latency
        if permit.account is self.poisoned:
            return 502, self.latency
        if self.capacity is not None and (status := self.capacity.refuse(now, self._inside)):
            return status, self.latency if status == 502 else 0.005
        if self.loss and self.sim.random() < self.loss:
            return 502, self.latency
        return 200, self.latency * (0.9 + 0.2 * self.sim.random())


class _WaiterEvent:
    """A waiter's event that notes when it rang."""

    def __init__(self, world: World, start: float) -> None:
        self.world, self.start = world, start
        self.at: float | None = None

    def set(self) -> None:
        self.at = self.world.sim.monotonic()


@dataclass
class World:
    """One pool on one model server."""

    seed: int
    latency: float = 0.02
    config: DispatcherConfig = field(default_factory=DispatcherConfig)

    def __post_init__(self) -> None:
        self.sim = SimRuntime(self.seed)
        self.server = Server(self.sim, self.latency)
        self.dispatcher = Dispatcher(self.config, self.sim.random)
        self.runtime, self.delivery = self.sim, DeliveryQueue(self.sim, lambda lost: None)
        self.breaker = PoolBreaker("sim", lambda: self)
        self.states: list[tuple[float, str]] = []
        self.driver = Driver(
            self.dispatcher,
            self.sim,
            Notifier(self.sim, self.breaker, [self._note], AT_ONCE),
            AttemptRegistry(),
            self.server.attempt,
            ask_code=lambda account: None,
            token_changed=lambda action: None,
            after=None,
            store=None,
            lines=AT_ONCE,
        )
        self.callers: list[tuple[_WaiterEvent, Waiter]] = []

    def _note(self, event: object) -> None:
        if type(event).__name__ == "StateChanged":
            self.states.append((self.sim.monotonic(), event.new))  # type: ignore[attr-defined]
            if event.new == "open":  # type: ignore[attr-defined]
                self.server.connections[True].retire()

    def arrive(self, at: float, patience: float = 122.0, account: Account | None = None) -> _WaiterEvent:
        event = _WaiterEvent(self, at)
        waiter = Waiter(account or Account(), patience)
        self.callers.append((event, waiter))
        self.sim.call_later(
            at - self.sim.monotonic(),
            lambda: self.driver.request_token(waiter, event, None),
        )
        return event

    @property
    def served(self) -> int:
        return sum(w.token is not None for _, w in self.callers)

    def waits(self) -> list[float]:
        return sorted(b.at - b.start for b, w in self.callers if b.at is not None and w.token is not None)

    def closed_at(self, after: float) -> float:
        """When the breaker closed for the first time after ``after``."""
        return next((t for t, state in self.states if state == "closed" and t >= after), after)
