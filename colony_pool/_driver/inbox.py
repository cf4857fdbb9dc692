"""The inbox: inputs for the dispatcher, decided one at a time.

Nobody ever waits for the dispatcher. Whoever gets the lock (a try, never a wait) works the inbox off, everybody else
goes on. So no caller can block another, no greenlet switches while it holds the lock, and a finaliser that runs in
the middle of a decision and cancels its call cannot deadlock with the decision it interrupted.

An exception may come from outside at any step: a signal's handler raises, Dramatiq or ``func_timeout`` throws one
into a thread. In the middle of a decision it leaves that half made. So an input stays in the inbox until its decision
is whole. The next one through here notices, has the dispatcher mend what it knows, and puts the input to it once
more; the exception passes through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from .._core.instant import Instant
from .._log import Lines
from .._runtime.protocol import Runtime

Step = Callable[[Instant], list[Any]]


class Inbox:
    """Inputs that wait, in order.

    Arguments:
        sort: takes the actions of one input.
        mend: makes the dispatcher whole after an interrupt; its actions.
        is_left_behind: whether this is a forked child, and not the process of this inbox.
    """

    def __init__(
        self, runtime: Runtime, sort: Callable[[list[Any]], object], mend: Step, is_left_behind: Callable[[], bool],
        lines: Lines,
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._sort = sort
        self._mend = mend
        self._is_left_behind = is_left_behind
        self._lines = lines
        self._steps: deque[Step] = deque()
        self._lock = runtime.lock()  # guards the dispatcher
        self._is_whole = True  # no decision was cut short
        self._was_interrupted = False
        self._failed: Step | None = None  # an input that has raised once

    def put(self, step: Step) -> None:
        """Append one input; ``work_off`` has it decided."""
        self._steps.append(step)

    def note_interrupt(self) -> None:
        """A task was interrupted that may have had something to carry out."""
        self._was_interrupted = True

    def work_off(self) -> None:
        """Have all inputs decided, here or by the task that is at it."""
        foreign: Exception | None = None
        while self._has_work() and not self._is_left_behind() and self._lock.acquire(False):
            try:
                is_broken = self._was_interrupted or not self._is_whole
                self._is_whole = self._was_interrupted = False
                if is_broken:
                    self._sort(self._mend(self._now()))
                while self._steps:
                    self._sort(self._steps[0](self._now()))
                    self._steps.popleft()  # not before: after an interrupt it is put again
                self._is_whole = True
            except Exception as error:  # noqa: BLE001 - the next input must not suffer for it
                foreign = self._blame(error)
            finally:
                self._lock.release()
        if foreign is not None:
            raise foreign

    def _has_work(self) -> bool:
        return bool(self._steps) or self._was_interrupted

    def _now(self) -> Instant:
        return Instant(self._runtime.monotonic(), self._runtime.now())

    def _blame(self, error: Exception) -> Exception | None:
        """``error`` if it came from outside: then the input, put once more, does not raise it again."""
        step = self._steps[0] if self._steps else None
        if step is None or step is not self._failed:
            self._failed = step
            return error
        self._failed = None
        self._steps.popleft()
        self._lines.raised("the dispatcher failed; this is a bug, please report it", error)
        return None
