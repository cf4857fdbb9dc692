"""Many pools with one store, on virtual time: one probe, one hold, one exchange per key, whatever the store does."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from colony_pool.errors import ColonyAuthError, ColonyRateLimitError
from colony_pool.testing import SimRuntime
from tests.simulation.capacity import Capacity
from tests.simulation.fleet.world import FleetWorld
from tests.support.private import engine_of
from tests.support.private import events as ev

HOUR = 3600.0
FOREVER = 36_000.0
VERBS = ("look", "open", "claim_probe", "conclude", "join", "claim_key", "release_key")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "colony_pool")


def outage(processes: int, agents: int, seed: int = 1, until: float = 60.0, *, share: bool = True) -> FleetWorld:
    """Cold agents come during the first 30 s of an outage that lasts ``until``."""
    world = FleetWorld(processes, seed=seed, share=share, max_wait=FOREVER)
    world.endpoint.down = [(0.0, until)]
    world.add_agents(agents, 30.0, FOREVER)
    return world


def probes(world: FleetWorld) -> list[tuple[float, int]]:
    return [(at, who) for at, who, event in world.events if isinstance(event, ev.AttemptStarted) and event.probe]


@pytest.mark.parametrize("processes", [2, 8])
def test_g1_one_probe_in_the_fleet(processes: int) -> None:
    """And after the first, which opened the breaker for all, nothing but probes."""
    world = outage(processes, 20, until=600.0)
    world.sim.run(until=600.0)
    since = world.moves("open")[processes - 1]
    assert sorted(who for who in range(processes)) == sorted(
        {who for _, who, event in world.events if isinstance(event, ev.StateChanged)}
    )
    sent = [at for at, _ in probes(world) if at > since]
    assert [at for at, _, _ in world.endpoint.during(since + 0.1, 600.0)] == [at for at in sent if at > since + 0.1]
    assert all(later - earlier >= 1.6 for earlier, later in pairwise(sent))
    world.sim.run(until=700.0)
    assert 0 == world.lost


def test_g6_g10_an_hours_outage_costs_a_fleet_a_fifth_more_than_one_process_at_most() -> None:
    alone, together = 0, 0
    for seed in (1, 2):
        for processes in (1, 8):
            world = outage(processes, 100, seed, HOUR, share=processes > 1)
            world.sim.run(until=HOUR)
            sent = len(world.endpoint.during(0.0, HOUR))
            alone, together = (alone + sent, together) if processes == 1 else (alone, together + sent)
    assert together <= 1.2 * alone, (together, alone)


@pytest.mark.parametrize("latency", [0.005, 0.02, 0.1])
@pytest.mark.parametrize("processes", [2, 8])
def test_g8_a_recovery_never_knocks_the_server_over(processes: int, latency: float) -> None:
    world = FleetWorld(processes, seed=3, latency=latency, max_wait=FOREVER)
    agents = 50 * processes
    world.endpoint.down = [(0.0, 60.0)]
    world.endpoint.capacity = capacity = Capacity(max(20.0, agents / 4))
    world.add_agents(50, 30.0, FOREVER)
    world.sim.run(until=300.0)
    assert (0, 0) == (capacity.knocks, world.lost)
    closed = min(at for at in world.moves("closed") if at >= 60.0)
    assert max(call.ended for call in world.calls) - closed <= 2.5 * max(agents / capacity.rate, latency)


def test_g13_a_pause_is_everybodys() -> None:
    world = FleetWorld(4)
    world.endpoint.answers["col_counted"] = (429, {"retry-after": "30"})
    world.ask(0, "counted")
    calls = [world.ask(process, f"other{process}", at=1.0, max_wait=100.0) for process in (1, 2, 3)]
    world.sim.run(until=29.9)
    assert 1 == len(world.endpoint.arrivals)
    assert isinstance(world.calls[0].error, ColonyRateLimitError)
    world.sim.run(until=40.0)
    assert all(call.token for call in calls)
    assert all(call.ended >= 30.0 for call in calls)


@pytest.mark.parametrize("seed", range(5))
def test_g16_one_cold_key_in_eight_processes_is_exchanged_once(seed: int) -> None:
    world = FleetWorld(8, seed=seed)
    for process in range(8):
        for _ in range(5):
            world.ask(process, "cold")
    world.sim.run(until=5.0)
    assert 1 == len(world.endpoint.arrivals)
    assert 1 == len({call.token for call in world.calls})
    assert 0 == world.lost
    assert max(call.ended for call in world.calls) < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_g17_a_soft_refresh_is_one_exchange_for_all_processes(seed: int) -> None:
    """All eight have the same token, and all pass its soft point within the same second."""
    world = FleetWorld(8, seed=seed)
    soft = 80_000.0  # a token's life is a day, its soft point at most four fifths of it
    for process in range(8):
        world.ask(process, "one")
        world.ask(process, "one", at=soft + 0.1 * process)
        world.ask(process, "one", at=soft + 10.0)
    world.sim.run(until=soft + 20.0)
    assert [1, 1] == [len(world.endpoint.during(*when)) for when in ((0.0, soft), (soft, 2 * soft))]
    assert 1 == len({call.token for call in world.calls[2::3]})
    assert {call.token for call in world.calls[::3]} != {call.token for call in world.calls[2::3]}


def test_g14_a_refused_key_is_refused_everywhere_and_asked_once() -> None:
    world = FleetWorld(4)
    world.endpoint.answers["col_bad"] = (401, {})
    for process in range(4):
        world.ask(process, "bad", at=float(process))
        world.ask(process, "bad", at=process + 10.0)
    world.sim.run(until=30.0)
    assert 1 == len(world.endpoint.arrivals)
    assert [ColonyAuthError] * 8 == [type(call.error) for call in world.calls]


def test_nothing_is_read_or_written_while_tokens_are_cached() -> None:
    world = FleetWorld(2)
    world.ask(0, "a")
    world.sim.run(until=1.0)
    before = Counter(world.store.calls)
    for second in range(1, 100):
        world.ask(0, "a", at=float(second))
    world.sim.run(until=200.0)
    assert before == world.store.calls
    assert {"claim_key": 1, "release_key": 1} == dict(before)


# -- processes that die or stop ---------------------------------------------------------------------------


def prober(world: FleetWorld) -> int:
    """Run to the moment at which a probe is out, and say whose."""
    before = len(probes(world))
    while len(probes(world)) == before:
        world.sim.run(until=world.sim.monotonic() + 0.001)
    return probes(world)[-1][1]


def cut_off(world: FleetWorld, process: int) -> Callable[[], None]:
    """Stop ``process`` as SIGSTOP or SIGKILL does: none of its inputs is heard. Returns how to resume it."""
    driver = engine_of(world.pools[process]).driver
    client = engine_of(world.pools[process]).store
    assert client is not None
    driver._is_forked = True

    def resume() -> None:
        driver._is_forked = False
        driver.submit(driver.dispatcher.tick)

    return resume


def test_g4_when_the_prober_dies_the_next_probe_leaves_within_the_lease_and_one_interval() -> None:
    world = outage(3, 10, until=HOUR)
    world.endpoint.latency = 2.0
    world.sim.run(until=60.0)
    victim = prober(world)
    died = world.sim.monotonic()
    cut_off(world, victim)
    while probes(world)[-1][1] == victim:
        world.sim.run(until=world.sim.monotonic() + 0.1)
        assert world.sim.monotonic() < died + 100.0
    assert probes(world)[-1][0] - died <= 6.0 + 1.0


def test_g5_a_prober_that_was_stopped_past_its_lease_changes_nothing_when_it_is_resumed() -> None:
    world = outage(3, 10, until=200.0)
    world.endpoint.latency = 2.0
    world.sim.run(until=60.0)
    victim = prober(world)
    resume = cut_off(world, victim)
    world.sim.run(until=world.sim.monotonic() + 30.0)
    known = world.store.view()
    assert known.opening is not None
    resume()
    world.sim.run(until=world.sim.monotonic() + 1.0)
    assert known.generation == world.store.view().generation
    assert "open" == world.pools[victim].status().breaker.state
    world.sim.run(until=300.0)
    assert 0 == world.lost


# -- a store that fails -----------------------------------------------------------------------------------


def play(fault: Callable[[FleetWorld], None], seed: int = 5) -> FleetWorld:
    """An outage of two minutes, with the fault from the start or in its course; then new callers come."""
    world = outage(4, 10, seed, until=120.0)
    fault(world)
    for process in range(4):
        world.ask(process, f"late{process}", at=200.0, max_wait=60.0)
    world.sim.run(until=260.0)
    return world


def assert_no_worse_than_alone(world: FleetWorld) -> None:
    """Nobody is lost, nobody waits for the store, and at the worst each process has probed for itself."""
    assert 0 == world.lost
    alone = outage(4, 10, 5, until=120.0, share=False)
    alone.sim.run(until=260.0)
    assert len(world.endpoint.during(0.0, 120.0)) <= len(alone.endpoint.during(0.0, 120.0)) + 4
    for call in world.calls[-4:]:
        assert call.ended - call.at <= 0.02 + 0.2, "one attempt, and the patience for a store"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_raises_is_no_worse_than_no_store(verb: str) -> None:
    assert_no_worse_than_alone(play(lambda world: world.store.failing.add(verb)))


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_takes_five_seconds_is_no_worse_than_no_store(verb: str) -> None:
    assert_no_worse_than_alone(play(lambda world: world.store.slow.update({verb: 5.0})))


@pytest.mark.parametrize("at", [1.0, 20.0, 70.0, 119.0, 125.0])
@pytest.mark.parametrize("what", ["down", "slow", "blank"])
def test_a_store_that_breaks_in_any_phase_and_comes_back_is_no_worse_than_no_store(what: str, at: float) -> None:
    def fault(world: FleetWorld) -> None:
        store = world.store

        def begin() -> None:
            store.failing = set(VERBS) if what == "down" else set()
            store.latency = 5.0 if what == "slow" else store.latency
            if what == "blank":
                store.forget()

        def end() -> None:
            store.failing, store.latency = set(), 0.001

        world.sim.call_later(at, begin)
        world.sim.call_later(at + 30.0, end)

    world = play(fault)
    assert_no_worse_than_alone(world)


def test_a_store_that_comes_back_in_an_outage_is_told_of_it_and_shared_again() -> None:
    world = outage(4, 10, until=HOUR)
    world.store.failing = {*VERBS, "leave"}
    world.sim.call_later(100.0, world.store.failing.clear)
    world.sim.run(until=300.0)
    assert world.store.view().opening is not None
    late = [at for at, _ in probes(world) if at > 200.0]
    assert late
    assert all(later - earlier >= 40.0 for earlier, later in pairwise(late))


def test_a_failure_and_a_return_are_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "colony_pool")
    world = outage(1, 5, until=200.0)
    world.sim.call_later(20.0, lambda: world.store.failing.update(VERBS))
    world.sim.call_later(60.0, world.store.failing.clear)
    world.sim.run(until=100.0)
    assert engine_of(world.pools[0]).store is not None
    lines = [record.getMessage() for record in caplog.records if "store" in record.getMessage()]
    assert 2 == len(lines), lines
    assert "decides alone" in lines[0]
    assert "is back" in lines[1]


def test_the_store_is_left_alone_for_longer_and_longer_while_it_fails() -> None:
    world = outage(1, 5, until=HOUR)
    world.store.failing = {*VERBS, "leave"}
    world.sim.run(until=600.0)
    assert 15 <= sum(world.store.calls.values()) <= 40


def test_a_listener_hears_what_was_learnt_as_such() -> None:
    world = outage(2, 10, until=60.0)
    world.sim.run(until=100.0)
    opened = [event for _, _, event in world.events if isinstance(event, ev.StateChanged) and event.old == "closed"]
    assert [False, True] == [event.learnt for event in opened]
    assert isinstance(world.sim, SimRuntime)
