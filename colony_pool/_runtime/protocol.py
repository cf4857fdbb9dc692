"""The one seam between the library and the world: time, tasks, events, locks, chance.

Everything that blocks, sleeps, spawns or draws a random number goes through a ``Runtime``. Threads, gevent and the
simulation implement it. Callers on an event loop are served by one of them. Times are float seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Event(Protocol):
    """A one-shot flag that tasks of any thread or hub may set and wait for."""

    def set(self) -> None:
        """Set the flag and wake all who wait. Never blocks, never switches."""

    def is_set(self) -> bool:
        """Say whether the flag is set."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the flag, at most ``timeout`` seconds. True when it is set."""


class Lock(Protocol):
    """A mutex that is tried, never waited for, and never held across a switch."""

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock, with ``blocking=False`` always, and say at once whether that worked."""

    def release(self) -> None:
        """Give the lock back."""


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Forget the call. Harmless when it has run already, and from any thread."""


class Runtime(Protocol):
    """Time, tasks, events, locks and chance of one kind of concurrency.

    Attributes:
        name: for messages. ``"threads"``, ``"gevent"`` and ``"sim"`` are taken.
    """

    name: str

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""

    def now(self) -> float:
        """Wall clock, unix seconds. May jump either way."""

    def random(self) -> float:
        """A number in [0, 1)."""

    def current_context(self) -> Hashable | None:
        """Where the current task runs (a gevent hub), or ``None`` where that does not matter."""

    def external_context(self) -> Hashable | None:
        """Return the context of tasks that serve callers who have none: those of an event loop."""

    def spawn(self, fn: Callable[..., object], *args: Any, context: Hashable | None = None) -> None:
        """Run ``fn(*args)`` in a task of its own, in ``context``. Never blocks, never switches.

        The task does not die with its spawner. ``fn`` must not raise.
        """

    def may_wait(self) -> bool:
        """Say whether the current task can wait: a gevent hub cannot, and signal handlers run there."""

    def run_uninterrupted(self, fn: Callable[[], object]) -> None:
        """Run ``fn()`` to its end, and wait for it, where no signal handler can raise in the middle of it."""

    def is_ending(self) -> bool:
        """Say whether the interpreter ends: a thread that it does not grant now it will never grant."""

    def call_later(self, delay: float, fn: Callable[[], object]) -> Timer:
        """Run ``fn()`` in a task of its own after ``delay`` seconds, in the current context."""

    def event(self) -> Event:
        """Return a fresh, unset event."""

    def lock(self) -> Lock:
        """Return a fresh, free lock."""

    def offload(self, fn: Callable[..., T], *args: Any) -> T:
        """Run blocking ``fn(*args)`` so that only the current task waits for it."""

    def run_in_thread(self, fn: Callable[[], object]) -> None:
        """Run ``fn()``, which may block, in a native thread that no task waits in. It must not raise."""

    def spawn_lasting(self, fn: Callable[[], object]) -> None:
        """Run ``fn()``, which is users' code and may block, in a task that does not end with the current thread."""

    def after_fork(self) -> None:
        """In a forked child: forget the parent's tasks, and make what was copied along usable."""

    def close(self, timeout: float) -> None:
        """End what the runtime itself keeps (timers, idle workers) within ``timeout`` seconds."""
