"""One attempt over httpx: its slot, its deadline, its connection, and what comes of it.

The attempt is a task of its own, which has the slot until its connection is in order. So a caller who is cancelled
goes at once, and nothing interrupts the closing of what the attempt leaves behind.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from asyncio.trsock import TransportSocket  # uvloop's sockets are of another kind, and only their loop may close them
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import httpx

from .._core.failure import closed
from .._http.api import MAX_BODY, ApiRequest
from .._http.connection_health import ConnectionHealth, ConnectionRecord
from .._http.decoding import decoded, is_coded
from .._http.failures import BUSY, BadReply, NetworkFailure, RawResponse, describe, sought
from .._http.pools import SOCKET_OPTIONS
from .._http.proxies import REFUSED
from .._http.resolver import Addresses
from .._http.slots import SlotRequest
from .._http.tls import advice
from .._runtime.descriptors import close_handle
from ..config import KeepAliveConfig, Timeout
from ..pool import ColonyPool, engines_of
from .dialer import LoopDialer, needs_fresh
from .loop_event import SlotEvent, WaitingTasks, off_loop

__all__ = ["ANSWER", "CALL", "CLOSE_WITHIN", "SINCE", "AttemptTransport"]

CALL = "colony_pool.call"  # where a request's extensions have the call
SINCE = "colony_pool.since"  # and this: see ``Transport.send``
ANSWER = "colony_pool.answer"  # where a response's have the answer
CLOSE_WITHIN = 1.0
_BROKE_OFF = "the connection broke off"  # as it is said of a synchronous call
_HUNG_UP = "Server disconnected"  # what httpcore says of a connection that ends before an answer

Answer = httpx.Response | NetworkFailure | BadReply


class AttemptTransport(httpx.AsyncBaseTransport):
    """Makes one attempt: it takes a slot, has a deadline, and reads the whole answer."""

    def __init__(
        self,
        pool: ColonyPool,
        waiting: WaitingTasks,
        loop: asyncio.AbstractEventLoop,
        retire_closed: Callable[[], object],
    ) -> None:
        self._pool = pool
        self._waiting = waiting
        self._loop = loop
        self._retire_closed = retire_closed
        options = engines_of(pool).current.options
        self._timeout = options.config.timeout
        self._maxsize = options.config.maxsize
        keep_alive: KeepAliveConfig = options.transport_options["keep_alive"]
        self._health = engines_of(pool).current.network.health
        self._options: dict[str, Any] = {
            "trust_env": False,
            # The bulkhead bounds the connections in use.
            "limits": httpx.Limits(
                max_connections=None, max_keepalive_connections=self._maxsize, keepalive_expiry=keep_alive.max_idle
            ),
            "socket_options": SOCKET_OPTIONS,
        }
        self._dialer = LoopDialer(engines_of(pool).current.network.dialer, self._look_up, loop)
        self._connections = self._new_connections()
        self._sockets: list[TransportSocket] = []
        self._at_work: dict[asyncio.Task[Answer], SlotRequest] = {}  # the slot is the attempt's, whoever waits for it
        self._closing: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Called by the client for each attempt. Raises ``NetworkFailure`` and ``BadReply``."""
        call: ApiRequest = request.extensions[CALL]
        total = self._timeout.total if call.timeout is None else call.timeout
        until = self._loop.time() + total
        bulkhead, size = engines_of(self._pool).current.network.bulkhead, self._maxsize
        ticket = bulkhead.request(owner=hash(request.headers["Authorization"]))  # its token says whose call it is
        try:
            if not await self._has_slot(ticket, total):
                raise NetworkFailure(BUSY, f"no time left while all {size} connections were busy", sent=False)
            if self._waiting.over:
                raise closed().exception()
            task = self._loop.create_task(self._attempt(request, call.repeatable, until, request.extensions[SINCE]))
            self._at_work[task], ticket = ticket, bulkhead.request()
            task.add_done_callback(self._ended)
            answer = await self._by(task, until)
        finally:
            ticket.leave()
        if isinstance(answer, httpx.Response):
            return answer
        try:
            raise answer
        finally:
            del answer  # a reference cycle otherwise

    async def aclose(self) -> None:
        """Close the connections; what is at work has a second to end."""
        if self._at_work:
            _, late = await asyncio.wait(set(self._at_work), timeout=CLOSE_WITHIN)
            for task in late:
                task.cancel()
        self._retire(self._connections)
        until = self._loop.time() + CLOSE_WITHIN
        while (rest := {*self._at_work, *self._closing}) and (left := until - self._loop.time()) > 0:
            await asyncio.wait(rest, timeout=left)

    def retire(self) -> None:
        """Close the idle connections, and the others when their requests end."""
        self._retire(self._connections)

    def idle(self) -> int:
        """Connections that no attempt has, as far as is known. Any thread."""
        return max(0, sum(sock.fileno() >= 0 for sock in self._sockets) - len(self._at_work))

    def hang_up(self) -> None:
        """The loop is at rest: shut the sockets down now. To close a socket is the loop's, when and if it goes on.

        It would take a descriptor that was closed without its knowledge for its own, and refuse the next connection,
        anybody's, that gets the same number.
        """
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """The loop is closed: close its sockets, and give its slots back."""
        self.give_up()
        for ticket in list(self._at_work.values()):
            ticket.leave()

    def give_up(self) -> None:
        """Close this process's handles on the sockets."""
        for sock in self._sockets:
            close_handle(sock)

    # -- the attempt ----------------------------------------------------------------------------------

    async def _has_slot(self, ticket: SlotRequest, seconds: float) -> bool:
        """Wait for a slot; True if there is one, or the pool has ended."""
        event = ticket.line_up(SlotEvent)
        if event is None:
            return True
        self._retire_closed()  # those of a loop that was closed come back when somebody asks for them
        return await self._waiting.wait(event, seconds)

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        self._at_work.pop(task).leave()

    async def _by(self, task: asyncio.Task[Answer], until: float) -> Answer:
        """What comes of ``task`` by ``until``."""
        try:
            await asyncio.wait({task}, timeout=max(0.0, until - self._loop.time()))
            if not task.done():
                return NetworkFailure("timeout", "no answer in time", sent=True)
            if task.cancelled():
                raise closed().exception()
            return task.result()
        finally:
            task.cancel()  # nobody waits for it any more

    async def _attempt(self, request: httpx.Request, repeatable: bool, until: float, since: float) -> Answer:
        """Send, and once more where an idle connection turns out to be dead and that does no harm."""
        answer, was_stale = await self._exchange(request, until, since)
        if was_stale and repeatable:
            answer, _ = await self._exchange(request, until, since)
        return answer

    async def _exchange(self, request: httpx.Request, until: float, since: float) -> tuple[Answer, bool]:
        """What comes of it on one connection, and whether that one was dead before."""
        await self._trust_what_is_trusted_now()
        connections = self._usable(since)
        needs_fresh.set(since > -math.inf)  # of this attempt's own task
        exchange = HttpxExchange(self._pool, self._timeout, self._opened)
        answer: Answer | None = None
        connections.users += 1
        try:
            answer = await exchange.run(connections.transport, request, until)
            if isinstance(answer, httpx.Response):
                self._health.answered(connections.record, answer.status_code, answer.extensions[ANSWER].headers)
            return answer, exchange.was_stale
        finally:
            connections.users -= 1
            if exchange.was_silent or (exchange.heard_nothing and self._loop.time() >= until):
                self._health.silent(exchange.sent_at)
            self._health.rests(connections.record)
            # httpcore (1.0) may lose the connection of a request that is cancelled, or of a handshake that fails: it
            # stays in its pool, in use by nobody. And where one idle connection is dead others may be, too.
            failed = exchange.had_connection and not isinstance(answer, httpx.Response)
            if connections.retired or failed:
                self._retire(connections)
            if exchange.bare is not None:  # cut off in the middle of a handshake: httpcore knows nothing of it
                self._aside(exchange.bare.aclose)

    def _opened(self, stream: Any) -> None:
        """A connection stands."""
        sock = stream.get_extra_info("socket")
        if isinstance(sock, TransportSocket):
            self._sockets = [*(known for known in self._sockets if known.fileno() >= 0), sock]

    def _usable(self, since: float) -> Connections:
        """Those that a request may use that needs one opened, or proven, after ``since``; see ``ConnectionHealth``.

        httpx picks one of them, so that they are judged together. One that brought a gateway's failure is closed.
        """
        if since == math.inf:
            alone = self._new_connections()
            alone.retired = True  # it ends with the request
            return alone
        record = self._connections.record
        if self._health.is_over(record) or not self._health.is_proven(record, since):
            self._retire(self._connections)
        return self._connections

    def _retire(self, connections: Connections) -> None:
        """No new request gets one of ``connections``; the last that has one closes them all."""
        if self._connections is connections:
            self._connections = self._new_connections()
        connections.retired = True
        if not connections.users:
            self._aside(connections.transport.aclose)

    async def _trust_what_is_trusted_now(self) -> None:
        """Begin with new connections if the files of certificates have changed; they are read elsewhere."""
        engine = engines_of(self._pool).current
        tls = engine.network.tls
        if tls is None:
            return
        if tls.is_stale():
            await off_loop(engine.driver.executor, tls.current)
        if tls.current() != self._connections.tls:
            self._retire(self._connections)

    async def _look_up(self, host: str, port: int, fresh: bool) -> Addresses:
        """Look up where the pool's other tasks do: with them, and in none of the loop's own threads."""
        engine = engines_of(self._pool).current
        return await off_loop(engine.driver.executor, partial(engine.network.dialer.look_up, host, port, fresh=fresh))

    def _new_connections(self) -> Connections:
        network = engines_of(self._pool).current.network
        origin, of_proxy = tls = network.tls.current() if network.tls is not None else (None, None)
        proxy = network.proxy
        transport = httpx.AsyncHTTPTransport(
            # Where nothing is in TLS httpx would read all certificates of the system for nothing, and in the loop.
            verify=origin or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            proxy=httpx.Proxy(proxy.url, headers=proxy.headers, ssl_context=of_proxy) if proxy is not None else None,
            **self._options,
        )
        transport._pool._network_backend = self._dialer  # httpx has no other way to have one
        return Connections(transport, self._health.opened(), tls)

    def _aside(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close something in a task of its own: to cancel an attempt must not leave it, or half of it, open."""
        if not self._loop.is_closed():  # else it is closed already, or given to the garbage collector
            task = self._loop.create_task(_quietly(close))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class Connections:
    """Those of one ``httpx.AsyncHTTPTransport``."""

    def __init__(
        self,
        transport: httpx.AsyncHTTPTransport,
        record: ConnectionRecord,
        tls: tuple[ssl.SSLContext | None, ssl.SSLContext | None],
    ) -> None:
        self.transport = transport
        self.record = record  # of all of them
        self.tls = tls
        self.users = 0
        self.retired = False


class _NobodysAnswer(Exception):
    """There was an answer before its request."""


class HttpxExchange:
    """A request and its answer on one connection; its failures are those of the sync calls."""

    def __init__(self, pool: ColonyPool, timeout: Timeout, opened: Callable[[Any], object]) -> None:
        self._pool = pool
        self._timeout = timeout
        self._opened = opened
        self.bare: Any = None  # a connection while it is this exchange's alone
        self.was_stale = False
        self.was_silent = False  # nothing came in time on a connection that had worked before
        self.sent_at = math.inf  # monotonic seconds
        self.had_connection = True
        self._sent = self._heard = False
        self._at_proxy = False  # a proxy stands, and was asked to connect this exchange with the API
        self._reused = True
        self._has_waited = False

    @property
    def heard_nothing(self) -> bool:
        """Whether nothing has come yet on a connection that had worked before."""
        return self._reused and self._sent and not self._heard

    async def run(self, transport: httpx.AsyncHTTPTransport, request: httpx.Request, until: float) -> Answer:
        """Send and read. A failure is returned, so that no exception has it, and its frames, as context."""
        left, bounds = max(0.001, until - asyncio.get_running_loop().time()), self._timeout
        request.extensions = {
            **request.extensions,  # it may be sent again
            "timeout": {
                "connect": min(bounds.connect, left),
                "read": min(bounds.read, left),
                "write": min(bounds.read, left),
            },
            "trace": self._trace,
        }
        status = 0
        network = engines_of(self._pool).current.network
        try:
            response = await transport.handle_async_request(request)
            status, self._heard = response.status_code, True
            try:
                if status == REFUSED and network.forwards and network.proxy is not None:
                    raise network.proxy.refusal(REFUSED, network.origin)
                body = await _whole(response)
                if ConnectionHealth.is_gateway_failure(status, response.headers):
                    await response.extensions["network_stream"].aclose()
            finally:
                await response.aclose()
            return await self._read(response, body, until)
        except (BadReply, NetworkFailure) as problem:
            return problem.with_traceback(None)
        except _NobodysAnswer:
            self.was_stale = True
            return NetworkFailure("reset", "there was an answer before the request", sent=True, reused=True)
        except (httpx.HTTPError, OSError) as error:
            return self._failed(error, status)

    def _failed(self, error: Exception, status: int) -> NetworkFailure | BadReply:
        """What ``error`` means; ``status`` is the answer's if it has begun."""
        kind, words = _described(error)
        if status and kind != "timeout":
            return BadReply(status, "the body broke off or cannot be read")
        if kind == "timeout" and not self._sent:
            words = "no connection in time"
        self.was_stale = self._reused and kind == "reset" and not self._heard
        self.was_silent = self.heard_nothing and kind == "timeout"
        hint = next(filter(None, map(advice, _causes(error))), "")
        network = engines_of(self._pool).current.network
        if not self._sent and network.proxy is not None:
            refusal = str(error)[:3] if isinstance(error, httpx.ProxyError) else ""  # httpcore says it so
            if refusal.isdecimal():
                return network.proxy.refusal(int(refusal), network.origin)
            if not self._at_proxy:
                return network.proxy.unreached(kind, words, hint)
            words = network.proxy.through(sought(kind, words, network.origin))
        elif not self._sent:
            words = sought(kind, words, network.origin)
        return NetworkFailure(kind, words, sent=self._sent, reused=self._reused, hint=hint)

    async def _read(self, response: httpx.Response, body: bytes, until: float) -> httpx.Response:
        """The answer, as synchronous calls read it; beside it what of it httpx needs to know, and no more."""
        response.headers.encoding = "iso-8859-1"
        headers = {name.lower(): value for name, value in response.headers.items()}
        answer = RawResponse(response.status_code, headers, body)
        if is_coded(headers):  # to decode it may take a while
            deadline = monotonic() + until - asyncio.get_running_loop().time()
            executor = engines_of(self._pool).current.driver.executor
            answer = await off_loop(executor, decoded, answer, MAX_BODY, deadline)
        shown = {name: value for name, value in headers.items() if name == "content-type" and value.isascii()}
        return httpx.Response(answer.status, headers=shown, content=answer.body, extensions={ANSWER: answer})

    async def _trace(self, name: str, info: dict[str, Any]) -> None:
        """Called by httpcore at each step."""
        if name == "connection.connect_tcp.started":
            self._reused = self.had_connection = False
            engines_of(self._pool).current.network.count_opened()
        elif name == "connection.connect_tcp.complete":
            self.bare, self.had_connection = info["return_value"], True
            self._opened(self.bare)
        elif name.endswith("send_request_headers.started"):
            self._at_proxy = info["request"].method == b"CONNECT"
            self._sent, self.sent_at = not self._at_proxy, monotonic()
            self.bare = None
        elif not self._sent:  # of what a proxy says to that
            return
        elif name == "http11.receive_response_headers.started":
            asyncio.get_running_loop().call_soon(self._wait)
        elif name == "http11.receive_response_headers.complete" and not self._has_waited:
            # Whoever reads from a socket gives way to the loop. So this came along with the answer to another.
            raise _NobodysAnswer

    def _wait(self) -> None:
        self._has_waited = True


async def _whole(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY:
            raise BadReply(response.status_code, f"the body is over {MAX_BODY} bytes")
    return bytes(body)


async def _quietly(close: Callable[[], Awaitable[None]]) -> None:
    with suppress(Exception):  # whatever the other side has done to it meanwhile
        await close()


def _described(error: BaseException) -> tuple[str, str]:
    """``(kind, words)`` of what httpx raises, from the cause at the bottom of it."""
    if isinstance(error, httpx.TimeoutException):
        return describe(TimeoutError())
    for cause in _causes(error):
        kind, words = describe(cause)
        if kind != "other":
            return kind, words
    if isinstance(error, httpx.RemoteProtocolError) and not str(error).startswith(_HUNG_UP):
        return "reset", "the answer is not HTTP"
    if isinstance(error, (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)):
        return "reset", _BROKE_OFF
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
