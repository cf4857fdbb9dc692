"""SimRuntime: virtual time and seeded scheduling for the real pool, dispatcher and runner.

Real production code runs on it, unchanged. Tasks are threads that pass one baton: a task gives it back
when it sleeps, waits for an event, or is about to take a lock, and a seeded generator picks who goes on.
When nobody can run, virtual time jumps to the next timer, so an hour costs milliseconds. When nobody can
run and no timer is left, ``run`` reports a deadlock; a lock held across a switch is reported, too.

What waits for virtual time says so: ``sim.sleep``, ``sim.event``, and every call of the pool. ``time.sleep``, a
lock of ``threading`` or a server that hangs is waited for in real time, in which everything else stands still. A
FakeColony keeps real time: what it does after seconds of its own (``schedule``, ``rate_limit``, ``capacity``, the
end of a token) does not come sooner. Let a task sleep and then tell it; where unix times meet
(``X-RateLimit-Reset``, a JWT's ``exp``), start with ``wall=time.time()``.

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

from ._sim_parts import SimDeadlock, SimEvent, SimKilled, SimLock, SimLockHeld, SimTask, SimThread, SimTimer, taken

__all__ = [
    "SimDeadlock", "SimEvent", "SimKilled", "SimLock", "SimLockHeld", "SimRuntime", "SimTask", "SimTimer",
]  # fmt: skip

T = TypeVar("T")
_GRACE = 1.0  # real seconds for a task to come to its next switch when run is interrupted


class SimRuntime:
    """A ``Runtime`` in virtual time. Times are float seconds; it starts at 0 (monotonic) and ``wall``.

    Arguments:
        seed: which of the possible schedules to play.
        wall: unix time at the start. ``step_wall`` moves the wall clock alone, as NTP or a sleeping laptop does.
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
        self._workers: dict[SimTask, SimThread] = {}
        self._idle: list[SimThread] = []
        self._running: SimTask | None = None
        self._back = taken()
        self._held: str = ""
        self._cut_for: int | None = None  # the thread whose run was interrupted: it closes what there is

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

    def home(self) -> Hashable | None:
        """Tasks of a simulation have no home."""
        return None

    def outside(self) -> Hashable | None:
        """Nobody is outside of a simulation."""
        return None

    def spawn(self, fn: Callable[..., object], *args: Any, home: Hashable | None = None) -> None:
        """Run ``fn(*args)`` in a new task."""
        self.task(lambda: fn(*args))

    def killable(self) -> bool:
        """Any task may be killed."""
        return True

    def may_wait(self) -> bool:
        """Any task can, and nobody else."""
        return self._running is not None

    def unhurried(self, fn: Callable[[], object]) -> None:
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

    def aside(self, fn: Callable[[], object]) -> None:
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

        What ``fn`` raises is kept for ``SimTask.result``, and ends nothing else.
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

        Each task that waits then is a thread that waits. Those that wait for a pool end in one more ``run`` after it
        was closed, any other when it is killed.

        Raises:
            SimDeadlock: tasks wait for something that cannot come.
            SimLockHeld: a task held a lock across a switch.
            RuntimeError: in a task; or an earlier ``run`` was interrupted, after which the pool can only be closed.
        """
        if self._running is not None:
            raise RuntimeError("run() is for the thread outside the simulation")
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
        elif self._workers:
            names = ", ".join(sorted({task.name for task in self._workers})[:10])
            raise SimDeadlock(f"{len(self._workers)} tasks wait for ever at t={self._time:.3f}: {names}")
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
        """Say whether nothing can come any more that the current thread could wait for."""
        return self._cut_for is not None and self._cut_for == threading.get_ident()

    def _current_task(self) -> SimTask:
        if self._running is None:
            raise RuntimeError("only a task of the simulation can wait: start it with sim.task(...), then sim.run()")
        return self._running

    def _resume(self, task: SimTask) -> None:
        worker = self._workers.get(task)
        if worker is None:
            worker = self._idle.pop() if self._idle else SimThread(self)
            worker.task = task
            self._workers[task] = worker
        self._running = task
        self.switches += 1
        try:
            worker.baton.release()
            self._back.acquire()
        except BaseException:  # Ctrl-C, or a test's timeout; what closes the pool next must not meet the task
            self._cut_for = threading.get_ident()
            self._back.acquire(timeout=_GRACE)
            raise
        finally:
            self._running = None

    def _switch(self, task: SimTask) -> None:
        if task._locks:
            self._held = f"task {task.name} holds {task._locks} lock(s) across a switch at t={self._time:.3f}"
        worker = self._workers[task]
        self._back.release()
        worker.baton.acquire()
        if task._kill:
            task._kill = False
            raise SimKilled(task.name)

    def _retire(self, worker: SimThread) -> None:
        assert worker.task is not None  # noqa: S101 - it has just run one
        del self._workers[worker.task]
        self._idle.append(worker)
        self._back.release()
