"""The agents on their own, with their server, in a process beside the pool's.

A thousand of them keep a processor busy, and in one process the pool's agents would pay for that: it took them twice
as long to be back. The two processes start on one word and then tell each other nothing that matters.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from .run import LATENCY, Outcome, Plan, Run, Spawn, patch, spawner
from .stage import DemoError, History, Stage, allow_sockets


class Beside:
    """The process, as the pool's side sees it: how its agents are doing, and at last their outcome."""

    def __init__(self, agents: int, runtime: str) -> None:
        self.n = agents
        self.history = History()
        self.lost = self.holding = 0
        self.late = 0.0
        self._outcome: Outcome | None = None
        self._error = ""
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [sys.executable, "-m", __name__, str(agents), runtime],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C in the terminal is this process's to handle
        )

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()  # its server ends with it
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def over(self) -> bool:
        """Whether it has ended, well or not."""
        return self._outcome is not None or bool(self._error)

    def ready(self) -> None:
        """Wait until its server is there."""
        self._read()
        if self._error:
            raise DemoError(self._error)

    def begin(self, spawn: Spawn) -> Any:
        """Let its agents start; return what waits until they have ended."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return spawn(self._listen)

    def outcome(self) -> Outcome:
        """What became of them."""
        if self._outcome is None:
            raise DemoError(self._error or "the agents on their own did not end in time: try fewer --agents")
        return self._outcome

    def _listen(self) -> None:
        while not self.over:
            self._read()

    def _read(self) -> None:
        """Take one line of ``main`` in."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        try:
            line = self._process.stdout.readline()
        except (OSError, ValueError):
            line = ""  # closed: the curtain has fallen
        said: dict[str, Any] = json.loads(line) if line else {"error": "the agents on their own ended too early"}
        if "outcome" in said:
            said["outcome"]["arrivals"] = tuple(said["outcome"]["arrivals"])
            self.late = said["late"]
            self._outcome = Outcome(**said["outcome"])
        elif "error" in said:
            self._error = said["error"]
        elif "counts" in said:
            self.history.note(*said["counts"])
            self.lost, self.holding = said["lost"], said["holding"]


def main(agents: int, runtime: str) -> None:
    """Play the side of the agents on their own, and say how it goes: one JSON object a line on stdout."""
    if runtime == "gevent":
        patch()
    from ..testing import FakeColony
    from .fleets import alone

    allow_sockets(2 * agents + 256)
    plan = Plan()
    with FakeColony() as colony:
        colony.latency(LATENCY)
        _say(ready=True)
        sys.stdin.readline()
        run = Run("alone", colony, alone(colony.base_url), agents, plan)
        stage = Stage(run, plan, spawner(runtime))
        stage.direct(
            lambda at: _say(counts=stage.history.last, lost=run.lost, holding=run.holding), over=lambda: True
        )
        _say(outcome=asdict(run.outcome()), late=stage.late)


def _say(**facts: Any) -> None:
    # When nobody listens any more, this raises, and so the process ends with the one that has started it.
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2])
    except DemoError as problem:
        _say(error=str(problem))
    except BrokenPipeError:
        sys.stderr.close()  # nor is anybody interested in a last "Exception ignored"
