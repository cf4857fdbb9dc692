"""Calls of users' code: breaker listeners and log handlers are called in a task of their own, and in order.

A listener may hang, in a webhook without a timeout for one, and so may a log handler. No call may wait for it: it
only puts a callback here. One task makes them, one after the other, and ends when there is none.
The queue is bounded: when it is full the oldest callback goes, is counted, and one line of the log says so later.
What is left when the interpreter ends is called then, within a second: a script that fails keeps its last log lines.
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

MOST = 1000  # callbacks that wait
_COMES_WITHIN = 1.0  # seconds after which a task that was called and has not begun is called again
_AT_THE_END = 1.0  # seconds that the interpreter's end waits for a task that opens letters

Callback = Callable[[], object]


class DeliveryQueue:
    """Callbacks that wait, and the task that makes them.

    Arguments:
        lost: called, in that task, with the number of callbacks that were dropped since it was called last.
    """

    def __init__(self, runtime: Runtime, lost: Callable[[int], object], most: int = MOST) -> None:
        self._runtime = runtime
        self._lost = lost
        self._most = most
        self._callbacks: deque[Callback] = deque()
        self._drops = count()
        self._reported = 0  # of the drops
        self._free = deque([True])  # who takes it out makes the calls; ``deque`` lets only one have it
        self._called_at = -math.inf  # when a task was called that has not begun yet
        self._pid = os.getpid()
        _at_exit.remember(self)

    @property
    def dropped(self) -> int:
        """Callbacks that were never made."""
        return int(repr(self._drops)[len("count(") : -1])  # there is no other way to look

    def put(self, callback: Callback) -> None:
        """Append a callback. It is made after the next ``flush``; this never waits, under no lock."""
        self._callbacks.append(callback)
        while len(self._callbacks) > self._most:
            try:
                self._callbacks.popleft()
            except IndexError:
                return
            next(self._drops)

    def flush(self) -> None:
        """Have the callbacks made; this waits for none of them."""
        if not self._callbacks or not self._free:  # who makes them looks once more when it is through
            return
        now = self._runtime.monotonic()
        if now - self._called_at < _COMES_WITHIN:  # one task is enough; but one that never comes must not be the last
            return
        self._called_at = now
        try:
            self._runtime.spawn_lasting(self._work)
        except RuntimeError:  # the system grants no thread: the next flush tries again
            self._called_at = -math.inf

    def post(self, callback: Callback) -> None:
        """``put`` and ``flush``."""
        self.put(callback)
        self.flush()

    def close(self, within: float) -> None:
        """Have what is left made within so many seconds, and drop the rest."""
        if not self._callbacks and self._free:
            return
        made = self._runtime.event()
        self.post(made.set)
        if self._runtime.may_wait():
            made.wait(within)
            self._callbacks.clear()

    def end(self, within: float) -> None:
        """The interpreter ends: make what is left, in this task if no other is to be had."""
        if os.getpid() != self._pid or (not self._callbacks and self._free):
            return
        if not self._runtime.may_wait():
            self._work()
            return
        made = self._runtime.event()
        self.put(made.set)
        try:
            self._runtime.spawn_lasting(self._work)
        except RuntimeError:  # the system grants no thread, or none any more
            self._work()
            return
        made.wait(within)

    def _work(self) -> None:
        self._called_at = -math.inf
        try:
            while self._callbacks and os.getpid() == self._pid:  # else a fork has copied this: the parent makes them
                try:
                    self._free.pop()  # not where this task is spawned: it may never begin
                except IndexError:
                    return
                try:
                    self._make_calls()
                finally:
                    self._free.append(True)
        except BaseException:  # killed, in a callback: the others are made all the same
            self.flush()
            raise

    def _make_calls(self) -> None:
        while self._callbacks and os.getpid() == self._pid:
            self._say_what_was_lost()
            try:
                callback = self._callbacks.popleft()
            except IndexError:
                return
            callback()

    def _say_what_was_lost(self) -> None:
        dropped = self.dropped
        if dropped > self._reported:
            since, self._reported = dropped - self._reported, dropped
            self._lost(since)


class _DeliverAtExit:
    """The end of the interpreter, which is the same for all queues. Nothing is set up before it is needed."""

    def __init__(self) -> None:
        self._queues: ThreadSafeWeakSet[DeliveryQueue] = ThreadSafeWeakSet()
        self._registered = False

    def remember(self, queue: DeliveryQueue) -> None:
        """Make what is left in ``queue`` when the interpreter ends, if it is still there."""
        self._queues.add(queue)
        if not self._registered:
            self._registered = True
            atexit.register(self._come)

    def _come(self) -> None:
        for queue in self._queues.all():
            queue.end(_AT_THE_END)


_at_exit = _DeliverAtExit()
