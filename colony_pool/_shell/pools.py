"""Connections at rest: a pool of them for each gevent hub, since a gevent socket belongs to the hub that made it."""

from __future__ import annotations

import os
import ssl
import sys
import weakref
from collections.abc import Callable, Hashable
from contextlib import suppress
from itertools import count
from typing import Any

from .descriptors import close_handle, let_go
from .urllib3_pools import new_pool, take


class Pools:
    """One urllib3 pool per home (a gevent hub, or ``None``); two hubs sharing one would lose slots."""

    def __init__(self, scheme: str, host: str, port: int | None, *, maxsize: int, proxy: str | None,
                 ca_certs: str | None) -> None:  # fmt: skip
        self._target = (scheme, host, port)
        self._maxsize = maxsize
        self._proxy = proxy
        self.context = tls_context(ca_certs) if "https" in (scheme, (proxy or "").partition(":")[0]) else None
        self._pools: dict[int, tuple[weakref.ref[Any] | None, Any]] = {}  # id of a hub: (the hub, its pool)
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()  # connections, idle or not
        # Connections opened so far, those that failed included. A lock would be waited for by a signal handler, or a
        # finaliser, that opens one in the middle of this.
        self._opened = count()
        self.closed = False

    def at(self, home: Hashable | None) -> Any:
        """The pool of ``home``."""
        entry = self._pools.get(id(home))
        if entry is None or (entry[0] is not None and entry[0]() is not home):
            self._bury()
            pool = new_pool(*self._target, maxsize=self._maxsize, proxy=self._proxy, context=self.context)
            entry = (weakref.ref(home) if home is not None else None, pool)
            self._pools[id(home)] = entry
            if self.closed:
                self.close()
        return entry[1]

    def take(self, pool: Any) -> Any:
        """A connection of ``pool``, connected or not."""
        conn = take(pool)
        if conn.sock is None:
            self._known.add(conn)
            self.count_opened()
        return conn

    def count_opened(self) -> None:
        """One more was opened."""
        next(self._opened)

    @property
    def opened(self) -> int:
        """Connections opened so far."""
        return int(repr(self._opened)[len("count(") : -1])  # there is no other way to look

    def idle(self) -> int:
        """Idle connections of all hubs."""
        slots = [getattr(pool.pool, "queue", ()) for _, pool in list(self._pools.values())]
        return sum(conn is not None and conn.sock is not None for line in slots for conn in list(line))

    def close(self) -> None:
        """Close what is idle, for good; what is at work closes when it ends."""
        self.closed = True
        self._bury()
        while self._pools:
            _quietly(self._pools.popitem()[1][1].close)

    def after_fork(self) -> None:
        """Give up the parent's descriptors, at work or idle, without a word on them: it goes on using them."""
        idle = {id(conn) for _, pool in self._pools.values() for conn in getattr(pool.pool, "queue", ())}
        for conn in list(self._known):
            _quietly(conn.cut_loose)  # first: TLS on its way, and ``sock``, have one descriptor
            sock, conn.sock = conn.sock, None
            if sock is not None:
                let_go(sock, in_use=id(conn) not in idle)
        self._known.clear()
        self._pools.clear()

    def _bury(self) -> None:
        """Close the pools of hubs that are gone: collected, destroyed, or without their thread."""
        alive = sys._current_frames()
        for key, (ref, pool) in list(self._pools.items()):
            hub = ref() if ref is not None else None
            if ref is None or (hub is not None and hub.loop is not None and hub.thread_ident in alive):
                continue
            self._pools.pop(key, None)
            for conn in list(getattr(pool.pool, "queue", ())):
                if conn is not None:
                    _give_up(conn)
            _quietly(pool.close)


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


def _give_up(conn: Any) -> None:
    """Close its descriptor; the hub that it belongs to takes no more steps."""
    sock, conn.sock = conn.sock, None
    if sock is not None:
        close_handle(sock)


def _quietly(act: Callable[[], object]) -> None:
    with suppress(Exception):  # the socket of a dead hub: closed is closed
        act()
