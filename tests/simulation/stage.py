"""What the replays share: a server that is looked at, and processes of agents on virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colony_pool import ColonyPool

from .answers import Answer
from .scenario import KeyPlan, Scenario
from .server import Server, Wire
from .tasks import GreenSim

HOUR, MINUTE = 3600.0, 60.0
BASE_URL = "https://replay.example/api/v1"


class Tally:
    """Notes when requests for a token leave, of which key, and what they are answered."""

    def __init__(self, sim: GreenSim) -> None:
        self._sim = sim
        self.sent: list[float] = []
        self.answers: list[tuple[float, int, int]] = []  # when, key, status

    def sending(self, key: int, code: str) -> int:
        """A request leaves."""
        self.sent.append(self._sim.monotonic())
        return key

    def heard(self, key: int, answer: Answer) -> None:
        """It is answered."""
        self.answers.append((self._sim.monotonic(), key, answer.status))

    def between(self, start: float, end: float) -> int:
        """Requests that left in this time."""
        return sum(start <= at < end for at in self.sent)

    def burst(self, width: float = 0.1) -> int:
        """The most requests within ``width`` seconds."""
        most = first = 0
        for last, at in enumerate(self.sent):
            while self.sent[first] <= at - width:
                first += 1
            most = max(most, last - first + 1)
        return most


class Stage:
    """A server with ``agents`` accounts, and the pool of the process that lives now."""

    def __init__(self, scenario: Scenario, **options: Any) -> None:
        self.scenario = scenario
        self.sim = GreenSim(scenario.seed)
        self.server = Server(self.sim, scenario)
        self.tally = Tally(self.sim)
        self.options = options
        self.pool = self.process()

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.sim.monotonic()

    def process(self) -> ColonyPool:
        """Begin a process: a pool of its own."""
        self.pool = ColonyPool(
            BASE_URL, runtime=self.sim, registry=None,
            transport=Wire(self.server, self.tally), **self.options,
        )  # fmt: skip
        return self.pool

    def later(self, at: float, do: Callable[[], object]) -> None:
        """Have ``do()`` done at virtual second ``at``."""
        self.sim.call_later(at - self.now, do)


def accounts(count: int) -> tuple[KeyPlan, ...]:
    """So many ordinary keys."""
    return (KeyPlan(),) * count
