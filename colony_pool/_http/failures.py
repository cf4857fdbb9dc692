"""What becomes of a request: an answer, or one of two failures. None of them holds a key, a token or a code."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException

from urllib3 import exceptions as u3

# What a failure is called when this host has run out of something: descriptors, ports, memory.
EXHAUSTED = "exhausted"
BUSY = "busy"  # all of the pool's connections are in use
FORKED = "forked"  # a greenlet that a fork has copied makes its parent's request
_NONE_LEFT = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A whole answer.

    Arguments:
        status: the HTTP status.
        headers: their names are lower-case; a header that comes twice is joined with a comma.
        body: not compressed.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class NetworkFailure(Exception):
    """There was no answer.

    Arguments:
        kind: one word: ``dns``, ``timeout``, ``refused``, ``tls``, ``reset``, ``proxy``, ``aborted``, ``other``.
            Two words mean that this host is to blame, and not the endpoint: ``exhausted`` (of descriptors, ports or
            memory) and ``busy`` (all connections are in use).
        detail: a few words for the message; no secret may be in them.
        sent: False only if no byte of the body can have reached the server.
        reused: whether the connection had served another request before.
        hint: what to do about it, if there is more to say than to check the network; no secret may be in it.
    """

    def __init__(self, kind: str, detail: str, *, sent: bool, reused: bool = False, hint: str = "") -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.sent = sent
        self.reused = reused
        self.hint = hint


class BadReply(Exception):
    """There was an answer that broke off, grew too big, or cannot be decoded.

    Arguments:
        status: the HTTP status that it began with.
        reason: a few words for the message, after "HTTP 200, but".
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


def forked(*, sent: bool) -> NetworkFailure:
    """Return what a greenlet is told that a fork has copied along with the request that it is making."""
    return NetworkFailure(FORKED, "this process was forked meanwhile, and the request is its parent's", sent=sent)


def describe(error: BaseException) -> tuple[str, str]:
    """``(kind, detail)`` of an exception from urllib3, ssl, http.client or the socket; nothing secret in it."""
    error = unwrapped(error)
    for classes, kind, detail in _KINDS:
        if isinstance(error, classes):
            return kind, detail or _tls_words(error)
    if isinstance(error, OSError) and error.strerror:
        return EXHAUSTED if error.errno in _NONE_LEFT else "other", error.strerror.lower()
    return "other", type(error).__name__


def sought(kind: str, detail: str, origin: str) -> str:
    """``detail``, with who was sought in vain: a slip in ``base_url`` is seen in that."""
    return detail if kind == EXHAUSTED else f"{detail}: {origin}"  # then it is here that something is missing


# In this order: a subclass before its base.
_KINDS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((socket.gaierror, UnicodeError), "dns", "the host name does not resolve"),
    ((TimeoutError, u3.TimeoutError), "timeout", "no answer in time"),
    ((ConnectionRefusedError,), "refused", "connection refused"),
    ((ssl.SSLError, u3.SSLError), "tls", ""),
    ((ConnectionError,), "reset", "the connection broke off"),
    ((HTTPException, u3.HeaderParsingError, u3.InvalidHeader), "reset", "the answer is not HTTP"),
)


def unwrapped(error: BaseException) -> BaseException:
    """Return what urllib3 has put into an exception of its own."""
    while isinstance(error, u3.HTTPError):
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), error.__cause__)
        if inner is None:
            return error
        error = inner
    return error


def _tls_words(error: BaseException) -> str:
    words = getattr(error, "verify_message", "") or getattr(error, "reason", "") or "the handshake failed"
    return str(words)[:120].lower().replace("_", " ")
