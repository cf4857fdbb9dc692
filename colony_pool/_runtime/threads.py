"""Threads: workers that live while there is work, one scheduler thread that lives while a timer is pending."""

from __future__ import annotations

import math
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, TypeVar

from .thread_pool import KEEPALIVE, Job, ThreadPool
from .turn import Turn

T = TypeVar("T")


class _ThreadTimer:
    __slots__ = ("at", "cancelled", "fn")

    def __init__(self, at: float, fn: Callable[[], object]) -> None:
        self.at = at
        self.fn = fn
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class _Flag:
    """As ``threading.Event``, which holds a lock while it sets and wakes.

    A finaliser that sets it in the middle of that would wait for itself, and Ctrl-C in the middle of its ``wait``
    comes out as "release unlocked lock". Here nobody waits for anything but the flag.
    """

    __slots__ = ("_set", "_wakeups")

    def __init__(self) -> None:
        self._set = False
        self._wakeups: list[
            Any
        ] = []  # locked locks, one for each who waits: one, and a deque has room for sixty-four

    def set(self) -> None:
        self._set = True
        while self._wakeups:
            try:
                self._wakeups.pop().release()
            except IndexError:
                break

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        if self._set:
            return True
        wakeup = threading.Lock()
        wakeup.acquire()
        self._wakeups.append(wakeup)
        try:
            # Who sets it now finds the lock; who set it before has been noticed here.
            if not self._set and (timeout is None or timeout > 0):
                # Never without an end: if gevent has patched late, the lock is its own and a thread releases it;
                # a hub that has nothing else to wait for, not even a time, would take itself to be stuck.
                wakeup.acquire(timeout=min(timeout or threading.TIMEOUT_MAX, threading.TIMEOUT_MAX))
        finally:
            with suppress(ValueError, IndexError):
                self._wakeups.remove(wakeup)
        return self._set


class ThreadRuntime:
    """Native threads. See ``Runtime`` for what each method promises."""

    name = "threads"

    def __init__(self) -> None:
        self.monotonic = time.monotonic
        self.now = time.time
        self._begin()

    def _begin(self) -> None:
        self.random = random.Random().random  # noqa: S311 - jitter, no secret
        self._pool = ThreadPool(self._start, threading.Lock)
        self._threads: set[threading.Thread] = set()
        # No lock: a finaliser may set a timer, or close the pool, in the middle of anything that is done here.
        # What is new has not yet been seen by the scheduler; ``None``: forget all before it.
        self._new: deque[_ThreadTimer | None] = deque()
        self._free = deque([True])  # who takes it out runs the scheduler; ``deque`` lets only one have it
        self._looks_at = math.inf  # when the scheduler will look at the timers by itself
        self._earlier = _Flag()  # set to have it look now
        self._serial = count()

    def current_context(self) -> Hashable | None:
        """Any thread can do anything: ``None``."""
        return None

    def external_context(self) -> Hashable | None:
        """Any thread will do: ``None``."""
        return None

    def event(self) -> _Flag:
        """Return a flag."""
        return _Flag()

    def lock(self) -> Turn:
        """Return a turn."""
        return Turn()

    def offload(self, fn: Callable[..., T], *args: Any) -> T:
        """Only the current thread waits anyway."""
        return fn(*args)

    def spawn(self, fn: Callable[..., object], *args: Any, context: Hashable | None = None) -> None:
        """Run ``fn(*args)`` on a worker thread, an idle one if there is one."""
        self._pool.submit(lambda: fn(*args))

    def run_in_thread(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` on a worker thread, as any other task."""
        self._pool.submit(fn)

    def spawn_lasting(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` on a worker thread, as any other task."""
        self._pool.submit(fn)

    def may_wait(self) -> bool:
        """Any thread can."""
        return True

    def run_uninterrupted(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` on a worker if this is the main thread, where Ctrl-C may raise between any two steps."""
        if threading.get_ident() != threading.main_thread().ident or sys.is_finalizing():
            fn()
            return
        done = _Flag()

        def run() -> None:
            try:
                fn()
            finally:
                done.set()

        try:
            self._pool.submit(run, at_once=True)  # who is at work may be so for as long as an attempt lasts
        except RuntimeError:  # the interpreter is ending, or the system grants no more threads
            fn()
        else:
            done.wait()

    def is_ending(self) -> bool:
        """From 3.12 on no thread is granted once the main one has ended, though others may go on for long."""
        return sys.is_finalizing() or not threading.main_thread().is_alive()

    def call_later(self, delay: float, fn: Callable[[], object]) -> _ThreadTimer:
        """Run ``fn()`` on a worker after ``delay`` seconds."""
        timer = _ThreadTimer(self.monotonic() + delay, fn)
        self._new.append(timer)
        if self._free:
            self._start(self._schedule, "colony_pool-timer")
        elif timer.at < self._looks_at:
            self._earlier.set()
        return timer

    def after_fork(self) -> None:
        """Forget the parent's threads: none but the one that forked is here."""
        self._begin()

    def close(self, timeout: float) -> None:
        """End the scheduler and the workers; those still at work are left to end by themselves."""
        self._new.append(None)
        self._earlier.set()
        self._pool.close()
        until = self.monotonic() + timeout
        for thread in list(self._threads):
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(max(0.0, until - self.monotonic()))

    def _start(self, work: Job, name: str = "colony_pool-worker") -> None:
        def run() -> None:
            try:
                work()
            finally:
                self._threads.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            self._threads.discard(thread)
            raise

    def _schedule(self) -> None:
        while self._new:
            try:
                self._free.pop()  # not where this thread is started: Ctrl-C in between would be the last timer's
            except IndexError:
                return  # another thread is at it
            try:
                self._keep_time()
            finally:
                self._free.append(True)

    def _keep_time(self) -> None:
        """Until there is no timer any more."""
        timers: list[tuple[float, int, _ThreadTimer]] = []
        while True:
            earlier = self._earlier = _Flag()
            self._looks_at = math.inf  # who comes from now on, and is not taken in, sets the flag
            self._take_in(timers)
            if not timers:
                return
            # What is cancelled must not keep this thread for long.
            wait = min(timers[0][0] - self.monotonic(), KEEPALIVE)
            if wait > 0:
                self._looks_at = self.monotonic() + wait
                earlier.wait(wait)
            else:
                self._fire(heappop(timers)[2])

    def _fire(self, timer: _ThreadTimer) -> None:
        if timer.cancelled:
            return
        try:
            self.spawn(timer.fn)
        except RuntimeError:  # the system grants no thread: what a timer does is short
            ThreadPool.run(timer.fn)

    def _take_in(self, timers: list[tuple[float, int, _ThreadTimer]]) -> None:
        """Take in what is new, and drop what is cancelled: re-arming at every input must not let the heap grow."""
        while self._new:
            timer = self._new.popleft()
            if timer is None:
                timers.clear()
            else:
                heappush(timers, (timer.at, next(self._serial), timer))
        while timers and timers[0][2].cancelled:
            heappop(timers)
        if len(timers) > 64:
            alive = [entry for entry in timers if not entry[2].cancelled]
            if len(alive) < len(timers) / 2:
                timers[:] = alive
                heapify(timers)
