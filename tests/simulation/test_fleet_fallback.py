"""A store that fails and has a fallback: two records, and at the worst a prober each. Whole pools on virtual time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise

import pytest

from colony_pool import BreakerConfig
from tests.simulation.fleet.store import FaultyStore
from tests.simulation.fleet.world import FleetWorld
from tests.support.private import events as ev

FOREVER = 36_000.0
DOWN = 600.0  # seconds
SEEDS = range(2)
VERBS = {"look", "open", "claim_probe", "conclude", "join", "claim_key", "release_key", "leave", "hold"}


def stopped(store: FaultyStore) -> None:
    """Refuses at once."""
    store.failing = set(VERBS)


def paused(store: FaultyStore) -> None:
    """Says nothing any more."""
    store.latency = 1e6


def slow(store: FaultyStore) -> None:
    """Answers after five seconds."""
    store.latency = 5.0


def read_only(store: FaultyStore) -> None:
    """Has become a replica, or has no room left: it answers whoever asks, and takes nothing."""
    store.failing = VERBS - {"look", "claim_probe"}


FAULTS = pytest.mark.parametrize("fault", [stopped, paused, slow])


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "colony_pool")


def outage(processes: int, seed: int, *, fallback: bool = True, cut: int = 0) -> FleetWorld:
    """Cold agents come during the first 30 s of an outage of ten minutes."""
    world = FleetWorld(processes, seed=seed, fallback=fallback, cut=cut, max_wait=FOREVER)
    world.endpoint.down = [(0.0, DOWN)]
    world.add_agents(10, 30.0, FOREVER)
    return world


def probes(world: FleetWorld, since: float, of: range = range(8)) -> list[float]:
    sent = [(at, who) for at, who, event in world.events if isinstance(event, ev.AttemptStarted) and event.probe]
    return [at for at, who in sent if at > since and who in of]


def assert_single_file(sent: list[float]) -> None:
    assert len(sent) >= 5
    assert all(later - earlier >= 1.6 for earlier, later in pairwise(sent))


@pytest.mark.parametrize("at", [0.0, 40.0, 300.0])
@FAULTS
def test_g1_a_fleet_whose_store_failed_sends_the_probes_of_one_process(
    fault: Callable[[FaultyStore], None], at: float
) -> None:
    for seed in SEEDS:
        world = outage(8, seed)
        world.sim.call_later(at, lambda world=world: fault(world.store))  # type: ignore[misc]
        world.sim.run(until=DOWN - 1.0)
        settled = max(at, world.moves("open")[7]) + 1.0
        sent = probes(world, settled)
        assert sent == [when for when, _, _ in world.endpoint.during(settled + 1e-9, DOWN)], "and nothing else"
        assert_single_file(sent)
        world.sim.run(until=DOWN + 200.0)
        assert 0 == world.lost


@pytest.mark.parametrize("at", [0.0, 40.0, 300.0])
def test_g1_a_store_that_takes_nothing_is_none_though_it_answers(at: float) -> None:
    """Who believed it whenever it answers would go back to it again and again, and be alone each time."""
    for seed in SEEDS:
        world = outage(8, seed)
        world.sim.call_later(at, lambda world=world: read_only(world.store))  # type: ignore[misc]
        world.sim.run(until=DOWN - 1.0)
        assert_single_file(probes(world, max(at, world.moves("open")[7]) + 15.0))  # by then each had to write
        assert {"unavailable"} == {pool.status().shared for pool in world.pools}
        world.sim.run(until=DOWN + 200.0)
        assert 0 == world.lost


@FAULTS
def test_g1_a_fleet_of_which_half_cannot_reach_the_store_has_two_probers_at_most(
    fault: Callable[[FaultyStore], None],
) -> None:
    for seed in SEEDS:
        world = outage(8, seed, cut=4)
        world.sim.call_later(40.0, lambda world=world: fault(world.far))  # type: ignore[misc]
        world.sim.run(until=DOWN - 1.0)
        for side in (range(4), range(4, 8)):
            assert_single_file(probes(world, 41.0, side))
        world.sim.run(until=DOWN + 200.0)
        assert 0 == world.lost


@pytest.mark.parametrize("fault", [stopped, slow])
def test_when_the_store_is_back_all_hear_it_again(fault: Callable[[FaultyStore], None]) -> None:
    for seed in SEEDS:
        world = outage(8, seed)
        world.sim.call_later(40.0, lambda world=world: fault(world.store))  # type: ignore[misc]
        world.sim.run(until=200.0)
        world.store.failing, world.store.latency = set(), 0.001
        world.sim.run(until=300.0)
        assert {"working"} == {pool.status().shared for pool in world.pools}
        before = world.fallback.calls.total()
        world.sim.run(until=DOWN - 1.0)
        assert before == world.fallback.calls.total()
        assert_single_file(probes(world, 300.0))
        world.sim.run(until=DOWN + 200.0)
        assert 0 == world.lost


@FAULTS
@pytest.mark.parametrize("at", [0.0, 40.0, 59.9])
def test_a_store_that_fails_costs_no_call_more_than_200_ms_with_a_fallback_either(
    fault: Callable[[FaultyStore], None], at: float
) -> None:
    for seed in SEEDS:
        ends = []
        for shares in (False, True):
            world = FleetWorld(
                1, seed=seed, share=shares, fallback=True, max_wait=FOREVER, breaker=BreakerConfig(jitter=0.0)
            )
            world.endpoint.down = [(0.0, 60.0)]
            world.add_agents(6, 40.0, FOREVER)
            world.add_agents(3, 100.0, FOREVER, at=60.0)
            world.sim.call_later(at, lambda world=world: fault(world.store))  # type: ignore[misc]
            world.sim.run(until=200.0)
            assert 0 == world.lost
            ends.append([call.ended for call in world.calls])
        assert max(mine - other for other, mine in zip(*ends, strict=True)) <= 0.2


def test_g16_one_cold_key_is_exchanged_once_though_the_store_is_gone() -> None:
    world = FleetWorld(8, fallback=True)
    stopped(world.store)
    for process in range(8):
        world.ask(process, "cold")
    world.sim.run(until=5.0)
    assert 1 == len(world.endpoint.arrivals)
    assert 1 == len({call.token for call in world.calls})


def test_with_both_records_gone_everybody_decides_alone_and_nobody_is_lost() -> None:
    world = outage(4, 1)
    for store in (world.store, world.fallback):
        world.sim.call_later(40.0, lambda store=store: paused(store))  # type: ignore[misc]
    world.sim.run(until=DOWN + 200.0)
    assert 0 == world.lost
    assert 4 == len({who for at, who, event in world.events if isinstance(event, ev.AttemptStarted) and event.probe})


def test_a_store_that_takes_nothing_says_once_that_it_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "colony_pool")
    world = outage(1, 1)
    world.sim.call_later(40.0, lambda: read_only(world.store))
    world.sim.run(until=DOWN)
    lines = [record.getMessage() for record in caplog.records if "the shared store is" in record.getMessage()]
    assert 1 == len(lines), lines


def test_each_of_the_two_says_once_that_it_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "colony_pool")
    world = outage(1, 1)
    world.sim.call_later(40.0, lambda: stopped(world.store))
    world.sim.call_later(50.0, lambda: stopped(world.fallback))
    world.sim.run(until=DOWN)
    lines = [record.getMessage() for record in caplog.records if "unavailable" in record.getMessage()]
    assert 2 == len(lines), lines
    assert lines[0].startswith("colony_pool p0: the shared store is unavailable (")
    assert lines[0].endswith("); the processes of this host go on together until it is back")
    assert lines[1].startswith("colony_pool p0: the record of this host, which stands in for it, is unavailable (")
    assert lines[1].endswith("); this process decides alone until it is back")
