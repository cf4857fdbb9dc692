"""urllib3's pools as this library needs them: a deadline on every byte, a queue that fits the runtime.

Only this file and ``transport.py`` import urllib3, and nothing of urllib3 is changed for anybody else.
"""

from __future__ import annotations

import http.client
import io
import queue
import socket
from time import monotonic
from typing import Any

import urllib3
import urllib3.connection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _DeadlineIO(io.RawIOBase):
    """Reads a socket and gives each read no more time than the whole answer has left.

    urllib3's timeouts bound one read each: at a byte a second, headers alone may take for ever.
    """

    def __init__(self, sock: Any, deadline: float, read: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - monotonic()
        if left <= 0:
            raise socket.timeout("the answer took too long in all")  # noqa: UP041 - an alias only from 3.10 on
        self._sock.settimeout(min(left, self._read))
        return int(self._sock.recv_into(buffer))

    def close(self) -> None:
        super().close()
        self._sock = None


class _Guarded:
    """What both kinds of connection share."""

    colony_deadline: tuple[float, float] | None = None

    def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        reply = http.client.HTTPResponse(sock, *args, **kwargs)
        if self.colony_deadline is not None:
            reply.fp.close()
            reply.fp = io.BufferedReader(_DeadlineIO(sock, *self.colony_deadline))
        return reply


class Connection(_Guarded, urllib3.connection.HTTPConnection):
    """Plain HTTP."""


class SecureConnection(_Guarded, urllib3.connection.HTTPSConnection):
    """HTTPS."""


def pool_classes(queue_class: type[Any] | None = None) -> dict[str, type[HTTPConnectionPool]]:
    """Pool classes whose slots wait in ``queue_class`` (default: the standard library's)."""
    slots = queue_class or queue.LifoQueue

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection
        QueueCls = slots

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection
        QueueCls = slots

    return {"http": Pool, "https": SecurePool}
