"""One fleet of agents through one outage.

The server counts the requests and the knock-outs; the agents say when they were lost and when they were back.
"""

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
Join = Callable[..., object]  # join(timeout=None)
Spawn = Callable[..., Join]

SCALE = 240.0  # an hour in fifteen seconds
RESTART = 60.0 / SCALE  # a supervisor restarts a lost agent after a (scaled) minute
GIVE_UP = 12.0  # seconds after the recovery at which the curtain falls
LATENCY = 0.01  # what the demo's servers take for an answer, seconds


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

    def phase(self, at: float) -> str:
        """What the server is doing at that time: ``healthy``, ``outage`` or ``recovery``."""
        if at < self.down_at:
            return "healthy"
        return "outage" if at < self.back_at else "recovery"


def capacity(agents: int) -> float:
    """Token requests a second that the recovering server bears."""
    return max(20.0, agents / 4)


def some_agents(n: int) -> str:
    """``1 agent``, ``1,000 agents``."""
    return f"{n:,} agent{'s' if n > 1 else ''}"


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
    """One fleet: ``n`` agents made by ``make``, on one server.

    Arguments:
        client: what the agents use, for the outcome.
        colony: their server.
        make: gives an agent its two ways to fetch a token.
        n: how many agents.
        plan: when what happens.
        restart: seconds until a lost agent is started anew.
        give_up: seconds after the recovery at which agents without a token stop trying.
    """

    def __init__(
        self, client: str, colony: FakeColony, make: Maker, n: int, plan: Plan, *,
        restart: float = RESTART, give_up: float = GIVE_UP,
    ) -> None:  # fmt: skip
        self._restart, self._give_up = restart, give_up
        self.client, self.colony, self.n, self.plan = client, colony, n, plan
        self._make = make
        self._counting = threading.Lock()  # guards the five below: `+=` is not atomic
        self._lost: set[int] = set()
        self._restarts = 0
        self._errors: dict[str, int] = {}
        self._done: list[float] = []
        self.holding = 0
        self._stopped = False  # no event: to wake a thousand threads at once takes a second
        self._down = self._recovered = self._start = self._origin = 0.0

    @property
    def lost(self) -> int:
        """Agents that died at least once."""
        return len(self._lost)

    @property
    def back(self) -> int:
        """Agents that have a new token."""
        return len(self._done)

    def begin(self, spawn: Spawn) -> list[Join]:
        """Start all agents and return what waits for each."""
        self.colony.expires_in(self.plan.life)
        self._origin = self.colony.now()
        self._start = time.monotonic()
        return [spawn(self._agent, i) for i in range(self.n)]

    def go_down(self) -> None:
        """The outage begins, and the server ends it by its own clock: a herd would be slow to let it be told.

        It comes back with a capacity of N/4 requests a second, and can be knocked over.
        """
        outage = self.plan.outage
        self.colony.schedule([(0.0, "status", {"status": 502, "html": True}), (outage, "healthy")])
        self._recovered = time.monotonic() + outage
        self._down = self.colony.now()
        self.colony.expires_in(86_400.0)
        self.colony.capacity(capacity(self.n))  # what is answered 502 does not count

    def stop(self) -> None:
        """Have every agent end as soon as its call returns."""
        self._stopped = True

    def outcome(self) -> Outcome:
        """Count."""
        down, back = self._down, self._down + self.plan.outage
        arrivals = sorted(r.at for r in self.colony.requests() if r.path.endswith("/auth/token"))
        after = [at for at in arrivals if at >= back]
        with self._counting:
            return Outcome(
                client=self.client,
                agents=self.n,
                outage_s=round(self.plan.outage, 1),
                attempts_during_outage=sum(down <= at < back for at in arrivals),
                burst_per_100ms=_burst(after, 0.1),
                requests_after=len(after),
                knocks=self.colony.stats().knocks,
                agents_lost=self.lost,
                restarts=self._restarts,
                never_back=self.n - self.back,
                last_back_s=round(max(self._done, default=self._recovered) - self._recovered, 2),
                errors=dict(self._errors),
                arrivals=tuple(round(at - self._origin, 3) for at in arrivals),
            )

    def _agent(self, i: int) -> None:
        first, again = self._make(f"col_agent_{i:05d}")
        self._sleep_until(self._start + self.plan.warm_up * i / self.n)
        if not self._fetched(i, first):
            return
        self._sleep_until(time.monotonic() + self.plan.life + 0.01)
        with self._counting:
            self.holding -= 1
        if self._fetched(i, again):
            with self._counting:
                self._done.append(time.monotonic())

    def _fetched(self, i: int, fetch: Fetch) -> bool:
        """Fetch a token, with a supervisor that starts the agent anew each time that it dies of it."""
        give_up = self._start + self.plan.back_at + self._give_up
        while not self._stopped and time.monotonic() < give_up:
            try:
                fetch()
            except Exception as error:  # noqa: BLE001 - whatever the client raises, its agent is lost
                if self._stopped:
                    return False  # the curtain has fallen: it is the end that it met, not a failure
                self._note_loss(i, type(error).__name__)
                time.sleep(self._restart)
            else:
                with self._counting:
                    self.holding += 1
                return True
        return False

    def _note_loss(self, i: int, name: str) -> None:
        with self._counting:
            self._lost.add(i)
            self._restarts += 1
            self._errors[name] = self._errors.get(name, 0) + 1

    def _sleep_until(self, at: float) -> None:
        time.sleep(max(0.0, at - time.monotonic()))


def _burst(times: list[float], width: float) -> int:
    """Most arrivals within ``width`` seconds."""
    best = first = 0
    for last, at in enumerate(times):
        while times[first] < at - width:
            first += 1
        best = max(best, last - first + 1)
    return best


def patch() -> None:
    """Let sockets switch between greenlets, if gevent is installed; the demo has no use for TLS."""
    try:
        from gevent import monkey
    except ImportError:
        return
    monkey.patch_all(ssl=False)


def spawner(runtime: str) -> Spawn:
    """``spawn(fn, *args) -> join`` for threads or greenlets; ``join(timeout)`` waits at most so long."""
    if runtime == "gevent":
        import gevent

        return lambda fn, *args: gevent.spawn(fn, *args).join
    threading.stack_size(256 * 1024)

    def spawn(fn: Callable[..., object], *args: Any) -> Join:
        thread = threading.Thread(target=fn, args=args, daemon=True)
        thread.start()
        return thread.join

    return spawn
