"""urllib3's pools, one for each gevent hub: a gevent socket belongs to the hub that made it."""

from __future__ import annotations

import queue
import socket
import sys
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from .._runtime.descriptors import close_handle, let_go
from ..config import KeepAliveConfig, Timeout
from .connection import Connection, SecureConnection, current
from .connection_health import ConnectionHealth, ConnectionRecord
from .dialer import Dialer
from .proxies import Proxy
from .tls import TlsContexts
from .url import DEFAULT_PORTS


def _keep_alive_options() -> list[tuple[int, int, int]]:
    """TCP asks an idle peer every 20 s whether it is there: a NAT remembers it, and a dead one is found out."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPALIVE", 20), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # each system has some of them
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


SOCKET_OPTIONS = _keep_alive_options()


class IdleConnections:
    """Connections at rest, last in, first out. Nobody waits here (the bulkhead is for that): there is no lock.

    A deque's own verbs are atomic, for threads and for greenlets of any hub; ``queue.LifoQueue`` and gevent's
    hold a lock that belongs to one of the two. What is put here is nobody's any more: see ``Connection.rest``.
    """

    def __init__(self, maxsize: int) -> None:
        self.connections: deque[Any] = deque()
        self._maxsize = maxsize

    def put(self, conn: Any, block: bool = False) -> None:
        if conn is None:  # urllib3 fills its queue with these, and takes an empty one for the same
            return
        use = conn.use
        if not conn.rest() or conn.sock is None or use is None:
            return
        if use.health.is_over(conn.record):
            conn.close()
            return
        use.health.rests(conn.record)
        self._close_old(use.health)
        while len(self.connections) >= self._maxsize:
            self._close_oldest()
        self.connections.append(conn)

    def get(self, block: bool = False, timeout: float | None = None) -> Any:
        """The one that rested last of those that suit the request of ``current``."""
        use, found = current.get(None), None
        passed_over: list[Any] = []
        while found is None and (conn := self._pop()) is not None:
            if use is None:
                return conn
            if use.health.is_over(conn.record):
                conn.close()
            elif use.health.suits(conn.record, use.since, self._records(passed_over)):
                found = conn
            else:
                passed_over.append(conn)
        if found is None and passed_over:
            found = passed_over.pop()  # the oldest makes room for a new one
            found.close()
        self.connections.extend(reversed(passed_over))
        if found is None:
            raise queue.Empty
        return found

    def qsize(self) -> int:
        return len(self.connections)

    def close_all(self) -> None:
        """Close all of them; to be called in the hub whose they are."""
        while (conn := self._pop()) is not None:
            conn.close()

    def _records(self, more: list[Any]) -> Iterator[ConnectionRecord]:
        for conn in [*more, *self.connections]:
            yield conn.record

    def _close_old(self, health: ConnectionHealth) -> None:
        with suppress(IndexError):  # there is none left
            while health.is_over(self.connections[0].record):
                self._close_oldest()

    def _close_oldest(self) -> None:
        with suppress(IndexError):  # another thread has it by now
            self.connections.popleft().close()

    def _pop(self) -> Any:
        try:
            return self.connections.pop()
        except IndexError:
            return None


class _Pool(HTTPConnectionPool):
    ConnectionCls = Connection
    QueueCls = IdleConnections  # type: ignore[assignment] # as much of a queue as urllib3 uses


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = SecureConnection
    QueueCls = IdleConnections  # type: ignore[assignment]


class Pools:
    """One urllib3 pool per context (a gevent hub, or ``None``); two hubs sharing one would lose slots."""

    def __init__(self, scheme: str, host: str, port: int | None, *, maxsize: int, timeout: Timeout,
                 proxy: Proxy | None, tls: TlsContexts | None, keep_alive: KeepAliveConfig,
                 dialer: Dialer) -> None:  # fmt: skip
        self.health = ConnectionHealth(keep_alive.max_age, keep_alive.max_idle)
        self._target = (host, port, scheme)
        self._maxsize = maxsize
        self._timeout = urllib3.Timeout(connect=timeout.connect, read=timeout.read)
        self.dialer = dialer  # what makes the connections of all hubs
        self.proxy = proxy
        self._tls = tls
        shown = f"[{host}]" if ":" in host else host
        self.origin = f"{shown}:{port or DEFAULT_PORTS[scheme]}"
        # A proxy is told the whole address of what it is to fetch, unless it only connects: for TLS.
        forwards = proxy is not None and scheme == "http"
        self.forwarded = f"http://{shown}{f':{port}' if port else ''}" if forwards else ""
        self._pools: dict[int, tuple[weakref.ref[Any] | None, Any]] = {}  # id of a hub: (the hub, its pool)
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()  # connections, idle or not
        # Connections opened so far, those that failed included. A lock would be waited for by a signal handler, or a
        # finaliser, that opens one in the middle of this.
        self._opened = count()
        self.closed = False

    def at(self, context: Hashable | None) -> Any:
        """The pool of ``context``."""
        entry = self._pools.get(id(context))
        if entry is None or (entry[0] is not None and entry[0]() is not context):
            self.close_dead()
            entry = (weakref.ref(context) if context is not None else None, self._new_pool())
            self._pools[id(context)] = entry
            if self.closed:
                self.close()
        return entry[1]

    def _new_pool(self) -> Any:
        options: dict[str, Any] = {"num_pools": 2, "maxsize": self._maxsize, "timeout": self._timeout,
                                   "socket_options": SOCKET_OPTIONS}  # fmt: skip
        origin, of_proxy = self._tls.current() if self._tls is not None else (None, None)
        if origin is not None:
            options["ssl_context"] = origin
        manager: urllib3.PoolManager
        if self.proxy is not None:
            manager = urllib3.ProxyManager(
                self.proxy.url, proxy_headers=self.proxy.headers, proxy_ssl_context=of_proxy, **options
            )
        else:
            manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager.connection_from_host(*self._target)

    def add(self, conn: Any) -> None:
        """Know ``conn``, which is about to be opened."""
        if self._tls is not None:
            self._tls.give(conn)
        self._known.add(conn)
        self.count_opened()

    def count_opened(self) -> None:
        """One more was opened."""
        next(self._opened)

    @property
    def opened(self) -> int:
        """Connections opened so far."""
        return int(repr(self._opened)[len("count(") : -1])  # there is no other way to look

    def idle(self) -> int:
        """Idle connections of all hubs."""
        return sum(conn.sock is not None for _, pool in list(self._pools.values()) for conn in _resting(pool))

    def retire(self, run_at: Callable[[Callable[[], object], Hashable], object]) -> None:
        """Use none for another request that is open now, and close what is idle.

        ``run_at(act, hub)`` acts in a hub: no other may close its sockets.
        """
        self.health.retire()
        self.close_dead()
        for ref, pool in list(self._pools.values()):
            idle, hub = pool.pool, ref() if ref is not None else None
            if idle is not None and hub is not None:
                run_at(idle.close_all, hub)
            elif idle is not None:
                idle.close_all()

    def close(self) -> None:
        """Close what is idle, for good; what is at work closes when it ends."""
        self.closed = True
        self.close_dead()
        while self._pools:
            _quietly(self._pools.popitem()[1][1].close)

    def after_fork(self) -> None:
        """Give up the parent's descriptors, at work or idle, without a word on them: it goes on using them."""
        idle = {id(conn) for _, pool in self._pools.values() for conn in _resting(pool)}
        for conn in list(self._known):
            _quietly(conn.cut_loose)  # first: TLS on its way, and ``sock``, have one descriptor
            sock, conn.sock = conn.sock, None
            if sock is not None:
                let_go(sock, in_use=id(conn) not in idle)
        self._known.clear()
        self._pools.clear()

    def close_dead(self) -> None:
        """Close the pools of hubs that are gone: collected, destroyed, or without their thread."""
        alive = sys._current_frames()
        for key, (ref, pool) in list(self._pools.items()):
            hub = ref() if ref is not None else None
            if ref is None or (hub is not None and hub.loop is not None and hub.thread_ident in alive):
                continue
            self._pools.pop(key, None)
            for conn in _resting(pool):
                sock, conn.sock = conn.sock, None
                if sock is not None:
                    close_handle(sock)  # its hub takes no more steps
            _quietly(pool.close)


def _resting(pool: Any) -> list[Any]:
    """The connections at rest in ``pool``; none once it is closed."""
    return [conn for conn in list(getattr(pool.pool, "connections", ())) if conn is not None]


def _quietly(act: Callable[[], object]) -> None:
    with suppress(Exception):  # the socket of a dead hub: closed is closed
        act()
