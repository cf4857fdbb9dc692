"""75 minutes of a real pool on virtual time, scraped every 15 s: healthy, throttled, denied, down, recovered.

The result is what a Prometheus would have been given: the collector's own exposition, with the time of each scrape
behind each sample, ready for ``promtool tsdb create-blocks-from openmetrics``. Beside it stands a witness of its
own: every event that the dispatcher told of, and the journal's numbers at each scrape.
"""

from __future__ import annotations

import contextlib
import functools
import re
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from colony_pool import ColonyAPIError, ColonyPool
from colony_pool.agent import Agent
from colony_pool.testing.sim import SimKilled, SimRuntime, SimTask
from tests.support.private import Event, agents_of, listen, state_of

from .endpoint import AFTERNOON, LENGTH, MINUTE, Endpoint

SCRAPE = 15.0
POOL, JOB, INSTANCE = "thecolony.ai", "agents", "127.0.0.1:9464"
_TARGET = f'job="{JOB}",instance="{INSTANCE}"'
_SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$")


@dataclass
class Family:
    """One metric family over the whole time; OpenMetrics wants it in one piece."""

    header: list[str]
    samples: list[str] = field(default_factory=list)


@dataclass
class History:
    """What Prometheus is given, and what it is measured by."""

    families: dict[str, Family] = field(default_factory=dict)
    events: list[tuple[float, Event]] = field(default_factory=list)  # (virtual second, event)
    scrapes: list[float] = field(default_factory=list)  # unix seconds
    kept: int = 0  # agents that got what they wanted at the end

    @property
    def start(self) -> float:
        return self.scrapes[0]

    @property
    def end(self) -> float:
        return self.scrapes[-1]

    def openmetrics(self) -> str:
        lines: list[str] = []
        for family in self.families.values():
            if family.samples:  # a lazy metric that never had anything to tell is no family
                lines += family.header + family.samples
        return "\n".join([*lines, "# EOF", ""])

    def scrape(self, registry: CollectorRegistry, at: float) -> None:
        """Take the exposition as it is; add the target's labels and the time, as a scrape would."""
        self.scrapes.append(at)
        family = Family([])
        for line in generate_latest(registry).decode().splitlines():  # type: ignore[no-untyped-call]
            if line.startswith("#"):
                name = line.split()[2] if len(line.split()) > 2 else ""
                family = self.families.setdefault(name, Family([]))
                if name and line not in family.header:
                    family.header.append(line)
            elif match := _SAMPLE.match(line):
                labels = ",".join(part for part in (_TARGET, match[2]) if part)
                family.samples.append(f"{match[1]}{{{labels}}} {match[3]} {at:.3f}")
            else:
                raise ValueError(f"not a sample: {line}")


class World:
    """One pool with its agents."""

    def __init__(self, seed: int) -> None:
        self.sim = SimRuntime(seed, wall=AFTERNOON)
        self.endpoint = Endpoint(self.sim)
        self.registry = CollectorRegistry()
        self.history = History()
        self.pool = ColonyPool(
            "https://thecolony.ai/api/v1", name=POOL, registry=self.registry, token_cache=None, runtime=self.sim,
            transport=self.endpoint,
        )  # fmt: skip
        listen(self.pool, lambda event: self.history.events.append((self.sim.monotonic(), event)))
        self.tasks: list[SimTask] = []

    def agents(self, first: int, count: int, at: float, within: float) -> None:
        """Start ``count`` agents, one after the other ``within`` some time."""
        for n in range(first, first + count):
            start = at + within * (n - first) / count
            self.sim.call_later(start, functools.partial(self._begin, n))

    def _begin(self, n: int) -> None:
        self.tasks.append(self.sim.task(functools.partial(self._live, n), f"agent {n}"))

    def _live(self, n: int) -> None:
        """An agent: it works, and when it cannot, it tries again after half a minute. Every third makes calls."""
        agent = self.pool.agent(f"col_agent_{n}")
        patience = 3600.0 if n % 2 else None
        while self.sim.monotonic() < LENGTH:
            pause = 5.0 + 10.0 * self.sim.random()
            try:
                self._work(agent, n, patience)
            except ColonyAPIError:
                pause = 30.0
            self.sim.sleep(pause)

    def _work(self, agent: Agent, n: int, patience: float | None) -> None:
        agent.token(max_wait=patience)
        if n % 3 == 0:
            agent.get("/users/me")

    def revoke(self, at: float, share: int) -> None:
        """The server forgets every ``share``-th token that is in use."""

        def forget() -> None:
            for agent in agents_of(self.pool).all()[::share]:
                if (token := state_of(agent).account.token) is not None:
                    self.endpoint.revoked.add(token.jwt)

        self.sim.call_later(at, forget)

    def kill(self, at: float, *names: str) -> None:
        def end() -> None:
            for task in self.tasks:
                if task.name in names:
                    task.kill()

        self.sim.call_later(at, end)


def play(seed: int = 1) -> History:
    """The night of 2026-05-21, once again."""
    world = World(seed)
    world.agents(0, 60, 0.0, 50.0)
    world.revoke(8 * MINUTE, 12)
    world.agents(60, 6, 10.0 * MINUTE, 20.0)
    world.agents(66, 30, 20.1 * MINUTE, 20.0)  # a deployment in the middle of the short outage
    world.agents(96, 24, 45.2 * MINUTE, 40.0)  # restarts by a supervisor
    world.kill(58 * MINUTE, "agent 97", "agent 99")
    world.revoke(70 * MINUTE, 1)
    for scrape in range(int(LENGTH / SCRAPE) + 1):
        world.sim.run(until=scrape * SCRAPE)
        world.history.scrape(world.registry, AFTERNOON + scrape * SCRAPE)
    _end(world)
    return world.history


def _end(world: World) -> None:
    world.history.kept = sum(state_of(agent).account.token is not None for agent in agents_of(world.pool).all())
    for task in world.tasks:
        assert task.error is None or isinstance(task.error, SimKilled), (task.name, task.error)
        task.kill()
    with contextlib.suppress(SimKilled):
        world.sim.run(until=LENGTH + 300.0)
    closing = world.sim.task(world.pool.close, "close")
    world.sim.run(until=LENGTH + 400.0)
    closing.result()
