"""urllib3's connections as this library needs them: a deadline on every byte, small requests in one piece.

Nothing of urllib3 is changed for anybody else.

Why not its own timeouts: they bound one read each, so that headers at a byte a second take for ever, and a host
with eight addresses takes eight times as long to be unreachable.

A native socket does not block: what waits is a poll, for what is left of the deadline. Blocking with a timeout would
cost two more system calls for each that does something, and each of them gives the interpreter lock away. A gevent
socket waits in its own way, and is left to it.
"""

from __future__ import annotations

import _socket  # the C sockets, which no monkey patch replaces
import errno
import http.client
import os
import socket
import ssl
import weakref
from collections.abc import Callable, Mapping
from http.client import HTTPException
from time import monotonic
from typing import Any

import urllib3.connection
from urllib3 import exceptions as u3
from urllib3.util.ssl_match_hostname import CertificateError
from urllib3.util.wait import wait_for_read, wait_for_write

from .descriptors import replace_handle
from .reply import DeadlineIO, Reply

# What a failure is called when this host has run out of something: descriptors, ports, memory.
EXHAUSTED = "exhausted"
BUSY = "busy"  # all of the pool's connections are in use
_NONE_LEFT = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
# One piece of a request's body: each gets what is left of the deadline, which TLS else grants anew each time.
_PIECE = 65_536


class _Guarded:
    """What both kinds of connection share. ``colony_deadline`` bounds everything until it is set anew."""

    sock: Any
    colony_deadline: tuple[float, float] = (float("inf"), 30.0)  # (monotonic second, seconds for one wait)
    colony_heard = 0  # bytes of the answer so far
    colony_surplus = False
    colony_last = False  # nothing comes after this answer
    colony_looked_up: Callable[[], object] | None = None  # told when the host's addresses are known
    _asked = False
    _corked: list[bytes] | None = None  # what waits to leave in one piece
    colony_lever: Any = None  # what to shut down while there is no ``sock`` yet
    colony_descriptor = -1  # of that
    colony_pid = -1  # the process that connects it

    def seconds_left(self) -> float:
        if os.getpid() != self.colony_pid:
            raise ConnectionAbortedError("the connection is that of the parent process")
        left = self.colony_deadline[0] - monotonic()
        if left <= 0:
            raise TimeoutError("no time left")
        return min(left, self.colony_deadline[1])

    def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> Reply:
        reply = Reply(DeadlineIO(self, sock), *args, **kwargs)  # type: ignore[arg-type] # all it needs of a socket
        reply.colony_guard = weakref.ref(self)
        return reply

    # As http.client has them: urllib3's look for sentinels that we never send.
    putrequest = http.client.HTTPConnection.putrequest
    putheader = http.client.HTTPConnection.putheader

    def request(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Send a request; headers and a small body leave in one piece: one packet, one wake-up of the server.

        As ``http.client`` does it: urllib3 would set the socket's timeout, and look for bodies that we never have.
        """
        self._corked = []
        try:
            http.client.HTTPConnection.request(self, method, url, body, headers)  # type: ignore[arg-type] # a mixin
            self._uncork()
        finally:
            self._corked = None

    def getresponse(self) -> http.client.HTTPResponse:
        """``http.client``'s answer, not urllib3's, which decodes what we never ask for, at a quarter of the cost."""
        self._asked = True
        try:
            return http.client.HTTPConnection.getresponse(self)  # type: ignore[arg-type] # a mixin
        finally:
            self._asked = False

    def close(self) -> None:
        """Close, but not while http.client wants to, which does it before the last body is read."""
        if self._asked:
            self.colony_last = True
        else:
            super().close()  # type: ignore[misc] # a mixin

    def drop(self) -> None:
        """Close, whatever was going on: a signal may have struck before ``_asked`` was taken back."""
        self._asked = False
        self.close()

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
        if self.sock is None or not isinstance(data, (bytes, bytearray)):
            super().send(data)  # type: ignore[misc] # a mixin
            return
        view = memoryview(data)
        while view:
            view = view[self._push(self.sock, view[:_PIECE]) :]

    def _push(self, sock: Any, piece: memoryview) -> int:
        """Send some of ``piece``, at least a byte of it; return how much."""
        if not isinstance(sock, _socket.socket):
            sock.settimeout(self.seconds_left())
            sock.sendall(piece)
            return len(piece)
        while True:
            try:
                return int(sock.send(piece))
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(wait_for_write, sock)
            except ssl.SSLWantReadError:
                self._wait(wait_for_read, sock)

    def receive(self, sock: Any, buffer: Any) -> int:
        """Read into ``buffer`` what is there, or comes first; return how much, 0 at the end."""
        if not isinstance(sock, _socket.socket):
            sock.settimeout(self.seconds_left())
            return int(sock.recv_into(buffer))
        wait, ready = wait_for_read, isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        while True:
            if not ready:
                self._wait(wait, sock)
            try:
                return int(sock.recv_into(buffer))
            except (BlockingIOError, ssl.SSLWantReadError):
                wait, ready = wait_for_read, False
            except ssl.SSLWantWriteError:
                wait, ready = wait_for_write, False

    def _wait(self, wait: Callable[..., bool], sock: Any) -> None:
        if not wait(sock, self.seconds_left()):
            raise TimeoutError("no time left")

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc] # a mixin
            if isinstance(self.sock, _socket.socket):
                self.sock.settimeout(0.0)
        finally:
            self.drop_lever()

    def _new_conn(self) -> Any:
        """Try each address; all of them together have the time of one."""
        myself: Any = self
        host = myself._dns_host.strip("[]")
        failure: OSError = OSError("the host name has no address")
        addresses = _addresses(host, myself.port)
        if self.colony_looked_up is not None:
            self.colony_looked_up()
        for family, kind, protocol, _, address in addresses:
            sock = socket.socket(family, kind, protocol)
            try:
                self.colony_descriptor = sock.fileno()  # TLS goes on with the same
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

    def cut_loose(self) -> None:
        """In a forked child: put a dead socket in the place of one that the parent is still connecting.

        Who connects may go on here, a greenlet that was copied along, and would speak on the parent's connection.
        Only its frames have the socket, so that all there is to take hold of is the descriptor.
        """
        if self.colony_lever is not None:
            replace_handle(self.colony_descriptor)
            self.drop_lever()

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


# What a connection raises. Anything else interrupts the caller: a time limit, say.
OF_THE_CONNECTION = (OSError, HTTPException, u3.HTTPError, CertificateError)


def describe(error: BaseException) -> tuple[str, str]:
    """``(kind, detail)`` of an exception from urllib3, ssl, http.client or the socket; nothing secret in it."""
    for classes, kind, detail in _KINDS:
        if isinstance(error, classes):
            return kind, detail or _tls_words(error)
    if isinstance(error, OSError) and error.strerror:
        return EXHAUSTED if error.errno in _NONE_LEFT else "other", error.strerror.lower()
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
