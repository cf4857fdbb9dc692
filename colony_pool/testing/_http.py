"""FakeColony's side of HTTP/1.1: it reads requests, and writes answers, correct or broken.

It uses asyncio's protocols, not streams: a plain answer is written in the call that brought its request, without a
task. An answer that takes time is written by a task, which ends with its connection. So every request that counts as
in flight has a client.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, cast

from ._behaviour import Answer, error

_MAX_HEAD = 1 << 16
_BEFORE_PATH = re.compile(r"^https?://[^/?]*")
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_NOW = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: close() sends RST
_DRIP_STEPS = 100.0  # pieces a second at most; faster drips come in bigger pieces


class BadRequest(Exception):
    """The bytes are no request that this server understands."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ReceivedRequest:
    """One request, read to its end."""

    method: str
    target: str  # as it stood in the request line
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    last: bool  # the client wants the connection closed after it

    @property
    def path(self) -> str:
        """Its path; a server takes a whole URL, too, as a proxy is sent one (RFC 9112, 3.2.2)."""
        target = self.target if self.target.startswith("/") else _BEFORE_PATH.sub("", self.target)
        return target.partition("?")[0]


@dataclass
class RequestRecord:
    """A request between its arrival and the end of its answer."""

    request: ReceivedRequest
    connection: int
    at: float
    wall: float
    reused: bool  # the connection has carried another request before
    who: str = ""
    status: int = 0  # of the answer; 0 until there is one


class Handler(Protocol):
    """What a connection needs from the server."""

    at_work: set[ServerConnection]

    def opened(self, connection: ServerConnection) -> int: ...

    def at_connect(self) -> str: ...

    def closed(self, connection: ServerConnection) -> None: ...

    def begin(self, request: ReceivedRequest, connection: int, *, reused: bool) -> RequestRecord: ...

    def answer(self, record: RequestRecord, address: str) -> Answer: ...

    def end(self, record: RequestRecord, status: int) -> None: ...


def take_request(buffer: bytearray) -> ReceivedRequest | None:
    """Take the first whole request off ``buffer``; return ``None`` if it is not complete yet."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > _MAX_HEAD:
            raise BadRequest(431, "The request's head is over 64 KiB.")
        return None
    line, *rows = buffer[:end].decode("latin-1").split("\r\n")
    parts = line.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
    length = headers.get("content-length", "0")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or not length.isdecimal():
        raise BadRequest(400, "That was not HTTP/1.1.")
    if "transfer-encoding" in headers:
        raise BadRequest(411, "FakeColony reads bodies with a Content-Length only.")
    start, stop = end + 4, end + 4 + int(length)
    if len(buffer) < stop:
        return None
    last = headers.get("connection", "").lower() == "close" or parts[2] == "HTTP/1.0"
    request = ReceivedRequest(parts[0], parts[1], headers, bytes(buffer[start:stop]), last)
    del buffer[:stop]
    return request


def _wire(answer: Answer, request: ReceivedRequest | None) -> tuple[bytes, bytes]:
    length = len(answer.body) * 2 if answer.how == "truncated" else len(answer.body)
    lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    lines.append(f"Content-Length: {length}")
    if request is None or request.last:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head, b"" if request is not None and request.method == "HEAD" else answer.body


def _pieces(data: bytes, bytes_per_s: float) -> Iterator[bytes]:
    size = max(1, round(bytes_per_s / _DRIP_STEPS))
    return (data[start : start + size] for start in range(0, len(data), size))


class ServerConnection(asyncio.Protocol):
    """One TCP connection: a request at a time, in the order in which they came."""

    _transport: asyncio.Transport

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._buffer = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._served = 0
        self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._number = self._handler.opened(self)
        manner = self._handler.at_connect()
        self._deaf = manner == "silence"
        if manner == "reset_handshake":
            self._reset()

    def connection_lost(self, exc: Exception | None) -> None:
        self._handler.closed(self)
        if self._answering is not None:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._deaf:
            self._buffer += data
            self._advance()

    def fileno(self) -> int:
        """The socket's number; -1 when the connection is gone."""
        return int(self._transport.get_extra_info("socket").fileno())

    def drop(self) -> None:
        """Close now, even in the middle of an answer."""
        self._transport.abort()

    def close_if_idle(self) -> None:
        """Close, unless a request is being answered or is half read."""
        if self._answering is None and not self._buffer:
            self._transport.close()

    def _advance(self) -> None:
        try:
            while self._answering is None and not self._transport.is_closing():
                request = take_request(self._buffer)
                if request is None:
                    return
                self._serve(request)
        except BadRequest as problem:
            self._transport.write(b"".join(_wire(error(problem.status, str(problem)), None)))
            self._transport.close()

    def _serve(self, request: ReceivedRequest) -> None:
        self._handler.at_work.add(self)
        record = self._handler.begin(request, self._number, reused=self._served > 0)
        peer = self._transport.get_extra_info("peername")
        answer = self._handler.answer(record, str(peer[0]) if peer else "")
        self._served += 1
        if answer.how in ("plain", "truncated") and not answer.delay:
            self._write(request, answer)
            record.status = answer.status
            self._end(record)
        else:
            self._answering = asyncio.get_running_loop().create_task(self._answer(record, answer))
            # Not in a finally: a task that is cancelled before its first step never reaches one.
            self._answering.add_done_callback(lambda task: self._answered(record))

    def _answered(self, record: RequestRecord) -> None:
        self._answering = None
        self._end(record)
        self._advance()

    def _end(self, record: RequestRecord) -> None:
        self._handler.at_work.discard(self)
        self._handler.end(record, record.status)

    async def _answer(self, record: RequestRecord, answer: Answer) -> None:
        await asyncio.sleep(answer.delay or 0.0)
        if answer.how == "hang":
            await asyncio.get_running_loop().create_future()
        elif answer.how == "reset":
            self._reset()
        elif answer.how.startswith("raw_"):
            await self._say(answer)
        else:
            await self._drip(record.request, answer)
            record.status = answer.status

    async def _say(self, answer: Answer) -> None:
        self._transport.write(answer.body)
        if answer.how == "raw_reset":
            self._reset()
        elif answer.how == "raw_close":
            self._transport.close()
        elif answer.how == "raw_hang":
            await asyncio.get_running_loop().create_future()

    async def _drip(self, request: ReceivedRequest, answer: Answer) -> None:
        if answer.how in ("plain", "truncated"):
            self._write(request, answer)
            return
        for part, slow in zip(_wire(answer, request), ("drip_head", "drip_body"), strict=True):
            if answer.how not in (slow, "drip_all"):
                self._transport.write(part)
                continue
            for piece in _pieces(part, answer.bytes_per_s):
                self._transport.write(piece)
                await asyncio.sleep(len(piece) / answer.bytes_per_s)
        self._after(request, answer)

    def _write(self, request: ReceivedRequest, answer: Answer) -> None:
        self._transport.write(b"".join(_wire(answer, request)))
        self._after(request, answer)

    def _after(self, request: ReceivedRequest, answer: Answer) -> None:
        if request.last or answer.how == "truncated" or answer.idle == 0.0:
            self._transport.close()
        elif answer.idle is not None:
            asyncio.get_running_loop().call_later(answer.idle, self._close_if_still, self._served)

    def _close_if_still(self, served: int) -> None:
        if self._served == served:
            self.close_if_idle()

    def _reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW)
        self._transport.abort()
