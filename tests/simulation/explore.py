"""Plays many seeds, on one core or several, and says what they met and what broke."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from .draw import draw
from .world import World, disk

_CHUNK = 50


@dataclass
class Found:
    """What came of some seeds."""

    seeds: int = 0
    hours: float = 0.0  # of virtual time
    seconds: float = 0.0  # of a processor
    met: Counter[str] = field(default_factory=Counter)  # in how many scenarios
    broken: list[tuple[int, str, str]] = field(default_factory=list)  # seed, promise, what happened

    def add(self, other: Found) -> None:
        """Count what ``other`` has found, too."""
        self.seeds += other.seeds
        self.hours += other.hours
        self.seconds += other.seconds
        self.met.update(other.met)
        self.broken += other.broken


def play(seed: int, found: Found) -> None:
    """Play one seed."""
    world = World(draw(seed))
    breach = world.play()
    found.seeds += 1
    found.hours += world.now / 3600.0
    found.met.update(dict.fromkeys(world.met, 1))
    if breach is not None:
        found.broken.append((seed, breach.name, str(breach)))


def play_all(seeds: Iterable[int]) -> Found:
    """Play ``seeds`` in this process."""
    found = Found()
    start = time.process_time()
    with disk():
        for seed in seeds:
            play(seed, found)
    found.seconds = time.process_time() - start
    return found


def explore(first: int, count: int, jobs: int) -> Iterator[Found]:
    """Play ``count`` seeds from ``first`` on, a chunk after the other."""
    chunks = [range(at, min(at + _CHUNK, first + count)) for at in range(first, first + count, _CHUNK)]
    if jobs == 1:
        yield from map(play_all, chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(play_all, chunks)


def replay_command(seed: int) -> str:
    """The line that plays ``seed`` again."""
    return f"python -m tests.simulation --seed {seed} --history"


def history(seed: int) -> Iterator[str]:
    """The story of one seed, line by line; its end says what broke, if anything did."""
    scenario = draw(seed)
    with disk():
        world = World(scenario, remember=True)
        breach = world.play()
    yield f"seed {seed}, theme {scenario.theme}: {len(scenario.agents)} agents with {len(scenario.keys)} keys"
    for weather in scenario.weather:
        yield f"  from {weather.at:g} s: {weather.kind} {weather.status} ({weather.ratio:.0%}, {weather.delay:g} s)"
    for at, what, words in world.history or []:
        yield f"{at:12.4f}  {what:10}  {words}"
    yield f"BROKEN: {breach}" if breach is not None else "every promise held"


def table(found: Found) -> Iterator[str]:
    """What was met, the rarest last."""
    yield f"{'scenarios that met':28} {'count':>8}"
    for name, count in sorted(found.met.items(), key=lambda item: (not item[0].startswith("theme"), -item[1])):
        yield f"{name:28} {count:8,}"
