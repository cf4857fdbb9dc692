"""One request, one attempt, one host. Retries and redirects are off: they are decided elsewhere.

Every way in which a request can fail ends here as ``NetworkFailure`` (no answer) or ``BadReply`` (no usable
answer), without the key, the token or the code in it; what a caller's task is killed with passes through.

A socket is either whole and idle in its pool, or it belongs to one exchange, which closes it on any way out
but a complete answer. An ``Abort`` holds it only in between: who takes it out of the ``Abort``, the exchange
or the aborter, decides, so that a late abort can never hit the next request on the same socket.
"""

from __future__ import annotations

import _socket  # the C sockets: shutting one down must not touch the hub of another thread, nor undo TLS
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, IncompleteRead
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from urllib3 import exceptions as u3
from urllib3.util.ssl_match_hostname import CertificateError

from .._runtime.protocol import Runtime
from ..config import Timeout
from .bulkhead import Bulkhead
from .connections import Pools, Slots

_CHUNK = 65_536
_NO_NAME = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_NO_VALUE = re.compile(r"[^\t\x20-\x7e]")
_USER_AGENT = "colony-pool/0.1"
_IDEMPOTENT = ("GET", "HEAD")
_Request = tuple[str, str, dict[str, str], "bytes | None"]


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
    """Ends a send from another task: its wait for a slot ends, its socket is shut down, or never opened.

    A look-up of the host's name that has begun is not interrupted: the system offers no way.
    """

    __slots__ = ("_aborted", "_cuts")

    def __init__(self) -> None:
        self._aborted = False
        self._cuts: list[Callable[[], object]] = []  # at most one; ``pop`` is atomic

    @property
    def aborted(self) -> bool:
        """Whether ``abort`` was called."""
        return self._aborted

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
        return not self._aborted

    def abort(self) -> None:
        """End the send. Any task, any thread, any number of times."""
        self._aborted = True
        try:
            cut = self._cuts.pop()
        except IndexError:
            return
        cut()


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
        url = urlsplit(base_url)
        self._runtime = runtime
        self._maxsize = maxsize
        self._timeout = timeout
        self._agent = user_agent or _USER_AGENT
        self._offload = runtime.name == "gevent" and not getattr(runtime, "patched", True)
        self._pools = Pools(
            url.scheme, url.hostname or "", url.port,
            maxsize=maxsize, proxy=proxy, ca_certs=ca_certs, queue_class=self._queue_class,
        )  # fmt: skip
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
            ValueError: a header has characters that no header may have.
        """
        sent = {"User-Agent": self._agent, "Accept-Encoding": "identity", **headers}
        abort = abort or Abort()
        deadline = monotonic() + (self._timeout.total if total is None else total)
        bulkhead = self.bulkhead  # a forked child gets a new one; this slot goes back to where it came from
        try:
            _check(sent)
            if abort.aborted or self._pools.closed:
                raise NetworkFailure("aborted", "given up before it began", sent=False)
            if not bulkhead.acquire(deadline - monotonic(), priority=priority, on_wait=abort.watch):
                kind, detail = ("aborted", "given up") if abort.aborted else ("timeout", "no time left")
                raise NetworkFailure(kind, f"{detail} while all {self._maxsize} connections were busy", sent=False)
            again = priority or method in _IDEMPOTENT
            return self._exchange(bulkhead, abort, (method, path, sent, body), deadline, max_body, again)
        finally:
            del headers, body, sent

    def _exchange(
        self, bulkhead: Bulkhead, abort: Abort, request: _Request, deadline: float, max_body: int, again: bool
    ) -> Reply:
        """Use one slot, and give it back."""
        job = _Job(bulkhead)
        try:
            exchange = _Exchange(self._pools, request, deadline, max_body, abort, self._timeout, again)
            del request
            if not self._offload:
                return exchange.run(self._pools.at(self._runtime.home()))
            answer = self._runtime.offload(job.run, exchange)
        except BaseException:
            if self._offload:
                abort.abort()  # nobody waits for the native thread any more; its slot comes back when it ends
            raise
        finally:
            job.leave()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def connections(self) -> tuple[int, int]:
        """``(in use, idle)`` connections."""
        return self.bulkhead.in_use, self._pools.idle()

    def opened(self) -> int:
        """Connections opened so far."""
        return self._pools.opened

    def close(self) -> None:
        """Close the idle connections of all hubs, and those at work when they end."""
        self._pools.close()

    def after_fork(self) -> None:
        """In a forked child: forget the parent's sockets without a word on them."""
        self._pools.after_fork()
        self.bulkhead = Bulkhead(self._maxsize, self._runtime)

    def _queue_class(self) -> type[Any]:
        """What idle connections wait in; asked when a pool is built, not when a module is imported."""
        if self._offload:
            return Slots
        if self._runtime.name == "gevent":
            from gevent.queue import LifoQueue

            return LifoQueue  # type: ignore[no-any-return]
        from queue import LifoQueue as NativeQueue

        return NativeQueue


class _Job:
    """A slot that its holder gives back; in a native thread, the thread does, even if its greenlet is dead."""

    def __init__(self, bulkhead: Bulkhead) -> None:
        self._bulkhead = bulkhead
        self._start = [None]

    def run(self, exchange: _Exchange) -> Reply | Exception:
        """In the native thread. A failure is returned: raised, gevent would print it as well."""
        try:
            self._start.pop()
        except IndexError:  # abandoned in the thread pool's queue
            return NetworkFailure("aborted", "given up before it began", sent=False)
        try:
            return exchange.run(exchange.pools.at(None))
        except Exception as error:  # noqa: BLE001 - raised again by the caller
            return error.with_traceback(None)
        finally:
            self._bulkhead.release()

    def leave(self) -> None:
        """The caller leaves: the slot goes back, unless a native thread has it."""
        try:
            self._start.pop()
        except IndexError:
            return
        self._bulkhead.release()


class _Exchange:
    """One request and its answer, on one connection."""

    def __init__(
        self, pools: Pools, request: _Request, deadline: float, max_body: int,
        abort: Abort, timeout: Timeout, again: bool,
    ) -> None:  # fmt: skip
        self.pools = pools
        self._request = request
        self._deadline = deadline
        self._max_body = max_body
        self._abort = abort
        self._timeout = timeout
        self._again = again
        self._status = 0
        self._sent = False
        self._stage = "connect"
        self._stale = False

    def run(self, pool: Any) -> Reply:
        try:
            while True:
                try:
                    return self._once(pool)
                except NetworkFailure:
                    # An idle connection that the server has closed meanwhile; the next one is fresh.
                    if not (self._again and self._stale):
                        raise
                    self._again = False
        finally:
            self._request = ("", "", {}, None)

    def _once(self, pool: Any) -> Reply:
        conn = self.pools.take(pool)
        reused = conn.sock is not None
        done = False
        try:
            conn.colony_heard, conn.colony_surplus = 0, False
            self._abort.watch(lambda: _shut(conn))
            if self._abort.aborted:
                raise NetworkFailure("aborted", "given up before it began", sent=False)
            self._sent = False
            reply = self._talk(pool, conn)
            done = True
        except (NetworkFailure, BadReply):
            raise
        except Exception as error:  # noqa: BLE001 - the one place where foreign exceptions are mapped
            failure = self._mapped(error, conn, pool, reused)
        finally:
            whole = self._abort.let_go() and done
            if not whole or conn.colony_surplus:
                conn.close()
            if whole:
                pool._put_conn(conn)
        if done:
            return reply
        raise failure from None

    def _talk(self, pool: Any, conn: Any) -> Reply:
        self._stage = "connect"
        if conn.sock is None:
            conn.colony_deadline = (self._deadline, self._timeout.connect)
            conn.timeout = conn.seconds_left()
            if pool.proxy is not None and pool.scheme == "https":
                pool._prepare_proxy(conn)  # connects as well
            else:
                conn.connect()
        conn.colony_deadline = (self._deadline, self._timeout.read)
        conn.timeout = conn.seconds_left()
        if self._abort.aborted:
            raise NetworkFailure("aborted", "given up before it was sent", sent=False)
        self._stage, self._sent = "exchange", True
        broken = self._ask(pool, conn)
        response = HTTPConnection.getresponse(conn)  # not urllib3's: there is nothing to decode
        self._status = response.status
        data = self._read(response)
        if broken:
            conn.close()
        return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, data)

    def _ask(self, pool: Any, conn: Any) -> bool:
        """Send the request. True if the server stopped reading: it may have answered before it did."""
        method, path, headers, body = self._request
        if pool.proxy is not None and pool.scheme == "http":
            path = f"http://{pool.host}:{pool.port or 80}{path}"
        try:
            conn.request(method, path, body, headers, preload_content=False, decode_content=False)
        except BrokenPipeError:
            return True
        finally:
            del headers, body
        return False

    def _read(self, response: Any) -> bytes:
        chunks, size = [], 0
        while chunk := response.read1(_CHUNK):
            if response.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
                raise BadReply(response.status, "the body is compressed, which nobody asked for")
            size += len(chunk)
            if size > self._max_body:
                raise BadReply(response.status, f"the body is over {self._max_body} bytes")
            chunks.append(chunk)
        if response.length:  # http.client takes an early end for the end
            raise IncompleteRead(b"", response.length)
        response.close()  # the answer to a HEAD has no end that would be read
        return b"".join(chunks)

    def _mapped(self, error: Exception, conn: Any, pool: Any, reused: bool) -> Exception:
        if self._abort.aborted:
            return NetworkFailure("aborted", "given up", sent=self._sent, reused=reused)
        late = isinstance(error, (u3.ReadTimeoutError, TimeoutError))
        if self._status and not late:
            return BadReply(self._status, "the body broke off or cannot be read")
        kind, detail = describe(error)
        if self._stage == "connect":
            if late:
                detail = "no connection in time"
            elif pool.proxy is not None and kind in ("dns", "refused", "reset", "other"):
                kind, detail = "proxy", f"the proxy does not connect: {detail}"
        self._stale = reused and kind == "reset" and not conn.colony_heard
        return NetworkFailure(kind, detail, sent=self._sent, reused=reused)


def _check(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not name or _NO_NAME.search(name) or _NO_VALUE.search(value):
            raise ValueError(f"header {_NO_NAME.sub('?', name)!r}: has characters that no header may have")


def _shut(conn: Any) -> None:
    """Shut a connection's socket down, but leave it open: to close it is its reader's to do."""
    for sock in (conn.colony_lever, conn.sock):
        if sock is not None:
            try:
                _socket.socket.shutdown(getattr(sock, "_sock", sock), socket.SHUT_RDWR)
            except (OSError, TypeError):
                pass  # closed already, or TLS within TLS, whose outer socket is the lever


def describe(error: BaseException) -> tuple[str, str]:
    """``(kind, detail)`` of an exception from urllib3, ssl, http.client or the socket; nothing secret in it."""
    if isinstance(error, (socket.gaierror, UnicodeError, u3.NameResolutionError)):
        return "dns", "the host name does not resolve"
    if isinstance(error, (TimeoutError, u3.ReadTimeoutError, u3.ConnectTimeoutError)):
        return "timeout", "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "refused", "connection refused"
    if isinstance(error, u3.ProxyError):
        return "proxy", "the proxy does not work"
    if isinstance(error, (u3.SSLError, ssl.SSLError, CertificateError)):
        cause = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
        words = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "the handshake failed"
        return "tls", str(words)[:120].lower().replace("_", " ")
    if isinstance(error, (ConnectionError, HTTPException, u3.ProtocolError)):
        return "reset", "the connection broke off"
    if isinstance(error, OSError) and error.strerror:
        return "other", error.strerror.lower()
    return "other", type(error).__name__
