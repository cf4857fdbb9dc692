"""urllib3 as this library needs it: a deadline on every byte, and a queue that no killed greenlet can harm.

The only file that imports urllib3; nothing of urllib3 is changed for anybody else.

Why not its own timeouts: they bound one read each, so that headers at a byte a second take for ever, and a host
with eight addresses takes eight times as long to be unreachable. Why not its own queue: it is bound to the locks
of the moment when urllib3 was imported, patched or not.
"""

from __future__ import annotations

import _socket  # the C sockets, which no monkey patch replaces
import http.client
import io
import os
import queue
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from http.client import HTTPException
from time import monotonic
from typing import Any

import urllib3
import urllib3.connection
from urllib3 import exceptions as u3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
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

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.at_end:
            return 0
        self._sock.settimeout(self._guard.seconds_left())
        count = int(self._sock.recv_into(buffer))
        self._guard.colony_heard += count
        return count

    def close(self) -> None:
        super().close()
        held, self._held, self._sock = self._held, None, None
        if held is not None:
            held.close()


class _Reply(http.client.HTTPResponse):
    """An answer that notices when more came than was announced: its connection is out of step."""

    colony_guard: _Guarded | None

    def _close_conn(self) -> None:
        fp: Any = self.fp
        guard, self.colony_guard = self.colony_guard, None  # no cycle: a lost connection must close at once
        if guard is not None and fp is not None and not fp.closed:
            fp.raw.at_end = True
            guard.colony_surplus = bool(fp.peek(1))
        super()._close_conn()  # type: ignore[misc]


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
            super().request(*args, **kwargs)  # type: ignore[misc]
            self._uncork()
        finally:
            self._corked = None

    def getresponse(self) -> http.client.HTTPResponse:
        """``http.client``'s answer, not urllib3's, which decodes what we never ask for, at a quarter of the cost."""
        return http.client.HTTPConnection.getresponse(self)  # type: ignore[arg-type]

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
            super().send(data)  # type: ignore[misc]
            return
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            self.sock.settimeout(self.seconds_left())
            self.sock.sendall(view[start : start + _PIECE])

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc]
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


class Connection(_Guarded, urllib3.connection.HTTPConnection):  # type: ignore[misc]
    """Plain HTTP."""


class SecureConnection(_Guarded, urllib3.connection.HTTPSConnection):  # type: ignore[misc]
    """HTTPS."""


def _addresses(host: str, port: int) -> Any:
    """Where to connect to. An IP address is not asked for: under gevent that would start threads that stay."""
    try:
        return _socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except OSError:
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)


class _Slots:
    """Idle connections, last in, first out. Nobody ever waits here (the bulkhead is for that), so there is no lock.

    A deque's own verbs are atomic, for threads and for greenlets of any hub; ``queue.LifoQueue`` and gevent's
    hold a lock that belongs to one of the two.
    """

    def __init__(self, maxsize: int) -> None:
        self.queue: deque[Any] = deque()
        self._maxsize = maxsize

    def put(self, item: Any, block: bool = False) -> None:
        if len(self.queue) >= self._maxsize:
            raise queue.Full
        self.queue.append(item)

    def get(self, block: bool = False, timeout: float | None = None) -> Any:
        try:
            return self.queue.pop()
        except IndexError:
            raise queue.Empty from None

    def qsize(self) -> int:
        return len(self.queue)


class _Traceable:
    """Lets a request look like a ``urlopen`` to whoever has wrapped that: OpenTelemetry, and its like."""

    def _get_conn(self, timeout: Any = None) -> Any:
        return timeout if isinstance(timeout, _Guarded) else super()._get_conn(timeout)  # type: ignore[misc]

    def _make_request(self, conn: Any, method: str, url: str, **options: Any) -> Any:
        return options["colony_ask"](options["headers"])


class _Pool(_Traceable, HTTPConnectionPool):  # type: ignore[misc] # takes what it is given
    ConnectionCls = Connection  # type: ignore[assignment] # its answers are http.client's
    QueueCls = _Slots  # type: ignore[assignment]


class _SecurePool(_Traceable, HTTPSConnectionPool):  # type: ignore[misc] # takes what it is given
    ConnectionCls = SecureConnection  # type: ignore[assignment] # its answers are http.client's
    QueueCls = _Slots  # type: ignore[assignment]


def new_pool(
    scheme: str, host: str, port: int | None, *, maxsize: int, proxy: str | None, context: ssl.SSLContext | None
) -> Any:
    """Return a pool of connections to one host, through ``proxy`` if there is one."""
    options: dict[str, Any] = {"num_pools": 2, "maxsize": maxsize, "block": False, "retries": False}
    if scheme == "https":
        options["ssl_context"] = context
    manager: urllib3.PoolManager
    if proxy:
        proxy_context = context if proxy.startswith("https:") else None
        manager = urllib3.ProxyManager(proxy, proxy_ssl_context=proxy_context, **options)
    else:
        manager = urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    pool = manager.connection_from_host(host, port, scheme)
    pool.colony_manager = manager  # type: ignore[attr-defined] # a manager that is collected closes its pools
    return pool


def traced(pool: Any, conn: Any, method: str, path: str, ask: Callable[[Mapping[str, str]], tuple[Any, Any]]) -> Any:
    """Return the first of what ``ask(more headers)`` returns; if ``urlopen`` is wrapped, from within one.

    So it makes one span, which is told the second: http.client's response.

    The wrapper sees neither headers nor body of ours, which hold secrets; what it adds, it adds.
    """
    if not hasattr(type(pool).urlopen, "__wrapped__"):
        return ask({})[0]
    answers: list[Any] = []
    failures: list[Exception] = []

    def caught(headers: Mapping[str, str]) -> Any:
        try:
            answer, response = ask(headers)
            answers.append(answer)
            return response
        except Exception as error:
            failures.append(error)  # urlopen would make another one of it
            raise

    try:
        pool.urlopen(
            method, path, headers={}, retries=False, redirect=False, assert_same_host=False, pool_timeout=conn,
            release_conn=False, preload_content=False, colony_ask=caught,
        )  # fmt: skip
        return answers.pop()
    except Exception:
        if not failures:
            raise
    try:
        raise failures[0]
    finally:
        failures.clear()  # a reference cycle otherwise


def take(pool: Any) -> Any:
    """Return a connection of ``pool``: an idle one that is still good, or one that is yet to be connected.

    As urllib3's ``_get_conn``, but without a switch in the middle: a greenlet killed there took the socket along.
    """
    slots = pool.pool  # None once it is closed: then the connection closes after use
    try:
        conn = (slots.get() if slots is not None else None) or pool._new_conn()
    except queue.Empty:
        return pool._new_conn()
    if conn.sock is not None and not _at_rest(conn.sock):
        conn.close()
    return conn


def _at_rest(sock: Any) -> bool:
    """Whether nothing has come, neither bytes nor the end, on a connection where nothing is due."""
    native = getattr(sock, "_sock", sock)  # below gevent's, and below TLS
    try:
        native.settimeout(0.0)
        _socket.socket.recv(native, 1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except (OSError, TypeError):  # TLS within TLS is no socket: urllib3 would not know either
        return not isinstance(native, _socket.socket)
    return False


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
    ((ConnectionError, HTTPException, u3.ProtocolError), "reset", "the connection broke off"),
)


def _tls_words(error: BaseException) -> str:
    cause = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
    words = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "the handshake failed"
    return str(words)[:120].lower().replace("_", " ")
