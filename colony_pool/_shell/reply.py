"""An answer as it comes off a socket: its head read here, its body by http.client.

Why not the head as well: http.client has it parsed as a whole e-mail message, which is a fifth of a request's CPU,
and takes much for a head that is none: an early end, a line that is no header, two lengths that differ.
"""

from __future__ import annotations

import io
import re
import weakref
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse, UnknownProtocol
from typing import Any, Protocol
from urllib.parse import unquote

from .._core.headers import tells_time

# Bytes of an answer's headers, interim answers included; http.client would take 100 lines of 64 KiB.
_MAX_HEAD = 131_072
_MAX_LINES = 100  # as http.client has it
_LENGTH_DIGITS = 18  # int() refuses thousands of them
_ENDLESS = 10**_LENGTH_DIGITS  # a body that always breaks off
_NO_BODY = (204, 304)
_ENCODED = 3  # times that an echo may have been percent-encoded
_SWITCHING = 101


class Guard(Protocol):
    """The connection that an answer comes from."""

    colony_heard: int
    colony_surplus: bool

    def receive(self, sock: Any, buffer: Any) -> int:
        """Read into ``buffer`` within the deadline; how much, 0 at the end."""


class DeadlineIO(io.RawIOBase):
    """Reads a socket and gives each read no more time than the whole answer has left."""

    def __init__(self, guard: Guard, sock: Any) -> None:
        self._guard = weakref.ref(guard)  # no cycle: a connection that is lost closes at once
        self._sock = sock
        self.at_end = False
        self.in_head = True

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.at_end:
            return 0
        guard = self._guard()
        if guard is None:
            return 0
        count = guard.receive(self._sock, buffer)
        guard.colony_heard += count
        if self.in_head and guard.colony_heard > _MAX_HEAD:
            raise HTTPException("the headers are too long")
        return count


class Reply(HTTPResponse):
    """An answer that notices when more came than was announced: its connection is out of step.

    ``headers`` has lower-case names; of a header that comes twice the last one counts, but what tells time is joined.
    """

    fp: Any = None  # what Ctrl-C left half made has it, too
    colony_guard: Callable[[], Guard | None] = staticmethod(lambda: None)  # weak: no cycle
    headers: dict[str, str]  # type: ignore[assignment] # all that http.client asks of it is ``get``

    def begin(self) -> None:
        """Read the head, and those of interim answers before it."""
        interim = True
        while interim:
            version, status, reason = self._read_status()  # type: ignore[attr-defined] # not in the stubs
            headers = _headers(self.fp)
            interim = 100 <= status < 200 and status != _SWITCHING
        self.fp.raw.in_head = False
        if not version.startswith(("HTTP/1.", "HTTP/0.9")):
            raise UnknownProtocol(version)
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self.code = self.status = status
        self.reason = reason.strip()
        self.headers = self.msg = headers  # type: ignore[assignment]
        self._frame()

    def _frame(self) -> None:
        """Where the body ends."""
        self.chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = None if self.chunked else _length(self.headers.get("content-length"))
        if self.status in _NO_BODY or self._method == "HEAD":  # type: ignore[attr-defined] # not in the stubs
            self.length = 0
        endless = not self.chunked and self.length is None
        self.will_close = endless or self._check_close()  # type: ignore[attr-defined] # not in the stubs

    def _close_conn(self) -> None:
        fp, guard = self.fp, self.colony_guard()
        if guard is not None and fp is not None and not fp.closed:
            fp.raw.at_end = True
            guard.colony_surplus = bool(fp.peek(1))
        super()._close_conn()  # type: ignore[misc] # not in the stubs


_SHOWN = ("location", "content-type")  # what an error tells of an answer's headers


def without_secrets(headers: Mapping[str, str], *secrets: str | None) -> Mapping[str, str]:
    """``headers`` without ``secrets`` in those that errors show: a server may echo them, percent-encoded, too."""
    changed = {}
    for name in _SHOWN:
        value = plain = headers.get(name, "")
        for _ in range(_ENCODED):
            plain = unquote(plain)
        for secret in secrets:
            if secret and secret.lower() in plain.lower():
                value = plain = re.sub(re.escape(secret), "***", plain, flags=re.IGNORECASE)
        if value != headers.get(name, ""):
            changed[name] = value
    return {**headers, **changed} if changed else headers


def _headers(fp: Any) -> dict[str, str]:
    """Read headers up to the empty line. Names in lower case."""
    headers: dict[str, str] = {}
    name = ""
    for _ in range(_MAX_LINES):
        line = fp.readline()
        if line in (b"\r\n", b"\n"):
            return headers
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the connection ended within the headers")
        name = _header(line.decode("iso-8859-1"), name, headers)
    raise HTTPException(f"more than {_MAX_LINES} headers")


def _header(line: str, before: str, headers: dict[str, str]) -> str:
    """Put one line among the headers, and return its name; ``before`` is that of the line before it."""
    if line[0] in " \t" and before:  # RFC 9112 5.2: a folded line goes on with the one before
        headers[before] = f"{headers[before]} {line.strip()}"
        return before
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        raise HTTPException("a line among the headers is none")
    name, value = name.lower(), value.strip()
    if name == "content-length" and headers.get(name, value) != value:
        raise HTTPException("two lengths that differ")  # RFC 9112 6.3: the end of the body is unknown
    if name in headers and tells_time(name):
        value = f"{headers[name]}, {value}"
    headers[name] = value
    return name


def _length(text: str | None) -> int | None:
    """``Content-Length``; ``None`` when there is none that can be used: the body ends with the connection."""
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) <= _LENGTH_DIGITS else _ENDLESS
