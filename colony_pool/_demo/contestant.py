"""One side of the demo: a fleet of agents in its own processes, and its server; and at last its result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..testing import FakeColony
from .agents import Schedule
from .processes import ALONE, ONE_DOOR, AgentProcess, Assignment, DemoError
from .timeline import Counts, History, Timeline

_STATES = ("half_open", "open", "closed")  # of several behind one door, the first that any is in


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one side.

    Attributes:
        kind: of its agents.
        name: of the side, in two lines.
        counts: of all its agents.
        probes: sent by each of its processes; none of agents on their own.
        deaths: what is to be told of processes that have died.
        undecided: whether a process had to do without what is shared.
        late: seconds by which a process was late at worst.
    """

    kind: str
    name: tuple[str, str]
    counts: Counts
    probes: tuple[int, ...]
    deaths: tuple[str, ...]
    undecided: bool
    late: float

    @property
    def title(self) -> str:
        """The name in one line."""
        return titled(self.name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.counts.as_dict(), "probes": list(self.probes), "late_s": round(self.late, 2)}


class Contestant:
    """A fleet of ``n`` agents in ``processes``."""

    def __init__(self, kind: str, colony: FakeColony, n: int, processes: int, schedule: Schedule) -> None:
        self.kind, self.n, self.processes = kind, n, processes
        self.name = _name(kind, processes)
        self._schedule = schedule
        self._colony = colony
        self.timeline = Timeline(colony, n, schedule)
        self.history = History()
        self.workers: list[AgentProcess] = []
        self._undecided = False

    def start_processes(
        self, stack: contextlib.ExitStack, runtime: str, env: Mapping[str, str], check: Callable[[], object]
    ) -> None:
        """Start the processes, to be ended by ``stack``; ``check`` may end it before that."""
        exports = self.kind == ONE_DOOR and "PROMETHEUS_MULTIPROC_DIR" in env
        for number in range(self.processes):
            check()
            url = self._colony.base_url
            assignment = Assignment(self.kind, url, number, self.processes, self.n, runtime, exports, self._schedule)
            self.workers.append(stack.enter_context(AgentProcess(assignment, env)))

    def ready(self, check: Callable[[], object]) -> None:
        """Wait until all processes could start."""
        for worker in self.workers:
            check()
            worker.ready()

    def begin(self, start: float) -> None:
        """Let the agents start at that monotonic time."""
        self.timeline.begin(start)
        for worker in self.workers:
            worker.begin(start)
        self.history.watch(self._colony, start)

    def check(self) -> None:
        """Raise ``DemoError`` if a process could not do what it was to."""
        for worker in self.workers:
            if worker.error:
                raise DemoError(worker.error)
            self._undecided |= worker.last.shares == "unavailable"

    @property
    def over(self) -> bool:
        """Whether all has become of its agents that will."""
        return all(worker.over for worker in self.workers)

    @property
    def with_token(self) -> int:
        """Agents with a valid token."""
        return sum(worker.last.with_token for worker in self._living)

    @property
    def waiters(self) -> int:
        """Calls that are parked."""
        return sum(worker.last.waiters for worker in self._living)

    @property
    def lost(self) -> int:
        """Agents that died at least once."""
        return sum(len(w.assignment.numbers) if w.died else w.last.lost for w in self.workers)

    @property
    def state(self) -> str:
        """Of the breaker: the one that all processes share, or of ``processes`` breakers the worst."""
        found = {worker.last.state for worker in self._living}
        return next((state for state in _STATES if state in found), "closed")

    @property
    def not_closed(self) -> int:
        """How many processes' breakers are open or half-open."""
        return sum(worker.last.state != "closed" for worker in self._living)

    @property
    def next_probe_in(self) -> float | None:
        """Seconds, ``None`` while the breaker is closed."""
        return min((w.last.next_probe_in for w in self._living if w.last.next_probe_in is not None), default=None)

    @property
    def probes(self) -> int:
        """Sent so far."""
        return sum(worker.last.probes for worker in self.workers)

    @property
    def _living(self) -> list[AgentProcess]:
        return [worker for worker in self.workers if not worker.died]

    def deaths(self) -> list[str]:
        """What is to be told of processes that have died, a line each."""
        return [
            f"process {w.assignment.number + 1} of {self.processes} ({titled(self.name)}; pid {w.pid}) {w.died}: "
            f"its {len(w.assignment.numbers):,} agents are lost"
            for w in self.workers
            if w.died
        ]

    def result(self) -> Result:
        """What became of it, counted."""
        counts = self.timeline.counts(self.kind, [worker.result() for worker in self.workers])
        probes = () if self.kind == ALONE else tuple(worker.last.probes for worker in self.workers)
        late = max(worker.last.late for worker in self.workers)
        return Result(self.kind, self.name, counts, probes, tuple(self.deaths()), self._undecided, late)


def _name(kind: str, processes: int) -> tuple[str, str]:
    if kind == ALONE:
        return "each agent", "alone"
    if processes == 1:
        return "one", "colony_pool"
    return f"{processes} processes", "one door" if kind == ONE_DOOR else f"{processes} doors"


def titled(name: tuple[str, str]) -> str:
    """``one colony_pool``, ``4 processes, one door``."""
    return (", " if name[0].endswith("processes") else " ").join(name)
