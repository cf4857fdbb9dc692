"""Native threads that live while there is work: they linger for half a second after it, and end.

There is no lock. A thread that waits stands in ``_idle``; who takes it out, the one who has a job for it or the
thread itself when it has waited long enough, decides, and ``deque`` lets only one of them. So work can be handed
in from anywhere: another thread, a greenlet, a finaliser in the middle of a hand-over.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

log = logging.getLogger("colony_pool")

# An idle thread waits this long for more work before it ends, seconds.
KEEPALIVE = 0.5
Job = Callable[[], object]
_endings: dict[int, list[Job]] = {}  # of each thread that says when it ends: what is to be done then


@contextmanager
def thread_exit_scope() -> Iterator[None]:
    """All that the current thread does: when it is over, what ``on_thread_exit`` was given is done."""
    me = threading.get_native_id()
    endings = _endings[me] = []
    try:
        yield
    finally:
        while endings:
            with suppress(Exception):
                endings.pop()()
        _endings.pop(me, None)


def on_thread_exit(job: Job) -> None:
    """Have the current thread run ``job()`` when it ends; nothing, if it does not say when."""
    _endings.get(threading.get_native_id(), []).append(job)


class _Thread:
    __slots__ = ("job", "wakeup")

    def __init__(self, wakeup: Any, job: Job) -> None:
        self.wakeup = wakeup  # a locked lock; who has put a job here unlocks it
        self.job: Job | None = job


class ThreadPool:
    """Runs each job in a thread of its own, or in one that has just become free.

    Arguments:
        start: starts a native thread: ``start(function)``.
        new_lock: makes a native lock.
    """

    def __init__(self, start: Callable[[Job], object], new_lock: Callable[[], Any]) -> None:
        self._start = start
        self._new_lock = new_lock
        self._idle: deque[_Thread] = deque()
        self._backlog: deque[Job] = deque()  # when the system grants no more threads
        self._alive: set[_Thread] = set()
        self._closed = False

    def submit(self, job: Job, *, at_once: bool = False) -> None:
        """Have ``job()`` run; never waits. Raises ``RuntimeError`` if there is no thread and none can be started.

        ``at_once``: also if the only threads that there are have something else to do first.
        """
        if sys.is_finalizing():  # a thread that lingers would never run again
            raise RuntimeError("the interpreter is shutting down")
        taken: list[_Thread] = []
        try:
            taken.extend(islice(iter(self._idle.pop, None), 1))  # all in C: Ctrl-C comes before or after
            taken[0].job = job
        except IndexError:
            pass
        finally:
            if taken:  # nobody else can wake it any more; without a job it ends
                taken[0].wakeup.release()
        if not taken:
            self._start_thread(job, at_once)

    def close(self) -> None:
        """Have idle workers end now, and busy ones after their job."""
        self._closed = True
        while self._idle:
            try:
                self._idle.pop().wakeup.release()
            except IndexError:
                break

    def _start_thread(self, job: Job, at_once: bool) -> None:
        wakeup = self._new_lock()
        wakeup.acquire()
        thread = _Thread(wakeup, job)
        self._alive.add(thread)
        try:
            self._start(lambda: self._work(thread))
        except BaseException as error:
            self._alive.discard(thread)
            if at_once or not self._alive or not isinstance(error, RuntimeError):
                raise
            self._backlog.append(job)
            self._assign_backlog()
            if not self._alive:  # the last one has ended meanwhile
                with suppress(ValueError):  # and has looked there before it did
                    self._backlog.remove(job)
                    raise

    def _assign_backlog(self) -> None:
        """Give what came after their last look to those who wait."""
        while self._backlog:
            try:
                thread = self._idle.pop()
            except IndexError:
                return
            with suppress(IndexError):
                thread.job = self._backlog.popleft()
            thread.wakeup.release()

    def _work(self, thread: _Thread) -> None:
        try:
            while (job := thread.job) is not None:
                thread.job = None
                self.run(job)
                del job
                self._wait_for_more(thread)
        finally:
            self._alive.discard(thread)

    @staticmethod
    def run(job: Job) -> None:
        """Run ``job()``; what it raises is logged, and ends nothing else."""
        try:
            job()
        except Exception as error:  # noqa: BLE001 - its class and where; its text may say a secret
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("colony_pool: a background task failed; this is a bug, please report it: %s\n%s",
                      type(error).__name__, where)  # fmt: skip
        except BaseException:  # noqa: BLE001, S110 - SystemExit and the like end the job, not the thread
            pass

    def _wait_for_more(self, thread: _Thread) -> None:
        try:
            thread.job = self._backlog.popleft()
            return
        except IndexError:
            self._idle.append(thread)
        if not self._closed and thread.wakeup.acquire(timeout=KEEPALIVE):
            return
        try:
            self._idle.remove(thread)
        except ValueError:
            thread.wakeup.acquire()  # taken out at this very moment: a job, or the end, is on its way
            return
        self._alive.discard(thread)
        with suppress(IndexError):  # put there by somebody who still saw it alive
            thread.job = self._backlog.popleft()
            self._alive.add(thread)
