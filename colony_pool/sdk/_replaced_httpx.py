"""The same for the SDK's asynchronous client: whether something stands in for what its httpx client sends with.

That is a mock of httpx or httpcore (respx, pytest-httpx, vcrpy), a client that is none of httpx', or one with a
transport that reaches no network: ``httpx.MockTransport``, ``httpx.ASGITransport``, one of a user's own that neither
is nor has an ``httpx.AsyncHTTPTransport``.
"""

from __future__ import annotations

from typing import Any

import httpcore
import httpx

from ._replaced import are_connections_replaced, is_original

__all__ = ["is_httpx_replaced"]

_CLIENT = "httpx._client"
_METHODS = ("request", "send", "get", "post")  # the SDK calls the first and the last two, httpx itself the second
_DEPTH = 4  # of transports one in the other
# What a transport of httpx' calls: (class, module that defines it).
_SENDERS: tuple[tuple[Any, str], ...] = (
    (httpx.AsyncHTTPTransport, "httpx._transports.default"),
    (httpcore.AsyncConnectionPool, "httpcore._async.connection_pool"),
    (httpcore.AsyncHTTPConnection, "httpcore._async.connection"),
)


def is_httpx_replaced(client: Any, url: str) -> bool:
    """Whether a request to ``url`` that ``client`` makes now would go anywhere but to the network."""
    return (
        are_connections_replaced()
        or not issubclass(type(client), httpx.AsyncClient)
        or any(name in vars(client) and not is_original(vars(client)[name], _CLIENT) for name in _METHODS)
        or any(not _calls_original(vars(httpx.AsyncClient)[name], _CLIENT) for name in _METHODS)
        or any(not is_original(cls.handle_async_request, module) for cls, module in _SENDERS)
        or not _reaches_network(client._transport_for_url(httpx.URL(url)), _DEPTH)
    )


def _calls_original(function: object, module: str) -> bool:
    """Sentry's wrapper does not say what it wraps: it has that in its closure."""
    cells = getattr(function, "__closure__", None) or ()
    return is_original(function, module) or any(is_original(cell.cell_contents, module) for cell in cells)


def _reaches_network(transport: object, depth: int) -> bool:
    if isinstance(transport, httpx.AsyncHTTPTransport):
        method = vars(transport).get("handle_async_request")
        return method is None or is_original(method, "httpx._transports.default")
    if isinstance(transport, httpcore.AsyncConnectionPool):
        return True
    if not depth or isinstance(transport, (httpx.MockTransport, httpx.ASGITransport)):
        return False
    return any(_reaches_network(part, depth - 1) for part in vars(transport).values() if _may_send(part))


def _may_send(part: object) -> bool:
    return isinstance(part, (httpx.AsyncBaseTransport, httpcore.AsyncConnectionPool))
