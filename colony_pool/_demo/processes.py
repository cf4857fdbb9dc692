"""A worker process as its employer sees it: started, heard, and ended, whatever becomes of it meanwhile.

It talks JSON, an object a line: ``ready``, then how its agents are doing ten times a second, and once their
``totals``. It is told one line: when to start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .agents import Schedule, Totals

ONE_DOOR, OWN_DOORS, ALONE = "one_door", "own_doors", "alone"
_JUST_NOW = 0.3  # seconds; the longest interval between probes is 0.25


class DemoError(Exception):
    """The demo cannot be played here; the message says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is hired for.

    Attributes:
        kind: of its agents: on a pool that shares its door, on one with a door of its own, or on their own.
        base_url: of their server.
        number: of the worker, from 0.
        workers: how many share the fleet; the agents are dealt out in turn.
        agents: of the whole fleet.
        runtime: ``"gevent"`` or ``"threads"``.
        exports: its metrics are written for whoever serves them.
        schedule: when what happens.
    """

    kind: str
    base_url: str
    number: int
    workers: int
    agents: int
    runtime: str
    exports: bool
    schedule: Schedule

    @property
    def numbers(self) -> range:
        """Which agents are this worker's."""
        return range(self.number, self.agents, self.workers)

    @classmethod
    def read(cls, text: str) -> Assignment:
        """The inverse of ``written``."""
        values = json.loads(text)
        return cls(**{**values, "schedule": Schedule(**values["schedule"])})

    def written(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Progress:
    """How a worker's agents are doing. Of agents on their own, only the first two and the last say anything.

    Attributes:
        with_token: agents with a valid token.
        lost: agents that died at least once.
        waiters: calls that are parked.
        state: of its breaker.
        next_probe_in: seconds; ``None`` while it is closed.
        probes: sent so far.
        shares: what the pool says of the store that it shares.
        late: seconds by which the process was late at worst.
    """

    with_token: int = 0
    lost: int = 0
    waiters: int = 0
    state: str = "closed"
    next_probe_in: float | None = None
    probes: int = 0
    shares: str = "none"
    late: float = 0.0


class AgentProcess:
    """One worker, from its start to its end."""

    def __init__(self, assignment: Assignment, env: Mapping[str, str]) -> None:
        self.assignment = assignment
        self.last = Progress()
        self.totals: Totals | None = None
        self.error = ""  # what it could not do
        self.died = ""  # how, if nobody asked it to
        self._probed_at = float("-inf")
        self._dismissed = False
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [sys.executable, "-m", f"{__package__}.agents_main", assignment.written()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
            start_new_session=True,  # a Ctrl-C in the terminal is the employer's to handle
        )

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._dismissed = True
        self._process.kill()  # it holds nothing that must be put away
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what could not be written to it any more
                    pipe.close()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def over(self) -> bool:
        """Whether all has become of its agents that will."""
        return self.totals is not None or bool(self.error or self.died)

    @property
    def probed_just_now(self) -> bool:
        """Whether it sent the last probe, or one of the last."""
        return time.monotonic() - self._probed_at < _JUST_NOW

    def ready(self) -> None:
        """Wait until it could start.

        Raises:
            DemoError: it cannot.
        """
        self._hear()
        if self.error or self.died:
            raise DemoError(self.error or f"a process of the demo {self.died}")

    def begin(self, start: float) -> None:
        """Let its agents start at that monotonic time, and listen to it from now on."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(OSError):  # it has died: whoever listens will know
            self._process.stdin.write(f"{start!r}\n")
            self._process.stdin.flush()
        threading.Thread(target=self._listen, daemon=True).start()

    def result(self) -> Totals:
        """What became of its agents: those of a process that has died have died with it."""
        n = len(self.assignment.numbers)
        return self.totals or Totals(agents=n, lost=n, restarts=0, errors={"ProcessDied": n}, back=())

    def _listen(self) -> None:
        while not (self.died or self.error or self._dismissed):
            self._hear()

    def _hear(self) -> None:
        """Take one line of the worker in."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        try:
            line = self._process.stdout.readline()
        except (OSError, ValueError):
            line = ""  # closed: the curtain has fallen
        if not line.endswith("\n"):  # none, or half of one
            if not self._dismissed:
                self.died = _death(self._process.wait())
            return
        said: dict[str, Any] = json.loads(line)
        if "report" in said:
            report = Progress(**said["report"])
            if report.probes > self.last.probes:
                self._probed_at = time.monotonic()
            self.last = report
        elif "totals" in said:
            self.totals = Totals(**{**said["totals"], "back": tuple(said["totals"]["back"])})
        elif "error" in said:
            self.error = said["error"]


def _death(code: int) -> str:
    if code >= 0:
        return f"ended too early (exit code {code})"
    try:
        return f"was killed ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed (signal {-code})"
