"""Jobs that may block, of callers that must not: done in turn by a few tasks of the runtime's, for as long as there
are some. However many callers wait, there are no more of these tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .._log import AT_ONCE, Lines
from .._runtime.protocol import Runtime


class BoundedExecutor:
    """Runs jobs in at most ``most`` tasks at once."""

    def __init__(self, runtime: Runtime, most: int, lines: Lines = AT_ONCE) -> None:
        self._runtime = runtime
        self._most = most
        self._lines = lines
        self._jobs: deque[Callable[[], object]] = deque()
        self._workers: set[object] = set()

    def submit(self, job: Callable[[], object]) -> None:
        """Have ``job()`` run; never blocks. What it raises is logged."""
        self._jobs.append(job)
        if len(self._workers) < self._most:
            self._start_worker()

    def _start_worker(self) -> None:
        worker = object()
        try:
            self._workers.add(worker)
            self._runtime.spawn(self._work, worker, context=self._runtime.external_context())
        except BaseException as error:
            self._workers.discard(worker)
            if not isinstance(error, RuntimeError):
                raise
            self._work(worker)  # the system grants no thread: better here than never

    def _work(self, worker: object) -> None:
        try:
            while self._jobs:
                self._do_one()
        finally:
            self._workers.discard(worker)
        if self._jobs:  # it came after the last look, from somebody who still saw this worker at work
            self._start_worker()

    def _do_one(self) -> None:
        try:
            job = self._jobs.popleft()
        except IndexError:
            return
        try:
            job()
        except Exception as error:  # noqa: BLE001 - the next job must not suffer for it
            self._lines.raised("a job failed; this is a bug, please report it", error)
