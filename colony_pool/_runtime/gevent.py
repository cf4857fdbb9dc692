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
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar

import gevent
import gevent.event
import gevent.hub
import gevent.monkey
import gevent.select
from gevent._hub_local import get_hub_if_exists

from .hub_thread import HubThread
from .thread_pool import ThreadPool, thread_exit_scope
from .turn import Turn

T = TypeVar("T")
# A wait without a timer would let a hub with nothing else to do end in LoopExit, whatever native threads do.
_PULSE = 60.0


class _HubInbox:
    """The way into a hub from another thread.

    Not ``run_callback_threadsafe``, nor an event of gevent's own set from there: both count references of a loop
    that may be counting at that moment in its own thread, and in a storm of kills a hub was left with -1 of them.
    Of all that a loop has, an async watcher's ``send`` alone is made for other threads.
    """

    __slots__ = ("_callbacks", "_watcher", "hub")

    def __init__(self, hub: Any) -> None:
        self.hub = weakref.ref(hub)
        self._callbacks: deque[Callable[[], object]] = deque()
        self._watcher = hub.loop.async_(ref=False)
        self._watcher.start(self._run_callbacks)

    def post(self, callback: Callable[[], object]) -> None:
        """Have ``callback()`` run in the hub, which it must not block. Raises if the hub is no more."""
        self._callbacks.append(callback)
        self._watcher.send()

    def close(self) -> None:
        """Let go of a hub that is dead: a watcher at work keeps it in memory."""
        with suppress(Exception):
            self._watcher.stop()
            self._watcher.close()

    def _run_callbacks(self) -> None:
        while self._callbacks:
            self._callbacks.popleft()()


_inboxes: dict[int, _HubInbox] = {}  # by the id of a hub, for all pools


def _inbox_of(hub: Any) -> _HubInbox | None:
    inbox = _inboxes.get(id(hub))
    return inbox if inbox is not None and inbox.hub() is hub else None


def _inbox() -> _HubInbox:
    """Return the inbox of this thread's hub."""
    hub = gevent.hub.get_hub()
    inbox = _inbox_of(hub)
    if inbox is None:
        for key, old in list(_inboxes.items()):
            if not _alive(old.hub()) and _inboxes.pop(key, None) is not None:
                old.close()
        inbox = _inboxes[id(hub)] = _HubInbox(hub)
    return inbox


class _Event:
    """A flag that any thread may set and greenlets of any hub may wait for."""

    __slots__ = ("_set", "_waiting")

    def __init__(self) -> None:
        self._set = False
        # One waits, as a rule, and a deque begins with room for sixty-four.
        self._waiting: list[tuple[_HubInbox, gevent.event.Event]] = []

    def set(self) -> None:
        self._set = True
        here = get_hub_if_exists()
        while self._waiting:
            try:
                inbox, event = self._waiting.pop()
            except IndexError:
                break
            if here is not None and inbox.hub() is here:
                event.set()
            else:
                inbox.post(event.set)

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        if self._set or (timeout is not None and timeout <= 0):
            return self._set
        mine = (_inbox(), gevent.event.Event())
        self._waiting.append(mine)
        # Not gevent's own timeout: where a signal's handler raises, that is left behind and strikes the task later.
        timer = gevent.hub.get_hub().loop.timer(timeout) if timeout is not None else None
        try:
            if not self._set:  # who sets it now finds us
                if timer is not None:
                    timer.start(mine[1].set)
                mine[1].wait()
        finally:
            if timer is not None:
                timer.stop()
                timer.close()
            with suppress(ValueError, IndexError):
                self._waiting.remove(mine)
        return self._set


class _HubTimer:
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
        self._begin()

    def _begin(self) -> None:
        self.random = random.Random().random  # noqa: S311 - jitter, no secret
        self.patched = gevent.monkey.is_module_patched("socket")
        self._new_lock = gevent.monkey.get_original("_thread", "allocate_lock")
        start = gevent.monkey.get_original("_thread", "start_new_thread")
        self._pool = ThreadPool(lambda work: start(_end_with_its_hub, (work,)), self._new_lock)
        self._hub_thread = HubThread(lambda work: start(work, ()), self._is_busy, _forget_inbox)
        self._timers: set[_HubTimer] = set()  # in the hub of ``outside``
        self._closed = False
        self._greenlets: set[Any] = set()  # those at work: its verbs are atomic over threads

    def current_context(self) -> Hashable | None:
        """The current thread's hub."""
        hub: Hashable = gevent.hub.get_hub()
        return hub

    def external_context(self) -> Hashable | None:
        """A hub that only we use: that of an event loop's thread need not run."""
        return self._hub_thread

    def event(self) -> _Event:
        """Return an event: any thread may set it, and greenlets of any hub wait for it."""
        return _Event()

    def lock(self) -> Turn:
        """Return a turn, which is valid over hubs."""
        return Turn()

    def spawn(self, fn: Callable[..., object], *args: Any, context: Hashable | None = None) -> None:
        """Run ``fn(*args)`` in a greenlet of ``context``, or here if that hub is gone."""
        if isinstance(context, HubThread):
            context.post(lambda: self._go(fn, args))
            return
        if context is None or context is self.current_context() or not _alive(context):
            self._go(fn, args)
            return
        inbox = _inbox_of(context)
        if inbox is not None:  # who waits there has one
            inbox.post(lambda: self._go(fn, args))
        else:
            self._go(fn, args)

    def _go(self, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        begun: list[bool] = []

        def run() -> None:
            begun.append(True)
            fn(*args)

        def ended(greenlet: Any) -> None:
            self._greenlets.discard(greenlet)
            if not begun and not self._closed:  # killed before it began, so that ``fn`` knows nothing of it
                self._go(fn, args)

        greenlet = gevent.Greenlet(run)
        self._greenlets.add(greenlet)
        greenlet.rawlink(ended)
        greenlet.start()

    def may_wait(self) -> bool:
        """Any greenlet but a hub."""
        return not isinstance(gevent.getcurrent(), gevent.hub.Hub)

    def run_uninterrupted(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` here: gevent has Ctrl-C strike whichever greenlet runs, and a pool can be closed after it."""
        fn()

    def is_ending(self) -> bool:
        """Greenlets need no thread; those that are not patched get none in the very end."""
        return sys.is_finalizing()

    def call_later(self, delay: float, fn: Callable[[], object]) -> _HubTimer:
        """Run ``fn()`` in a greenlet of this hub after ``delay`` seconds."""
        timer = _HubTimer()
        watcher = gevent.hub.get_hub().loop.timer(max(0.0, delay), ref=False)
        timer._timer = watcher
        if self._hub_thread.is_here():
            self._timers.add(timer)

        def fire() -> None:
            watcher.stop()
            watcher.close()
            timer._timer = None
            self._timers.discard(timer)
            if not timer.cancelled:
                self._go(fn, ())

        watcher.start(fire)
        return timer

    def offload(self, fn: Callable[..., T], *args: Any) -> T:
        """Run blocking ``fn`` in a native thread; only the current greenlet waits.

        A greenlet that is killed meanwhile abandons the work, which ends by itself.
        """
        if self.patched:
            return fn(*args)
        done = _Event()
        answer: list[T] = []
        error: list[BaseException] = []

        def run() -> None:
            try:
                answer.append(fn(*args))
            except BaseException as problem:  # noqa: BLE001 - it is raised where somebody waits for it
                error.append(problem)
            finally:
                done.set()

        self._pool.submit(run)
        while not done.wait(_PULSE):
            pass
        if error:
            raise error.pop()
        return answer.pop()

    def look_up_begins(self) -> bool:
        """Whether a look-up of a host name begins at once: gevent has ten threads for them, which may all be busy."""
        hub = gevent.hub.get_hub()
        pool = hub.threadpool
        return getattr(hub.resolver, "pool", None) is not pool or len(pool) < pool.maxsize

    def poll(self) -> Any:
        """Return a ``select.poll`` in which only the current greenlet waits, be ``select`` patched or not."""
        return gevent.select.poll()

    def run_in_thread(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` in a native thread, patched or not: what blocks there stops no hub of a caller's."""
        self._pool.submit(fn)

    def spawn_lasting(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` in a greenlet of the main thread, where what users have opened lives, or of a hub of our own.

        The hub of any other thread ends with that. Where sockets are not patched, ``fn`` gets a native thread: what
        blocks a greenlet there blocks its hub, and all callers in it.
        """
        if not self.patched:
            self.run_in_thread(fn)
        else:
            self.spawn(fn, context=None if gevent.hub.get_hub().main_hub else self._hub_thread)

    def after_fork(self) -> None:
        """Give the hub a kernel queue of its own: sharing the parent's, the two steal each other's wake-ups.

        gevent's own ``fork`` does this, but where ``os`` is not patched nobody calls that.
        """
        gevent.reinit()
        self._begin()

    def close(self, timeout: float) -> None:
        """End native threads, and greenlets that are still at work."""
        self._closed = True
        here = gevent.hub.get_hub()
        current = gevent.getcurrent()
        mine = [g for g in list(self._greenlets) if not g.dead and g.parent is here and g is not current]
        gevent.killall(mine, block=self.may_wait(), timeout=timeout)
        self._pool.close()
        self._hub_thread.close()

    def _is_busy(self, hub: Any) -> bool:
        """Whether something of ours lives in ``hub``, which is that of ``outside``."""
        self._timers = {timer for timer in self._timers if not timer.cancelled}
        return bool(self._timers) or any(greenlet.parent is hub for greenlet in list(self._greenlets))


def _end_with_its_hub(work: Callable[[], object]) -> None:
    """Do ``work()``, the whole of a native thread: what is patched makes a hub there, which nobody else puts away."""
    try:
        with thread_exit_scope():
            work()
    finally:
        hub = get_hub_if_exists()
        if hub is not None:
            _forget_inbox(hub)
            hub.destroy(destroy_loop=True)


def _forget_inbox(hub: Any) -> None:
    inbox = _inboxes.pop(id(hub), None)
    if inbox is not None:
        inbox.close()


def _alive(hub: Any) -> bool:
    """Whether callbacks of ``hub`` still run: a thread that ends takes its hub with it, without a word."""
    loop = getattr(hub, "loop", None)
    return loop is not None and not hub.dead and hub.thread_ident in sys._current_frames()
