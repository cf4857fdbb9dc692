"""A callable that gives one-time codes, or what to await for them, as the pool's attempts can call it: from a task of
its runtime."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

Ask = Callable[[], str | Awaitable[str]]

_CHECK_INTERVAL = 1.0  # seconds until a caller checks whether the loop is still there


class LoopTotp:
    """Calls ``ask``, in ``loop`` if it is a coroutine function, and waits there for what is to be awaited."""

    def __init__(self, ask: Ask, new_event: Callable[[], Any]) -> None:
        self.ask = ask
        self.loop: asyncio.AbstractEventLoop | None = None
        self._new_event = new_event
        self._tasks: set[asyncio.Task[None]] = set()  # a loop alone does not keep them
        self.come_here()

    def come_here(self) -> None:
        """From now on it is the loop that runs here, if one does."""
        with suppress(RuntimeError):
            self.loop = asyncio.get_running_loop()

    def __call__(self) -> str:
        """Return a code, or raise what ``ask`` raises."""
        if inspect.iscoroutinefunction(self.ask):
            return self._awaited(self.ask)
        given = self.ask()
        return given if isinstance(given, str) or not inspect.isawaitable(given) else self._awaited(lambda: given)

    def _awaited(self, ask: Callable[[], Awaitable[str]]) -> str:
        done, answer = self._new_event(), list[str]()
        problem: list[BaseException] = []
        loop = self.loop
        if loop is None:
            raise RuntimeError("totp: there is no event loop to await it in; call agent(key, totp=...) in one")

        async def run() -> None:
            try:
                answer.append(await ask())
            except asyncio.CancelledError:  # with its loop, as a rule: none of those who wait has been cancelled
                problem.append(RuntimeError("totp: it was cancelled, or its event loop ended, before it gave a code"))
                raise
            except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
                problem.append(error)
            finally:
                done.set()

        def begin() -> None:
            task = loop.create_task(run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop.call_soon_threadsafe(begin)
        while not done.wait(_CHECK_INTERVAL):
            if loop.is_closed():
                raise RuntimeError("totp: its event loop was closed before it gave a code")
        if problem:
            raise problem.pop()
        return answer.pop()
