"""The schedule of the demo, and the agents of one process that go through it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Fetch = Callable[[], object]
# (the first fetch, a fetch after the token has run out) for one API key
Maker = Callable[[str], tuple[Fetch, Fetch]]
Join = Callable[..., object]  # join(timeout=None)
Spawn = Callable[..., Join]

SCALE = 240.0  # an hour in fifteen seconds
RESTART = 60.0 / SCALE  # a supervisor restarts a lost agent after a (scaled) minute
LATENCY = 0.01  # seconds that the demo's servers take for an answer


@dataclass(frozen=True, slots=True)
class Schedule:
    """What happens when, in seconds from the start. Tokens run out during the first half of the outage.

    Attributes:
        warm_up: time over which the agents start, one by one.
        life: lifetime of their first tokens.
        down_at: when the server goes down: before the first early refresh, at 0.6 x ``life``.
        outage: how long it is down.
        give_up: time from the end of the outage to the end of the demo.
    """

    warm_up: float = 2.0
    life: float = 6.0
    down_at: float = 3.4
    outage: float = 15.0
    give_up: float = 12.0

    @property
    def back_at(self) -> float:
        """When the server comes back."""
        return self.down_at + self.outage

    @property
    def end(self) -> float:
        """When the demo ends."""
        return self.back_at + self.give_up

    def phase(self, at: float) -> str:
        """The state of the server at that time: ``healthy``, ``outage`` or ``recovery``."""
        if at < self.down_at:
            return "healthy"
        return "outage" if at < self.back_at else "recovery"


def capacity(agents: int) -> float:
    """Token requests a second that the recovering server can serve."""
    return max(20.0, agents / 4)


def some_agents(n: int) -> str:
    """``1 agent``, ``1,000 agents``."""
    return f"{n:,} agent{'s' if n > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of some agents.

    Attributes:
        agents: their number.
        lost: agents that died at least once.
        restarts: how often one of them was restarted.
        errors: how often they died of which exception.
        back: when each had its new token, on the monotonic clock, which is the same for all processes of a host.
    """

    agents: int
    lost: int
    restarts: int
    errors: dict[str, int]
    back: tuple[float, ...]


class AgentGroup:
    """The agents of one process.

    Arguments:
        make: gives an agent its two ways to fetch a token.
        numbers: which of the contestant's agents they are.
        of: how many agents the contestant has.
        schedule: what happens when.
        restart: seconds until a lost agent is restarted.
    """

    def __init__(
        self, make: Maker, numbers: Sequence[int], of: int, schedule: Schedule, *, restart: float = RESTART
    ) -> None:  # fmt: skip
        self._make, self._numbers, self._of = make, numbers, of
        self._schedule, self._restart = schedule, restart
        self._counting = threading.Lock()  # guards the five below: `+=` is not atomic
        self._lost: set[int] = set()
        self._restarts = 0
        self._errors: dict[str, int] = {}
        self._done: list[float] = []
        self.with_token = 0
        self._stopped = False  # not an event: waking a thousand threads at once takes a second
        self._start = 0.0

    @property
    def lost(self) -> int:
        """Agents that died at least once."""
        return len(self._lost)

    @property
    def all_back(self) -> bool:
        """Whether every agent has a new token."""
        return len(self._done) == len(self._numbers)

    def begin(self, spawn: Spawn, start: float) -> list[Join]:
        """Start all agents; return a function to wait for each.

        ``start`` is the schedule's 0 on the monotonic clock.
        """
        self._start = start
        return [spawn(self._agent, number) for number in self._numbers]

    def stop(self) -> None:
        """Let every agent end as soon as its call returns."""
        self._stopped = True

    def totals(self) -> Totals:
        """Count what became of them so far."""
        with self._counting:
            return Totals(len(self._numbers), self.lost, self._restarts, dict(self._errors), tuple(self._done))

    def _agent(self, number: int) -> None:
        first, again = self._make(f"col_agent_{number:05d}")
        _sleep_until(self._start + self._schedule.warm_up * number / self._of)
        if not self._fetched(number, first):
            return
        _sleep_until(time.monotonic() + self._schedule.life + 0.01)
        with self._counting:
            self.with_token -= 1
        if self._fetched(number, again):
            with self._counting:
                self._done.append(time.monotonic())

    def _fetched(self, number: int, fetch: Fetch) -> bool:
        """Fetch a token, with a supervisor that restarts the agent each time that it dies."""
        while not self._stopped and time.monotonic() < self._start + self._schedule.end:
            try:
                fetch()
            except Exception as error:  # noqa: BLE001 - whatever the client raises, its agent is lost
                if self._stopped:
                    return False  # the demo is over: that ended the call, not a failure
                self._note_loss(number, type(error).__name__)
                time.sleep(self._restart)
            else:
                with self._counting:
                    self.with_token += 1
                return True
        return False

    def _note_loss(self, number: int, name: str) -> None:
        with self._counting:
            self._lost.add(number)
            self._restarts += 1
            self._errors[name] = self._errors.get(name, 0) + 1


def _sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.monotonic()))


def patch() -> None:
    """Let sockets switch between greenlets; the demo uses no TLS."""
    from gevent import monkey

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
