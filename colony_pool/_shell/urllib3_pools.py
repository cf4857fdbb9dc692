"""urllib3's pools as this library needs them: a queue that no killed greenlet can harm, and a place for tracers.

Nothing of urllib3 is changed for anybody else. Why not its own queue: it is bound to the locks of the moment when
urllib3 was imported, patched or not.
"""

from __future__ import annotations

import _socket  # the C sockets, which no monkey patch replaces
import queue
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from .connections import Connection, SecureConnection


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
        return timeout if isinstance(timeout, (Connection, SecureConnection)) else super()._get_conn(timeout)  # type: ignore[misc]

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
    if hasattr(sock, "pending") and sock.pending():
        return False  # the rest of a TLS record, which the socket below shows no more
    native = getattr(sock, "_sock", sock)  # below gevent's, and below TLS
    try:
        if native.gettimeout() != 0.0:
            native.settimeout(0.0)
        _socket.socket.recv(native, 1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except (OSError, TypeError):  # TLS within TLS is no socket: urllib3 would not know either
        return not isinstance(native, _socket.socket)
    return False
