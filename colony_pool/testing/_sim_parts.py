"""The pieces of a simulation: its tasks, the threads that run them, its events, locks and timers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sim import SimRuntime


class SimDeadlock(RuntimeError):
    """Tasks wait, and nothing is left that could wake them."""


class SimLockHeld(RuntimeError):
    """A task gave the baton away while it held a lock."""


class SimKilled(BaseException):
    """Thrown into a task by ``SimTask.kill``, like gevent's ``GreenletExit``."""


class SimTask:
    """One task of a simulation."""

    def __init__(self, sim: SimRuntime, fn: Callable[[], Any], name: str) -> None:
        self.name = name
        self.done = False
        self.error: BaseException | None = None
        self._value: Any = None
        self._fn = fn
        self._sim = sim
        self._kill = False
        self._wakes = 0  # a wake-up for an older wait is void
        self._locks = 0

    def kill(self) -> None:
        """Throw ``SimKilled`` into the task at its present switch point; one that has not begun never does."""
        if not self.done:
            self._kill = True
            self._sim._ready(self)

    def result(self) -> Any:
        """Return what the task returned, or raise what it raised."""
        if not self.done:
            raise RuntimeError(f"task {self.name} is not done")
        if self.error is not None:
            raise self.error
        return self._value

    def _body(self) -> None:
        try:
            if self._kill:
                raise SimKilled(self.name)
            self._value = self._fn()
        except BaseException as error:  # noqa: BLE001 - it is handed to whoever asks for the result
            self.error = error
        self.done = True


def taken() -> threading.Lock:
    """Return a lock for whoever waits until another releases it. A signal in a semaphore may leave that locked."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class SimThread:
    """A thread that runs one task after the other, whenever it is given the baton."""

    def __init__(self, sim: SimRuntime) -> None:
        self.baton = taken()
        self.task: SimTask | None = None
        self._sim = sim
        self._thread = threading.Thread(target=self._loop, name="sim", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while True:
            self.baton.acquire()
            if self.task is None:
                return
            self.task._body()
            self._sim._retire(self)

    def end(self) -> None:
        self.task = None
        self.baton.release()
        self._thread.join()


class SimEvent:
    def __init__(self, sim: SimRuntime) -> None:
        self._sim = sim
        self._set = False
        self._waiters: list[tuple[SimTask, int]] = []

    def set(self) -> None:
        self._set = True
        waiters, self._waiters = self._waiters, []
        for task, wake in waiters:
            if task._wakes == wake:
                self._sim._ready(task)

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        sim = self._sim
        if not self._set and (timeout is None or timeout > 0) and not sim._is_cut():
            task = sim._current_task()
            task._wakes += 1
            self._waiters.append((task, task._wakes))
            if timeout is not None:
                sim._wake_later(task, timeout)
            sim._switch(task)
        return self._set


class SimLock:
    def __init__(self, sim: SimRuntime) -> None:
        self._sim = sim
        self._owner: SimTask | None = None
        self._held = False

    def acquire(self, blocking: bool = True) -> bool:
        self._sim.checkpoint()
        if self._held:
            if blocking:
                raise SimLockHeld("a blocking acquire of a lock that another task holds across a switch")
            return False
        self._held, self._owner = True, self._sim._running
        if self._owner is not None:
            self._owner._locks += 1
        return True

    def release(self) -> None:
        if self._owner is not None:
            self._owner._locks -= 1
        self._held, self._owner = False, None


class SimTimer:
    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
