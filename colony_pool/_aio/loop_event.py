"""What a task of an event loop waits for: any thread sets it, and nobody ever blocks on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from .._driver.executor import BoundedExecutor
from .._weakset import ThreadSafeWeakSet

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop that runs here. Raises ``RuntimeError``, saying what to do, if none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        message = (
            "no asyncio event loop runs here: await this in a task of one (trio has loops of another kind), "
            "or use ColonyPool, whose calls block"
        )
        raise RuntimeError(message) from None


class LoopEvent:
    """A one-shot event for one task of the loop that runs here."""

    __slots__ = ("__weakref__", "_future", "_loop", "_set")

    def __init__(self) -> None:
        self._loop = running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()
        self._set = False

    def set(self) -> None:
        """Set it from any thread or hub; harmless if its loop is closed: nobody waits there any more."""
        self._set = True
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait for it, once, at most ``timeout`` seconds. True if it is set."""
        timer = self._loop.call_later(timeout, self._wake) if timeout is not None else None
        try:
            await self._future
        finally:
            if timer is not None:
                timer.cancel()
        return self._set


class SlotEvent(LoopEvent):
    """Set for who waits for a slot. Raises if its loop is closed: then the slot is the next one's."""

    __slots__ = ()

    def set(self) -> None:
        """Set it from any thread or hub."""
        self._set = True
        self._loop.call_soon_threadsafe(self._wake)


class WaitingTasks:
    """The events that tasks of an ``AsyncColonyPool`` wait for. Its end sets them all."""

    def __init__(self) -> None:
        self._events: ThreadSafeWeakSet[LoopEvent] = ThreadSafeWeakSet()  # a task that is lost is not kept alive
        self.over = False

    def __len__(self) -> int:
        return len(self._events)

    async def wait(self, event: LoopEvent, seconds: float | None = None) -> bool:
        """Wait for ``event``. True if it is set, which the end does, too."""
        self._events.add(event)
        try:
            return self.over or await event.wait(seconds)
        finally:
            self._events.discard(event)

    async def pause(self, seconds: float) -> bool:
        """Wait; True as soon as this is over."""
        await self.wait(LoopEvent(), seconds)
        return self.over

    def end(self) -> None:
        """Wake them all. Any thread, any number of times."""
        self.over = True
        for event in self._events.all():
            event.set()

    def after_fork(self) -> None:
        """In a forked child: the parent's tasks are none of ours."""
        self._events = ThreadSafeWeakSet()


async def off_loop(executor: BoundedExecutor, fn: Callable[..., T], *args: Any) -> T:
    """Run ``fn(*args)``, which may block, elsewhere. If this task is cancelled it ends by itself."""
    event = LoopEvent()
    answer: list[T] = []
    problem: list[BaseException] = []

    def job() -> None:
        try:
            answer.append(fn(*args))
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
            problem.append(error)
        finally:
            event.set()

    executor.submit(job)
    await event.wait()
    if problem:
        raise problem.pop()
    return answer.pop()
