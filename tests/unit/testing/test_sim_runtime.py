"""SimRuntime as its users meet it: what it says of a mistake, and that a test which is interrupted ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from colony_pool import AsyncColonyPool, ColonyPool
from colony_pool.testing import SimKilled, SimRuntime
from colony_pool.testing import sim as simulation
from colony_pool.types import CancelToken, RawResponse
from tests.support.virtual import VirtualTransport


class CtrlC:
    """Ctrl-C, pressed by a task; ``landed`` when the thread outside has had it."""

    def __init__(self) -> None:
        self.landed = threading.Event()

    def press(self) -> None:
        """Again and again: a signal that comes just before the thread outside begins to wait does not wake it."""
        while not self.landed.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            self.landed.wait(0.1)

    def handle(self, *_: object) -> None:
        if not self.landed.is_set():
            self.landed.set()
            raise KeyboardInterrupt


@pytest.fixture
def ctrl_c() -> Iterator[CtrlC]:
    key = CtrlC()
    before = signal.signal(signal.SIGINT, key.handle)
    yield key
    signal.signal(signal.SIGINT, before)


class Endless(VirtualTransport):
    """Each request lasts for ever; what happens in the meantime is the test's to say."""

    def __init__(self, sim: SimRuntime, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._sim, self._meanwhile = sim, meanwhile

    def token(self, fields: dict[str, str], total: float, cancel: CancelToken) -> RawResponse:
        self._meanwhile()
        self._sim.event().wait()
        raise AssertionError


def interrupted(sim: SimRuntime, meanwhile: Callable[[], object]) -> None:
    """A test of somebody's agents, into which Ctrl-C comes."""
    with ColonyPool(
        "http://127.0.0.1:9",
        runtime=sim,
        token_cache=None,
        registry=None,
        transport=Endless(sim, meanwhile),
    ) as pool:
        for number in range(20):
            sim.task(pool.agent(f"col_{number}").token)
        sim.run(until=60.0)


@pytest.mark.parametrize("seed", range(5))
def test_ctrl_c_in_a_simulation_ends_it_and_closes_the_pool(ctrl_c: CtrlC, seed: int) -> None:
    sim = SimRuntime(seed)
    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted(sim, ctrl_c.press)
    assert None is caught.value.__context__
    with pytest.raises(RuntimeError, match="interrupted: make a new one"):
        sim.run()


def test_ctrl_c_ends_a_simulation_whose_task_waits_for_something_real(
    ctrl_c: CtrlC, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "_GRACE", 0.0)
    ends = threading.Event()

    def stuck() -> None:
        ctrl_c.press()
        ends.wait()

    with pytest.raises(KeyboardInterrupt):
        interrupted(SimRuntime(1), stuck)
    ends.set()


def test_a_wait_outside_the_simulation_says_how_it_is_done() -> None:
    with pytest.raises(RuntimeError, match=r"sim\.task\(\.\.\.\), then sim\.run\(\)"):
        SimRuntime().sleep(1.0)


def test_a_task_that_is_killed_before_it_has_begun_was_killed() -> None:
    sim, ran = SimRuntime(), []
    task = sim.task(lambda: ran.append(1))
    task.kill()
    sim.run()
    with pytest.raises(SimKilled):
        task.result()
    assert [] == ran


def test_an_event_loop_is_not_given_a_simulation() -> None:
    with pytest.raises(ValueError, match="runtime: an event loop waits in real time"):
        AsyncColonyPool("http://127.0.0.1:9", runtime=SimRuntime(), token_cache=None, registry=None)
    with (
        ColonyPool("http://127.0.0.1:9", runtime=SimRuntime(), token_cache=None, registry=None) as pool,
        pytest.raises(ValueError, match="runtime: an event loop waits in real time"),
    ):
        AsyncColonyPool(pool=pool)
