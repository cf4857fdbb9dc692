"""The parts of a simulation: its tasks, the threads that run them, its events, locks and timers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sim import SimRuntime


class SimDeadlock(RuntimeError):
    """Tasks wait, and nothing is left that could wake them."""


class SimLockHeld(RuntimeError):
    """A task let another one run while it held a lock."""


class SimKilled(BaseException):
    """Raised in a task by ``SimTask.kill``, like gevent's ``GreenletExit``."""


class SimTask:
    """One task of a simulation, made by ``SimRuntime.task``.

    Attributes:
        name: for messages.
        done: it has returned or raised.
        error: what it raised, or ``None``.
    """

    def __init__(self, sim: SimRuntime, fn: Callable[[], Any], name: str) -> None:
        self.name = name
        self.done = False
        self.error: BaseException | None = None
        self._value: Any = None
        self._fn = fn
        self._sim = sim
        self._kill = False
        self._wakes = 0  # number of the present wait: a wake-up for an older one has no effect
        self._locks = 0

    def kill(self) -> None:
        """Raise ``SimKilled`` in the task where it waits. A task that has not begun never begins."""
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
        except BaseException as error:  # noqa: BLE001 - result() raises it
            self.error = error
        self.done = True


def taken() -> threading.Lock:
    """Return a locked lock, to wait until another thread releases it. A signal may leave a semaphore locked."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class SimThread:
    """A thread that runs one task after another, each time that it gets the baton."""

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
    """A one-shot flag in virtual time, made by ``SimRuntime.event``: tasks set it and wait for it."""

    def __init__(self, sim: SimRuntime) -> None:
        self._sim = sim
        self._set = False
        self._waiters: list[tuple[SimTask, int]] = []

    def set(self) -> None:
        """Set the flag and wake every task that waits for it. From any task, and from outside the simulation."""
        self._set = True
        waiters, self._waiters = self._waiters, []
        for task, wake in waiters:
            if task._wakes == wake:
                self._sim._ready(task)

    def is_set(self) -> bool:
        """Say whether the flag is set."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Let the current task wait for the flag, at most ``timeout`` virtual seconds; return whether it is set.

        Raises:
            RuntimeError: no task runs, and the flag is not set.
        """
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
    """A mutex of a simulation, made by ``SimRuntime.lock``. To take it is a point where other tasks may run."""

    def __init__(self, sim: SimRuntime) -> None:
        self._sim = sim
        self._owner: SimTask | None = None
        self._held = False

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock, and return whether that worked.

        Raises:
            SimLockHeld: ``blocking``, and a task holds it across a switch: it would wait for ever.
        """
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
        """Give the lock back."""
        if self._owner is not None:
            self._owner._locks -= 1
        self._held, self._owner = False, None


class SimTimer:
    """A call that ``SimRuntime.call_later`` has scheduled."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        """Do not make the call. Without effect if it was made already."""
        self.cancelled = True
