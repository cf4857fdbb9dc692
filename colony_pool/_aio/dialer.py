"""Connects for an event loop as ``_http/dialer.py`` does for tasks that may block.

Look-ups of a name are shared by all who need it meanwhile. The next address is tried a quarter of a second after the
one before, or at once when that fails (RFC 8305). What has answered is tried first, on whichever runtime it was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any

import anyio
import httpcore

from .._http.dialer import ATTEMPT_DELAY, Dialer
from .._http.resolver import Addresses, literal_addresses

__all__ = ["LoopDialer", "needs_fresh"]

#: Whether the request of this task needs a look-up of its own time, and no address first that has answered before.
needs_fresh: ContextVar[bool] = ContextVar("colony_pool_needs_fresh", default=False)


class LoopDialer(httpcore.AsyncNetworkBackend):
    """Makes the connections of one event loop.

    Arguments:
        dialer: remembers what has answered.
        look_up: looks a host up, with a port; the last argument is whether only a look-up of now will do.
        loop: whose connections they are.
    """

    def __init__(
        self, dialer: Dialer, look_up: Callable[[str, int, bool], Awaitable[Addresses]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:  # fmt: skip
        self._dialer = dialer
        self._ask = look_up
        self._loop = loop
        self._backend = httpcore.AnyIOBackend()
        self._look_ups: dict[tuple[str, int, bool], asyncio.Future[Addresses]] = {}  # that are under way
        self.waiting = 0  # attempts that wait for a look-up
        self._discarding: set[asyncio.Task[None]] = set()

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        """Return a stream to the first address of ``host`` that answers, within ``timeout`` seconds for all."""
        try:
            with anyio.fail_after(timeout):
                return await self._connect(host, port, local_address, socket_options)
        except TimeoutError:
            raise httpcore.ConnectTimeout("no address has answered in time") from None

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never asked for: an API has a URL."""
        return await self._backend.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Never asked for: httpcore makes no retries of its own here."""
        await asyncio.sleep(seconds)

    async def _connect(
        self, host: str, port: int, local_address: str | None, options: Iterable[Any] | None
    ) -> httpcore.AsyncNetworkStream:
        fresh = needs_fresh.get()
        try:
            found = literal_addresses(host, port) or await self._look_up(host, port, fresh)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        dialer = self._dialer
        order = dialer.interleaved(found) if fresh else dialer.in_order(host, port, found)
        waiting = deque([*dict.fromkeys(entry[4] for entry in order)])
        racing: dict[asyncio.Task[httpcore.AsyncNetworkStream], Any] = {}
        failure: BaseException = httpcore.ConnectError("the host name has no address")
        try:
            while waiting or racing:
                if waiting:
                    address = waiting.popleft()
                    attempt = self._backend.connect_tcp(address[0], address[1], None, local_address, options)
                    racing[self._loop.create_task(attempt)] = address
                done, _ = await asyncio.wait(
                    racing, timeout=ATTEMPT_DELAY if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    address, lost = racing[task], task.exception()
                    if lost is None:
                        del racing[task]
                        dialer.has_answered(host, port, address)
                        return task.result()
                    del racing[task]
                    dialer.has_failed(host, port, address)
                    failure = lost
        finally:
            for task in racing:
                task.cancel()
                task.add_done_callback(self._discard)
        try:
            raise failure
        finally:
            del failure  # a reference cycle otherwise

    async def _look_up(self, *wanted: Any) -> Addresses:
        """Return the addresses. Calls at the same time share one look-up; each raises an exception of its own."""
        look_up = self._look_ups.get(wanted)
        if look_up is None:
            look_up = self._look_ups[wanted] = asyncio.ensure_future(self._ask(*wanted))
            look_up.add_done_callback(lambda ended: self._forget(wanted, ended))
        self.waiting += 1
        try:
            return list(await asyncio.shield(look_up))
        except (OSError, UnicodeError) as error:
            raise type(error)(*error.args) from None
        finally:
            self.waiting -= 1

    def _forget(self, wanted: tuple[Any, ...], look_up: asyncio.Future[Addresses]) -> None:
        self._look_ups.pop(wanted, None)
        if not look_up.cancelled():
            look_up.exception()  # nobody may be left who would ask for it

    def _discard(self, task: asyncio.Task[httpcore.AsyncNetworkStream]) -> None:
        """Close what a race has left connected."""
        if not task.cancelled() and task.exception() is None and not self._loop.is_closed():
            closing = self._loop.create_task(task.result().aclose())
            self._discarding.add(closing)
            closing.add_done_callback(self._discarding.discard)
