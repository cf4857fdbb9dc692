"""One contestant of the demo: agents in processes of their own, with a server of their own; at last its result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .._runtime.select import RuntimeName
from ..testing import FakeColony
from .agents import Schedule
from .processes import ALONE, SHARED, AgentProcess, Assignment, DemoError
from .timeline import Counts, History, Timeline

_STATES = ("half_open", "open", "closed")  # of several breakers, the first of these that one of them is in


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one contestant.

    Attributes:
        kind: of its agents: see ``Assignment``.
        name: of the contestant, in two lines.
        counts: of all its agents and of its server.
        probes: sent by each of its processes; empty for agents on their own.
        deaths: a line for each process that died.
        undecided: whether a process had to do without the shared record.
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
        return in_one_line(self.name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.counts.as_dict(), "probes": list(self.probes), "late_s": round(self.late, 2)}


class Contestant:
    """``n`` agents in ``processes``."""

    def __init__(self, kind: str, colony: FakeColony, n: int, processes: int, schedule: Schedule) -> None:
        self.kind, self.n, self.processes = kind, n, processes
        self.name = _name(kind, processes)
        self._schedule = schedule
        self._colony = colony
        self.timeline = Timeline(colony, n, schedule)
        self.history = History()
        self.members: list[AgentProcess] = []
        self._undecided = False

    def start_processes(
        self, stack: contextlib.ExitStack, runtime: RuntimeName, env: Mapping[str, str], check: Callable[[], object]
    ) -> None:
        """Start the processes; ``stack`` ends them. ``check`` may raise to end the demo before that."""
        exports = self.kind == SHARED and "PROMETHEUS_MULTIPROC_DIR" in env
        for number in range(self.processes):
            check()
            url = self._colony.base_url
            assignment = Assignment(self.kind, url, number, self.processes, self.n, runtime, exports, self._schedule)
            self.members.append(stack.enter_context(AgentProcess(assignment, env)))

    def ready(self, check: Callable[[], object]) -> None:
        """Wait until all processes are ready to start their agents."""
        for process in self.members:
            check()
            process.ready()

    def begin(self, start: float) -> None:
        """Let the agents start at that monotonic time."""
        self.timeline.begin(start)
        for process in self.members:
            process.begin(start)
        self.history.watch(self._colony, start)

    def check(self) -> None:
        """Raise ``DemoError`` if a process failed at its assignment."""
        for process in self.members:
            if process.error:
                raise DemoError(process.error)
            self._undecided |= process.last.shares == "unavailable"

    @property
    def over(self) -> bool:
        """Whether the results of all its agents are known."""
        return all(process.over for process in self.members)

    @property
    def title(self) -> str:
        """The name in one line."""
        return in_one_line(self.name)

    @property
    def with_token(self) -> int:
        """Agents with a valid token."""
        return sum(process.last.with_token for process in self._living)

    @property
    def waiters(self) -> int:
        """Calls that wait."""
        return sum(process.last.waiters for process in self._living)

    @property
    def lost(self) -> int:
        """Agents that died at least once."""
        return sum(len(one.assignment.numbers) if one.died else one.last.lost for one in self.members)

    @property
    def state(self) -> str:
        """Of the breaker that all processes share, or the worst of ``processes`` breakers."""
        found = {process.last.state for process in self._living}
        return next((state for state in _STATES if state in found), "closed")

    @property
    def not_closed(self) -> int:
        """How many processes' breakers are open or half-open."""
        return sum(process.last.state != "closed" for process in self._living)

    @property
    def probes(self) -> int:
        """Sent so far."""
        return sum(process.last.probes for process in self.members)

    @property
    def _living(self) -> list[AgentProcess]:
        return [process for process in self.members if not process.died]

    def deaths(self) -> list[str]:
        """A line for each process that died."""
        return [
            f"process {one.assignment.number + 1} of {self.processes} ({self.title}; pid {one.pid}) "
            f"{one.died}: its {len(one.assignment.numbers):,} agents are lost"
            for one in self.members
            if one.died
        ]

    def result(self) -> Result:
        """What became of it, counted."""
        counts = self.timeline.counts(self.kind, [process.result() for process in self.members])
        probes = () if self.kind == ALONE else tuple(process.last.probes for process in self.members)
        late = max(process.last.late for process in self.members)
        return Result(self.kind, self.name, counts, probes, tuple(self.deaths()), self._undecided, late)


def _name(kind: str, processes: int) -> tuple[str, str]:
    if kind == ALONE:
        return "each agent", "alone"
    if processes == 1:
        return "one", "colony_pool"
    return f"{processes} processes", "one breaker" if kind == SHARED else f"{processes} breakers"


def in_one_line(name: tuple[str, str]) -> str:
    """``one colony_pool``, ``4 processes, one breaker``."""
    return (", " if name[0].endswith("processes") else " ").join(name)
