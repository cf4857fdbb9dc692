"""The stage: two servers, two crews, and the phases. Everything on it ends with ``Stage``'s block."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from ..testing import FakeColony
from .plan import ALONE, LATENCY, OUTAGE, POOL, RECOVERY, DemoError, Plan, life_at, phase_at
from .worker import command

_TICK = 0.1
_END_WITHIN = 0.3
_READY_WITHIN = 60.0


@dataclass
class Side:
    """One server with its crew, and what the crew said last."""

    name: str
    colony: FakeColony
    process: subprocess.Popen[bytes]
    errors: Any
    ready: threading.Event = field(default_factory=threading.Event)
    metrics_port: int | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)  # attempts a second, one per tick of the stage
    marks: dict[str, float] = field(default_factory=dict)  # the server's clock at each boundary
    _rated: tuple[float, int] = (0.0, 0)

    def listen(self) -> None:
        """Read what the crew says, until it ends."""
        assert self.process.stdout is not None  # noqa: S101 - it was asked for
        for line in self.process.stdout:
            with suppress(ValueError):
                said = json.loads(line)
                if "ready" in said:
                    self.metrics_port = said["metrics_port"]
                    self.ready.set()
                else:
                    self.figures = said
        self.ready.set()

    def rate(self, now: float) -> None:
        """Note how many attempts a second were made since the last look."""
        attempts = self.figures.get("attempts", 0)
        before, count = self._rated
        if now > before:
            self.rates.append((attempts - count) / (now - before))
        self._rated = (now, attempts)

    def trouble(self) -> str:
        """The last line that a crew left behind when it died."""
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"


@dataclass(frozen=True, slots=True)
class Moment:
    """What a view shows."""

    elapsed: float
    phase: str
    progress: float
    sides: tuple[Side, ...]


class Stage:
    """Both sides, and the play itself."""

    def __init__(self, plan: Plan, sides: tuple[Side, ...]) -> None:
        self.plan = plan
        self.sides = sides

    def play(self, show: Callable[[Moment], None]) -> None:
        """Go through the phases; call ``show`` ten times a second."""
        for side in self.sides:
            side.colony.expires_in(life_at(0.0))
            side.colony.latency(LATENCY)
        for side in self.sides:
            side.marks["start"] = side.colony.now()
            _write(side.process, b"g")
        start = time.monotonic()
        current = ""
        while True:
            elapsed = time.monotonic() - start
            phase, progress = phase_at(elapsed)
            if phase != current:
                current = phase
                self._enter(phase)
            for side in self.sides:
                side.colony.expires_in(life_at(elapsed))
                side.rate(elapsed)
                if side.process.poll() is not None:
                    raise DemoError(f"the agents of the side '{side.name}' died: {side.trouble()}")
            show(Moment(elapsed, phase, progress, self.sides))
            if progress >= 1.0 or (phase == RECOVERY and progress > 0.2 and self._all_back()):
                break
            time.sleep(max(0.0, _TICK - (time.monotonic() - start - elapsed)))
        for side in self.sides:
            side.marks["end"] = side.colony.now()

    def _enter(self, phase: str) -> None:
        for side in self.sides:
            if phase == OUTAGE:
                side.colony.behave("status", only="/auth/token", status=502)
            elif phase == RECOVERY:
                side.colony.capacity(self.plan.rate, max_in_flight=64, knockout=1.0)
                side.colony.behave("healthy")
            side.marks[phase] = side.colony.now()

    def _all_back(self) -> bool:
        return all(side.figures.get("held") == self.plan.agents for side in self.sides)


@contextmanager
def opened(plan: Plan) -> Iterator[Stage]:
    """Start servers and crews, and end them all, whatever happens, within half a second."""
    with ExitStack() as stack:
        sides = tuple(_open_side(stack, plan, name) for name in (POOL, ALONE))
        for side in sides:
            if not side.ready.wait(_READY_WITHIN) or side.process.poll() is not None:
                raise DemoError(f"the agents of the side '{side.name}' did not start: {side.trouble()}")
        yield Stage(plan, sides)


def _open_side(stack: ExitStack, plan: Plan, name: str) -> Side:
    colony = stack.enter_context(FakeColony())
    errors = stack.enter_context(tempfile.TemporaryFile())
    options = {
        "side": name,
        "base_url": colony.base_url,
        "agents": plan.agents,
        "seed": plan.seed,
        "runtime": plan.chosen_runtime,
        "metrics_port": plan.metrics_port,
    }
    process = subprocess.Popen(
        command(options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,  # Ctrl-C is for the presenter alone
    )
    side = Side(name, colony, process, errors)
    stack.callback(_end, process)
    threading.Thread(target=side.listen, daemon=True).start()
    return side


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its closed input tells a crew to end; one that does not is killed."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    try:
        process.wait(_END_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _write(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - it was asked for
    with suppress(BrokenPipeError):  # the loop finds out why
        process.stdin.write(data)
        process.stdin.flush()


@contextmanager
def deaf() -> Iterator[None]:
    """A second Ctrl-C must not cut short the cleaning up after the first."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
