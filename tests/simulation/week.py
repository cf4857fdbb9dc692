"""A week of 700 agents behind one address that may make 30 exchanges an hour.

The processes are restarted every 20 minutes, all that they leave behind is the cache on disk. Tokens live for a day,
and there is an outage of an hour on every day. The limit alone is nearly too small: 700 tokens take it 23 h 20 min.
It begins in the middle of things, with tokens of all ages on disk, or ``cold``, with none: then all 700 want one.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from random import Random

from colony_pool import ColonyAPIError, ColonyRateLimitError
from tests.support.private import TokenCache

from .scenario import WALL, Scenario, Weather
from .stage import BASE_URL, HOUR, MINUTE, Stage, accounts
from .users import key_name

DAY = 24 * HOUR
LIFE = DAY  # of a token
RESTART = 20 * MINUTE
ALLOWED = 30  # exchanges an hour
MARGIN = 60.0
OUTAGE_AT = 10 * HOUR  # of each day, for an hour


@dataclass(frozen=True)
class Week:
    """What it came to."""

    begins: str
    agents: int
    days: float
    processes: int
    granted: int
    requests: int
    foretold: int  # 429s that the headers had foretold to the process that provoked them
    unforeseen: int  # 429s of processes that could not know: their predecessor was told
    outage_attempts: int  # the most in one outage
    longest_without: float  # seconds that an agent was without a token
    needed: float  # seconds that an outage and the limit itself need for all


class Life:
    """The agents of one process after the other."""

    def __init__(self, stage: Stage, days: float, ends: dict[int, float]) -> None:
        self.stage = stage
        self.ends = ends  # of each agent's last token
        self.longest_without = 0.0
        self.end = days * DAY
        self.processes = self.foretold = self.unforeseen = 0
        self._dice = Random(f"week {stage.scenario.seed}")
        self._seen = 0  # answers that were looked at

    def process(self) -> None:
        """One process from its start to its restart: in a task of its own."""
        stage = self.stage
        while stage.now < self.end:
            pool = stage.pool if self.processes == 0 else stage.process()
            self.processes += 1
            over = stage.now + RESTART
            agents = list(range(len(stage.scenario.keys)))
            self._dice.shuffle(agents)  # who asks first is served first: always the same would starve the last ones
            for number in agents:
                self._start(number, over)
            stage.sim.sleep(over - stage.now)
            pool.close()
            self._look_at_answers()

    def _start(self, number: int, over: float) -> None:
        """An agent begins. Who finds a token that outlives the process needs no task of its own: it never waits."""
        ends = self.ends[number] - MARGIN
        if ends > self.stage.now:
            self.stage.pool.agent(key_name(number)).token()
        if ends < over:
            self.stage.sim.call_later(ends - self.stage.now, functools.partial(self._ask, number, over))

    def _ask(self, number: int, over: float) -> None:
        stage = self.stage
        agent = stage.pool.agent(key_name(number))
        while stage.now < over:
            pause = MINUTE
            try:
                agent.token()
                return
            except ColonyRateLimitError as error:
                pause = max(MINUTE, error.retry_after or 0.0)
            except ColonyAPIError:
                pass
            stage.sim.sleep(min(pause, over - stage.now))

    def _look_at_answers(self) -> None:
        """Who got a token? Were the 429s of this process foretold? (Its first request cannot know.)"""
        answers = self.stage.tally.answers[self._seen :]
        self._seen = len(self.stage.tally.answers)
        announced = False
        for at, key, status in answers:
            if status == 429:
                self.foretold += announced
                self.unforeseen += not announced
            elif status == 200:
                self.longest_without = max(self.longest_without, at - self.ends[key])
                self.ends[key] = at + LIFE
            announced = announced or status in (200, 429)


def play(agents: int = 700, days: float = 7.0, seed: int = 1, *, cold: bool = False) -> Week:
    """Play it once. It writes a token cache: set the directory for it."""
    ends = {n: 0.0 if cold else LIFE * (n + 1) / agents for n in range(agents)}
    cache = TokenCache(BASE_URL)
    for number, end in ends.items():
        cache.save(key_name(number), f"of-before-{number}", WALL + end)
    weather = [Weather(0.0, "limit")]
    for day in range(int(days) + 1):
        weather += [Weather(day * DAY + OUTAGE_AT, "down"), Weather(day * DAY + OUTAGE_AT + HOUR, "limit")]
    scenario = Scenario(seed, "week", accounts(agents), (), tuple(weather), (), 0.0, life=LIFE)
    stage = Stage(scenario, token_cache="disk")
    stage.server.limit(ALLOWED, HOUR)
    life = Life(stage, days, ends)
    stage.sim.task(life.process, "supervisor")
    stage.sim.run(until=life.end + RESTART)
    stage.sim.end()
    outages = [day * DAY + OUTAGE_AT for day in range(int(days) + 1)]
    return Week(
        begins="cold" if cold else "warm",
        agents=agents,
        days=days,
        processes=life.processes,
        granted=sum(status == 200 for _, _, status in stage.tally.answers),
        requests=len(stage.tally.sent),
        foretold=life.foretold,
        unforeseen=life.unforeseen,
        outage_attempts=max(stage.tally.between(at, at + HOUR) for at in outages),
        longest_without=max(life.longest_without, *(life.end - at for at in life.ends.values())),
        needed=HOUR + HOUR * agents / ALLOWED,
    )
