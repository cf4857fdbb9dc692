"""The delay formula."""

from __future__ import annotations


def jittered(delay: float, jitter: float, rand: float) -> float:
    """``delay`` less up to ``jitter`` (0..1) of itself; ``rand`` in [0, 1) says how much."""
    return delay * (1.0 - jitter * rand)
