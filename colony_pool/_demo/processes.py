"""A process with agents, as the demo's own process sees it: started, read from, and ended, whatever happens to it.

It writes JSON, an object a line: ``ready``, then the progress of its agents ten times a second, and once their
``totals``. It reads one line: when to start.
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

from .._runtime.select import RuntimeName
from .agents import Schedule, Totals

SHARED, SEPARATE, ALONE = "shared", "separate", "alone"
_JUST_NOW = 0.3  # seconds; the longest interval between probes is 0.25


class DemoError(Exception):
    """The demo cannot run here; the message says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a process is to do.

    Attributes:
        kind: of its agents: behind a pool that shares its breaker (if there are several processes), behind one that
            does not, or alone, without a pool.
        base_url: of their server.
        number: of the process, from 0.
        processes: among which the contestant's agents are divided, in turn.
        agents: of the whole contestant.
        runtime: ``"gevent"`` or ``"threads"``.
        exports: it writes its metrics for the demo's endpoint.
        schedule: when what happens.
    """

    kind: str
    base_url: str
    number: int
    processes: int
    agents: int
    runtime: RuntimeName
    exports: bool
    schedule: Schedule

    @property
    def numbers(self) -> range:
        """Which agents are in this process."""
        return range(self.number, self.agents, self.processes)

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
    """The progress of a process's agents. Of agents alone, only ``with_token``, ``lost`` and ``late`` are known.

    Attributes:
        with_token: agents with a valid token.
        lost: agents that died at least once.
        waiters: calls that wait.
        state: of its breaker.
        probes: sent so far.
        shares: state of the shared record, as ``PoolStatus.shared``.
        late: seconds by which the process was late at worst.
    """

    with_token: int = 0
    lost: int = 0
    waiters: int = 0
    state: str = "closed"
    probes: int = 0
    shares: str = "none"
    late: float = 0.0


class AgentProcess:
    """One process, from its start to its end."""

    def __init__(self, assignment: Assignment, env: Mapping[str, str]) -> None:
        self.assignment = assignment
        self.last = Progress()
        self.totals: Totals | None = None
        self.error = ""  # why it failed
        self.died = ""  # how, if we did not end it
        self._probed_at = float("-inf")
        self._ending = False
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [sys.executable, "-m", f"{__package__}.agents_main", assignment.written()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
            start_new_session=True,  # the demo's own process handles a Ctrl-C in the terminal
        )

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ending = True
        self._process.kill()  # it holds nothing that needs a clean end
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # data that could no longer be written
                    pipe.close()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def over(self) -> bool:
        """Whether its results are known."""
        return self.totals is not None or bool(self.error or self.died)

    @property
    def probed_just_now(self) -> bool:
        """Whether it sent a probe in the last moment."""
        return time.monotonic() - self._probed_at < _JUST_NOW

    def ready(self) -> None:
        """Wait until it is ready to start its agents.

        Raises:
            DemoError: it failed.
        """
        self._read_line()
        if self.error or self.died:
            raise DemoError(self.error or f"a process of the demo {self.died}")

    def begin(self, start: float) -> None:
        """Let its agents start at that monotonic time, and read what it writes from now on."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(OSError):  # it has died, which _listen will notice
            self._process.stdin.write(f"{start!r}\n")
            self._process.stdin.flush()
        threading.Thread(target=self._listen, daemon=True).start()

    def result(self) -> Totals:
        """What became of its agents. Those of a process that died are lost."""
        n = len(self.assignment.numbers)
        return self.totals or Totals(agents=n, lost=n, restarts=0, errors={"ProcessDied": n}, back=())

    def _listen(self) -> None:
        while not (self.died or self.error or self._ending):
            self._read_line()

    def _read_line(self) -> None:
        """Read one line of the process."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        try:
            line = self._process.stdout.readline()
        except (OSError, ValueError):
            line = ""  # we have closed it
        if not line.endswith("\n"):  # no line, or half of one
            if not self._ending:
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
