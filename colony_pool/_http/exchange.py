"""One request and its answer, by urllib3's ``urlopen``.

Every way in which that can fail ends here as ``NetworkFailure`` (no answer) or ``BadReply`` (no usable
answer), without the key, the token or the code in it; what a caller's task is killed with passes through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from time import monotonic
from typing import Any

from urllib3 import Retry
from urllib3 import exceptions as u3

from .._runtime.protocol import Timer
from ..config import Timeout
from .cancel import CancelToken
from .connection import Use, current
from .decoding import decoded, is_coded
from .failures import BadReply, NetworkFailure, RawResponse, describe, forked, sought
from .pools import Pools
from .proxies import REFUSED, tunnel_status
from .tls import advice

_CHUNK = 65_536
_SWITCHING = 101
_NO_RETRIES = Retry(False, redirect=False)  # what ``retries=False`` means; urllib3 would make one for each request


@dataclass(slots=True)
class Request:
    """What is sent, and within which bounds. ``deadline`` is monotonic seconds."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    deadline: float
    max_body: int
    once: bool  # may not be sent again, not even when an idle connection turns out to be dead
    since: float  # needs a connection that was opened, or proven, after this; inf: a new one


class Exchange:
    """A request and its answer."""

    def __init__(
        self,
        pools: Pools,
        request: Request,
        cancel: CancelToken,
        timeout: Timeout,
        call_later: Callable[[float, Callable[[], object]], Timer] | None,
        look_up_begins: Callable[[], bool] | None = None,
    ) -> None:
        self.pools = pools
        self._request: Request | None = request
        self._cancel = cancel
        self._timeout = timeout
        self._call_later = call_later  # where a handshake needs a deadline from outside
        self._timer: Timer | None = None
        self._look_up_begins = look_up_begins  # where a look-up may have to wait for a thread of this process

    def run(self, pool: Any) -> RawResponse:
        """Send and read, on a connection of ``pool``. The one who calls is the one who waits."""
        if self._look_up_begins is None or self._look_up_begins():
            self._cancel.begin()
        request = self._request
        assert request is not None  # noqa: S101 - it goes when ``run`` ends
        try:
            outcome = self._once(pool, request, since=request.since)
            if outcome is None:
                outcome = self._once(pool, request, since=math.inf)  # other idle ones may be as dead as that
            assert outcome is not None  # noqa: S101 - a new one cannot have been dead
            if isinstance(outcome, RawResponse):
                return outcome
        finally:
            self._request = request = None  # no traceback of ours holds a secret
        try:
            raise outcome
        finally:
            del outcome  # a reference cycle otherwise, and its connection with it

    def _once(self, pool: Any, request: Request, *, since: float) -> RawResponse | NetworkFailure | BadReply | None:
        """Send once; ``None`` if an idle connection was dead, and the request may be sent again."""
        use = Use(
            request.headers, request.body, self._cancel, deadline=request.deadline, read=self._timeout.read,
            since=since, health=self.pools.health, dialer=self.pools.dialer, opened=self._opened,
        )  # fmt: skip
        mark = current.set(use)
        response: Any = None
        answer: RawResponse | None = None
        try:
            response = pool.urlopen(
                request.method, self.pools.forwarded + request.path, headers={}, retries=_NO_RETRIES, redirect=False,
                assert_same_host=False, preload_content=False, decode_content=False,
            )  # fmt: skip
            if response.status == REFUSED and self.pools.forwarded and self.pools.proxy is not None:
                return self.pools.proxy.refusal(REFUSED, self.pools.origin)
            answer = _whole(response, request)
            self._note_answer(use, answer)
            return forked(sent=True) if self._cancel.left_behind else answer
        except (NetworkFailure, BadReply) as failure:
            return failure.with_traceback(None)
        except (OSError, HTTPException, u3.HTTPError, UnicodeError) as error:  # the one place where they are mapped
            if isinstance(error, UnicodeError) and not use.connecting:  # else it is of the look-up of a name
                raise
            mapped = self._mapped(error, use, response.status if response is not None else 0)
            if use.reused and not use.heard and isinstance(mapped, NetworkFailure) and mapped.kind == "timeout":
                self.pools.health.silent(use.sent_at)
            dead = use.reused and not use.heard and isinstance(mapped, NetworkFailure) and mapped.kind == "reset"
            return None if dead and not request.once else mapped
        finally:
            current.reset(mark)
            if response is not None and answer is None:
                response.close()
            self._cancel.let_go()
            if self._timer is not None:
                self._timer.cancel()

    def _note_answer(self, use: Use, answer: RawResponse) -> None:
        if use.record is not None:
            self.pools.health.answered(use.record, answer.status, answer.headers)

    def _opened(self, conn: Any) -> None:
        self.pools.add(conn)
        if self._call_later is not None and self._request is not None:
            # gevent grants each piece of a TLS handshake the whole timeout anew: a drip would never end.
            self._timer = self._call_later(max(0.0, self._request.deadline - monotonic()), self._cancel.expire)

    def _mapped(self, error: Exception, use: Use, status: int) -> NetworkFailure | BadReply:
        if self._cancel.left_behind:
            return forked(sent=use.sent)
        if self._cancel.cancelled:
            return NetworkFailure("aborted", "given up", sent=use.sent, reused=use.reused)
        kind, detail = ("timeout", "no answer in time") if self._cancel.expired else describe(error)
        if status and kind != "timeout":
            return BadReply(status, "the body broke off or cannot be read")
        if use.connecting:
            if kind == "timeout":
                detail = "no connection in time"
            proxy, origin = self.pools.proxy, self.pools.origin
            if proxy is None:
                detail = sought(kind, detail, origin)
            elif (refusal := tunnel_status(error)) is not None:
                return proxy.refusal(refusal, origin)
            elif self.pools.forwarded or isinstance(error, u3.ProxyError):
                return proxy.unreached(kind, detail, advice(error))
            else:
                detail = proxy.through(sought(kind, detail, origin))
        return NetworkFailure(kind, detail, sent=use.sent, reused=use.reused, hint=advice(error))


def _whole(response: Any, request: Request) -> RawResponse:
    """Read the body, no more of it than the request allows, neither as it comes nor decoded."""
    if response.status == _SWITCHING:  # which nobody has asked for, and what comes next is no HTTP
        raise NetworkFailure("reset", "the answer is not HTTP", sent=True)
    headers = {name.lower(): value for name, value in response.headers.itermerged()}
    chunks, size = [], 0
    while chunk := response.read1(_CHUNK):
        size += len(chunk)
        if size > request.max_body:
            raise BadReply(response.status, f"the body is over {request.max_body} bytes")
        chunks.append(chunk)
        if response.length_remaining == 0:  # else one more read would say so
            break
    answer = RawResponse(response.status, headers, b"".join(chunks))
    return decoded(answer, request.max_body, request.deadline) if is_coded(headers) else answer
