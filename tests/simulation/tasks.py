"""SimRuntime whose tasks are greenlets: the same schedules, many times as fast.

The library's own ``SimRuntime`` runs each task in a thread, since a pool's users need not have greenlet. Handing the
baton from thread to thread costs some 50 us, and a scenario does it hundreds of times. Only the hand-over is
replaced here: who runs next, and when time jumps, is decided by the code that is inherited.

It also says when all is *quiet*: nobody can run until time goes on. Whatever was to happen at once has happened then.
"""

from __future__ import annotations

from collections.abc import Callable

from greenlet import getcurrent, greenlet

from colony_pool.testing import SimEvent, SimKilled, SimRuntime, SimTask

# More switches than any scenario takes within so many seconds: somebody turns in circles.
_LIVELOCK, _MOMENT = 20_000, 0.001


class OwnedEvent(SimEvent):
    """An event that knows which task made it: whose call waits for it."""

    def __init__(self, sim: GreenSim) -> None:
        super().__init__(sim)
        self.owner = sim.current


class GreenSim(SimRuntime):
    """Virtual time on greenlets."""

    def __init__(self, seed: int = 0, wall: float = 1_790_000_000.0) -> None:
        super().__init__(seed, wall)
        self.greens: dict[SimTask, greenlet] = {}  # the tasks that have begun and not ended
        self.quiet: Callable[[], object] = lambda: None
        self.switching: Callable[[], object] = lambda: None  # called before each switch
        self._ended = False
        self._moment = (0.0, 0)  # virtual time, and switches before it

    @property
    def current(self) -> SimTask | None:
        """The task that runs now; ``None`` outside of all."""
        return self._running

    def event(self) -> SimEvent:
        return OwnedEvent(self)

    def checkpoint(self) -> None:
        if not self._ended:
            super().checkpoint()

    def end(self) -> None:
        """End all tasks where they are, each with its ``finally`` clauses and without any more switches."""
        self._ended = True
        for task, green in list(self.greens.items()):
            self._running = task
            green.throw(SimKilled(task.name))
        self._running = None
        self._runnable.clear()
        self._timers.clear()

    def _resume(self, task: SimTask) -> None:
        self.switching()
        if self._time > self._moment[0] + _MOMENT:
            self._moment = (self._time, self.switches)
        elif self.switches > self._moment[1] + _LIVELOCK:
            raise RuntimeError(f"livelock: time stands still at {self._time:.3f}, and {task.name} runs again")
        green = self.greens.get(task)
        if green is None:
            green = self.greens[task] = greenlet(task._body)
        self._running = task
        self.switches += 1
        green.switch()
        self._running = None
        if task.done:
            del self.greens[task]
        if not self._runnable:
            self.quiet()

    def _switch(self, task: SimTask) -> None:
        if self._ended:
            raise SimKilled(task.name)
        if task._locks:
            self._held = f"task {task.name} holds {task._locks} lock(s) across a switch at t={self._time:.3f}"
        parent = getcurrent().parent
        assert parent is not None, "a task runs in a greenlet of its own"
        parent.switch()
        if task._kill:
            task._kill = False
            raise SimKilled(task.name)
