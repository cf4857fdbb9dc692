"""API calls over httpx: connections of their own for each event loop, slots of the pool's bulkhead for all.

httpx's transport is used, not its client: a client logs every URL, keeps cookies and follows what it is told to
follow, and none of that is wanted here.

httpcore (1.0) loses the connection of a request that is cancelled: it stays in its pool,
in use by nobody. So a request is never cancelled with its caller. It goes on without one, with its slot, for a
moment; what is still out then, or at its deadline, is cancelled, and the whole pool of connections is retired: no new
request gets one of it, and the last that has one closes it. So it is when something came behind an answer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._core.failure import closed
from .._http.failures import BUSY, NetworkFailure, RawResponse
from .._http.slots import SlotRequest
from .._http.transport import checked
from .._runtime.descriptors import close_handle
from .._shell.api import Call, Sent, scrubbed
from .._weakset import ThreadSafeWeakSet
from .exchange import Exchange, Line
from .flag import LoopFlag, SlotFlag, running_loop

if TYPE_CHECKING:
    from ..pool import ColonyPool

_CLOSE_WITHIN = 1.0
_GRACE = 1.0  # seconds that a request goes on without its caller


class _OfThread(threading.local):
    """The doors of the loops that one thread runs. They end with the thread, and the loops that nobody closed."""

    def __init__(self) -> None:
        self.doors: dict[asyncio.AbstractEventLoop, Door] = {}


class Doors:
    """The doors of all loops that use one pool."""

    def __init__(self, pool: ColonyPool) -> None:
        self._pool = pool
        self._mine = _OfThread()  # keeps the doors alive
        self._all: ThreadSafeWeakSet[Door] = ThreadSafeWeakSet()
        with suppress(ImportError):  # now, and not in a loop, which would stand still for a tenth of a second
            import httpx  # noqa: F401 - for its effect

    def __len__(self) -> int:
        return len(self._all)

    def here(self) -> Door:
        """The door of the loop that runs here. Raises ``ImportError`` without httpx."""
        loop = running_loop()
        door = self._mine.doors.get(loop)
        if door is None:
            self.bury()
            door = self._mine.doors[loop] = Door(self._pool, loop, self.bury)
            self._all.add(door)
            self._pool._transport.beside.add(self)
        return door

    def idle(self) -> int:
        """Connections of all loops that no request has."""
        return sum(door.idle() for door in self._all.all())

    def bury(self) -> None:
        """Let go of what loops have left that are closed: their slots come back. Any thread, several at once."""
        for door in self._all.all():
            if door.loop.is_closed():
                door.abandon()
                self._forget(door)

    def end(self) -> None:
        """The pool has closed: each loop closes its own connections, as soon as it gets to it. Any thread."""
        for door in self._all.all():
            door.end()
            if not door.loop.is_running():
                self._forget(door)  # it may never run again: nothing of it is kept for that

    async def close(self) -> None:
        """Close all doors, within a second."""
        flags = []
        doors = self._all.all()
        for door in doors:
            flags.append(flag := LoopFlag())
            door.end(flag)
        for flag in flags:
            await flag.wait(2 * _CLOSE_WITHIN)
        for door in doors:
            self._forget(door)

    def after_fork(self) -> None:
        """In a forked child: give up the parent's descriptors without a word on them."""
        for door in self._all.all():
            door.give_up()
        self._mine, self._all = _OfThread(), ThreadSafeWeakSet()

    def _forget(self, door: Door) -> None:
        """Know it no longer. A door of another thread ends with that thread, at the latest."""
        self._all.discard(door)
        self._mine.doors.pop(door.loop, None)


class Door:
    """The connections of one event loop."""

    def __init__(self, pool: ColonyPool, loop: asyncio.AbstractEventLoop, bury: Callable[[], object]) -> None:
        try:
            import httpx
        except ImportError as error:
            message = 'API calls on asyncio need httpx: pip install "colony_pool[asyncio]" (token() does without)'
            raise ImportError(message) from error
        options = pool._transport_options
        config = pool._config
        self._pool = pool
        self.loop = loop
        self._bury = bury
        self._url = urlsplit(pool.base_url)
        self._timeout = config.timeout
        self._httpx = httpx
        self._options: dict[str, Any] = {
            # Where nothing is in TLS httpx would read all certificates of the system for nothing, and in the loop.
            "verify": pool._transport.context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            "trust_env": False,
            "proxy": options["proxy"],
            "limits": httpx.Limits(
                max_connections=config.maxsize, max_keepalive_connections=config.maxsize, keepalive_expiry=None
            ),
        }
        # A handshake that fails behind a proxy leaves its connection in httpcore's pool, for nobody's use.
        self.tunnels = options["proxy"] is not None and self._url.scheme == "https"
        self._line = self._new_line()
        self._always = dict(pool._transport.always)
        self._sockets: ThreadSafeWeakSet[socket.socket] = ThreadSafeWeakSet()  # for a forked child to give up
        self._at_work: dict[
            asyncio.Task[Any], SlotRequest
        ] = {}  # the slot is the request's, with or without a caller
        self._waiting: set[LoopFlag] = set()  # who waits for a slot, or between two attempts
        self._closing: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._over = False

    def idle(self) -> int:
        """Connections that no request has. Any thread."""
        pool: Any = getattr(self._line.transport, "_pool", None)
        return sum(connection.is_idle() for connection in getattr(pool, "connections", ()))

    def opened(self, stream: Any) -> None:
        """A connection stands."""
        sock = stream.get_extra_info("socket")
        with suppress(TypeError):  # uvloop's is none, keeps no weak reference, and is closed by its loop alone
            self._sockets.add(getattr(sock, "_sock", sock))

    async def closes_within(self, seconds: float) -> bool:
        """Wait; True as soon as the pool closes."""
        await self._wait(LoopFlag(), seconds)
        return self._over

    async def _wait(self, flag: LoopFlag, seconds: float) -> bool:
        """Wait for ``flag``, which the end of this door sets, too; True if it is set."""
        if self._over:
            return True
        self._waiting.add(flag)
        try:
            return await flag.wait(seconds)
        finally:
            self._waiting.discard(flag)

    async def _has_slot(self, ticket: SlotRequest, seconds: float) -> bool:
        """Wait for a slot; True if there is one, or the door has ended."""
        flag = ticket.line_up(SlotFlag)
        if flag is None:
            return True
        self._bury()  # those of a loop that was closed come back when somebody asks for them
        return await self._wait(flag, seconds)

    async def send(self, call: Call, jwt: str) -> Sent:
        """Send ``call`` once, and once more where an idle connection turns out to be dead and that does no harm."""
        total = self._timeout.total if call.timeout is None else call.timeout
        until = self.loop.time() + total
        headers = checked({**self._always, **call.headers, "Authorization": f"Bearer {jwt}"})
        ticket = self._pool._transport.bulkhead.request(owner=hash(headers["Authorization"]))
        try:
            if not await self._has_slot(ticket, total):
                size = self._pool._config.maxsize
                return NetworkFailure(BUSY, f"no time left while all {size} connections were busy", sent=False)
            if self._over:
                raise closed().exception()
            exchange = Exchange(self, call, headers, until)
            task = self.loop.create_task(self._converse(exchange))
            self._at_work[task], ticket = ticket, self._pool._transport.bulkhead.request()
            task.add_done_callback(self._ended)
            reply = await self._by(task, exchange, until)
            return scrubbed(reply, jwt) if isinstance(reply, RawResponse) else reply
        finally:
            ticket.leave()
            del headers, jwt

    def _ended(self, task: asyncio.Task[Sent]) -> None:
        self._at_work.pop(task).leave()

    async def _converse(self, exchange: Exchange) -> Sent:
        line = self._line
        reply = await exchange.run(line)
        if exchange.stale and isinstance(reply, NetworkFailure):
            self.retire(line)  # its other idle connections may be as dead as this one
            line.close_unused()
            return await exchange.run(self._line)
        return reply

    async def _by(self, task: asyncio.Task[Sent], exchange: Exchange, until: float) -> Sent:
        """What comes of ``task`` by ``until``."""
        try:
            await asyncio.wait({task}, timeout=max(0.0, until - self.loop.time()))
        except asyncio.CancelledError:
            self.loop.call_later(_GRACE, self._cut, task, exchange)
            raise
        if not task.done():
            self._cut(task, exchange)
            return NetworkFailure("timeout", "no answer in time", sent=True)
        if task.cancelled():
            raise closed().exception()
        return task.result()

    def _cut(self, task: asyncio.Task[Sent], exchange: Exchange) -> None:
        """End a request that nobody waits for."""
        if task.done():
            return
        task.cancel()
        if exchange.line is not None:  # it has begun
            self.retire(exchange.line)

    def retire(self, line: Line) -> None:
        """No new request gets a connection of ``line``."""
        line.retired = True
        if self._line is line:
            self._line = self._new_line()

    def _new_line(self) -> Line:
        return Line(self._httpx.AsyncHTTPTransport(**self._options), self.aside)

    def aside(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close something in a task of its own: to cancel a request must not leave it, or half of it, open."""
        if not self.loop.is_closed():  # else it is closed already, or given to the garbage collector
            task = self.loop.create_task(_quietly(close))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def end(self, flag: LoopFlag | None = None) -> None:
        """Close the connections; what is at work has a second to end. Any thread."""
        try:
            self.loop.call_soon_threadsafe(self._begin_to_end, flag)
        except RuntimeError:
            self.abandon()
        if self.loop.is_running():
            return
        self._hang_up()
        if flag is not None:
            flag.set()

    def _begin_to_end(self, flag: LoopFlag | None) -> None:
        self._over = True
        for waiting in self._waiting:
            waiting.set()
        if self._ending is None:
            self._ending = self.loop.create_task(self._end())
        if flag is not None:
            self._ending.add_done_callback(lambda _: flag.set())

    async def _end(self) -> None:
        if self._at_work:
            _, late = await asyncio.wait(set(self._at_work), timeout=_CLOSE_WITHIN)
            for task in late:
                task.cancel()
        self.aside(self._line.transport.aclose)
        until = self.loop.time() + _CLOSE_WITHIN
        while (rest := {*self._at_work, *self._closing}) and (left := until - self.loop.time()) > 0:
            await asyncio.wait(rest, timeout=left)

    def _hang_up(self) -> None:
        """The loop is at rest: tell the server now. To close a socket is the loop's, when and if it goes on.

        It would take a descriptor that was closed without its knowledge for its own, and refuse the next connection,
        anybody's, that gets the same number.
        """
        self._over = True
        for sock in self._sockets.all():
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """The loop is closed: close its sockets, and give its slots back."""
        self._over = True
        for sock in self._sockets.all():
            with suppress(OSError):
                sock.close()
        for ticket in list(self._at_work.values()):
            ticket.leave()

    def give_up(self) -> None:
        """Close this process's handles on the sockets: its parent goes on using them."""
        for sock in self._sockets.all():
            close_handle(sock)


async def _quietly(close: Callable[[], Awaitable[None]]) -> None:
    with suppress(Exception):  # whatever the other side has done to it meanwhile
        await close()
