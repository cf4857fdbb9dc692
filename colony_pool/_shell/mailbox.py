"""What users' code is to be told: breaker listeners and log handlers, in a task of its own and in order.

A listener may hang, in a webhook without a timeout for one, and so may a log handler. No call may wait for it: a call
only puts a letter here. One task opens the letters, one after the other, and ends when there is none.
The box is bounded: when it is full the oldest letter goes, is counted, and one line of the log says so later.
What is left when the interpreter ends is opened then, within a second: a script that fails keeps its last log lines.
"""

from __future__ import annotations

import atexit
import math
import os
from collections import deque
from collections.abc import Callable
from itertools import count

from .._runtime.protocol import Runtime
from .._weakset import ThreadSafeWeakSet

MOST = 1000  # letters that wait
_COMES_WITHIN = 1.0  # seconds after which a task that was called and has not begun is called again
_AT_THE_END = 1.0  # seconds that the interpreter's end waits for a task that opens letters

Letter = Callable[[], object]


class Mailbox:
    """Letters that wait, and the task that opens them.

    Arguments:
        lost: called, in that task, with the number of letters that were dropped since it was called last.
    """

    def __init__(self, runtime: Runtime, lost: Callable[[int], object], most: int = MOST) -> None:
        self._runtime = runtime
        self._lost = lost
        self._most = most
        self._letters: deque[Letter] = deque()
        self._drops = count()
        self._told = 0  # of the drops
        self._free = deque([True])  # who takes it out opens the letters; ``deque`` lets only one have it
        self._called_at = -math.inf  # when a task was called that has not begun yet
        self._pid = os.getpid()
        _the_end.remember(self)

    @property
    def dropped(self) -> int:
        """Letters that were never opened."""
        return int(repr(self._drops)[len("count(") : -1])  # there is no other way to look

    def put(self, letter: Letter) -> None:
        """Leave a letter. It is opened after the next ``poke``; this never waits, under no lock."""
        self._letters.append(letter)
        while len(self._letters) > self._most:
            try:
                self._letters.popleft()
            except IndexError:
                return
            next(self._drops)

    def poke(self) -> None:
        """Have the letters opened; this waits for none of them."""
        if not self._letters or not self._free:  # who opens them looks once more when it is through
            return
        now = self._runtime.monotonic()
        if now - self._called_at < _COMES_WITHIN:  # one task is enough; but one that never comes must not be the last
            return
        self._called_at = now
        try:
            self._runtime.spawn_lasting(self._work)
        except RuntimeError:  # the system grants no thread: the next poke tries again
            self._called_at = -math.inf

    def post(self, letter: Letter) -> None:
        """``put`` and ``poke``."""
        self.put(letter)
        self.poke()

    def close(self, within: float) -> None:
        """Have what is left opened within so many seconds, and drop the rest."""
        if not self._letters and self._free:
            return
        opened = self._runtime.event()
        self.post(opened.set)
        if self._runtime.may_wait():
            opened.wait(within)
            self._letters.clear()

    def end(self, within: float) -> None:
        """The interpreter ends: open what is left, in this task if no other is to be had."""
        if os.getpid() != self._pid or (not self._letters and self._free):
            return
        if not self._runtime.may_wait():
            self._work()
            return
        opened = self._runtime.event()
        self.put(opened.set)
        try:
            self._runtime.spawn_lasting(self._work)
        except RuntimeError:  # the system grants no thread, or none any more
            self._work()
            return
        opened.wait(within)

    def _work(self) -> None:
        self._called_at = -math.inf
        try:
            while self._letters and os.getpid() == self._pid:  # else a fork has copied this: the parent opens them
                try:
                    self._free.pop()  # not where this task is spawned: it may never begin
                except IndexError:
                    return
                try:
                    self._open()
                finally:
                    self._free.append(True)
        except BaseException:  # killed, in a letter: the others are opened all the same
            self.poke()
            raise

    def _open(self) -> None:
        while self._letters and os.getpid() == self._pid:
            self._say_what_was_lost()
            try:
                letter = self._letters.popleft()
            except IndexError:
                return
            letter()

    def _say_what_was_lost(self) -> None:
        dropped = self.dropped
        if dropped > self._told:
            since, self._told = dropped - self._told, dropped
            self._lost(since)


class _TheEnd:
    """The end of the interpreter, which is the same for all boxes. Nothing is set up before it is needed."""

    def __init__(self) -> None:
        self._boxes: ThreadSafeWeakSet[Mailbox] = ThreadSafeWeakSet()
        self._registered = False

    def remember(self, box: Mailbox) -> None:
        """Open what is left in ``box`` when the interpreter ends, if it is still there."""
        self._boxes.add(box)
        if not self._registered:
            self._registered = True
            atexit.register(self._come)

    def _come(self) -> None:
        for box in self._boxes.all():
            box.end(_AT_THE_END)


_the_end = _TheEnd()
