"""What a scenario is made of: plain values, all of them drawn from one seed (``draw.py``)."""

from __future__ import annotations

import math
from dataclasses import dataclass

WALL = 1_790_000_000.0
CALM = "well"


@dataclass(frozen=True, slots=True)
class Weather:
    """What the endpoint does from ``at`` on.

    Attributes:
        at: virtual second.
        kind: one of ``draw.WEATHER``.
        status: of its bad answers.
        ratio: share of bad answers, where that matters.
        delay: of its bad answers, seconds.
        shape: of ``Retry-After``.
        left: what ``X-RateLimit-Remaining`` says; -1 for no such header.
        reset: what ``X-RateLimit-Reset`` says, seconds from now.
    """

    at: float
    kind: str = CALM
    status: int = 502
    ratio: float = 1.0
    delay: float = 0.05
    shape: str = "absent"
    left: int = -1
    reset: int = 0


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """One account: ``totp`` is "", ``clock``, ``fixed``, ``raises`` or ``stuck`` (always the same code)."""

    totp: str = ""
    refused: int = 0  # the status with which the server refuses it ...
    since: float = 0.0
    heals: float = math.inf  # ... between these two


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """One user of a key: so many calls, a pause after each; after a failure another pause, and again."""

    key: int
    at: float
    calls: int
    max_wait: float | None
    pause: float
    again: float
    verb: str = "token"


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that somebody does at a certain time: ``what`` is one of ``draw.DEEDS``."""

    at: float
    what: str
    who: int = 0
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that the seed decides but the order of simultaneous tasks, which is SimRuntime's."""

    seed: int
    theme: str
    keys: tuple[KeyPlan, ...]
    agents: tuple[AgentPlan, ...]
    weather: tuple[Weather, ...]
    deeds: tuple[Deed, ...]
    well_at: float  # from then on the server serves
    capacity: float = 0.0  # requests a second that it can take then; 0: as many as come
    latency: float = 0.05
    life: float = 600.0
    expiry: str = "expires_in"
    disk: bool = False
    listener: str = ""
    kills: int = 0  # callers killed at random switch points
    maxsize: int = 64
    max_retries: int = 6
    retry_network: bool = False
    clocked: float = 0.0  # a step of the server's clock against ours, seconds

    def weather_at(self, now: float) -> Weather:
        """What the endpoint does at ``now``."""
        return next(weather for weather in reversed(self.weather) if weather.at <= now)
