"""gevent: greenlets of any hub in any thread, patched or not.

The lock is the native one: it is tried, never waited for, held for microseconds without a switch, and valid
over hubs. Attempts run in the hub of somebody who waits for them, since a hub dies with its thread. Where
sockets are not patched, blocking work goes to native threads of our own, which end when there is none; those of
the hub's thread pool stay, are ten, and DNS needs them.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import gevent
import gevent.event
import gevent.hub
import gevent.monkey

from .workers import Workers

T = TypeVar("T")
# A wait without a timer would let a hub with nothing else to do end in LoopExit, whatever native threads do.
_PULSE = 60.0


class _Timer:
    __slots__ = ("_timer", "cancelled")

    def __init__(self) -> None:
        self.cancelled = False
        self._timer: Any = None

    def cancel(self) -> None:
        self.cancelled = True
        watcher = self._timer
        # A watcher of another thread's hub is left to fire and do nothing; unref'd, it keeps no hub alive.
        if watcher is not None and watcher.loop is gevent.hub.get_hub().loop:
            self._timer = None
            watcher.stop()
            watcher.close()


class GeventRuntime:
    """Greenlets. See ``Runtime`` for what each method promises."""

    name = "gevent"

    def __init__(self) -> None:
        self.monotonic: Callable[[], float] = time.monotonic
        self.now: Callable[[], float] = time.time
        self.random = random.Random().random  # noqa: S311 - jitter, no secret
        self.patched = gevent.monkey.is_module_patched("socket")
        self._new_lock = gevent.monkey.get_original("_thread", "allocate_lock")
        start = gevent.monkey.get_original("_thread", "start_new_thread")
        self._workers = Workers(lambda work: start(work, ()), self._new_lock)
        self._greenlets: set[Any] = set()  # those at work: its verbs are atomic over threads

    def home(self) -> Hashable | None:
        """The current thread's hub."""
        hub: Hashable = gevent.hub.get_hub()
        return hub

    def event(self) -> Any:
        """Return a ``gevent.event.Event``: any hub may set it and wait for it."""
        return gevent.event.Event()

    def lock(self) -> Any:
        """Return a native lock."""
        return self._new_lock()

    def spawn(self, fn: Callable[..., object], *args: Any, home: Hashable | None = None) -> None:
        """Run ``fn(*args)`` in a greenlet of ``home``, or here if that hub is gone."""
        if home is None or home is self.home() or not _alive(home):
            self._go(fn, args)
            return
        loop: Any = home.loop  # type: ignore[attr-defined]
        loop.run_callback_threadsafe(lambda: self._go(fn, args))

    def _go(self, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        greenlet = gevent.Greenlet(fn, *args)
        self._greenlets.add(greenlet)
        greenlet.rawlink(self._greenlets.discard)
        greenlet.start()

    def unhurried(self, fn: Callable[[], object]) -> None:
        """Run ``fn()``: gevent delivers an interrupt when greenlets switch, and ``fn`` does not switch."""
        fn()

    def call_later(self, delay: float, fn: Callable[[], object]) -> _Timer:
        """Run ``fn()`` in a greenlet of this hub after ``delay`` seconds."""
        timer = _Timer()
        watcher = gevent.hub.get_hub().loop.timer(max(0.0, delay), ref=False)
        timer._timer = watcher

        def fire() -> None:
            watcher.stop()
            watcher.close()
            timer._timer = None
            if not timer.cancelled:
                gevent.spawn(fn)

        watcher.start(fire)
        return timer

    def offload(self, fn: Callable[..., T], *args: Any) -> T:
        """Run blocking ``fn`` in a native thread; only the current greenlet waits.

        A greenlet that is killed meanwhile abandons the work, which ends by itself.
        """
        if self.patched:
            return fn(*args)
        done = gevent.event.Event()
        answer: list[T] = []
        error: list[BaseException] = []

        def run() -> None:
            try:
                answer.append(fn(*args))
            except BaseException as problem:  # noqa: BLE001 - it is raised where somebody waits for it
                error.append(problem)
            finally:
                done.set()

        self._workers.submit(run)
        while not done.wait(_PULSE):
            pass
        if error:
            raise error.pop()
        return answer.pop()

    def after_fork(self) -> None:
        """Give the hub a kernel queue of its own: sharing the parent's, the two steal each other's wake-ups.

        gevent's own ``fork`` does this, but where ``os`` is not patched nobody calls that.
        """
        gevent.reinit()

    def close(self, timeout: float) -> None:
        """End native threads, and greenlets that are still at work."""
        here = gevent.hub.get_hub()
        current = gevent.getcurrent()
        mine = [g for g in list(self._greenlets) if not g.dead and g.parent is here and g is not current]
        gevent.killall(mine, block=True, timeout=timeout)
        self._workers.close()


def _alive(hub: Any) -> bool:
    """Whether callbacks of ``hub`` still run: a thread that ends takes its hub with it, without a word."""
    loop = getattr(hub, "loop", None)
    return loop is not None and not hub.dead and hub.thread_ident in sys._current_frames()
