"""Wakes the dispatcher when it wants to be woken: one timer per home.

A hub may die with its thread, and its timers with it; the others must still be woken.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

from .._runtime.protocol import Runtime, Timer


class Alarm:
    """Calls ``ring`` by ``at``, monotonic seconds, in every home where ``arm`` was called since it was set."""

    def __init__(self, runtime: Runtime, ring: Callable[[], object]) -> None:
        self.at = math.inf
        self._runtime = runtime
        self._ring = ring
        self._timers: dict[int, tuple[float, Timer, Callable[[], Any]]] = {}  # by a home's id: keeps none alive

    def arm(self) -> None:
        """Have a timer in this home that fires by ``at``."""
        home = self._runtime.home()
        key = id(home)
        at = math.nan
        while at != self.at:  # another thread may have moved it meanwhile
            at = self.at
            timer = self._timers.get(key)
            if timer is not None:
                same = timer[2]() is home  # else it is of a hub that died, and whose place in memory this one got
                if same and timer[0] <= at < math.inf:
                    return
                self._timers.pop(key, None)
                if same:
                    timer[1].cancel()
            if at < math.inf:
                delay = max(0.0, at - self._runtime.monotonic())
                due = self._runtime.call_later(delay, lambda: self._fire(key))
                self._timers[key] = (at, due, weakref.ref(home) if home is not None else _nowhere)

    def cancel(self) -> None:
        """Cancel all timers."""
        while self._timers:
            self._timers.popitem()[1][1].cancel()

    def _fire(self, key: int) -> None:
        self._timers.pop(key, None)
        self._ring()


def _nowhere() -> None:
    """Return the home of those that have none."""
