"""The demo without a terminal: a line for every two seconds."""

from __future__ import annotations

from collections.abc import Sequence

from .agents import Schedule
from .contestant import Contestant, titled

_HEAD = (
    "                 -------- one colony_pool --------   ---- each alone ----\n"
    "  time  server   breaker   waiting  req/s  tokens    lost  req/s  tokens"
)
_COLUMNS = "  time  server   breaker   waiting probing  req/s tokens   open waiting  req/s   lost  req/s"


class Lines:
    """A line for the sides at one moment."""

    def __init__(self, schedule: Schedule, sides: Sequence[Contestant]) -> None:
        self._schedule, self._sides = schedule, sides

    def head(self) -> str:
        """What stands above the lines."""
        if len(self._sides) == 2:
            return _HEAD
        names = [titled(self._sides[0].name), self._sides[1].name[1], "each alone"]
        groups = (f" {name} ".center(width, "-") for name, width in zip(names, (39, 20, 14), strict=True))
        return " " * 17 + "  ".join(groups) + "\n" + _COLUMNS

    def line(self, at: float) -> str:
        """One moment, ``at`` seconds from the start."""
        ours, alone = self._sides[0], self._sides[-1]
        start = f"{at:4.1f} s  {self._schedule.phase(at):9}{ours.state.replace('_', '-'):9} {ours.waiters:7,} "
        if len(self._sides) == 2:
            return (
                f"{start}{ours.history.rate:6,.0f} {ours.with_token:7,}   "
                f"{alone.lost:5,} {alone.history.rate:6,.0f} {alone.with_token:7,}"
            )
        apart = self._sides[1]
        return (
            f"{start}{_probing(ours):>7} {ours.history.rate:6,.0f} {ours.with_token:6,}   "
            f"{apart.not_closed:2}/{apart.processes:<2} {apart.waiters:6,} {apart.history.rate:6,.0f}  "
            f"{alone.lost:5,} {alone.history.rate:6,.0f}"
        )


def _probing(side: Contestant) -> str:
    """Which process sent the last probe, just now."""
    numbers = [worker.assignment.number + 1 for worker in side.workers if worker.probed_just_now]
    return ",".join(f"#{number}" for number in numbers[:2]) or "-"
