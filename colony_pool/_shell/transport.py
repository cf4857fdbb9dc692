"""One request, one attempt, one host. Retries and redirects are off: they are decided elsewhere.

Every way in which a request can fail ends here as ``NetworkFailure`` (no answer) or ``BadReply`` (no usable
answer), without the key, the token or the code in it; what a caller's task is killed with passes through.
"""

from __future__ import annotations

import re
import socket
import ssl
import weakref
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions as u3

from .._runtime.protocol import Runtime
from ..config import Timeout
from .bulkhead import Bulkhead
from .connections import pool_classes

_CHUNK = 65_536
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_USER_AGENT = "colony-pool/0.1"
_IDEMPOTENT = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class NetworkFailure(Exception):
    """No answer. ``sent`` is False only if no byte of the body can have reached the server."""

    def __init__(self, kind: str, detail: str, *, sent: bool, reused: bool = False) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.sent = sent
        self.reused = reused


class BadReply(Exception):
    """An answer that broke off, grew too big, or cannot be decoded."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class Abort:
    """Ends a send from another task: its socket is shut down, or never opened."""

    __slots__ = ("_aborted", "_connection")

    def __init__(self) -> None:
        self._aborted = False
        self._connection: Any = None

    @property
    def aborted(self) -> bool:
        """Whether ``abort`` was called."""
        return self._aborted

    def watch(self, connection: Any) -> None:
        """Say whose socket to shut down."""
        self._connection = connection
        if self._aborted:
            self.abort()

    def abort(self) -> None:
        """Shut the socket down. Any task, any thread, any number of times."""
        self._aborted = True
        sock = getattr(self._connection, "sock", None)
        if sock is not None:
            try:
                # shutdown and not close: close would free the descriptor under the reader's feet.
                sock.shutdown(socket.SHUT_RDWR)
            except (OSError, ValueError):
                pass


class Transport:
    """Sends requests to the host of ``base_url``, at most ``maxsize`` at once."""

    def __init__(
        self,
        base_url: str,
        *,
        runtime: Runtime,
        maxsize: int,
        timeout: Timeout,
        proxy: str | None = None,
        ca_certs: str | None = None,
        user_agent: str | None = None,
    ) -> None:
        self._url = urlsplit(base_url)
        self._runtime = runtime
        self._maxsize = maxsize
        self._timeout = timeout
        self._proxy = proxy
        self._tls = {"cert_reqs": "CERT_REQUIRED", "ca_certs": ca_certs}
        self._agent = user_agent or _USER_AGENT
        self._offload = runtime.name == "gevent" and not getattr(runtime, "patched", True)
        self._pools: dict[int, tuple[Any, Any]] = {}  # id of a hub: (weak reference to it, its urllib3 pool)
        self._pool()
        self.bulkhead = Bulkhead(maxsize, runtime)

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        total: float | None = None,
        max_body: int = 65_536,
        abort: Abort | None = None,
        priority: bool = False,
    ) -> Reply:
        """Send one request and read the whole answer within ``total`` seconds.

        ``priority`` jumps the queue for a slot, and marks a POST that may be sent again on a fresh connection
        when an idle one turns out to be dead.

        Raises:
            NetworkFailure: there was no answer.
            BadReply: the answer is none.
            ValueError: a header has control characters.
        """
        sent = {"User-Agent": self._agent, "Accept-Encoding": "identity", **headers}
        for name, value in sent.items():
            if _CONTROL.search(name) or _CONTROL.search(value) or not value.isascii():
                raise ValueError(f"header {_CONTROL.sub('?', name)}: has characters that no header may have")
        deadline = monotonic() + (self._timeout.total if total is None else total)
        if not self.bulkhead.acquire(deadline - monotonic(), priority=priority):
            raise NetworkFailure("timeout", f"no free slot of {self._maxsize}", sent=False)
        try:
            again = priority or method in _IDEMPOTENT
            exchange = _Exchange(method, path, sent, body, deadline, max_body, abort or Abort(), self._timeout, again)
            pool = self._pool()
            if self._offload:
                return self._runtime.offload(exchange.run, pool)
            return exchange.run(pool)
        finally:
            self.bulkhead.release()
            del headers, body, sent

    def connections(self) -> tuple[int, int]:
        """``(in use, idle)`` connections."""
        idle = 0
        for _, pool in list(self._pools.values()):
            slots = getattr(pool, "pool", None)
            idle += sum(conn is not None and conn.sock is not None for conn in list(getattr(slots, "queue", ())))
        return self.bulkhead.in_use, idle

    def close(self) -> None:
        """Close the idle connections of all hubs."""
        while self._pools:
            _, pool = self._pools.popitem()[1]
            pool.close()

    def after_fork(self) -> None:
        """In a forked child: forget the parent's sockets without a word on them."""
        for _, pool in self._pools.values():
            slots = pool.pool
            for conn in list(getattr(slots, "queue", ())):
                if conn is not None and conn.sock is not None:
                    # The parent goes on using the connection: give up our descriptor, send nothing.
                    sock, conn.sock = conn.sock, None
                    socket.close(sock.detach())
        self._pools.clear()
        self.bulkhead = Bulkhead(self._maxsize, self._runtime)

    def _pool(self) -> Any:
        """This hub's urllib3 pool; two hubs sharing one would lose slots and switch threads."""
        home: Hashable | None = None if self._offload else self._runtime.home()
        entry = self._pools.get(id(home))
        if entry is None or (home is not None and entry[0]() is not home):
            for key, (hub, pool) in list(self._pools.items()):
                if hub is not None and hub() is None:
                    self._pools.pop(key, None)
                    pool.close()
            entry = (weakref.ref(home) if home is not None else None, self._new_pool())
            self._pools[id(home)] = entry
        return entry[1]

    def _new_pool(self) -> Any:
        slots = None
        if self._runtime.name == "gevent" and not self._offload:
            from gevent.queue import LifoQueue

            slots = LifoQueue
        options: dict[str, Any] = {"num_pools": 2, "maxsize": self._maxsize, "block": False, "retries": False}
        options |= self._tls if self._url.scheme == "https" or self._proxy else {}
        if self._proxy:
            manager: urllib3.PoolManager = urllib3.ProxyManager(self._proxy, **options)
        else:
            manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = pool_classes(slots)
        pool = manager.connection_from_host(self._url.hostname, self._url.port, self._url.scheme)
        pool.colony_manager = manager  # type: ignore[attr-defined] # a manager that is collected closes its pools
        return pool


class _Exchange:
    """One request and its answer, on one connection."""

    def __init__(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, deadline: float, max_body: int,
        abort: Abort, timeout: Timeout, again: bool,
    ) -> None:  # fmt: skip
        self._request = (method, path, headers, body)
        self._deadline = deadline
        self._max_body = max_body
        self._abort = abort
        self._timeout = timeout
        self._again = again
        self._conn: Any = None
        self._status = 0
        self._sent = False

    def run(self, pool: Any) -> Reply:
        try:
            while True:
                try:
                    return self._once(pool)
                except NetworkFailure as failure:
                    # An idle connection that the server has closed meanwhile; the next one is fresh.
                    if not (failure.reused and self._again and failure.kind == "reset"):
                        raise
                    self._again = False
        finally:
            self._request = ("", "", {}, None)

    def _once(self, pool: Any) -> Reply:
        conn = None
        reused = False
        try:
            if self._abort.aborted:
                raise NetworkFailure("aborted", "given up before it began", sent=False)
            self._sent = False
            conn = self._conn = self._connection(pool)
            reused = conn.sock is not None
            reply = self._talk(pool, conn)
            conn, keep = None, conn
            pool._put_conn(keep)
            return reply
        except (NetworkFailure, BadReply):
            raise
        except Exception as error:  # noqa: BLE001 - the one place where foreign exceptions are mapped
            failure = self._mapped(error, reused)
        finally:
            if conn is not None:
                conn.close()
            self._conn = None
        raise failure from None

    def _connection(self, pool: Any) -> Any:
        conn = pool._get_conn(timeout=0)
        self._abort.watch(conn)
        return conn

    def _talk(self, pool: Any, conn: Any) -> Reply:
        method, path, headers, body = self._request
        try:
            self._connect(pool, conn)
            conn.colony_deadline = (self._deadline, self._timeout.read)
            conn.timeout = min(self._timeout.read, self._left())
            conn.sock.settimeout(conn.timeout)
            self._sent = True
            conn.request(method, self._target(pool, path), body, headers, preload_content=False, decode_content=False)
        finally:
            del headers, body
        response = conn.getresponse()
        self._status = response.status
        data = self._read(response, method)
        return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, data)

    def _connect(self, pool: Any, conn: Any) -> None:
        if conn.sock is not None:
            return
        conn.timeout = min(self._timeout.connect, self._left())
        if pool.proxy is not None and pool.scheme == "https":
            pool._prepare_proxy(conn)
        conn.connect()
        self._abort.watch(conn)  # an abort that came while there was no socket yet

    @staticmethod
    def _target(pool: Any, path: str) -> str:
        if pool.proxy is not None and pool.scheme == "http":
            return f"http://{pool.host}:{pool.port or 80}{path}"
        return path

    def _read(self, response: Any, method: str) -> bytes:
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise BadReply(response.status, "the body is compressed, which nobody asked for")
        chunks, size = [], 0
        while chunk := response.read1(_CHUNK):
            size += len(chunk)
            if size > self._max_body:
                raise BadReply(response.status, f"the body is over {self._max_body} bytes")
            chunks.append(chunk)
        length = response.headers.get("content-length", "")
        if method != "HEAD" and length.isdigit() and size < int(length):
            raise BadReply(response.status, f"the body broke off after {size} of {length} bytes")
        return b"".join(chunks)

    def _left(self) -> float:
        left = self._deadline - monotonic()
        if left <= 0:
            raise NetworkFailure("timeout", "no time left", sent=False)
        return left

    def _mapped(self, error: Exception, reused: bool) -> Exception:
        if self._status and not isinstance(error, (u3.ReadTimeoutError, TimeoutError)):
            if self._abort.aborted:
                return NetworkFailure("aborted", "given up while reading", sent=True)
            return BadReply(self._status, "the body broke off or cannot be read")
        kind, detail = describe(error)
        sent = self._sent
        if self._abort.aborted:
            kind, detail = "aborted", "given up by the pool"
        return NetworkFailure(kind, detail, sent=sent, reused=reused)


def describe(error: BaseException) -> tuple[str, str]:
    """``(kind, detail)`` of an exception from urllib3, ssl, http.client or the socket; nothing secret in it."""
    if isinstance(error, u3.NameResolutionError) or isinstance(error, socket.gaierror):
        return "dns", "the host name does not resolve"
    if isinstance(error, u3.ConnectTimeoutError):
        return "timeout", "no connection in time"
    if isinstance(error, (u3.ReadTimeoutError, TimeoutError)):
        return "timeout", "no answer in time"
    if isinstance(error, u3.NewConnectionError):
        cause = error.__cause__ or error.__context__
        return (
            ("refused", "connection refused") if isinstance(cause, ConnectionRefusedError) else ("other", "no route")
        )
    if isinstance(error, u3.ProxyError):
        return "proxy", "the proxy does not work"
    if isinstance(error, (u3.SSLError, ssl.SSLError)):
        cause = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
        words = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "the handshake failed"
        return "tls", str(words)[:120].lower().replace("_", " ")
    if isinstance(error, (ConnectionError, HTTPException, u3.ProtocolError)):
        return "reset", "the connection broke off"
    return "other", type(error).__name__
