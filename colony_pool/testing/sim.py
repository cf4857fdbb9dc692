"""SimRuntime: virtual time and seeded scheduling for the real pool, dispatcher and driver.

Real production code runs on it unchanged. Tasks are threads, of which one runs at a time: a task lets another one run
when it sleeps, waits for an event, or is about to take a lock, and a seeded generator picks which. When no task can
run, virtual time jumps to the next timer, so an hour takes milliseconds. When no timer is left either, ``run`` raises
``SimDeadlock``; a lock held across a switch raises ``SimLockHeld``.

These wait in virtual time: ``sim.sleep``, ``sim.event``, and every call of the pool. ``time.sleep``, a lock of
``threading`` and a server that hangs take real time, during which no other task runs. A FakeColony keeps real time:
what it does after a number of seconds (``schedule``, ``rate_limit``, ``capacity``, the end of a token) does not
happen sooner. Instead, let a task sleep and then command it. Where unix times are compared (``X-RateLimit-Reset``, a
JWT's ``exp``), start with ``wall=time.time()``.

    >>> sim = SimRuntime(seed=1)
    >>> def nap():
    ...     sim.sleep(3600.0)
    ...     return sim.monotonic()
    >>> task = sim.task(nap)
    >>> sim.run()
    >>> task.result()
    3600.0
"""

from __future__ import annotations

import math
import random as _random
import threading
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

__all__ = [
    "SimDeadlock", "SimEvent", "SimKilled", "SimLock", "SimLockHeld", "SimRuntime", "SimTask", "SimTimer",
]  # fmt: skip

T = TypeVar("T")
_GRACE = 1.0  # real seconds for a task to come to its next switch when run is interrupted


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


def _taken() -> threading.Lock:
    """Return a locked lock, to wait until another thread releases it. A signal may leave a semaphore locked."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class _SimThread:
    """A thread that runs one task after another, each time that it gets the baton."""

    def __init__(self, sim: SimRuntime) -> None:
        self.baton = _taken()
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
    """A call that ``SimRuntime.call_later`` has scheduled.

    Attributes:
        cancelled: ``cancel`` was called.
    """

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        """Do not make the call. Without effect if it was made already."""
        self.cancelled = True


class SimRuntime:
    """A ``Runtime`` in virtual time. Times are float seconds; it starts at 0 (monotonic) and ``wall``.

    Arguments:
        seed: which of the possible schedules to run.
        wall: unix time at the start. ``step_wall`` moves the wall clock alone, as NTP or a sleeping laptop does.

    Attributes:
        name: ``"sim"``.
        random_source: what ``random`` draws from: a ``random.Random`` of the seed, for chance in tests.
        switches: how often a task has begun to run, or gone on.
    """

    name = "sim"

    def __init__(self, seed: int = 0, wall: float = 1_790_000_000.0) -> None:
        self.random_source = _random.Random(seed)  # noqa: S311 - a seeded simulation
        self.switches = 0
        self._pick = _random.Random(f"pick {seed}")  # noqa: S311 - as above
        self._time = 0.0
        self._wall = wall
        self._serial = count()
        self._timers: list[tuple[float, int, SimTimer, Callable[[], object]]] = []
        self._runnable: list[SimTask] = []
        self._threads: dict[SimTask, _SimThread] = {}
        self._idle: list[_SimThread] = []
        self._running: SimTask | None = None
        self._back = _taken()
        self._held: str = ""
        self._cut_for: int | None = None  # the thread whose run was interrupted, and which may still close the pool

    # -- the Runtime ----------------------------------------------------------------------------------

    def monotonic(self) -> float:
        """Virtual seconds since the start."""
        return self._time

    def now(self) -> float:
        """Virtual unix time."""
        return self._wall + self._time

    def random(self) -> float:
        """A seeded number in [0, 1)."""
        return self.random_source.random()

    def current_context(self) -> Hashable | None:
        """Tasks of a simulation have no context: ``None``."""
        return None

    def external_context(self) -> Hashable | None:
        """There is nothing outside a simulation: ``None``."""
        return None

    def spawn(self, fn: Callable[..., object], *args: Any, context: Hashable | None = None) -> None:
        """Run ``fn(*args)`` in a new task."""
        self.task(lambda: fn(*args))

    def may_wait(self) -> bool:
        """Tasks can wait, and nothing else."""
        return self._running is not None

    def run_uninterrupted(self, fn: Callable[[], object]) -> None:
        """Run ``fn()``: there are no signals in virtual time."""
        fn()

    def is_ending(self) -> bool:
        """A simulation needs no thread."""
        return False

    def call_later(self, delay: float, fn: Callable[[], object]) -> SimTimer:
        """Run ``fn()`` in a new task after ``delay`` virtual seconds."""
        return self._later(delay, lambda: self.spawn(fn))

    def event(self) -> SimEvent:
        """Return a fresh event."""
        return SimEvent(self)

    def lock(self) -> SimLock:
        """Return a fresh lock."""
        return SimLock(self)

    def offload(self, fn: Callable[..., T], *args: Any) -> T:
        """Run ``fn`` here: nothing blocks in virtual time."""
        return fn(*args)

    def run_in_thread(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` in a new task; it may sleep."""
        self.spawn(fn)

    def spawn_lasting(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` in a new task."""
        self.spawn(fn)

    def after_fork(self) -> None:
        """Nothing to do: a simulation does not fork."""

    def close(self, timeout: float) -> None:
        """Nothing to end: the simulation owns its tasks."""

    # -- for tests ------------------------------------------------------------------------------------

    def task(self, fn: Callable[[], Any], name: str = "") -> SimTask:
        """Start a task and return it. It runs when ``run`` does.

        ``SimTask.result`` raises what ``fn`` raises; it does not end the simulation.
        """
        task = SimTask(self, fn, name or getattr(fn, "__name__", "task"))
        self._runnable.append(task)
        return task

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for the current task."""
        task = self._current_task()
        task._wakes += 1
        self._wake_later(task, seconds)
        self._switch(task)

    def checkpoint(self) -> None:
        """Let another task run, if the seed says so."""
        task = self._running
        if task is not None and self._runnable and self._pick.random() < 0.5:
            task._wakes += 1
            self._runnable.append(task)
            self._switch(task)

    def step_wall(self, seconds: float) -> None:
        """Move the wall clock by ``seconds`` without time passing."""
        self._wall += seconds

    def run(self, until: float = math.inf) -> None:
        """Run until no task can go on before virtual time ``until``.

        A task that still waits then is a thread that waits. One that waits for a pool ends in another ``run`` after
        the pool was closed; any other ends when it is killed.

        Raises:
            SimDeadlock: tasks wait for something that cannot come.
            SimLockHeld: a task held a lock across a switch.
            RuntimeError: in a task; or an earlier ``run`` was interrupted, after which the pool can only be closed.
        """
        if self._running is not None:
            raise RuntimeError("run() must be called from outside the simulation")
        if self._cut_for is not None:
            raise RuntimeError("this simulation was interrupted: make a new one")
        while not self._held:
            if self._runnable:
                self._resume(self._runnable.pop(self._pick.randrange(len(self._runnable))))
            elif self._timers and self._timers[0][0] <= until:
                at, _, timer, fire = heappop(self._timers)
                if not timer.cancelled:
                    self._time = max(self._time, at)
                    fire()
            else:
                break
        if self._held:
            raise SimLockHeld(self._held)
        if until < math.inf:
            self._time = max(self._time, until)
        elif self._threads:
            names = ", ".join(sorted({task.name for task in self._threads})[:10])
            raise SimDeadlock(f"{len(self._threads)} tasks wait for ever at t={self._time:.3f}: {names}")
        while self._idle:
            self._idle.pop().end()

    def _later(self, delay: float, fire: Callable[[], object]) -> SimTimer:
        timer = SimTimer()
        heappush(self._timers, (self._time + max(0.0, delay), next(self._serial), timer, fire))
        return timer

    def _wake_later(self, task: SimTask, delay: float) -> None:
        wake = task._wakes
        self._later(delay, lambda: self._ready(task) if task._wakes == wake else None)

    def _ready(self, task: SimTask) -> None:
        if not task.done and task not in self._runnable and task is not self._running:
            task._wakes += 1
            self._runnable.append(task)

    def _is_cut(self) -> bool:
        """Say whether the current thread would wait for ever, because its ``run`` was interrupted."""
        return self._cut_for is not None and self._cut_for == threading.get_ident()

    def _current_task(self) -> SimTask:
        if self._running is None:
            raise RuntimeError("only a task of the simulation can wait: start it with sim.task(...), then sim.run()")
        return self._running

    def _resume(self, task: SimTask) -> None:
        thread = self._threads.get(task)
        if thread is None:
            thread = self._idle.pop() if self._idle else _SimThread(self)
            thread.task = task
            self._threads[task] = thread
        self._running = task
        self.switches += 1
        try:
            thread.baton.release()
            self._back.acquire()
        except BaseException:  # Ctrl-C, or a test's timeout; the task must not run while somebody closes the pool
            self._cut_for = threading.get_ident()
            self._back.acquire(timeout=_GRACE)
            raise
        finally:
            self._running = None

    def _switch(self, task: SimTask) -> None:
        if task._locks:
            self._held = f"task {task.name} holds {task._locks} lock(s) across a switch at t={self._time:.3f}"
        thread = self._threads[task]
        self._back.release()
        thread.baton.acquire()
        if task._kill:
            task._kill = False
            raise SimKilled(task.name)

    def _retire(self, thread: _SimThread) -> None:
        assert thread.task is not None  # noqa: S101 - it has just run one
        del self._threads[thread.task]
        self._idle.append(thread)
        self._back.release()
