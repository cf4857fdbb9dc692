"""Threads: workers that live while there is work, one scheduler thread that lives while a timer is pending."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, TypeVar

from .workers import LINGER, Job, Workers

T = TypeVar("T")


class _Timer:
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

    __slots__ = ("_bells", "_set")

    def __init__(self) -> None:
        self._set = False
        self._bells: list[Any] = []  # locked locks, one for each who waits: one, and a deque has room for sixty-four

    def set(self) -> None:
        self._set = True
        while self._bells:
            try:
                self._bells.pop().release()
            except IndexError:
                break

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        if self._set:
            return True
        bell = threading.Lock()
        bell.acquire()
        self._bells.append(bell)
        try:
            # Who sets it now finds the bell; who set it before has been noticed here.
            if not self._set and (timeout is None or timeout > 0):
                # Never without an end: if gevent has patched late, the bell is its own and a native thread rings it;
                # a hub that has nothing else to wait for, not even a time, would take itself to be stuck.
                bell.acquire(timeout=min(timeout or threading.TIMEOUT_MAX, threading.TIMEOUT_MAX))
        finally:
            with suppress(ValueError, IndexError):
                self._bells.remove(bell)
        return self._set


class ThreadRuntime:
    """Native threads. See ``Runtime`` for what each method promises."""

    name = "threads"

    def __init__(self) -> None:
        self.monotonic = time.monotonic
        self.now = time.time
        self.random = random.Random().random  # noqa: S311 - jitter, no secret
        self._workers = Workers(self._start, threading.Lock)
        self._threads: set[threading.Thread] = set()
        # A bare lock: an exception that is thrown into a thread finds a way between the steps of a Condition.
        self._clock = threading.Lock()  # guards _timers, _scheduler, _looks_at, _earlier
        self._looks_at = 0.0  # when the scheduler will look at the timers by itself
        self._earlier = _Flag()  # set to have it look now
        self._timers: list[tuple[float, int, _Timer]] = []
        self._scheduler: threading.Thread | None = None
        self._serial = count()

    def home(self) -> Hashable | None:
        """Any thread can do anything: ``None``."""
        return None

    def outside(self) -> Hashable | None:
        """Any thread will do: ``None``."""
        return None

    def event(self) -> _Flag:
        """Return a flag."""
        return _Flag()

    def lock(self) -> threading.Lock:
        """Return a ``threading.Lock``."""
        return threading.Lock()

    def offload(self, fn: Callable[..., T], *args: Any) -> T:
        """Only the current thread waits anyway."""
        return fn(*args)

    def spawn(self, fn: Callable[..., object], *args: Any, home: Hashable | None = None) -> None:
        """Run ``fn(*args)`` on a worker thread, an idle one if there is one."""
        self._workers.submit(lambda: fn(*args))

    def aside(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` on a worker thread, as any other task."""
        self._workers.submit(fn)

    def killable(self) -> bool:
        """Only the main thread, where Ctrl-C may raise between any two steps."""
        return threading.get_ident() == threading.main_thread().ident

    def unhurried(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` on a worker if this is the main thread."""
        if not self.killable() or sys.is_finalizing():
            fn()
            return
        done = _Flag()

        def run() -> None:
            try:
                fn()
            finally:
                done.set()

        try:
            self._workers.submit(run, at_once=True)  # who is at work may be so for as long as an attempt lasts
        except RuntimeError:  # the interpreter is ending, or the system grants no more threads
            fn()
        else:
            done.wait()

    def call_later(self, delay: float, fn: Callable[[], object]) -> _Timer:
        """Run ``fn()`` on a worker after ``delay`` seconds."""
        timer = _Timer(self.monotonic() + delay, fn)
        with self._clock:
            heappush(self._timers, (timer.at, next(self._serial), timer))
            self._forget_cancelled()
            if self._scheduler is None:
                self._scheduler = threading.Thread(target=self._schedule, name="colony_pool-timer", daemon=True)
                try:
                    self._scheduler.start()
                except BaseException:
                    self._scheduler = None  # the next timer tries again
                    raise
            elif timer.at < self._looks_at:
                self._earlier.set()
        return timer

    def after_fork(self) -> None:
        """Nothing to do: no thread of the parent's but the one that forked is here."""

    def close(self, timeout: float) -> None:
        """End the scheduler and the workers; those still at work are left to end by themselves."""
        with self._clock:
            self._timers.clear()
            self._earlier.set()
            scheduler = self._scheduler
        self._workers.close()
        until = self.monotonic() + timeout
        for thread in (*list(self._threads), *([scheduler] if scheduler else [])):
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(max(0.0, until - self.monotonic()))

    def _start(self, work: Job) -> None:
        def run() -> None:
            try:
                work()
            finally:
                self._threads.discard(thread)

        thread = threading.Thread(target=run, name="colony_pool-worker", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            self._threads.discard(thread)
            raise

    def _schedule(self) -> None:
        while True:
            with self._clock:
                self._forget_cancelled()
                if not self._timers:
                    self._scheduler = None
                    return
                # What is cancelled must not keep this thread for long.
                wait = min(self._timers[0][0] - self.monotonic(), LINGER)
                if wait > 0:
                    self._looks_at = self.monotonic() + wait
                    earlier = self._earlier = _Flag()
                else:
                    timer = heappop(self._timers)[2]
            if wait > 0:
                earlier.wait(wait)
            elif not timer.cancelled:
                try:
                    self.spawn(timer.fn)
                except RuntimeError:  # the system grants no thread: what a timer does is short
                    timer.fn()

    def _forget_cancelled(self) -> None:
        """Drop cancelled timers; the lock is held. Re-arming at every input must not let the heap grow."""
        while self._timers and self._timers[0][2].cancelled:
            heappop(self._timers)
        if len(self._timers) > 64:
            alive = [entry for entry in self._timers if not entry[2].cancelled]
            if len(alive) < len(self._timers) / 2:
                self._timers = alive
                heapify(self._timers)
