"""2026-05-21 at its real size: a thousand agents, an hour of 502 in real seconds, a server that can be knocked over.

Their tokens run out one by one during the outage. Afterwards the server takes a quarter of them a second, and as many
too many within a second knock it over. A supervisor restarts a lost agent after a minute.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from colony_pool import ColonyAPIError
from tests.support.private import listen

from .scenario import Scenario, Weather
from .stage import HOUR, MINUTE, Stage, accounts
from .users import key_name

LIFE = HOUR  # of a token
ARRIVAL = HOUR / 2  # the agents come one by one within this time
DOWN_AT = 2000.0
WELL_AT = DOWN_AT + HOUR
END = WELL_AT + 10 * MINUTE
USE_INTERVAL = 60.0  # an agent uses its token this often
RESTART = 60.0


@dataclass(frozen=True)
class Incident:
    """What it came to."""

    patience: str
    agents: int
    attempts: int  # requests for a token during the outage
    burst: int  # the most of them within 0.1 s, at any time
    knocks: int
    lost: int  # agents that failed, at least once
    failures: int  # how often, in all
    never_back: int
    closed_after: float  # seconds from the recovery to the probe that finds it
    last_back: float  # seconds from the recovery to the last agent's token
    ideal: float  # seconds that the server's capacity needs for all


class Fleet:
    """The agents and their supervisor."""

    def __init__(self, stage: Stage, max_wait: float | None) -> None:
        self.stage, self.max_wait = stage, max_wait
        self.lost: set[int] = set()
        self.failures = 0
        self.back: dict[int, float] = {}  # agents: when they first had a token after the recovery

    def start(self, number: int) -> None:
        """Agent ``number`` begins."""
        self.stage.later(ARRIVAL * number / len(self.stage.scenario.keys), functools.partial(self._live, number))

    def _live(self, number: int) -> None:
        stage = self.stage
        while stage.now < END - USE_INTERVAL:
            try:
                stage.pool.agent(key_name(number)).token(max_wait=self.max_wait)
            except ColonyAPIError:
                self.lost.add(number)
                self.failures += 1
                stage.sim.sleep(RESTART)
                continue
            if stage.now >= WELL_AT:
                self.back.setdefault(number, stage.now)
            stage.sim.sleep(USE_INTERVAL)


def play(agents: int, max_wait: float | None, seed: int = 1) -> Incident:
    """Play it once."""
    weather = (Weather(0.0), Weather(DOWN_AT, "down"), Weather(WELL_AT))
    scenario = Scenario(seed, "incident", accounts(agents), (), weather, (), WELL_AT, agents / 4, 0.02, LIFE)
    stage = Stage(scenario, token_cache=None)
    fleet = Fleet(stage, max_wait)
    closings: list[float] = []
    listen(stage.pool, lambda event: closings.append(stage.now) if getattr(event, "new", "") == "closed" else None)
    for number in range(agents):
        fleet.start(number)
    stage.sim.run(until=END)
    stage.sim.end()
    assert stage.server.capacity is not None
    return Incident(
        patience="default" if max_wait is None else f"{max_wait:g} s",
        agents=agents,
        attempts=stage.tally.between(DOWN_AT, WELL_AT),
        burst=stage.tally.burst(),
        knocks=stage.server.capacity.knocks,
        lost=len(fleet.lost),
        failures=fleet.failures,
        never_back=agents - len(fleet.back),
        closed_after=max(closings, default=END) - WELL_AT,
        last_back=max(fleet.back.values(), default=END) - WELL_AT,
        ideal=4.0,
    )
