"""FakeColony's server as a thread of this process, where the program is no Python that could be started once more.

A frozen application is one such, and a program that has Python built in.
"""

from __future__ import annotations

import _thread
import asyncio
import sys
from contextlib import suppress
from typing import Any

from ._control import serve

_PATIENCE = 5.0  # seconds


class ServerThread:
    """The thread, from its start to its end. It is a native one, whatever gevent has patched."""

    def __init__(self, options: dict[str, Any]) -> None:
        start, new_lock = _thread.start_new_thread, _thread.allocate_lock
        if (monkey := sys.modules.get("gevent.monkey")) is not None:
            start = monkey.get_original("_thread", "start_new_thread")
            new_lock = monkey.get_original("_thread", "allocate_lock")
        self._options = options
        self._ports: dict[str, int] = {}
        self._problem: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: asyncio.Event | None = None
        self._started, self._ended = new_lock(), new_lock()
        self._started.acquire()
        self._ended.acquire()
        start(self._run, ())

    def ports(self, patience: float) -> dict[str, int]:
        """Wait for it, ``patience`` seconds at most. Raises what the server has raised instead."""
        self._started.acquire(timeout=patience)
        if self._problem is not None:
            raise self._problem
        if not self._ports:
            raise TimeoutError("the server did not start in time")
        return self._ports

    def kill(self) -> None:
        """End it, without waiting. Any number of times."""
        loop, told = self._loop, self._told
        if loop is not None and told is not None:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(told.set)

    def end(self) -> None:
        """End it, and wait for that, a few seconds at most."""
        self.kill()
        if self._ended.acquire(timeout=_PATIENCE):
            self._ended.release()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as problem:  # noqa: BLE001 - whoever started it is told
            self._problem = problem
        finally:
            if (gevent := sys.modules.get("gevent")) is not None:
                gevent.get_hub().destroy(destroy_loop=True)  # of this thread: patched sockets are waited for by one
            self._ended.release()
            if self._started.locked():
                self._started.release()

    async def _serve(self) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        async with serve(self._options) as ports:
            self._ports = ports
            self._started.release()
            await self._told.wait()
