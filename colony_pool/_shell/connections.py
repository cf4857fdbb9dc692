"""urllib3's connections as this library needs them: a deadline on every byte, small requests in one piece.

Nothing of urllib3 is changed for anybody else.

Why not its own timeouts: they bound one read each, so that headers at a byte a second take for ever, and a host
with eight addresses takes eight times as long to be unreachable.
"""

from __future__ import annotations

import _socket  # the C sockets, which no monkey patch replaces
import http.client
import io
import os
import socket
import ssl
from http.client import HTTPException
from time import monotonic
from typing import Any

import urllib3.connection
from urllib3 import exceptions as u3
from urllib3.util.ssl_match_hostname import CertificateError

# One piece of a request's body: each gets what is left of the deadline, which TLS else grants anew each time.
_PIECE = 65_536


class _DeadlineIO(io.RawIOBase):
    """Reads a socket and gives each read no more time than the whole answer has left."""

    def __init__(self, guard: _Guarded, sock: Any, held: Any) -> None:
        self._guard = guard
        self._sock = sock
        self._held = held  # keeps the socket open when http.client "closes" a connection before its last body
        self.at_end = False
        self.broke_off = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.at_end:
            return 0
        self._sock.settimeout(self._guard.seconds_left())
        count = int(self._sock.recv_into(buffer))
        self._guard.colony_heard += count
        self.broke_off = count == 0
        return count

    def close(self) -> None:
        super().close()
        held, self._held, self._sock = self._held, None, None
        if held is not None:
            held.close()


class _Reply(http.client.HTTPResponse):
    """An answer that notices when more came than was announced: its connection is out of step."""

    colony_guard: _Guarded | None

    def begin(self) -> None:
        super().begin()
        if self.fp.raw.broke_off:  # type: ignore[attr-defined] # http.client takes an early end for that of the head
            raise ConnectionResetError("the connection ended within the headers")

    def _close_conn(self) -> None:
        fp: Any = self.fp
        guard, self.colony_guard = self.colony_guard, None  # no cycle: a lost connection must close at once
        if guard is not None and fp is not None and not fp.closed:
            fp.raw.at_end = True
            guard.colony_surplus = bool(fp.peek(1))
        super()._close_conn()  # type: ignore[misc] # not in the stubs


class _Guarded:
    """What both kinds of connection share. ``colony_deadline`` bounds everything until it is set anew."""

    sock: Any
    colony_deadline: tuple[float, float] = (float("inf"), 30.0)  # (monotonic second, seconds for one wait)
    colony_heard = 0  # bytes of the answer so far
    colony_surplus = False
    _corked: list[bytes] | None = None  # what waits to leave in one piece
    colony_lever: Any = None  # what to shut down while there is no ``sock`` yet

    def seconds_left(self) -> float:
        left = self.colony_deadline[0] - monotonic()
        if left <= 0:
            raise TimeoutError("no time left")
        return min(left, self.colony_deadline[1])

    def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        reply = _Reply(sock, *args, **kwargs)
        reply.colony_guard = self
        reply.fp = io.BufferedReader(_DeadlineIO(self, sock, reply.fp))
        return reply

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request; headers and a small body leave in one piece: one packet, one wake-up of the server."""
        self._corked = []
        try:
            super().request(*args, **kwargs)  # type: ignore[misc] # a mixin
            self._uncork()
        finally:
            self._corked = None

    def getresponse(self) -> http.client.HTTPResponse:
        """``http.client``'s answer, not urllib3's, which decodes what we never ask for, at a quarter of the cost."""
        return http.client.HTTPConnection.getresponse(self)  # type: ignore[arg-type] # a mixin

    def _uncork(self) -> None:
        corked, self._corked = self._corked, None
        if corked:
            self.send(b"".join(corked))

    def send(self, data: Any) -> None:
        if self._corked is not None:
            if isinstance(data, bytes) and len(data) <= _PIECE:
                self._corked.append(data)
                return
            self._uncork()
        if self.sock is None or not isinstance(data, (bytes, bytearray)) or len(data) <= _PIECE:
            super().send(data)  # type: ignore[misc] # a mixin
            return
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            self.sock.settimeout(self.seconds_left())
            self.sock.sendall(view[start : start + _PIECE])

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc] # a mixin
        finally:
            self.drop_lever()

    def _new_conn(self) -> Any:
        """Try each address; all of them together have the time of one."""
        myself: Any = self
        host = myself._dns_host.strip("[]")
        failure: OSError = OSError("the host name has no address")
        for family, kind, protocol, _, address in _addresses(host, myself.port):
            sock = socket.socket(family, kind, protocol)
            try:
                self.colony_lever = _socket.socket(fileno=os.dup(sock.fileno()))
                for option in myself.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.seconds_left())
                sock.connect(address)
                sock.settimeout(self.seconds_left())
                return sock
            except OSError as error:
                failure = error
                sock.close()
                self.drop_lever()
                self.seconds_left()
            except BaseException:
                sock.close()
                raise
        try:
            raise failure
        finally:
            del failure  # a reference cycle otherwise

    def drop_lever(self) -> None:
        """Close the second handle on a socket that is still being connected."""
        lever, self.colony_lever = self.colony_lever, None
        if lever is not None:
            lever.close()


class Connection(_Guarded, urllib3.connection.HTTPConnection):  # type: ignore[misc] # its own answers
    """Plain HTTP."""


class SecureConnection(_Guarded, urllib3.connection.HTTPSConnection):  # type: ignore[misc] # its own answers
    """HTTPS."""


def _addresses(host: str, port: int) -> Any:
    """Where to connect to. An IP address is not asked for: under gevent that would start threads that stay."""
    try:
        return _socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except OSError:
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)


def describe(error: BaseException) -> tuple[str, str]:
    """``(kind, detail)`` of an exception from urllib3, ssl, http.client or the socket; nothing secret in it."""
    for classes, kind, detail in _KINDS:
        if isinstance(error, classes):
            return kind, detail or _tls_words(error)
    if isinstance(error, OSError) and error.strerror:
        return "other", error.strerror.lower()
    return "other", type(error).__name__


# In this order: a subclass before its base.
_KINDS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((socket.gaierror, UnicodeError, u3.NameResolutionError), "dns", "the host name does not resolve"),
    ((TimeoutError, u3.ReadTimeoutError, u3.ConnectTimeoutError), "timeout", "no answer in time"),
    ((ConnectionRefusedError,), "refused", "connection refused"),
    ((u3.ProxyError,), "proxy", "the proxy does not work"),
    ((u3.SSLError, ssl.SSLError, CertificateError), "tls", ""),
    ((ConnectionError, u3.ProtocolError), "reset", "the connection broke off"),
    ((HTTPException,), "reset", "the answer is not HTTP"),
)


def _tls_words(error: BaseException) -> str:
    cause = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
    words = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "the handshake failed"
    return str(words)[:120].lower().replace("_", " ")
