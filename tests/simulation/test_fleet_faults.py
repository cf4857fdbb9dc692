"""A store that fails costs no call more than 0.2 s, whatever fails and whenever: on virtual time, to the millisecond.

Two comparisons, call by call, of the same seed. One process is held against the same process that shares nothing; and
several, which had helped each other before, against the same ones whose store says at that moment, and in no time,
that it is gone. The breaker's delays have no jitter here: only what a store costs can make the difference.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest

from colony_pool import BreakerConfig
from tests.simulation.fleet.world import FleetWorld
from tests.support.private import events as ev

EXTRA = 0.2  # seconds
OUTAGE, END, FOREVER = 60.0, 200.0, 36_000.0
SEEDS = range(4)
VERBS = {"look", "open", "claim_probe", "conclude", "join", "claim_key", "release_key", "leave", "hold"}
PHASES = ("cold", "as it opens", "open", "before a probe", "probe out", "as it closes", "drain", "closed")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "colony_pool")


def stopped(world: FleetWorld) -> None:
    """Refuses at once."""
    world.store.failing = set(VERBS)


def paused(world: FleetWorld) -> None:
    """Says nothing any more."""
    world.store.latency = 1e6


def blank(world: FleetWorld) -> None:
    """Was restarted, and knows nothing."""
    world.store.forget()


def slow(world: FleetWorld) -> None:
    """Answers after five seconds."""
    world.store.latency = 5.0


def gone(world: FleetWorld) -> None:
    """Tells in no time that there is no store: from now on everybody is alone."""
    world.store.failing, world.store.latency = set(VERBS), 0.0


@dataclass(frozen=True)
class Played:
    """What came of it: each call's beginning and end, attempts in the outage, and when each phase was."""

    calls: list[tuple[float, float]]
    lost: int
    attempts: int
    moments: dict[str, float]


@cache
def play(
    processes: int,
    seed: int,
    at: float = 0.0,
    fault: Callable[[FleetWorld], None] | None = None,
    *,
    share: bool = True,
) -> Played:
    """An outage of a minute, with callers before its end and after it; the fault begins ``at`` and stays."""
    world = FleetWorld(
        processes, seed=seed, share=share, max_wait=FOREVER, breaker=BreakerConfig(jitter=0.0), latency=0.03
    )
    world.endpoint.down = [(0.0, OUTAGE)]
    world.add_agents(6, 40.0, FOREVER)
    world.add_agents(3, 100.0, FOREVER, at=OUTAGE)
    if fault is not None:
        world.sim.call_later(at, lambda: fault(world))
    world.sim.run(until=END)
    calls = [(call.at, call.ended) for call in world.calls]
    return Played(calls, world.lost, len(world.endpoint.during(0.0, OUTAGE)), _moments(world))


def _moments(world: FleetWorld) -> dict[str, float]:
    probes = [at for at, _, event in world.events if isinstance(event, ev.AttemptStarted) and event.probe]
    opened, closed = world.moves("open")[0], min(at for at in world.moves("closed") if at >= OUTAGE)
    last = max(at for at in probes if at <= closed)
    times = (0.0, opened - 0.02, opened + 3.0, last - 0.01, last + 0.01, closed - 0.001, closed + 0.04, closed + 30.0)
    return dict(zip(PHASES, times, strict=True))


def assert_no_later(than: Played, played: Played) -> None:
    """Nobody is lost, and no call ends more than ``EXTRA`` later."""
    pairs = list(zip(than.calls, played.calls, strict=True))
    assert all(other[0] == mine[0] for other, mine in pairs)
    assert (0, 0) == (than.lost, played.lost)
    assert max(mine[1] - other[1] for other, mine in pairs) <= EXTRA


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("fault", [stopped, paused, blank, slow])
def test_no_call_takes_longer_than_alone_and_200_ms(fault: Callable[[FleetWorld], None], phase: str) -> None:
    for seed in SEEDS:
        at = play(1, seed).moments[phase]
        assert_no_later(play(1, seed, share=False), play(1, seed, at, fault))


@pytest.mark.parametrize("fault", [stopped, paused, slow])
def test_processes_whose_store_never_worked_are_as_fast_as_alone(fault: Callable[[FleetWorld], None]) -> None:
    for seed in SEEDS:
        assert_no_later(play(4, seed, share=False), play(4, seed, 0.0, fault))


@pytest.mark.parametrize("phase", PHASES[1:])
@pytest.mark.parametrize("fault", [stopped, paused, slow])
def test_processes_whose_store_fails_lose_200_ms_against_knowing_it_at_once(
    fault: Callable[[FleetWorld], None], phase: str
) -> None:
    for seed in SEEDS:
        at = play(4, seed).moments[phase]
        assert_no_later(play(4, seed, at, gone), play(4, seed, at, fault))


@pytest.mark.parametrize("phase", PHASES)
def test_processes_whose_store_was_emptied_lose_nobody_and_each_probes_for_itself_at_the_worst(phase: str) -> None:
    for seed in SEEDS:
        at = play(4, seed).moments[phase]
        played, alone = play(4, seed, at, blank), play(4, seed, share=False)
        assert 0 == played.lost
        assert played.attempts <= alone.attempts
