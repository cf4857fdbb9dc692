"""API calls over httpx: connections of their own for each event loop, slots of the pool's bulkhead for all.

httpx's transport is used, not its client: a client logs every URL, keeps cookies and follows what it is told to
follow, and none of that is wanted here.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._shell.api import MAX_BODY, Call, Sent, scrubbed
from .._shell.connections import describe
from .._shell.pools import tls_context
from .._shell.transport import BadReply, NetworkFailure, Reply, checked
from .flag import LoopFlag

if TYPE_CHECKING:
    import httpx

    from ..pool import ColonyPool

_CLOSE_WITHIN = 1.0


class Doors:
    """The doors of all loops that use one pool."""

    def __init__(self, pool: ColonyPool) -> None:
        self._pool = pool
        self._doors: dict[asyncio.AbstractEventLoop, Door] = {}

    def here(self) -> Door:
        """The door of the loop that runs here. Raises ``ImportError`` without httpx."""
        loop = asyncio.get_running_loop()
        door = self._doors.get(loop)
        if door is None:
            for old in [old for old in list(self._doors) if old.is_closed()]:
                self._doors.pop(old).abandon()
            door = self._doors[loop] = Door(self._pool, loop)
        return door

    def end(self) -> None:
        """The pool has closed: each loop closes its own connections, as soon as it gets to it. Any thread."""
        for door in list(self._doors.values()):
            door.end()

    async def close(self) -> None:
        """Close all doors, within a second."""
        flags = []
        for door in list(self._doors.values()):
            flags.append(flag := LoopFlag())
            door.end(flag)
        for flag in flags:
            await flag.wait(2 * _CLOSE_WITHIN)
        self._doors.clear()

    def after_fork(self) -> None:
        """In a forked child: give up the parent's descriptors without a word on them."""
        for door in self._doors.values():
            door.give_up()
        self._doors = {}


class Door:
    """The connections of one event loop."""

    def __init__(self, pool: ColonyPool, loop: asyncio.AbstractEventLoop) -> None:
        try:
            import httpx
        except ImportError as error:
            message = 'API calls on asyncio need httpx: pip install "colony_pool[asyncio]" (token() does without)'
            raise ImportError(message) from error
        options = pool._transport_options
        config = pool._config
        self._pool = pool
        self._loop = loop
        self._url = urlsplit(pool.base_url)
        self._timeout = config.timeout
        self._httpx = httpx
        context = pool._transport.context or (tls_context(options["ca_certs"]) if options["proxy"] else True)
        self._transport = httpx.AsyncHTTPTransport(
            verify=context, trust_env=False, proxy=options["proxy"],
            limits=httpx.Limits(max_connections=config.maxsize, max_keepalive_connections=config.maxsize,
                                keepalive_expiry=None),
        )  # fmt: skip
        self._always = dict(pool._transport.always)
        self._sockets: weakref.WeakSet[Any] = weakref.WeakSet()  # for a forked child to give up
        self._at_work: set[asyncio.Task[Any]] = set()
        self._waiting: set[LoopFlag] = set()  # who waits between two attempts
        self._ending: asyncio.Task[None] | None = None
        self._over = False

    async def closes_within(self, seconds: float) -> bool:
        """Wait; True as soon as the pool closes."""
        if not self._over:
            flag = LoopFlag()
            self._waiting.add(flag)
            try:
                await flag.wait(seconds)
            finally:
                self._waiting.discard(flag)
        return self._over

    async def send(self, call: Call, jwt: str) -> Sent:
        """Send ``call`` once, and once more where an idle connection turns out to be dead and that does no harm."""
        total = self._timeout.total if call.timeout is None else call.timeout
        until = self._loop.time() + total
        headers = checked({**self._always, **call.headers, "Authorization": f"Bearer {jwt}"})
        ticket = self._pool._transport.bulkhead.ticket()
        try:
            flag = ticket.line_up(LoopFlag)
            if flag is not None and not await flag.wait(total):
                size = self._pool._config.maxsize
                return NetworkFailure("timeout", f"no time left while all {size} connections were busy", sent=False)
            if self._over:
                return NetworkFailure("aborted", "given up before it began", sent=False)
            exchange = _Exchange(self, call, headers, until)
            reply = await self._by(exchange, until)
            if call.repeatable and exchange.stale and isinstance(reply, NetworkFailure):
                reply = await self._by(exchange, until)
            return scrubbed(reply, jwt) if isinstance(reply, Reply) else reply
        finally:
            ticket.leave()
            del headers, jwt

    async def _by(self, exchange: _Exchange, until: float) -> Sent:
        """Make ``exchange`` in a task of its own, which ends by ``until``, and with this one."""
        task = self._loop.create_task(exchange.run())
        self._at_work.add(task)
        try:
            await asyncio.wait({task}, timeout=max(0.0, until - self._loop.time()))
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            self._at_work.discard(task)
        if task.cancelled():
            kind, words = ("aborted", "the pool has closed") if self._over else ("timeout", "no answer in time")
            return NetworkFailure(kind, words, sent=exchange.sent)
        return task.result()

    def end(self, flag: LoopFlag | None = None) -> None:
        """Close the connections; what is at work has a second to end. Any thread."""
        try:
            if not self._loop.is_running():
                raise RuntimeError("nobody would close them there")
            self._loop.call_soon_threadsafe(self._begin_to_end, flag)
        except RuntimeError:
            self.abandon()
            if flag is not None:
                flag.set()

    def _begin_to_end(self, flag: LoopFlag | None) -> None:
        self._over = True
        for waiting in self._waiting:
            waiting.set()
        if self._ending is None:
            self._ending = self._loop.create_task(self._end())
        if flag is not None:
            self._ending.add_done_callback(lambda _: flag.set())

    async def _end(self) -> None:
        if self._at_work:
            _, late = await asyncio.wait(set(self._at_work), timeout=_CLOSE_WITHIN)
            for task in late:
                task.cancel()
        await self._transport.aclose()

    def abandon(self) -> None:
        """Close the sockets of a loop that does not run any more."""
        self._over = True
        for sock in list(self._sockets):
            with suppress(OSError):
                sock.close()

    def give_up(self) -> None:
        """Close this process's handles on the sockets: its parent goes on using them."""
        for sock in list(self._sockets):
            with suppress(OSError):
                os.close(sock.detach())


class _Exchange:
    """A request and its answer."""

    def __init__(self, door: Door, call: Call, headers: Mapping[str, str], until: float) -> None:
        self._door = door
        self._call = call
        self._headers = headers
        self._until = until
        self.sent = self._reused = self._heard = self.stale = False

    async def run(self) -> Sent:
        """Send and read. A failure is returned, so that no exception has it, and its frames, as context."""
        httpx = self._door._httpx
        self.sent = self._heard = self.stale = False
        self._reused = True
        status = 0
        try:
            response = await self._door._transport.handle_async_request(self._request())
            status, self._heard = response.status_code, True
            try:
                return await self._read(response)
            finally:
                await response.aclose()
        except BadReply as bad:
            return bad.with_traceback(None)
        except (httpx.HTTPError, OSError) as error:
            kind, words = _described(error, httpx)
            if status and kind != "timeout":
                return BadReply(status, "the body broke off or cannot be read")
            if kind == "timeout" and not self.sent:
                words = "no connection in time"
            self.stale = self._reused and kind == "reset" and not self._heard
            return NetworkFailure(kind, words, sent=self.sent, reused=self._reused)

    def _request(self) -> httpx.Request:
        door, call = self._door, self._call
        origin, target = door._url, (door._url.path + call.target).encode()
        url = door._httpx.URL(f"{origin.scheme}://{origin.netloc}").copy_with(raw_path=target)
        left = max(0.001, self._until - door._loop.time())
        bounds = door._timeout
        timeout = {
            "connect": min(bounds.connect, left),
            "read": min(bounds.read, left),
            "write": min(bounds.read, left),
        }
        extensions = {"timeout": timeout, "trace": self._trace}
        request: httpx.Request = door._httpx.Request(
            call.method, url, headers=self._headers, content=call.body, extensions=extensions
        )
        return request

    async def _trace(self, name: str, info: dict[str, Any]) -> None:
        """Told by httpcore of each step."""
        if name.endswith("send_request_headers.started"):
            self.sent = True
        elif name == "connection.connect_tcp.started":
            self._reused = False
            self._door._pool._transport.count_opened()
        elif name == "connection.connect_tcp.complete":
            sock = info["return_value"].get_extra_info("socket")
            self._door._sockets.add(getattr(sock, "_sock", sock))

    async def _read(self, response: httpx.Response) -> Reply:
        encoding = response.headers.get("content-encoding", "identity")
        body = bytearray()
        async for chunk in response.aiter_raw():
            if encoding.strip().lower() != "identity":
                raise BadReply(response.status_code, "the body is compressed, which nobody asked for")
            body += chunk
            if len(body) > MAX_BODY:
                raise BadReply(response.status_code, f"the body is over {MAX_BODY} bytes")
        return Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))


def _described(error: BaseException, httpx: Any) -> tuple[str, str]:
    """``(kind, words)`` of what httpx raises, from the cause at the bottom of it."""
    if isinstance(error, httpx.TimeoutException):
        return describe(TimeoutError())
    if isinstance(error, httpx.ProxyError):
        return "proxy", "the proxy does not connect"
    for cause in _causes(error):
        kind, words = describe(cause)
        if kind != "other":
            return kind, words
    if isinstance(error, (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)):
        return "reset", "the connection broke off"
    return "other", type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """What lies beneath ``error``, the deepest first."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
        several: Any = getattr(error, "exceptions", None)  # one for each address
        error = several[-1] if several else error
    return reversed(chain)
