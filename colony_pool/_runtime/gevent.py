"""gevent: greenlets of any hub in any thread, patched or not.

The lock is the native one: it is tried, never waited for, held for microseconds without a switch, and valid
over hubs. Attempts run in the hub of somebody who waits for them, since a hub dies with its thread. Where
sockets are not patched, blocking work goes to a native thread pool of its own; the hub's default pool has
ten threads, and DNS needs them.
"""

from __future__ import annotations

import logging
import random
import time
import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import gevent
import gevent.event
import gevent.hub
import gevent.monkey
import gevent.threadpool

log = logging.getLogger("colony_pool")

T = TypeVar("T")


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

    def __init__(self, maxsize: int) -> None:
        self.monotonic: Callable[[], float] = time.monotonic
        self.now: Callable[[], float] = time.time
        self.random = random.Random().random  # noqa: S311 - jitter, no secret
        self.patched = gevent.monkey.is_module_patched("socket")
        self._new_lock = gevent.monkey.get_original("_thread", "allocate_lock")
        self._maxsize = maxsize
        self._pools: weakref.WeakKeyDictionary[Any, gevent.threadpool.ThreadPool] = weakref.WeakKeyDictionary()
        self._greenlets: weakref.WeakSet[gevent.Greenlet[..., Any]] = weakref.WeakSet()

    def home(self) -> Hashable | None:
        """The current thread's hub."""
        hub: Hashable = gevent.hub.get_hub()
        return hub

    def event(self) -> gevent.event.Event:
        """Return a ``gevent.event.Event``: any hub may set it and wait for it."""
        return gevent.event.Event()

    def lock(self) -> Any:
        """Return a native lock."""
        return self._new_lock()

    def spawn(self, fn: Callable[..., object], *args: Any, home: Hashable | None = None) -> None:
        """Run ``fn(*args)`` in a greenlet of ``home``, or here if that hub is gone."""
        if home is None or home is self.home() or not _alive(home):
            self._greenlets.add(gevent.spawn(fn, *args))
            return
        loop: Any = home.loop  # type: ignore[attr-defined]
        loop.run_callback_threadsafe(lambda: self._greenlets.add(gevent.spawn(fn, *args)))

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
        hub = gevent.hub.get_hub()
        pool = self._pools.get(hub)
        if pool is None:
            pool = self._pools[hub] = gevent.threadpool.ThreadPool(self._maxsize, hub=hub)
        result: T = pool.spawn(fn, *args).get()
        return result

    def close(self, timeout: float) -> None:
        """End native threads, and greenlets that are still at work."""
        here = gevent.hub.get_hub()
        current = gevent.getcurrent()
        mine = [g for g in list(self._greenlets) if not g.dead and g.parent is here and g is not current]
        gevent.killall(mine, block=True, timeout=timeout)
        for pool in list(self._pools.values()):
            if pool.hub is here:
                pool.kill()
        self._pools.clear()


def _alive(hub: Any) -> bool:
    loop = getattr(hub, "loop", None)
    return loop is not None and not hub.dead
