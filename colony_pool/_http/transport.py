"""One request, one attempt, one host, so many at once. Retries and redirects are off: they are decided elsewhere."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from .._check import LONGEST_TIMEOUT
from .._fork import pid_reader
from .._runtime.protocol import Runtime
from .._runtime.threads import ThreadRuntime
from .._version import __version__
from .._weakset import ThreadSafeWeakSet
from ..config import KeepAliveConfig, Timeout
from .cancel import CancelToken
from .connection_health import ConnectionHealth
from .dialer import Dialer, native_poll
from .exchange import Exchange, Request
from .failures import BUSY, EXHAUSTED, NetworkFailure, RawResponse, forked
from .pools import Pools
from .proxies import Proxy
from .resolver import Resolver
from .slots import Bulkhead, SlotRequest
from .tls import TlsContexts

_NO_NAME = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_NO_VALUE = re.compile(r"[^\t\x20-\x7e]")
_USER_AGENT = f"colony-pool/{__version__}"


class HttpTransport:
    """Sends requests to the host of ``base_url``, at most ``maxsize`` at once."""

    def __init__(
        self,
        base_url: str,
        *,
        runtime: Runtime,
        maxsize: int,
        timeout: Timeout,
        proxy: Proxy | None = None,
        tls: TlsContexts | None = None,
        user_agent: str | None = None,
        keep_alive: KeepAliveConfig = KeepAliveConfig(),
    ) -> None:
        url = urlsplit(base_url)
        self._runtime = runtime
        self._maxsize = maxsize
        self._timeout = timeout
        self.always = {"User-Agent": user_agent or _USER_AGENT, "Accept-Encoding": "identity"}
        checked(self.always)
        self._offload = runtime.name == "gevent" and not getattr(runtime, "patched", True)
        self._look_up_begins = getattr(runtime, "look_up_begins", None) if not self._offload else None
        self._call_later = runtime.call_later if runtime.name == "gevent" and not self._offload else None
        self.bulkhead = Bulkhead(maxsize, runtime)
        self._pools = Pools(
            url.scheme, url.hostname or "", url.port, maxsize=self.bulkhead.size, timeout=timeout,
            proxy=proxy, tls=tls, keep_alive=keep_alive, dialer=self._dialer(runtime),
        )  # fmt: skip
        self.proxy = proxy
        self.tls = tls
        self.origin, self.forwards = self._pools.origin, bool(self._pools.forwarded)
        # Others that keep connections: those of event loops.
        self.beside: ThreadSafeWeakSet[Any] = ThreadSafeWeakSet()
        self._read_pid = pid_reader(greenlets=runtime.name == "gevent")
        self._pid = os.getpid()

    def _dialer(self, runtime: Runtime) -> Dialer:
        if self._offload:  # requests are made in native threads
            return Dialer(Resolver(ThreadRuntime().event), native_poll)
        if runtime.name != "gevent":
            return Dialer(Resolver(runtime.event), native_poll)
        # A greenlet may be killed, and a look-up of its own would go on in one of gevent's threads.
        greenlets: Any = runtime
        return Dialer(Resolver(runtime.event, runtime.spawn_lasting, self._look_up_begins), greenlets.poll)

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        total: float | None = None,
        max_body: int = 65_536,
        cancel: CancelToken | None = None,
        priority: bool = False,
        once: bool = True,
        since: float = -math.inf,
    ) -> RawResponse:
        """Send one request and read the whole answer within ``total`` seconds.

        Arguments:
            method, path, headers, body: what is sent.
            total: seconds for everything, the wait for a slot included; default: ``timeout.total``.
            max_body: bytes; a longer answer is a ``BadReply``.
            cancel: ends the send from elsewhere.
            priority: jump the queue for a slot.
            once: never send it again; else once more, on a new connection, when an idle one turns out to be dead.
            since: needs a connection that was opened, or brought an answer below 500, after this; ``math.inf``: a
                new one. Monotonic seconds.

        Raises ``NetworkFailure`` (no answer), ``BadReply`` (none that is one), ``ValueError`` (a header cannot be).
        """
        sent = {**self.always, **headers}
        cancel = cancel or CancelToken(read_pid=self._read_pid)
        deadline = monotonic() + min(self._timeout.total if total is None else total, LONGEST_TIMEOUT)
        try:
            checked(headers)
            if self._read_pid() != self._pid:  # a fork has copied a greenlet along that has this transport
                raise forked(sent=False)
            if cancel.cancelled or self._pools.closed:
                raise NetworkFailure("aborted", "given up before it began", sent=False)
            request = Request(method, path, sent, body, deadline, max_body, once, since)
            exchange = Exchange(self._pools, request, cancel, self._timeout, self._call_later, self._look_up_begins)
            # Its token tells whose request it is.
            return self._in_turn(exchange, cancel, deadline, priority, hash(headers.get("Authorization")))
        finally:
            del headers, body, sent

    def _in_turn(
        self, exchange: Exchange, cancel: CancelToken, deadline: float, priority: bool, owner: int
    ) -> RawResponse:
        """Wait for a slot, use it, give it back."""
        slot = self.bulkhead.request(priority=priority, owner=owner)
        if self.bulkhead.full:
            for other in self.beside.all():
                other.retire_closed()
        try:
            has_slot = slot.wait(deadline - monotonic(), on_wait=cancel.watch)
            if cancel.left_behind:
                raise forked(sent=False)
            if not has_slot or self.bulkhead.ended:
                given_up = cancel.cancelled or self.bulkhead.ended
                kind, detail = ("aborted", "given up") if given_up else (BUSY, "no time left")
                raise NetworkFailure(kind, f"{detail} while all {self._maxsize} connections were busy", sent=False)
            if not self._offload:
                return exchange.run(self._pools.at(self._runtime.current_context()))
            try:
                answer = self._runtime.offload(_native, exchange, slot)
            except RuntimeError as error:  # the system grants no thread
                raise NetworkFailure(EXHAUSTED, f"no thread for a request: {error}", sent=False) from None
        except BaseException:
            if self._offload:
                cancel.cancel()  # nobody waits for the native thread any more; its slot comes back when it ends
            raise
        finally:
            slot.leave()
        if isinstance(answer, RawResponse):
            return answer
        try:
            raise answer
        finally:
            del answer  # a reference cycle otherwise

    def connections(self) -> tuple[int, int]:
        """``(in use, idle)`` connections."""
        return self.bulkhead.in_use, self._pools.idle() + sum(other.idle() for other in self.beside.all())

    @property
    def dialer(self) -> Dialer:
        """What makes connections, and remembers which address has answered."""
        return self._pools.dialer

    @property
    def health(self) -> ConnectionHealth:
        """What is known of connections, those of event loops included."""
        return self._pools.health

    def count_opened(self) -> None:
        """Count a connection that was opened elsewhere, for this pool."""
        self._pools.count_opened()

    def opened(self) -> int:
        """Connections opened so far."""
        return self._pools.opened

    def retire_connections(self) -> None:
        """Close the idle connections of all hubs and loops, and those at work when they end. Others may be opened."""
        self._pools.retire(lambda act, hub: self._runtime.spawn(act, context=hub))
        for other in self.beside.all():
            other.retire()

    def close(self) -> None:
        """Close the idle connections of all hubs, and those at work when they end."""
        self._pools.close()

    def after_fork(self) -> None:
        """In a forked child: forget the parent's sockets without a word on them."""
        self._pid = os.getpid()
        self._pools.after_fork()
        self.bulkhead = Bulkhead(self._maxsize, self._runtime)


def _native(exchange: Exchange, slot: SlotRequest) -> RawResponse | Exception:
    """In a native thread: the slot is the thread's now, which gives it back even if its greenlet is dead.

    A failure is returned: raised, it would carry this thread's frames to another.
    """
    mine = slot.hand_over()
    if mine is None:  # the greenlet died before this thread began
        return NetworkFailure("aborted", "given up before it began", sent=False)
    try:
        return exchange.run(exchange.pools.at(None))
    except Exception as error:  # noqa: BLE001 - raised again by the caller
        return error.with_traceback(None)
    finally:
        mine.leave()


def checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return ``headers``, or raise ``ValueError`` for one that cannot be."""
    for name, value in headers.items():
        if not name or _NO_NAME.search(name) or _NO_VALUE.search(value):
            raise ValueError(f"header {_NO_NAME.sub('?', name)}: has characters that no header may have")
    return headers
