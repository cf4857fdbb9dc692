"""Threads: workers that live while there is work, one scheduler thread that lives while a timer is pending."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, TypeVar

log = logging.getLogger("colony_pool")

T = TypeVar("T")
_Job = tuple[Callable[..., object], tuple[Any, ...]]
# An idle worker waits this long for more work before it ends, seconds.
_LINGER = 0.5


class _Timer:
    __slots__ = ("_runtime", "at", "cancelled", "fn")

    def __init__(self, runtime: ThreadRuntime, at: float, fn: Callable[[], object]) -> None:
        self.at = at
        self.fn = fn
        self.cancelled = False
        self._runtime = runtime

    def cancel(self) -> None:
        self.cancelled = True
        self._runtime._look()


class ThreadRuntime:
    """Native threads. See ``Runtime`` for what each method promises."""

    name = "threads"

    def __init__(self) -> None:
        self.monotonic = time.monotonic
        self.now = time.time
        self.random = random.Random().random  # noqa: S311 - jitter, no secret
        self._jobs: deque[_Job] = deque()
        self._hands = threading.Condition()  # guards _jobs, _idle, _workers
        self._idle = 0
        self._workers: set[threading.Thread] = set()
        self._clock = threading.Condition()  # guards _timers, _scheduler
        self._timers: list[tuple[float, int, _Timer]] = []
        self._scheduler: threading.Thread | None = None
        self._serial = count()
        self._closed = False

    def home(self) -> Hashable | None:
        """Any thread can do anything: ``None``."""
        return None

    def event(self) -> threading.Event:
        """Return a ``threading.Event``."""
        return threading.Event()

    def lock(self) -> threading.Lock:
        """Return a ``threading.Lock``."""
        return threading.Lock()

    def offload(self, fn: Callable[..., T], *args: Any) -> T:
        """Only the current thread waits anyway."""
        return fn(*args)

    def spawn(self, fn: Callable[..., object], *args: Any, home: Hashable | None = None) -> None:
        """Run ``fn(*args)`` on a worker thread, an idle one if there is one."""
        with self._hands:
            self._jobs.append((fn, args))
            if self._idle >= len(self._jobs):
                self._hands.notify()
                return
            worker = threading.Thread(target=self._work, name="colony_pool-worker", daemon=True)
            self._workers.add(worker)
        worker.start()

    def call_later(self, delay: float, fn: Callable[[], object]) -> _Timer:
        """Run ``fn()`` on a worker after ``delay`` seconds."""
        timer = _Timer(self, self.monotonic() + delay, fn)
        with self._clock:
            heappush(self._timers, (timer.at, next(self._serial), timer))
            self._forget_cancelled()
            if self._scheduler is None:
                self._scheduler = threading.Thread(target=self._schedule, name="colony_pool-timer", daemon=True)
                self._scheduler.start()
            elif self._timers[0][2] is timer:
                self._clock.notify()
        return timer

    def _look(self) -> None:
        """Wake the scheduler if the timer that it waits for was cancelled: without another it ends."""
        with self._clock:
            if self._timers and self._timers[0][2].cancelled:
                self._clock.notify()

    def close(self, timeout: float) -> None:
        """End the scheduler and the workers; those still at work are left to end by themselves."""
        with self._clock:
            self._closed = True
            self._timers.clear()
            self._clock.notify()
            scheduler = self._scheduler
        with self._hands:
            self._hands.notify_all()
            workers = list(self._workers)
        until = self.monotonic() + timeout
        for thread in (*workers, *([scheduler] if scheduler else [])):
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(max(0.0, until - self.monotonic()))

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            fn, args = job
            try:
                fn(*args)
            except Exception:
                log.exception("colony_pool: a background task failed; this is a bug, please report it")
            del job, fn, args
        with self._hands:
            self._workers.discard(threading.current_thread())

    def _next_job(self) -> _Job | None:
        with self._hands:
            if not self._jobs and not self._closed:
                self._idle += 1
                self._hands.wait(_LINGER)
                self._idle -= 1
            return self._jobs.popleft() if self._jobs else None

    def _schedule(self) -> None:
        while True:
            with self._clock:
                self._forget_cancelled()
                if not self._timers:
                    self._scheduler = None
                    return
                wait = self._timers[0][0] - self.monotonic()
                if wait > 0:
                    self._clock.wait(min(wait, threading.TIMEOUT_MAX))
                    continue
                timer = heappop(self._timers)[2]
            if not timer.cancelled:
                self.spawn(timer.fn)

    def _forget_cancelled(self) -> None:
        """Drop cancelled timers; the lock is held. Re-arming at every input must not let the heap grow."""
        while self._timers and self._timers[0][2].cancelled:
            heappop(self._timers)
        if len(self._timers) > 64:
            alive = [entry for entry in self._timers if not entry[2].cancelled]
            if len(alive) < len(self._timers) / 2:
                self._timers = alive
                heapify(self._timers)
