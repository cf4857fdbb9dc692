"""Work that may block, of callers that must not: done in turn by a few tasks of the runtime's, for as long as there
is some. However many callers wait, there are no more of these tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .._runtime.protocol import Runtime
from .log import AT_ONCE, Lines


class Errands:
    """Runs jobs in at most ``most`` tasks at once."""

    def __init__(self, runtime: Runtime, most: int, lines: Lines = AT_ONCE) -> None:
        self._runtime = runtime
        self._most = most
        self._lines = lines
        self._jobs: deque[Callable[[], object]] = deque()
        self._hands: set[object] = set()

    def send(self, job: Callable[[], object]) -> None:
        """Have ``job()`` run; never blocks. What it raises is logged."""
        self._jobs.append(job)
        if len(self._hands) < self._most:
            self._hire()

    def _hire(self) -> None:
        hand = object()
        try:
            self._hands.add(hand)
            self._runtime.spawn(self._work, hand, home=self._runtime.outside())
        except BaseException as error:
            self._hands.discard(hand)
            if not isinstance(error, RuntimeError):
                raise
            self._work(hand)  # the system grants no thread: better here than never

    def _work(self, hand: object) -> None:
        try:
            while self._jobs:
                self._do_one()
        finally:
            self._hands.discard(hand)
        if self._jobs:  # it came after the last look, from somebody who still saw this hand at work
            self._hire()

    def _do_one(self) -> None:
        try:
            job = self._jobs.popleft()
        except IndexError:
            return
        try:
            job()
        except Exception as error:  # noqa: BLE001 - the next job must not suffer for it
            self._lines.raised("an errand failed; this is a bug, please report it", error)
