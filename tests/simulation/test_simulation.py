"""The simulation: thousands of scenarios hold every promise, and it finds what is broken on purpose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from colony_pool.testing import SimRuntime
from tests.simulation.__main__ import main
from tests.simulation.bugs import BUGS
from tests.simulation.draw import THEMES, draw
from tests.simulation.endings import AFTER_CLOSE, AT_THE_END
from tests.simulation.explore import Found, explore, history, play_all
from tests.simulation.invariants import AT
from tests.simulation.tasks import GreenSim
from tests.simulation.world import World, disk

SEEDS, BLOCK = 2000, 400
PROMISES = {name for promises in AT.values() for name, _ in promises}
PROMISES |= {name for name, _ in (*AT_THE_END, *AFTER_CLOSE)}
# What a scenario may meet, beside its theme, and each block of seeds does.
EVENTS = {
    "401 forced a refresh", "breaker opened", "budget refused a retry", "close", "end", "half_open", "hold",
    "invalidate", "key refused", "kill", "late answer", "lease lost", "open", "restart", "revoke",
    "server refused everybody", "soft refresh", "step", "timeout", "token from the disk", "window cut",
}  # fmt: skip


BLOCKS = [pytest.param(first, marks=pytest.mark.slow if first else []) for first in range(0, SEEDS, BLOCK)]


@pytest.mark.parametrize("first", BLOCKS)
def test_every_promise_holds_in_every_scenario(first: int) -> None:
    """G1 to G18 and more, each after every event (``tests/simulation/invariants.py``)."""
    found = play_all(range(first, first + BLOCK))
    assert [] == found.broken
    assert {f"theme {theme}" for theme in THEMES} | EVENTS <= set(found.met), "the generator has become blind"


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found_by_the_promise_that_it_breaks(name: str) -> None:
    promise, bug = BUGS[name]
    assert promise in PROMISES
    broken: Counter[str] = Counter()
    with disk(), bug():
        for seed in range(SEEDS):
            breach = World(draw(seed)).play()
            broken.update([breach.name] if breach is not None else [])
            if promise in broken:
                return
    raise AssertionError(f"{name} was not found by {promise!r} in {SEEDS} seeds; found: {dict(broken)}")


def test_a_seed_plays_the_same_history_each_time() -> None:
    for seed in range(0, 60, 3):
        assert list(history(seed)) == list(history(seed))


def test_a_failing_seed_is_told_in_one_line_that_plays_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    with BUGS["a second probe"][1]():
        assert main(["--seeds", "30"]) == 1
        line = capsys.readouterr().out.splitlines()[0]
        command, words = line.split("  # ", 1)
        assert command.startswith("python -m tests.simulation --seed ")
        assert words.startswith("one probe (G1)")
        assert main(command.removeprefix("python -m tests.simulation ").split()) == 1
        log = capsys.readouterr().out.splitlines()
        assert f"BROKEN: {words}" == log[-1]
    assert main(command.removeprefix("python -m tests.simulation ").split()) == 0


@pytest.mark.slow
def test_two_processes_find_what_one_finds() -> None:
    parts = Found(), Found()
    for jobs, total in enumerate(parts, start=1):
        for part in explore(0, 60, jobs):
            total.add(part)
    assert (parts[0].seeds, parts[0].met, parts[0].broken) == (60, parts[1].met, parts[1].broken)


def steps_of(sim: SimRuntime, name: int, log: list[Any], event: Any, lock: Any) -> Callable[[], None]:
    """A task that sleeps, takes a lock, waits and is woken, and writes down when."""

    def run() -> None:
        for step in range(4):
            sim.sleep(sim.random_source.choice([0.0, 0.5, 0.5, 1.0]))
            lock.acquire()
            lock.release()
            log.append((name, step, sim.monotonic()))
            if step == 2:
                log.append((name, "rang", event.wait(name / 4)))
        event.set()

    return run


@pytest.mark.parametrize("seed", range(10))
def test_greenlets_play_what_threads_play(seed: int) -> None:
    """The faster tasks of the simulation change no schedule of the SimRuntime that users have."""
    logs = []
    for sim in (SimRuntime(seed), GreenSim(seed)):
        log: list[Any] = []
        event, lock = sim.event(), sim.lock()
        tasks = [sim.task(steps_of(sim, n, log, event, lock), f"task {n}") for n in range(8)]
        sim.call_later(1.5, tasks[3].kill)
        sim.run(until=60.0)
        logs.append((log, sim.switches, [type(task.error) for task in tasks]))
    assert logs[0] == logs[1]
