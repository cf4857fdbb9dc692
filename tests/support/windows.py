"""Windows in a state of the test's choice."""

from __future__ import annotations

from colony_pool.config import PolicyConfig
from tests.support.private import ConcurrencyLimiter, _LossStats

RTT = 0.02


def window(size: float = 1.0, maxsize: int = 64, **facts: object) -> ConcurrencyLimiter:
    """A window whose round trip is known."""
    made = ConcurrencyLimiter(PolicyConfig(), maxsize)
    made.record_rtt(RTT)
    made.limit = size
    for name, value in facts.items():
        setattr(made, f"_{name}", value)
    return made


def floor_knows(made: ConcurrencyLimiter, seen: float, bad: float = 0.0) -> None:
    made._levels[0] = _LossStats(seen, bad)


def fill(made: ConcurrencyLimiter, count: int, now: float = 0.0) -> list[tuple[int, int]]:
    return [made.start(now) for _ in range(count)]
