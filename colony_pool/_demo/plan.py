"""The outage that both sides live through, and every number of it.

Schedules run ``SCALE`` times faster than in life, so an hour is 20 seconds and the SDK's 122 s of patience are
0.68 s. What belongs to the server keeps its pace: a knocked-over server needs a full second to get up.

========== ======= ==========================================================================================
phase      seconds what happens
========== ======= ==========================================================================================
healthy    3       agents start one by one; each gets a token
outage     20      ``/auth/token`` answers 502; the tokens run out one by one from 2 s to 10 s into it
recovery   8       it serves a quarter of the agents a second (at least 20); as many too many within a second
                   knock it over for a second. Ends early when everybody has a token again
========== ======= ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

SCALE = 180.0
HEALTHY, OUTAGE, RECOVERY = "healthy", "outage", "recovery"
SECONDS = {HEALTHY: 3.0, OUTAGE: 20.0, RECOVERY: 8.0}
STARTING = 1.5
FIRST_EXPIRY, LAST_EXPIRY = 2.0, 10.0  # seconds into the outage
RESTART = 60.0 / SCALE
MAX_WAIT = 7200.0 / SCALE
LONG_LIFE = 86_400.0
POOL, ALONE = "pool", "alone"
TITLES = {POOL: "one ColonyPool", ALONE: "each on its own"}
LATENCY = 0.005


class DemoError(Exception):
    """The demo cannot run here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the user asked for."""

    agents: int = 200
    seed: int = 1
    runtime: str = "auto"
    metrics_port: int | None = None

    def __post_init__(self) -> None:
        if self.runtime not in ("auto", "gevent", "threads"):
            raise ValueError(f"--runtime {self.runtime}: must be auto, gevent or threads")
        if self.runtime == "gevent" and find_spec("gevent") is None:
            raise ValueError('--runtime gevent: gevent is not installed; pip install "colony_pool[gevent]"')

    @property
    def chosen_runtime(self) -> str:
        """``"gevent"`` or ``"threads"``."""
        if self.runtime != "auto":
            return self.runtime
        return "gevent" if find_spec("gevent") is not None else "threads"

    @property
    def rate(self) -> float:
        """Token requests a second that the recovering server bears."""
        return max(20.0, self.agents / 4)

    @property
    def ideal(self) -> float:
        """Seconds that serving every agent takes at that rate."""
        return self.agents / self.rate


def phase_at(elapsed: float) -> tuple[str, float]:
    """The phase, and how far it is, 0..1, after ``elapsed`` seconds."""
    for name, seconds in SECONDS.items():
        if elapsed < seconds:
            return name, elapsed / seconds
        elapsed -= seconds
    return RECOVERY, 1.0


def life_at(elapsed: float) -> float:
    """Life of a token that an agent gets ``elapsed`` seconds after the start, so that they run out in turn."""
    if elapsed >= SECONDS[HEALTHY]:
        return LONG_LIFE
    share = min(1.0, elapsed / STARTING)
    return SECONDS[HEALTHY] + FIRST_EXPIRY + share * (LAST_EXPIRY - FIRST_EXPIRY) - elapsed
