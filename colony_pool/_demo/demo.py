"""Runs the demo: all contestants at the same time, each with its own server and its own processes."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from .._runtime.select import RuntimeName
from ..prometheus._sidecar import serve_directory
from ..testing import FakeColony, FakeColonyError
from .agents import LATENCY, SCALE, Schedule
from .contestant import Contestant, Result
from .processes import ALONE, SEPARATE, SHARED, DemoError
from .screen import Screen

_TICK = 0.1  # seconds
_LEAD_IN = 0.2  # seconds until the schedule's 0, so that every process knows it in time
_GRACE = 5.0  # seconds that the processes have to send their totals


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What became of each contestant, and how accurate that is.

    Attributes:
        results: the agents behind one breaker first, those on their own last; between them, with more than one
            process, those whose processes have a breaker each.
        processes: of each contestant with pools.
        schedule: when what happened.
        runtime: ``"gevent"`` or ``"threads"``.
        late: seconds by which a process was late at worst: all of them share one machine.
    """

    results: tuple[Result, ...]
    processes: int
    schedule: Schedule
    runtime: RuntimeName
    late: float

    @property
    def ours(self) -> Result:
        """The contestant with one breaker."""
        return self.results[0]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = {SHARED: "colony_pool", SEPARATE: "separate", ALONE: "alone"}
        contestants = {names[contestant.kind]: contestant.as_dict() for contestant in self.results}
        return {"runtime": self.runtime, "scale": SCALE, "processes": self.processes, **contestants}


class Interrupt:
    """Ctrl-C or SIGTERM as a flag: an exception could be raised between a process's start and the note to end it."""

    def __init__(self) -> None:
        self._seen = False

    def __enter__(self) -> Interrupt:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exc_info: object) -> None:
        # Once is enough: a second one must not disturb the clean-up after the first.
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._seen else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen = True

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` after a signal."""
        if self._seen:
            raise KeyboardInterrupt


def play(
    agents: int, runtime: RuntimeName, console: Console, *, processes: int = 1, metrics_port: int | None = None,
    schedule: Schedule | None = None,
) -> DemoResult:  # fmt: skip
    """Run the demo and show it on ``console``.

    Arguments:
        agents: of each contestant.
        runtime: ``"gevent"`` or ``"threads"``.
        console: where to show it.
        processes: number of processes with pools, among which the agents are divided.
        metrics_port: where to serve the metrics of those processes together, 0 for any.
        schedule: when what happens.

    Raises:
        DemoError: this machine cannot run it.
        KeyboardInterrupt: Ctrl-C or SIGTERM; nothing that was started is left running.
    """
    schedule = schedule or Schedule()
    with Interrupt() as interrupt, contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="colony-pool-demo-")))
        env = {"COLONY_POOL_STATE_DIR": str(folder / "state")}
        if metrics_port is not None:
            env["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(_metrics(folder / "metrics", metrics_port, console))
        kinds = (SHARED, ALONE) if processes == 1 else (SHARED, SEPARATE, ALONE)
        contestants = []
        for kind in kinds:
            colony = stack.enter_context(_server())
            contestant = Contestant(kind, colony, agents, 1 if kind == ALONE else processes, schedule)
            contestant.start_processes(stack, runtime, env, check=interrupt.check)
            contestants.append(contestant)
        for contestant in contestants:
            contestant.ready(interrupt.check)
        with Screen(console, schedule, contestants) as screen:

            def tick(at: float) -> None:
                interrupt.check()
                for contestant in contestants:
                    contestant.check()
                screen.step(at)

            _direct(contestants, schedule, tick)
        results = tuple(contestant.result() for contestant in contestants)
        return DemoResult(results, processes, schedule, runtime, max(contestant.late for contestant in results))


def _direct(contestants: list[Contestant], schedule: Schedule, tick: Callable[[float], object]) -> None:
    """Run from the first token to the last, or to the schedule's end.

    ``tick`` is called with the seconds since the start, ten times a second; what it raises ends the demo.
    """
    start = time.monotonic() + _LEAD_IN
    for contestant in contestants:
        contestant.begin(start)
    _pace(tick, start, schedule.down_at, lambda: False)
    for contestant in contestants:
        contestant.timeline.go_down()
    _pace(tick, start, schedule.end + _GRACE, lambda: all(contestant.over for contestant in contestants))


def _pace(tick: Callable[[float], object], start: float, until: float, over: Callable[[], bool]) -> None:
    while (at := time.monotonic() - start) < until and not over():
        tick(max(0.0, at))
        time.sleep(max(0.0, min(_TICK, start + until - time.monotonic())))


@contextlib.contextmanager
def _server() -> Iterator[FakeColony]:
    try:
        with FakeColony() as colony:
            colony.latency(LATENCY)
            yield colony
    except FakeColonyError as error:
        raise DemoError(f"the demo's server ended: {error}") from error


@contextlib.contextmanager
def _metrics(directory: Path, port: int, console: Console) -> Iterator[str]:
    """Serve on one port what the processes with one breaker write to ``directory``."""
    directory.mkdir()
    try:
        server, thread = serve_directory(str(directory), port, "127.0.0.1")
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DemoError(f"--metrics-port {port}: {reason}; 0 picks a free one") from error
    try:
        console.print(f"metrics: http://127.0.0.1:{server.server_port}/metrics", highlight=False)
        yield str(directory)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_GRACE)
