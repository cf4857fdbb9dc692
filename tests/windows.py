"""Windows in a state of the test's choice."""

from __future__ import annotations

from colony_pool.config import WindowConfig
from tests.support.private import Window, _Tally

RTT = 0.02


def window(size: float = 1.0, maxsize: int = 64, **facts: object) -> Window:
    """A window whose round trip is known."""
    made = Window(WindowConfig(), maxsize)
    made.timed(RTT)
    made.size = size
    for name, value in facts.items():
        setattr(made, f"_{name}", value)
    return made


def floor_knows(made: Window, seen: float, bad: float = 0.0) -> None:
    made._levels[0] = _Tally(seen, bad)


def fill(made: Window, count: int, now: float = 0.0) -> list[tuple[int, int]]:
    return [made.start(now) for _ in range(count)]
