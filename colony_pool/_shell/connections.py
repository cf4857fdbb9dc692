"""urllib3's pools as this library needs them: a deadline on every byte, a queue that fits the runtime.

Only this file and ``transport.py`` import urllib3, and nothing of urllib3 is changed for anybody else.

Why not urllib3's own timeouts: they bound one read each, so that headers at a byte a second take for ever, and
a host with eight addresses takes eight times as long to be unreachable. Why pools by hub: a gevent socket
belongs to the hub that made it.
"""

from __future__ import annotations

import _socket  # the C sockets, which no monkey patch replaces
import contextlib
import http.client
import io
import os
import queue
import socket
import ssl
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any

import urllib3
import urllib3.connection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

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

    colony_guard: _Guarded

    def _close_conn(self) -> None:
        fp: Any = self.fp
        if fp is not None and not fp.closed:
            fp.raw.at_end = True
            self.colony_guard.colony_surplus = bool(fp.peek(1))
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

    @property
    def is_connected(self) -> bool:
        """Whether an idle connection is still good: open, and the server has said nothing unasked."""
        raw = getattr(self.sock, "_sock", None)
        if raw is None:
            return bool(super().is_connected)  # type: ignore[misc]
        # gevent's poll(), which urllib3 asks, costs more than all else that a pool does; its sockets never block.
        with contextlib.suppress(OSError):
            try:
                _socket.socket.recv(raw, 1, socket.MSG_PEEK)
            except BlockingIOError:
                return True
        return False

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
            lever, self.colony_lever = self.colony_lever, None
            if lever is not None:
                lever.close()

    def _new_conn(self) -> Any:
        """Try each address; all of them together have the time of one."""
        myself: Any = self
        host = myself._dns_host.strip("[]")
        failure: OSError = OSError("the host name has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, myself.port, 0, socket.SOCK_STREAM):
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
                self._drop_lever()
                self.seconds_left()
            except BaseException:
                sock.close()
                raise
        try:
            raise failure
        finally:
            del failure  # a reference cycle otherwise

    def _drop_lever(self) -> None:
        lever, self.colony_lever = self.colony_lever, None
        if lever is not None:
            lever.close()


class Connection(_Guarded, urllib3.connection.HTTPConnection):
    """Plain HTTP."""


class SecureConnection(_Guarded, urllib3.connection.HTTPSConnection):
    """HTTPS."""


class Slots:
    """A LIFO of idle connections for native threads under gevent: no lock that anybody could have patched."""

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


def _pool_classes(slots: type[Any]) -> dict[str, Any]:
    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection  # type: ignore[assignment]
        QueueCls = slots

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection  # type: ignore[assignment]
        QueueCls = slots

    return {"http": Pool, "https": SecurePool}


class Pools:
    """One urllib3 pool per home (a gevent hub, or ``None``); two hubs sharing one would lose slots."""

    def __init__(self, scheme: str, host: str, port: int | None, *, maxsize: int, proxy: str | None,
                 ca_certs: str | None, queue_class: Callable[[], type[Any]]) -> None:  # fmt: skip
        self._target = (host, port, scheme)
        self._maxsize = maxsize
        self._proxy = proxy
        self._queue_class = queue_class
        self._context = tls_context(ca_certs) if "https" in (scheme, (proxy or "").partition(":")[0]) else None
        self._pools: dict[int, tuple[weakref.ref[Any] | None, Any]] = {}  # id of a hub: (the hub, its pool)
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()  # connections, idle or not
        self._counting = threading.Lock()  # guards opened
        self.opened = 0  # connections opened so far, those that failed included
        self.closed = False

    def at(self, home: Hashable | None) -> Any:
        """The pool of ``home``."""
        entry = self._pools.get(id(home))
        if entry is None or (entry[0] is not None and entry[0]() is not home):
            self._bury()
            entry = (weakref.ref(home) if home is not None else None, self._new_pool())
            self._pools[id(home)] = entry
            if self.closed:
                self.close()
        return entry[1]

    def take(self, pool: Any) -> Any:
        """A connection of ``pool``, connected or not."""
        conn = pool._get_conn(timeout=0)
        if conn.sock is None:
            self._known.add(conn)
            with self._counting:
                self.opened += 1
        return conn

    def idle(self) -> int:
        """Idle connections of all hubs."""
        slots = [getattr(pool.pool, "queue", ()) for _, pool in list(self._pools.values())]
        return sum(conn is not None and conn.sock is not None for line in slots for conn in list(line))

    def close(self) -> None:
        """Close what is idle, for good; what is at work closes when it ends."""
        self.closed = True
        while self._pools:
            _quietly(self._pools.popitem()[1][1].close)

    def after_fork(self) -> None:
        """Give up the parent's descriptors, at work or idle, without a word on them: it goes on using them."""
        for conn in list(self._known):
            sock, conn.sock = conn.sock, None
            if sock is not None:
                _quietly(lambda sock=sock: os.close(sock.detach()))  # type: ignore[misc]
            _quietly(conn._drop_lever)
        self._known.clear()
        self._pools.clear()
        self._counting = threading.Lock()

    def _bury(self) -> None:
        """Close the pools of hubs that are gone: collected, destroyed, or without their thread."""
        alive = sys._current_frames()
        for key, (ref, pool) in list(self._pools.items()):
            hub = ref() if ref is not None else None
            if ref is None or (hub is not None and hub.loop is not None and hub.thread_ident in alive):
                continue
            self._pools.pop(key, None)
            _quietly(pool.close)

    def _new_pool(self) -> Any:
        options: dict[str, Any] = {"num_pools": 2, "maxsize": self._maxsize, "block": False, "retries": False}
        if self._context is not None and self._target[2] == "https":
            options["ssl_context"] = self._context
        manager: urllib3.PoolManager
        if self._proxy:
            context = self._context if self._proxy.startswith("https:") else None
            manager = urllib3.ProxyManager(self._proxy, proxy_ssl_context=context, **options)
        else:
            manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = _pool_classes(self._queue_class())
        pool = manager.connection_from_host(*self._target)
        pool.colony_manager = manager  # type: ignore[attr-defined] # a manager that is collected closes its pools
        return pool


def tls_context(ca_certs: str | None) -> ssl.SSLContext:
    """One context for all connections: loading the certificates takes longer than a handshake.

    Made here and not by urllib3, which binds the unpatched class when it is imported before gevent patches.
    """
    try:
        if ca_certs is not None and os.path.isdir(ca_certs):
            return ssl.create_default_context(capath=ca_certs)
        return ssl.create_default_context(cafile=ca_certs)
    except OSError as error:
        raise ValueError(f"ca_certs={ca_certs!r}: no certificates can be read there") from error


def _quietly(act: Callable[[], object]) -> None:
    try:
        act()
    except Exception:  # noqa: BLE001, S110 - the socket of a dead hub: closed is closed
        pass
