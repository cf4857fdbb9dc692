"""What ``urlopen`` means to our clients: urllib's own machinery on the pool's connections.

Errors by status, redirects and the response's shape are urllib's, so the SDK meets what it expects. Only the handler
that would open a socket is replaced. Unlike urllib a redirect to another origin is not followed: it would take the
token with it. There are no cookies, no ``file:`` and no proxy from here on: the proxy is the pool's.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from email.message import Message
from http.client import responses
from typing import IO, Any, Protocol
from urllib import request as urllib_request
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.response import addinfourl

from .._driver.replays import Replays
from .._http.failures import BadReply, NetworkFailure, RawResponse
from .._shell.api import asked_to_wait, token_refused
from ..errors import PoolClosedError
from ..pool import ColonyPool, engines_of

__all__ = ["Caller", "caller", "open_url", "origin"]

_MAX_BODY = 64 * 1024 * 1024
_BEARER = "Bearer "


class Caller(Protocol):
    """The client on whose behalf a URL is opened."""

    pool: ColonyPool

    def _replays(self) -> Replays: ...


caller: ContextVar[Caller] = ContextVar("colony_pool.sdk.caller")


class _Answer(addinfourl):
    """An answer as ``http.client`` would have it, as far as urllib and the SDK look at it."""

    def __init__(self, reply: RawResponse, url: str) -> None:
        headers = Message()
        for name, value in _told(reply).items():
            headers[name] = value
        super().__init__(io.BytesIO(reply.body), headers, url, reply.status)
        self.msg = responses.get(reply.status, "")

    def getheaders(self) -> list[tuple[str, str]]:
        """All headers."""
        return list(self.headers.items())


def _told(reply: RawResponse) -> dict[str, str]:
    """The headers, with an error's ``Retry-After`` in whole seconds: the SDK may trip over anything else."""
    headers = dict(reply.headers)
    if reply.status >= 400:
        after = asked_to_wait(reply, time.time())
        headers.pop("retry-after", None)
        if after is not None:
            headers["retry-after"] = str(math.ceil(after))
    return headers


class _Connections(urllib_request.BaseHandler):
    """Sends a request over the connections of the caller's pool."""

    def http_open(self, request: urllib_request.Request) -> _Answer:
        """Send ``request``, and read the whole answer within its timeout."""
        client = caller.get()
        reply = _send(client.pool, request)
        if jwt := _token_of(request):
            replays = client._replays()
            while _refused(request, reply) and _again(request, client, replays):
                reply = _send(client.pool, request)
            if reply.status < 300:
                replays.worked(_token_of(request))
        del jwt  # no traceback of ours holds a token
        return _Answer(reply, request.full_url)

    https_open = http_open


def _refused(request: urllib_request.Request, reply: RawResponse) -> bool:
    """Whether the API refused the token: a gateway's own 401 says nothing of it."""
    return token_refused(reply.status, reply.headers, reply.body, request.get_method())


def _token_of(request: urllib_request.Request) -> str:
    bearer = request.get_header("Authorization", "")
    return bearer[len(_BEARER) :] if bearer.startswith(_BEARER) else ""


def _again(request: urllib_request.Request, client: Caller, replays: Replays) -> bool:
    """After a 401: whether ``request`` is sent again as it is, with a token that was too young to be known.

    With another token the SDK makes it again by itself.
    """
    pause = replays.pause(_token_of(request))
    if not pause or not isinstance(request.data, (bytes, type(None))):
        return False
    engines_of(client.pool).current.closing.wait(pause)
    return True


class _Redirects(urllib_request.HTTPRedirectHandler):
    """Follows what urllib follows, within one origin."""

    def redirect_request(
        self, req: urllib_request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib_request.Request | None:
        if origin(newurl) != origin(req.full_url):
            return None  # urllib then raises the 3xx itself
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of ``url``."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _send(pool: ColonyPool, request: urllib_request.Request) -> RawResponse:
    if origin(request.full_url) != origin(pool.base_url):
        raise URLError(f"the pool of this client is for {pool.base_url} alone")
    method = request.get_method()
    headers = {name.title(): value for name, value in request.header_items()}
    body: Any = request.data
    # A deed that the server cannot recognise goes over a new connection, as with urllib: of an idle one that is
    # closed at this very moment nobody would know whether the deed had arrived.
    repeatable = method in ("GET", "HEAD") or "Idempotency-Key" in headers
    try:
        engine = engines_of(pool).ready()
        return engine.transport.send(
            method, request.selector, headers=headers, body=body, total=request.timeout, max_body=_MAX_BODY,
            once=not repeatable, fresh=not repeatable,
        )  # fmt: skip
    except NetworkFailure as failure:
        problem = failure.detail
    except BadReply as bad:
        problem = bad.reason
    except PoolClosedError as closed:
        problem = str(closed)
    finally:
        del headers, body  # no traceback of ours holds a token
    raise URLError(problem)


def _opener() -> Callable[..., Any]:
    opener = urllib_request.OpenerDirector()
    for handler in (_Connections(), _Redirects(), urllib_request.HTTPErrorProcessor(),
                    urllib_request.HTTPDefaultErrorHandler()):  # fmt: skip
        opener.add_handler(handler)
    return opener.open


open_url = _opener()
