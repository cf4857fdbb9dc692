"""Whether something stands in for what requests of the SDK go through: a mock, vcrpy, a fake of a user's own.

Then tokens are asked for the same way, by the SDK's own code, and the pool has no part in it: a test never reaches
the real API by way of us. What only watches and calls what was there before stands in for nothing: OpenTelemetry,
New Relic and others put wrappers there that say what they wrap (``__wrapped__``).
"""

from __future__ import annotations

import functools
import http.client
import inspect
import logging
import socket
import urllib.request
from collections.abc import Iterable
from types import FunctionType
from typing import Any

from .._log import AT_ONCE
from ._compat import sdk

__all__ = ["are_connections_replaced", "has_method_replaced", "is_original", "is_urllib_replaced", "tell_once"]

_WRAPPERS = 32  # more of them, one around the other, are a circle
_AT_IMPORT = getattr(sdk, "urlopen", None)
# What ``urlopen``, or a client with ``proxy``, calls in turn.
_STEPS: tuple[tuple[Any, str, str], ...] = (
    (urllib.request, "build_opener", "urllib.request"),
    (urllib.request.OpenerDirector, "open", "urllib.request"),
    (urllib.request.HTTPHandler, "http_open", "urllib.request"),
    (urllib.request.HTTPSHandler, "https_open", "urllib.request"),
    (urllib.request.AbstractHTTPHandler, "do_open", "urllib.request"),
)
_CONNECTIONS = ("HTTPConnection", "HTTPSConnection")  # vcrpy replaces these, pook their method request
# Whose sockets lead to the network: all others (mocket, httpretty, pytest-socket, a user's own) stand in for it.
_SOCKETS = ("socket", "gevent", "eventlet", "socks")


def is_original(function: object, module: str, *, by_wrappers: bool = True) -> bool:
    """Whether ``function`` is one of ``module``, maybe with wrappers around it that say what they wrap."""
    for _ in range(_WRAPPERS if by_wrappers else 1):
        if isinstance(function, FunctionType) and function.__globals__.get("__name__") == module:
            return True
        function = getattr(function, "__wrapped__", None)
    return False


@functools.cache
def tell_once() -> None:
    """Say in the log that the pool is left out; a program that is no test should know."""
    AT_ONCE.write(
        logging.WARNING,
        "colony_pool.sdk: something stands in for the network, a mock say: the SDK asks for tokens by way of it, and "
        "the pool, its breaker included, has no part in that",
    )


def is_urllib_replaced() -> bool:
    """Whether a request that a ``ColonyClient`` makes now would go through anything but urllib."""
    return (
        _is_urlopen_replaced()
        or any(not is_original(getattr(owner, name), module) for owner, name, module in _STEPS)
        or are_connections_replaced()
        or _is_opener_replaced()
    )


def are_connections_replaced() -> bool:
    """Whether something stands in for sockets or for connections of ``http.client``: vcrpy does so for httpx, too."""
    return (
        any(_is_connection_replaced(getattr(http.client, name)) for name in _CONNECTIONS)
        or _root(socket.socket) not in _SOCKETS
        or _root(inspect.unwrap(socket.create_connection)) not in _SOCKETS
    )


def has_method_replaced(client: Any, ours: type, theirs: type) -> bool:
    """Whether a test has put something in the place of ``_raw_request``, by which the SDK asks for tokens.

    Arguments:
        client: a client.
        ours: the class of this library that it is of.
        theirs: the SDK's.
    """
    method = "_raw_request"
    return (
        method in vars(client)
        or method in vars(ours)  # which only inherits it
        or not isinstance(inspect.getattr_static(type(client), method), FunctionType)
        or not is_original(getattr(theirs, method), theirs.__module__)
    )


def _is_urlopen_replaced() -> bool:
    """Wrappers count here, unless they were there first: a test's may answer some requests itself."""
    function = sdk.urlopen  # type: ignore[attr-defined] # it imports it for itself
    return not is_original(function, "urllib.request", by_wrappers=function is _AT_IMPORT)


def _is_connection_replaced(cls: Any) -> bool:
    return getattr(cls, "__module__", None) != "http.client" or not is_original(cls.request, "http.client")


def _root(found: object) -> str:
    """The first name of the module that ``found`` comes from."""
    return str(getattr(found, "__module__", "")).partition(".")[0]


def _is_opener_replaced() -> bool:
    """Whether ``urllib.request.install_opener`` was given handlers that are not urllib's."""
    opener = urllib.request._opener  # type: ignore[attr-defined]
    if opener is None:
        return False
    handlers: Iterable[object] = getattr(opener, "handlers", ())
    return type(opener) is not urllib.request.OpenerDirector or any(
        type(handler).__module__ != "urllib.request" for handler in handlers
    )
