"""The users of the pool: they ask, work, fail, try again; they are killed, and run out of time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colony_pool import ColonyAPIError
from colony_pool.agent import Agent
from colony_pool.testing.sim import SimKilled, SimTask

from .ledger import Issued
from .scenario import AgentPlan, KeyPlan
from .server import KEY

if TYPE_CHECKING:
    from .world import World


class TotpRaised(Exception):
    """What a user's ``totp`` callable raises."""


@dataclass(slots=True)
class Call:
    """What a user's call came to."""

    key: int
    verb: str
    at: float
    usable: Issued | None  # the token that was there when it came
    jwt: str = ""
    error: BaseException | None = None

    @property
    def outcome(self) -> str:
        """In a word."""
        return type(self.error).__name__ if self.error is not None else "an answer"


class User:
    """One agent. A supervisor lets it try again after a failure; after a kill it is gone."""

    def __init__(self, world: World, plan: AgentPlan, number: int) -> None:
        self.world, self.plan, self.number = world, plan, number
        self.task: SimTask | None = None
        self.timed_out = False  # what kills it next is its own timeout, and it lives on

    def start(self) -> None:
        """Begin to live."""
        self.task = self.world.sim.task(self._live, f"agent {self.number}")

    @property
    def alive(self) -> bool:
        """Whether it has begun and not ended."""
        return self.task is not None and not self.task.done

    def kill(self) -> None:
        """Kill it where it stands."""
        if self.task is not None and self.alive:
            self.task.kill()

    def time_out(self) -> None:
        """End its present call, as ``gevent.Timeout`` would."""
        self.timed_out = self.alive
        self.kill()

    def _live(self) -> None:
        for _ in range(self.plan.calls):
            try:
                good = self.world.call(self.plan.key, self.plan.verb, self.plan.max_wait)
                self.world.sim.sleep(self.plan.pause if good else self.plan.again)
            except SimKilled:
                if not self.timed_out:
                    raise
                self.timed_out = False


def totp(world: World, key: int, plan: KeyPlan) -> str | Callable[[], str] | None:
    """The second factor of a key."""
    if plan.totp == "fixed":
        return "123456"
    if plan.totp == "stuck":
        return lambda: "654321"
    if plan.totp == "raises":
        return functools.partial(_raise, world)
    if plan.totp == "clock":
        return lambda: f"{(int(world.sim.now() // 30.0) * 7919 + key) % 1_000_000:06d}"
    return None


def _raise(world: World) -> str:
    if world.server.dice.random() < 0.5:
        raise TotpRaised("no code at hand")
    return f"{int(world.sim.now() // 30.0) % 1_000_000:06d}"


def key_name(key: int) -> str:
    """The API key of an account."""
    return f"{KEY}{key}"


def ask(agent: Agent, call: Call, max_wait: float | None) -> None:
    """Make the call and note what came of it."""
    try:
        if call.verb == "get":
            agent.get("/users/me")
        else:
            call.jwt = agent.token(max_wait=max_wait)
    except (ColonyAPIError, TotpRaised) as error:
        call.error = error
