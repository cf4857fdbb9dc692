"""The third kind of concurrency: each task of a scenario is an asyncio task, spread over two event loops.

A scenario is written as plain calls. Its tasks run in greenlets of the loop's thread: where one calls the pool it
switches to the asyncio task that it belongs to, which awaits the call, and is cancelled there. What is called from
elsewhere, the main thread or a listener, waits for a loop to do it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from greenlet import getcurrent, greenlet


class _Strand(greenlet):
    """A greenlet that an asyncio task awaits for."""


async def _run(fn: Callable[[], Any]) -> Any:
    strand = _Strand(fn)
    wanted = strand.switch()
    while not strand.dead:
        try:
            value = await wanted
        except BaseException as error:
            wanted = strand.throw(error)
        else:
            wanted = strand.switch(value)
    return wanted


class Loops:
    """Two event loops, each in a thread of its own, which begins as late as can be.

    A scenario may move its own thread to other mounts, or to another network, first: threads inherit both.
    """

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)  # a child has no thread but one

    def _forget(self) -> None:
        self._all: list[asyncio.AbstractEventLoop] = []
        self._threads: list[threading.Thread] = []
        self._tasks: set[Any] = set()

    @property
    def all(self) -> list[asyncio.AbstractEventLoop]:
        """The loops, which run from here on."""
        if not self._all:
            self._all = [asyncio.new_event_loop() for _ in range(2)]
            self._threads = [threading.Thread(target=loop.run_forever, daemon=True) for loop in self._all]
            for thread in self._threads:
                thread.start()
            self._next = itertools.cycle(self._all)
        return self._all

    def spawn(self, fn: Callable[[], Any]) -> Callable[[], object]:
        """Run ``fn`` in an asyncio task; the returned function cancels it."""
        assert self.all
        loop = next(self._next)
        future = asyncio.run_coroutine_threadsafe(_run(fn), loop)
        self._tasks.add(future)
        future.add_done_callback(self._tasks.discard)
        return future.cancel

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await it, wherever the caller is."""
        here = getcurrent()
        if isinstance(here, _Strand):
            assert here.parent is not None
            return here.parent.switch(coroutine)
        return asyncio.run_coroutine_threadsafe(coroutine, self.all[0]).result(60)

    def event(self) -> LoopEvent:
        return LoopEvent(self)

    def close(self) -> None:
        for loop, thread in zip(self._all, self._threads, strict=True):
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class LoopEvent:
    """A ``threading.Event`` that a task may wait for, too."""

    def __init__(self, loops: Loops) -> None:
        self._loops = loops
        self._event = threading.Event()
        self.set, self.is_set = self._event.set, self._event.is_set

    def wait(self, timeout: float | None = None) -> bool:
        if not isinstance(getcurrent(), _Strand):
            return self._event.wait(timeout)
        return bool(self._loops.call(self._poll(timeout)))

    async def _poll(self, timeout: float | None) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + (3600.0 if timeout is None else timeout)
        while not self._event.is_set() and loop.time() < until:
            await asyncio.sleep(min(0.005, max(0.0, until - loop.time())))
        return self._event.is_set()


class LoopPool:
    """A ``ColonyPool`` whose calls are made on a loop; what is not a call is the pool's own."""

    def __init__(self, loops: Loops, pool: Any) -> None:
        self._loops = loops
        self._view = pool
        self._handles: dict[Any, LoopAgent] = {}

    def agent(self, api_key: str, **options: Any) -> LoopAgent:
        agent = self._view.agent(api_key, **options)
        return self._handles.setdefault(agent, LoopAgent(self._loops, agent))

    def clear_rate_limit(self) -> Any:
        return self._loops.call(self._view.clear_rate_limit())

    def close(self) -> None:
        self._loops.call(self._view.close())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view.pool, name)


class LoopAgent:
    """An ``Agent`` whose calls are made on a loop."""

    def __init__(self, loops: Loops, agent: Any) -> None:
        self.__dict__.update(_loops=loops, _async=agent)

    def __getattr__(self, name: str) -> Any:
        if name in ("token", "request", "get", "post", "put", "patch", "delete", "invalidate"):
            verb = getattr(self._async, name)
            return lambda *args, **options: self._loops.call(verb(*args, **options))
        return getattr(self._async._agent, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._async._agent, name, value)
