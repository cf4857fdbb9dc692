"""A coroutine function that gives one-time codes, as the pool's attempts can call it: from a task of its runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

_LOOK = 1.0  # seconds until a caller looks whether the loop is still there


class LoopTotp:
    """Calls ``ask`` in ``loop`` and waits for what it returns."""

    def __init__(
        self, ask: Callable[[], Awaitable[str]], loop: asyncio.AbstractEventLoop, new_event: Callable[[], Any]
    ) -> None:
        self.ask = ask
        self.loop = loop
        self._new_event = new_event
        self._tasks: set[asyncio.Task[None]] = set()  # a loop alone does not keep them

    def __call__(self) -> str:
        """Return a code, or raise what ``ask`` raises."""
        done, answer = self._new_event(), list[str]()
        problem: list[BaseException] = []
        loop = self.loop

        async def run() -> None:
            try:
                answer.append(await self.ask())
            except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
                problem.append(error)
            finally:
                done.set()

        def begin() -> None:
            task = loop.create_task(run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop.call_soon_threadsafe(begin)
        while not done.wait(_LOOK):
            if loop.is_closed():
                raise RuntimeError("totp: its event loop was closed before it gave a code")
        if problem:
            raise problem.pop()
        return answer.pop()
