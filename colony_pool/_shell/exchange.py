"""One request and its answer, on one connection.

Every way in which that can fail ends here as ``NetworkFailure`` (no answer) or ``BadReply`` (no usable
answer), without the key, the token or the code in it; what a caller's task is killed with passes through.

A socket is either whole and idle in its pool, or it belongs to one exchange, which closes it on any way out
but a complete answer. An ``Abort`` holds it only in between: who takes it out of the ``Abort``, the exchange
or the aborter, decides, so that a late abort can never hit the next request on the same socket.
"""

from __future__ import annotations

import _socket  # the C sockets: shutting one down must not touch the hub of another thread, nor undo TLS
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import IncompleteRead
from typing import Any

from .._runtime.protocol import Timer
from ..config import Timeout
from .connections import EXHAUSTED, OF_THE_CONNECTION, describe
from .pools import Pools
from .urllib3_pools import traced

_CHUNK = 65_536
FORKED = "forked"  # what a failure is called in a greenlet that a fork has copied along


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class NetworkFailure(Exception):
    """No answer. ``sent`` is False only if no byte of the body can have reached the server."""

    def __init__(self, kind: str, detail: str, *, sent: bool, reused: bool = False) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.sent = sent
        self.reused = reused


def forked(*, sent: bool) -> NetworkFailure:
    """Return what a greenlet is told that a fork has copied along with the request that it is making."""
    return NetworkFailure(FORKED, "this process was forked meanwhile, and the request is its parent's", sent=sent)


class BadReply(Exception):
    """An answer that broke off, grew too big, or cannot be decoded."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class Abort:
    """Ends a send from another task: its wait for a slot ends, its socket is shut down, or never opened.

    A look-up of the host's name that has begun is not interrupted: the system offers no way.

    In a forked child the send is aborted: a greenlet that was copied along must not make the parent's request again.
    """

    __slots__ = ("_aborted", "_cuts", "_on_begin", "_pid")

    def __init__(self, on_begin: Callable[[], object] | None = None) -> None:
        self._aborted = False
        self._on_begin = on_begin  # told when the send has its slot
        self._cuts: list[Callable[[], object]] = []  # at most one; ``pop`` is atomic
        self._pid = os.getpid()

    @property
    def aborted(self) -> bool:
        """Whether ``abort`` was called, or the send is the parent's."""
        return self._aborted or self.left_behind

    @property
    def left_behind(self) -> bool:
        """Whether this process was forked since: the send is the parent's."""
        return os.getpid() != self._pid

    def begin(self) -> None:
        """The send has its slot: what comes now is the endpoint's and the network's."""
        if self._on_begin is not None:
            self._on_begin()

    def watch(self, cut: Callable[[], object]) -> None:
        """Say what to call in order to end what comes now."""
        self._cuts[:] = [cut]
        if self._aborted:
            self.abort()

    def let_go(self) -> bool:
        """Nothing is to be cut any more. False if it was cut, or is being cut."""
        try:
            self._cuts.pop()
        except IndexError:
            return False
        return not self.aborted

    def abort(self) -> None:
        """End the send. Any task, any thread, any number of times."""
        self._aborted = True
        try:
            cut = self._cuts.pop()
        except IndexError:
            return
        cut()


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, and within which bounds. ``deadline`` is monotonic seconds."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    deadline: float
    max_body: int
    once: bool  # may not be sent again, not even when an idle connection turns out to be dead
    fresh: bool  # needs a connection that cannot turn out to be dead


class Exchange:
    """A request and its answer."""

    def __init__(
        self,
        pools: Pools,
        request: Request,
        abort: Abort,
        timeout: Timeout,
        call_later: Callable[[float, Callable[[], object]], Timer] | None,
        look_up_begins: Callable[[], bool] | None = None,
    ) -> None:
        self.pools = pools
        self._request: Request | None = request
        self._deadline = request.deadline
        self._abort = abort
        self._timeout = timeout
        self._call_later = call_later  # where a TLS handshake needs a deadline from outside
        self._look_up_begins = look_up_begins  # where a look-up may have to wait for a thread of this process
        self._expired = False
        self._again = not request.once
        self._fresh = request.fresh
        self._status = 0
        self._sent = False
        self._stage = "connect"
        self._stale = False

    def run(self, pool: Any) -> Reply:
        """Send and read, on a connection of ``pool``. The one who calls is the one who waits."""
        if self._look_up_begins is None or self._look_up_begins():
            self._abort.begin()
        try:
            while True:
                try:
                    return self._once(pool)
                except NetworkFailure:
                    # An idle connection that the server has closed meanwhile; the next one is fresh.
                    if not (self._again and self._stale):
                        raise
                    self._again, self._fresh = False, True  # other idle ones may be as dead as this
        finally:
            self._request = None  # no traceback of ours holds a secret

    def _once(self, pool: Any) -> Reply:
        request = self._request
        assert request is not None  # noqa: S101 - it goes when ``run`` ends
        conn = self.pools.take(pool)
        reused = conn.sock is not None and not self._fresh
        done = self._sent = False
        try:
            if not reused:
                conn.close()
            conn.colony_heard, conn.colony_surplus, conn.colony_last = 0, False, False
            self._abort.watch(lambda: _shut(conn))
            if self._abort.aborted:
                raise NetworkFailure("aborted", "given up before it began", sent=False)
            reply = self._talk(pool, conn, request)
            done = True
        except (NetworkFailure, BadReply):
            raise
        except (*OF_THE_CONNECTION, UnicodeError) as error:  # the one place where foreign exceptions are mapped
            if isinstance(error, UnicodeError) and self._stage != "connect":  # else it is of the look-up of a name
                raise
            failure = self._mapped(error, conn, pool, reused)
        finally:
            whole = self._abort.let_go() and done
            if not whole or conn.colony_surplus or conn.colony_last:
                _shut(conn)  # gevent closes a turn later, and the slot must not be free before the server knows
                conn.drop()
            if whole:
                pool._put_conn(conn)
        if done:
            return reply
        try:
            raise failure
        finally:
            del failure  # a reference cycle otherwise, and its connection with it

    def _talk(self, pool: Any, conn: Any, request: Request) -> Reply:
        self._stage = "connect"
        if conn.sock is None:
            self._connect(pool, conn)
        conn.colony_deadline = (self._deadline, self._timeout.read)
        if self._abort.aborted:
            raise NetworkFailure("aborted", "given up before it was sent", sent=False)
        self._stage, self._sent = "exchange", True
        reply: Reply = traced(
            pool, conn, request.method, request.path, lambda more: self._converse(pool, conn, request, more)
        )
        if self._abort.left_behind:
            raise forked(sent=True)
        return reply

    def _converse(self, pool: Any, conn: Any, request: Request, more: Mapping[str, str]) -> tuple[Reply, Any]:
        broken = self._ask(pool, conn, request, more)
        response = conn.getresponse()
        self._status = response.status
        headers: dict[str, str] = response.headers
        data = self._read(response, headers.get("content-encoding", ""), request.max_body)
        if broken:
            conn.close()
        return Reply(response.status, headers, data), response

    def _connect(self, pool: Any, conn: Any) -> None:
        conn.colony_deadline, conn.colony_pid = (self._deadline, self._timeout.connect), os.getpid()
        conn.timeout = conn.seconds_left()
        conn.colony_looked_up = self._abort.begin
        tls = pool.scheme == "https" or (pool.proxy is not None and pool.proxy.scheme == "https")
        limit = self._call_later(2.0 * conn.timeout, self._expire) if tls and self._call_later else None
        try:
            if pool.proxy is not None and pool.scheme == "https":
                pool._prepare_proxy(conn)  # connects as well
            else:
                conn.connect()
        finally:
            conn.colony_looked_up = None  # an idle connection outlives its pool: urllib3 holds it in a finaliser
            if limit is not None:
                limit.cancel()

    def _expire(self) -> None:
        """gevent grants each piece of a TLS handshake the whole timeout anew: a drip would never end."""
        self._expired = True
        self._abort.abort()

    @staticmethod
    def _ask(pool: Any, conn: Any, request: Request, more: Mapping[str, str]) -> bool:
        """Send the request. True if the server stopped reading: it may have answered before it did."""
        path = request.path
        if pool.proxy is not None and pool.scheme == "http":
            path = f"http://{pool.host}:{pool.port or 80}{path}"
        try:
            headers = {**more, **request.headers} if more else request.headers
            conn.request(request.method, path, request.body, headers)
        except BrokenPipeError:
            return True
        return False

    @staticmethod
    def _read(response: Any, encoding: str, max_body: int) -> bytes:
        chunks, size = [], 0
        while chunk := response.read1(_CHUNK):
            if encoding and encoding.strip().lower() != "identity":
                raise BadReply(response.status, "the body is compressed, which nobody asked for")
            size += len(chunk)
            if size > max_body:
                raise BadReply(response.status, f"the body is over {max_body} bytes")
            chunks.append(chunk)
        if response.length:  # http.client takes an early end for the end
            raise IncompleteRead(b"", response.length)
        response.close()  # the answer to a HEAD has no end that would be read
        return b"".join(chunks)

    def _mapped(self, error: Exception, conn: Any, pool: Any, reused: bool) -> Exception:
        if self._abort.aborted and not self._expired:
            if self._abort.left_behind:
                return forked(sent=self._sent)
            return NetworkFailure("aborted", "given up", sent=self._sent, reused=reused)
        kind, detail = ("timeout", "") if self._expired else describe(error)
        if self._status and kind != "timeout":
            return BadReply(self._status, "the body broke off or cannot be read")
        if self._stage == "connect":
            if isinstance(error, RuntimeError):
                kind, detail = EXHAUSTED, "no thread for the look-up of the host name"
            if kind == "timeout":
                detail = "no connection in time"
            if pool.proxy is None:
                detail = sought(kind, detail, pool.host, pool.port)
            elif kind in ("dns", "refused", "reset", "other"):
                kind, detail = "proxy", f"the proxy does not connect: {detail}"
        self._stale = reused and kind == "reset" and not conn.colony_heard
        return NetworkFailure(kind, detail, sent=self._sent, reused=reused)


def sought(kind: str, detail: str, host: str, port: int | None) -> str:
    """``detail``, with who was sought in vain: a slip in ``base_url`` is seen in that."""
    if kind == EXHAUSTED:  # it is here that something is missing
        return detail
    return f"{detail}: {host}:{port}" if port else f"{detail}: {host}"


def _shut(conn: Any) -> None:
    """Shut a connection's socket down, but leave it open: to close it is its reader's to do.

    Not in a forked child: it would be shut down for the parent, too.
    """
    if conn.colony_pid != os.getpid():
        return
    for sock in (conn.colony_lever, conn.sock):
        if sock is not None:
            # Closed already, or TLS within TLS, whose outer socket is the lever.
            with suppress(OSError, TypeError):
                _socket.socket.shutdown(getattr(sock, "_sock", sock), socket.SHUT_RDWR)
