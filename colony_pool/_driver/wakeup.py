"""Wakes the dispatcher when it wants to be woken: one timer per context.

A hub may die with its thread, and its timers with it; the others must still be woken.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

from .._runtime.protocol import Runtime, Timer


class _ArmedTimer:
    """A timer that was set, and whether it has fired. It may fire before ``arm`` has noted it."""

    __slots__ = ("at", "context", "fired", "timer")

    def __init__(self, at: float, context: Callable[[], Any]) -> None:
        self.at = at
        self.context = context
        self.fired = False
        self.timer: Timer | None = None


class WakeupTimer:
    """Calls ``wake`` by ``at``, monotonic seconds, in every context where ``arm`` was called since it was set."""

    def __init__(self, runtime: Runtime, wake: Callable[[], object]) -> None:
        self.at = math.inf
        self._runtime = runtime
        self._wake = wake
        self._timers: dict[int, _ArmedTimer] = {}  # by a context's id: keeps none alive

    def set(self, at: float) -> None:
        """Have ``wake`` called by ``at``; ``arm`` sees to it."""
        self.at = at

    def arm(self) -> None:
        """Have a timer in this context that fires by ``at``."""
        context = self._runtime.current_context()
        key = id(context)
        at = math.nan
        while at != self.at:  # another thread may have moved it meanwhile
            at = self.at
            due = self._timers.get(key)
            if due is not None and not due.fired:
                # Else it is of a hub that died, and whose place in memory this one got.
                same = due.context() is context
                if same and due.at <= at < math.inf:
                    return
                self._timers.pop(key, None)
                if same and due.timer is not None:
                    due.timer.cancel()
            if at < math.inf:
                self._timers[key] = self._set(at, context, key)

    def cancel(self) -> None:
        """Cancel all timers."""
        while self._timers:
            timer = self._timers.popitem()[1].timer
            if timer is not None:
                timer.cancel()

    def _set(self, at: float, context: Any, key: int) -> _ArmedTimer:
        due = _ArmedTimer(at, weakref.ref(context) if context is not None else _nowhere)
        due.timer = self._runtime.call_later(max(0.0, at - self._runtime.monotonic()), lambda: self._fire(key, due))
        return due

    def _fire(self, key: int, due: _ArmedTimer) -> None:
        due.fired = True  # before the call: who arms in it sets a new timer
        if self._timers.get(key) is due:
            self._timers.pop(key, None)
        self._wake()


def _nowhere() -> None:
    """Return the context of those that have none."""
