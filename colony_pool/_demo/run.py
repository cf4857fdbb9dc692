"""One fleet of agents through one outage. Everything that is reported was counted by the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ..testing import FakeColony

Fetch = Callable[[], object]
# (the first fetch, a fetch after the token has run out) for one API key
Maker = Callable[[str], tuple[Fetch, Fetch]]

SCALE = 240.0  # an hour in fifteen seconds
RESTART = 60.0 / SCALE  # a supervisor restarts a lost agent after a (scaled) minute
GIVE_UP = 12.0  # seconds after the recovery at which the curtain falls


@dataclass(frozen=True, slots=True)
class Plan:
    """When what happens, seconds from the start. Tokens run out during the first half of the outage."""

    warm_up: float = 2.0
    life: float = 6.0
    down_at: float = 3.4  # before the first soft point, 0.6 x life
    outage: float = 15.0

    @property
    def back_at(self) -> float:
        """When the server comes back."""
        return self.down_at + self.outage


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fleet."""

    client: str
    agents: int
    outage_s: float
    attempts_during_outage: int
    burst_per_100ms: int
    requests_after: int
    knocks: int
    agents_lost: int
    restarts: int
    never_back: int
    last_back_s: float
    errors: dict[str, int]
    arrivals: tuple[float, ...] = ()  # seconds from the start of the run

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the arrivals."""
        values = asdict(self)
        del values["arrivals"]
        return values


class Run:
    """One fleet: ``n`` agents made by ``make``, on one server."""

    def __init__(
        self, client: str, colony: FakeColony, make: Maker, n: int, plan: Plan, *,
        restart: float = RESTART, give_up: float = GIVE_UP,
    ) -> None:  # fmt: skip
        self._restart, self._give_up = restart, give_up
        self.client, self.colony, self.n, self.plan = client, colony, n, plan
        self._make = make
        self._lost: set[int] = set()
        self._restarts = 0
        self._errors: dict[str, int] = {}
        self._done: list[float] = []
        self._never = 0
        self._marks: dict[str, float] = {}
        self._recovered = self._start = self._origin = 0.0
        self.holding = 0

    @property
    def lost(self) -> int:
        """Agents that died at least once."""
        return len(self._lost)

    @property
    def back(self) -> int:
        """Agents that have a new token."""
        return len(self._done)

    def begin(self, spawn: Callable[..., Callable[[], None]]) -> list[Callable[[], None]]:
        """Start all agents and return what waits for each."""
        self.colony.expires_in(self.plan.life)
        self._origin = self.colony.now()
        self._start = time.monotonic()
        return [spawn(self._agent, i) for i in range(self.n)]

    def go_down(self) -> None:
        """The outage begins."""
        self.colony.behave("status", status=502, html=True)
        self._marks["down"] = self.colony.now()

    def come_back(self) -> None:
        """It ends: the server has a capacity of N/4 requests a second and can be knocked over."""
        self.colony.expires_in(86_400.0)
        self.colony.capacity(max(20.0, self.n / 4))
        self.colony.behave("healthy")
        self._marks["back"] = self.colony.now()
        self._recovered = time.monotonic()

    def outcome(self) -> Outcome:
        """Count."""
        down, back = self._marks["down"], self._marks["back"]
        arrivals = sorted(r.at for r in self.colony.requests() if r.path.endswith("/auth/token"))
        after = [at for at in arrivals if at >= back]
        return Outcome(
            client=self.client,
            agents=self.n,
            outage_s=round(back - down, 1),
            attempts_during_outage=sum(down <= at < back for at in arrivals),
            burst_per_100ms=_burst(after, 0.1),
            requests_after=len(after),
            knocks=self.colony.stats().knocks,
            agents_lost=self.lost,
            restarts=self._restarts,
            never_back=self._never,
            last_back_s=round(max(self._done, default=self._recovered) - self._recovered, 2),
            errors=dict(self._errors),
            arrivals=tuple(at - self._origin for at in arrivals),
        )

    def _agent(self, i: int) -> None:
        first, again = self._make(f"col_agent_{i:05d}")
        self._sleep_until(self._start + self.plan.warm_up * i / self.n)
        first()
        self.holding += 1
        self._sleep_until(time.monotonic() + self.plan.life + 0.01)
        self.holding -= 1
        give_up = self._start + self.plan.back_at + self._give_up
        while time.monotonic() < give_up:
            try:
                again()
            except Exception as error:  # noqa: BLE001 - whatever the client raises, its agent is lost
                self._lost.add(i)
                self._restarts += 1
                name = type(error).__name__
                self._errors[name] = self._errors.get(name, 0) + 1
                time.sleep(self._restart)
            else:
                self._done.append(time.monotonic())
                self.holding += 1
                return
        self._never += 1

    @staticmethod
    def _sleep_until(at: float) -> None:
        time.sleep(max(0.0, at - time.monotonic()))


def _burst(times: list[float], width: float) -> int:
    """Most arrivals within ``width`` seconds."""
    best = first = 0
    for last, at in enumerate(times):
        while times[first] < at - width:
            first += 1
        best = max(best, last - first + 1)
    return best


def spawner(runtime: str) -> Callable[..., Callable[[], None]]:
    """``spawn(fn, *args) -> join`` for threads or greenlets."""
    if runtime == "gevent":
        import gevent

        return lambda fn, *args: gevent.spawn(fn, *args).join
    threading.stack_size(256 * 1024)

    def spawn(fn: Callable[..., object], *args: Any) -> Callable[[], None]:
        thread = threading.Thread(target=fn, args=args, daemon=True)
        thread.start()
        return thread.join

    return spawn
