"""Plays the demo: all sides at the same time, each with its own server and its own processes."""

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

from ..prometheus._sidecar import serve_directory
from ..testing import FakeColony, FakeColonyError
from .agents import LATENCY, SCALE, Schedule
from .contestant import Contestant, Result
from .processes import ALONE, ONE_DOOR, OWN_DOORS, DemoError
from .screen import Screen

_TICK = 0.1  # seconds
_LEAD_IN = 0.2  # seconds until the schedule's 0, in which every process hears of it
_LAST_WORD = 5.0  # seconds that the processes may take to count


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What became of each side, and how truly it was come by.

    Attributes:
        sides: those behind one door first, those on their own last; between them, with more than one process, those
            whose processes have a door each.
        processes: of each pooled side.
        schedule: when what happened.
        runtime: ``"gevent"`` or ``"threads"``.
        late: seconds by which a process was late at worst: all share one machine.
    """

    sides: tuple[Result, ...]
    processes: int
    schedule: Schedule
    runtime: str
    late: float

    @property
    def ours(self) -> Result:
        """The side that is to come out well."""
        return self.sides[0]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = {ONE_DOOR: "colony_pool", OWN_DOORS: "own_doors", ALONE: "alone"}
        sides = {names[side.kind]: side.as_dict() for side in self.sides}
        return {"runtime": self.runtime, "scale": SCALE, "processes": self.processes, **sides}


class Interrupt:
    """Ctrl-C or SIGTERM as a flag: an exception could strike between a process's start and the note to end it."""

    def __init__(self) -> None:
        self._seen = False

    def __enter__(self) -> Interrupt:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exc_info: object) -> None:
        # Once is enough: a second one must not disturb what tidies up after the first.
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._seen else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen = True

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if there was one."""
        if self._seen:
            raise KeyboardInterrupt


def play(
    agents: int, runtime: str, console: Console, *, processes: int = 1, metrics_port: int | None = None,
    schedule: Schedule | None = None,
) -> DemoResult:  # fmt: skip
    """Play it, drawing on ``console``.

    Arguments:
        agents: of each side.
        runtime: ``"gevent"`` or ``"threads"``.
        console: what to draw on.
        processes: that the pool's agents are dealt out to.
        metrics_port: where to serve the metrics of those processes together, 0 for any.
        schedule: when what happens.

    Raises:
        DemoError: this machine cannot play it.
        KeyboardInterrupt: Ctrl-C or SIGTERM; nothing that was started is left.
    """
    schedule = schedule or Schedule()
    with Interrupt() as interrupt, contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="colony-pool-demo-")))
        env = {"COLONY_POOL_STATE_DIR": str(folder / "state")}
        if metrics_port is not None:
            env["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(_metrics(folder / "metrics", metrics_port, console))
        kinds = (ONE_DOOR, ALONE) if processes == 1 else (ONE_DOOR, OWN_DOORS, ALONE)
        sides = []
        for kind in kinds:
            colony = stack.enter_context(_server())
            side = Contestant(kind, colony, agents, 1 if kind == ALONE else processes, schedule)
            side.start_processes(stack, runtime, env, check=interrupt.check)
            sides.append(side)
        for side in sides:
            side.ready(interrupt.check)
        with Screen(console, schedule, sides) as view:

            def tick(at: float) -> None:
                interrupt.check()
                for side in sides:
                    side.check()
                view.step(at)

            _direct(sides, schedule, tick)
        results = tuple(side.result() for side in sides)
        return DemoResult(results, processes, schedule, runtime, max(side.late for side in results))


def _direct(sides: list[Contestant], schedule: Schedule, tick: Callable[[float], object]) -> None:
    """Play from the first token to the last, or to the schedule's end.

    ``tick`` is called with the seconds since the start, ten times a second; what it raises ends the play.
    """
    start = time.monotonic() + _LEAD_IN
    for side in sides:
        side.begin(start)
    _pace(tick, start, schedule.down_at, lambda: False)
    for side in sides:
        side.timeline.go_down()
    _pace(tick, start, schedule.end + _LAST_WORD, lambda: all(side.over for side in sides))


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
    """Serve together what the processes behind one door write to ``directory``."""
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
        thread.join(_LAST_WORD)
