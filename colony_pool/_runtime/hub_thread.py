"""A hub for callers that live in none: those of an event loop, whose thread need not run a hub at all.

It runs in a native thread of its own, which begins with the first task and ends when nothing is left in the hub.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent.event
import gevent.hub
from gevent._hub_local import get_hub_if_exists

from .thread_pool import KEEPALIVE

_CLOSING = 0.01


class HubThread:
    """The way into that hub.

    Arguments:
        start: starts a native thread.
        is_busy: says whether something still lives in the hub.
        forget: told of the hub before it is destroyed.
    """

    def __init__(
        self, start: Callable[[Callable[[], object]], object], is_busy: Callable[[Any], bool],
        forget: Callable[[Any], object],
    ) -> None:  # fmt: skip
        self._start = start
        self._is_busy = is_busy
        self._forget = forget
        self._callbacks: deque[Callable[[], object]] = deque()
        self._free = deque([True])  # who takes it out runs the thread; ``deque`` lets only one have it
        self._hub: Any = None
        self._watcher: Any = None
        self._closed = False

    def is_here(self) -> bool:
        """Whether the current task lives there."""
        return self._hub is not None and get_hub_if_exists() is self._hub

    def post(self, callback: Callable[[], object]) -> None:
        """Have ``callback()`` run in the hub, which it must not block. Any thread."""
        self._callbacks.append(callback)
        try:
            self._free.pop()
        except IndexError:
            self._wake()
            return
        try:
            self._start(self._live)
        except BaseException:
            self._free.append(True)
            raise

    def close(self) -> None:
        """End the thread as soon as nothing is left in the hub."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        watcher = self._watcher
        if watcher is not None:
            with suppress(Exception):  # it is ending: whoever ends looks at the callbacks once more
                watcher.send()

    def _live(self) -> None:
        hub = gevent.hub.get_hub()
        wakeup = gevent.event.Event()
        watcher = hub.loop.async_()
        watcher.start(wakeup.set)
        self._hub = hub
        try:
            while True:
                self._watcher = watcher
                self._run_callbacks(hub, wakeup)
                self._watcher = None
                self._free.append(True)
                if not self._callbacks:  # else they came after the last look
                    return
                try:
                    self._free.pop()
                except IndexError:  # the next thread has begun
                    return
        finally:
            watcher.stop()
            watcher.close()
            self._forget(hub)
            hub.destroy(destroy_loop=True)

    def _run_callbacks(self, hub: Any, wakeup: Any) -> None:
        """Until nothing has come for a while, and nothing is left to wait for."""
        while True:
            wakeup.clear()
            while self._callbacks:
                self._callbacks.popleft()()
            if not wakeup.wait(_CLOSING if self._closed else KEEPALIVE) and not self._is_busy(hub):
                return
