"""urllib3's connections, and the few things that they lack.

- An end from outside: a look-up and sockets that are being connected can be ended, too.
- One connect timeout for all addresses of a host, and no waiting for one that is silent: see ``dialer``.
- A check of idle connections that sees what TLS has read already, and switches no greenlet.
- Strictness: http.client takes a head that breaks off, or has lines that are no headers, for a good one; it takes 103
  for the last word; it throws away what comes behind an answer, and reads the rest of that as the next answer.

Nothing of urllib3 is changed for anybody else.
"""

from __future__ import annotations

import _socket  # the C sockets: shutting one down must not touch the hub of another thread, nor undo TLS
import io
import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from typing import Any

import urllib3.connection
from urllib3.exceptions import NewConnectionError
from urllib3.util.response import assert_header_parsing

from .cancel import CancelToken
from .connection_health import ConnectionHealth, ConnectionRecord
from .dialer import Dial, Dialer
from .failures import NetworkFailure, forked

# Bytes of an answer's head, interim answers included; http.client would take 100 lines of 64 KiB.
_MAX_HEAD = 131_072
_PIECE = 65_536  # bytes of a request's body
_SWITCHING = 101


class Use:
    """One request's use of a connection: what it sends, what ends it, and how far it has come."""

    __slots__ = (
        "body", "cancel", "connecting", "deadline", "dialer", "headers", "health", "heard", "opened", "read",
        "record", "reused", "sent", "sent_at", "since", "surplus",
    )  # fmt: skip

    def __init__(
        self, headers: Mapping[str, str], body: bytes | None, cancel: CancelToken, *, deadline: float, read: float,
        since: float, health: ConnectionHealth, dialer: Dialer, opened: Callable[[Any], object],
    ) -> None:  # fmt: skip
        self.headers = headers
        self.body = body
        self.cancel = cancel
        self.deadline = deadline  # monotonic seconds
        self.read = read  # seconds for one wait
        self.since = since  # needs a connection that was opened, or proven, after this
        self.health = health
        self.dialer = dialer  # makes a connection
        self.opened = opened  # told of each connection that is to be opened
        self.record: ConnectionRecord | None = None  # of the connection on which it was sent
        self.sent_at = math.inf  # monotonic seconds
        self.connecting = True
        self.reused = False
        self.sent = False  # a byte of the body may have reached the server
        self.heard = 0  # bytes of the answer so far
        self.surplus = False  # more came than was announced

    def seconds_left(self) -> float:
        """Seconds for the next wait. Raises if there are none, or if the request was ended meanwhile."""
        if self.cancel.cancelled:
            given_up = NetworkFailure("aborted", "given up", sent=self.sent)
            raise forked(sent=self.sent) if self.cancel.left_behind else given_up
        left = self.deadline - monotonic()
        if left <= 0.0 or self.cancel.expired:
            raise TimeoutError("no time left")
        return left if left < self.read else self.read


# urllib3 calls a connection with no word of the request that it is for.
current: ContextVar[Use] = ContextVar("colony_pool_use")


class _Guarded:
    """What both kinds of connection share."""

    sock: Any
    timeout: Any
    use: Use | None = None  # whose it is; ``None`` at rest
    record: ConnectionRecord | None = None  # ``None`` before it is opened
    pid = -1  # the process that has connected it
    dial: Dial | None = None  # while it is being connected
    _wire: Any = None  # what to shut down afterwards: http.client forgets ``sock`` before the last body is read
    _answering = False
    _unsent: bytearray | None = None  # what waits to be sent in one piece

    @property
    def is_connected(self) -> bool:
        """Whether nobody has closed an idle connection, and nothing came on it that nobody waits for."""
        if self.sock is None:
            return False
        if hasattr(self.sock, "pending") and self.sock.pending():
            return False  # the rest of a TLS record, which the socket below shows no more
        greens = getattr(self.sock, "_sock", None)
        if greens is None:
            return bool(super().is_connected)  # type: ignore[misc] # a mixin
        try:  # urllib3's poll would switch greenlets, and one that is killed just then takes the socket along
            _socket.socket.recv(greens, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _begin(self) -> Use:
        use = current.get()
        if self.use is not use:
            self.use, use.reused = use, self.sock is not None
            use.cancel.watch(self.cut)
        return use

    def connect(self) -> None:
        use = self._begin()
        use.seconds_left()
        use.reused, self.pid = False, os.getpid()
        use.opened(self)
        self.record = use.health.opened()
        try:
            super().connect()  # type: ignore[misc] # a mixin
        except BaseException:
            self.cut()
            raise
        finally:
            self._end_dial()
        self._wire = self.sock
        use.seconds_left()

    def _new_conn(self) -> Any:
        """Connect to the first address that answers; all of them together have the time of one."""
        use = current.get()
        mine: Any = self
        self.dial = dial = use.dialer.dial(mine.host.strip("[]"), mine.port)
        addresses = dial.addresses(use.seconds_left, fresh=use.since > -math.inf)
        use.cancel.begin()
        try:
            return dial.connect(addresses, use.seconds_left, self.timeout, mine.socket_options or ())
        except OSError as failure:
            # Not as it is: urllib3 forgives a reset while a request is sent, and looks for an answer.
            raise NewConnectionError(mine, "no connection") from failure

    def request(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        """Send the request of ``current``. ``headers`` are a tracer's: who wraps ``urlopen`` sees no secret."""
        use = self._begin()
        if self.sock is None:
            self.connect()
        use.connecting, use.sent, use.heard = False, True, 0
        use.record, use.sent_at = self.record, monotonic()
        self.timeout = use.seconds_left()
        sent = {**(headers or {}), **use.headers}
        body = use.body
        if body is not None and len(body) > _PIECE:
            sent["Content-Length"] = str(len(body))
            body = self._in_pieces(use, body)
        self._unsent = bytearray()
        try:
            super().request(method, url, body, sent, **options)  # type: ignore[misc] # a mixin
            self._flush()
        finally:
            self._unsent = None

    def send(self, data: Any) -> None:
        """Head and body of a small request leave in one piece: one packet, one wake-up of the server."""
        if self._unsent is None:
            super().send(data)  # type: ignore[misc] # a mixin
            return
        self._unsent += data
        if len(self._unsent) >= _PIECE:
            self._flush()

    def _flush(self) -> None:
        if self._unsent:
            super().send(bytes(self._unsent))  # type: ignore[misc] # a mixin
            self._unsent.clear()

    def _in_pieces(self, use: Use, body: bytes) -> Iterator[bytes]:
        """Each piece has a timeout of its own, so that a large body is not cut off while it moves."""
        for at in range(0, len(body), _PIECE):
            self.sock.settimeout(use.seconds_left())
            yield body[at : at + _PIECE]

    putheader = HTTPConnection.putheader  # urllib3's looks for a sentinel that we never send, header by header

    def response_class(self, sock: Any, *args: Any, **options: Any) -> HTTPResponse:
        """What http.client reads an answer with."""
        assert self.use is not None  # noqa: S101 - somebody waits for the answer
        return _Response(_Incoming(sock, self.use), *args, **options)  # type: ignore[arg-type] # all it needs

    def getresponse(self) -> Any:
        self._answering = True
        self.timeout = current.get().seconds_left()
        try:
            return super().getresponse()  # type: ignore[misc] # a mixin
        finally:
            self._answering = False

    def close(self) -> None:
        """Close. In use, it is shut down first: gevent closes a turn later, and its slot may be another's by then.

        Not while http.client reads a head: it closes before the last body is read.
        """
        if self.use is not None and not self._answering:
            self.cut()
        super().close()  # type: ignore[misc] # a mixin

    def rest(self) -> bool:
        """The request is over. False, and closed, if it was cut, is being cut, or is out of step."""
        use, self.use = self.use, None
        if use is None:
            return True
        whole = use.cancel.let_go() and not use.surplus
        if not whole:
            self.cut()
            self.close()
        self._wire = self.sock
        return whole

    def cut(self) -> None:
        """Shut the socket down, from any thread. To close it is its user's to do.

        Not in a forked child: it would be shut down for the parent, too.
        """
        if self.pid != os.getpid():
            return
        dial = self.dial
        if dial is not None:
            dial.cut()
        with suppress(OSError, TypeError):  # there is none, or it is closed already
            inner = getattr(self._wire, "socket", self._wire)  # TLS within TLS is no socket, but has one
            _socket.socket.shutdown(getattr(inner, "_sock", inner), socket.SHUT_RDWR)

    def cut_loose(self) -> None:
        """In a forked child: let go of sockets that the parent is still connecting."""
        if self.dial is not None:
            self.dial.cut_loose()

    def _end_dial(self) -> None:
        dial, self.dial = self.dial, None
        if dial is not None:
            dial.close()


class Connection(_Guarded, urllib3.connection.HTTPConnection):  # type: ignore[misc] # its own answers
    """Plain HTTP."""


class SecureConnection(_Guarded, urllib3.connection.HTTPSConnection):  # type: ignore[misc] # its own answers
    """HTTPS."""


class _Incoming(io.RawIOBase):
    """What comes from a socket: within the deadline, counted, and refused if a head breaks off or has no end.

    A timeout of urllib3's bounds one wait, so that headers at a byte a second would take for ever.
    """

    def __init__(self, sock: Any, use: Use) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self.use = use
        self.in_head = True
        self.at_end = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client asks a socket for."""
        return _Buffered(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.at_end:
            return 0
        use = self.use
        if use.heard:  # else it has its timeout already
            self._sock.settimeout(use.seconds_left())
        count: int = self._file.readinto(buffer)
        use.heard += count
        if self.in_head:
            if not count:
                raise ConnectionResetError("the connection ended before the answer's body")
            if use.heard > _MAX_HEAD:
                raise HTTPException("the headers are too long")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Buffered(io.BufferedReader):
    """Notices when more has come than was announced: its connection is out of step."""

    def close(self) -> None:
        raw: Any = self.raw
        if not self.closed:
            raw.at_end = True
            raw.use.surplus = bool(self.peek(1))
        super().close()


class _Response(HTTPResponse):
    """http.client's answer, but without what it forgives."""

    def begin(self) -> None:
        """Read the head, and those of interim answers before it, of which http.client knows only 100."""
        super().begin()
        while 100 <= self.status < 200 and self.status != _SWITCHING:
            self.headers = self.msg = None  # type: ignore[assignment] # as if nothing had been read
            super().begin()
        if self.msg.defects or self.msg.get_payload():
            assert_header_parsing(self.msg)  # urllib3 asks as well, but goes on, and logs what it has not understood
        self.fp.raw.in_head = False  # type: ignore[attr-defined] # ours
