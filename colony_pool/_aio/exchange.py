"""One API call's request and its answer, over a transport of httpx's; its failures are those of the sync calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .._http.failures import BadReply, NetworkFailure, RawResponse, describe, sought
from .._shell.api import MAX_BODY, Call, Sent
from .behind import nothing_behind

if TYPE_CHECKING:
    import httpx

    from .door import Door


_BROKE_OFF = "the connection broke off"  # as it is said of a synchronous call
_HUNG_UP = "Server disconnected"  # what httpcore says of a connection that ends before an answer


Aside = Callable[[Callable[[], Awaitable[None]]], object]  # see ``Door.aside``


class Line:
    """One pool of connections. The last request of a retired one closes it."""

    def __init__(self, transport: httpx.AsyncHTTPTransport, aside: Aside) -> None:
        self.transport = transport
        self.users = 0
        self.retired = False
        self._aside = aside

    def close_unused(self) -> None:
        """Close a retired one that nobody uses any more."""
        if self.retired and not self.users:
            self._aside(self.transport.aclose)


class Exchange:
    """A request and its answer."""

    def __init__(self, door: Door, call: Call, headers: Mapping[str, str], until: float) -> None:
        self._door = door
        self._call = call
        self._headers = headers
        self._until = until
        self.line: Line | None = None  # the one whose connection it has
        self._bare: Any = None  # a connection while it is this exchange's alone
        self.sent = self._reused = self._heard = self.stale = False

    async def run(self, line: Line) -> Sent:
        """Make the exchange on a connection of ``line``."""
        self.line = line
        line.users += 1
        try:
            return await self._run(line)
        finally:
            line.users -= 1
            if self._bare is not None:  # cut off in the middle of a handshake: httpcore knows nothing of it
                self._door.aside(self._bare.aclose)
            line.close_unused()

    async def _run(self, line: Line) -> Sent:
        """Send and read. A failure is returned, so that no exception has it, and its frames, as context."""
        httpx = self._door._httpx
        self.sent = self._heard = self.stale = False
        self._reused = True
        status = 0
        try:
            response = await line.transport.handle_async_request(self._request())
            status, self._heard = response.status_code, True
            try:
                reply = await self._read(response)
                if not nothing_behind(response):
                    self._door.retire(line)
                return reply
            finally:
                await response.aclose()
        except BadReply as bad:
            return bad.with_traceback(None)
        except (httpx.HTTPError, OSError) as error:
            kind, words = _described(error, httpx)
            if self._door.tunnels:
                self._door.retire(line)
            if status and kind != "timeout":
                return BadReply(status, "the body broke off or cannot be read")
            if kind == "timeout" and not self.sent:
                words = "no connection in time"
            self.stale = self._call.repeatable and self._reused and words == _BROKE_OFF and not self._heard
            if not self.sent and self._door._options["proxy"] is None:
                url = self._door._url
                words = sought(kind, words, url.hostname or "", url.port)
            return NetworkFailure(kind, words, sent=self.sent, reused=self._reused)

    def _request(self) -> httpx.Request:
        door, call = self._door, self._call
        origin, target = door._url, (door._url.path + call.target).encode()
        url = door._httpx.URL(f"{origin.scheme}://{origin.netloc}").copy_with(raw_path=target)
        left = max(0.001, self._until - door.loop.time())
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
            self._bare = None
        elif name == "connection.connect_tcp.started":
            self._reused = False
            self._door._pool._transport.count_opened()
        elif name == "connection.connect_tcp.complete":
            self._bare = info["return_value"]
            self._door.opened(self._bare)

    async def _read(self, response: httpx.Response) -> RawResponse:
        encoding = response.headers.get("content-encoding", "identity")
        body = bytearray()
        stream: Any = response.stream  # not by way of httpx, which would let go of the connection at the end of it
        async for chunk in stream:
            if encoding.strip().lower() != "identity":
                raise BadReply(response.status_code, "the body is compressed, which nobody asked for")
            body += chunk
            if len(body) > MAX_BODY:
                raise BadReply(response.status_code, f"the body is over {MAX_BODY} bytes")
        return RawResponse(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))


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
