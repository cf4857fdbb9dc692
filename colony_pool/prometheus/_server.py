"""Serves one registry at ``/metrics``, before and after gevent has patched the process, and in no forked child.

``start_http_server`` of ``prometheus_client`` does neither: after a late patch the threads that it starts are
greenlets that no hub runs, and a child keeps its port. So what gevent replaces is taken here once, when this module
is imported: a server is native threads all its life, or greenlets all its life.
"""

from __future__ import annotations

import _socket  # the C sockets, which no monkey patch replaces
import os
import socket
import time
from _thread import start_new_thread
from contextlib import suppress
from select import POLLIN, poll
from socket import socket as Socket
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from .._runtime.descriptors import let_go

_STEP = 0.01  # seconds
_PATIENCE = 30.0  # seconds for a client to send its request


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class _Listener(WSGIServer):
    """A listening socket, and a thread for each request."""

    def __init__(self, addr: str, port: int) -> None:
        found = socket.getaddrinfo(addr, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, _, _, _, address = found[0]
        super().__init__((str(address[0]), port), _Handler)
        self.socket = _as_imported(self.socket)
        self.socket.settimeout(0.0)

    def get_request(self) -> tuple[Any, Any]:
        """Take a connection."""
        connection, address = super().get_request()
        connection = _as_imported(connection)
        connection.settimeout(_PATIENCE)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own."""
        start_new_thread(self._answer, (request, client_address))

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            with suppress(Exception):  # whoever asks may hang up at any moment
                self.finish_request(request, client_address)
        finally:
            with suppress(Exception):
                self.shutdown_request(request)


class MetricsServer:
    """One server, from ``start_thread`` until ``end``, or until a fork in the child.

    Raises ``OSError`` if ``addr:port`` cannot be had.
    """

    def __init__(self, addr: str, port: int, registry: CollectorRegistry) -> None:
        self._listener = _Listener(addr, port)
        self._listener.set_app(make_wsgi_app(registry))
        self.port = int(self._listener.server_port)
        self._pid = os.getpid()
        self._over = False
        self._ended = False
        start_new_thread(self._serve, ())

    def _serve(self) -> None:
        try:
            ready = poll()
            ready.register(self._listener.socket, POLLIN)
            while not self._over and os.getpid() == self._pid:
                ready.poll()
                if not self._over and os.getpid() == self._pid:  # a greenlet that a fork has copied takes nothing
                    self._listener._handle_request_noblock()  # type: ignore[attr-defined] # not in the stubs
        finally:
            self._ended = True
            if os.getpid() != self._pid:
                self._listener.server_close()

    def end(self, within: float) -> None:
        """Close the port, and wait for the thread so many seconds. Any number of times."""
        if os.getpid() != self._pid:
            return
        self._over = True
        with suppress(OSError):  # closed already
            _socket.socket.shutdown(getattr(self._listener.socket, "_sock", self._listener.socket), socket.SHUT_RDWR)
        until = time.monotonic() + within
        while not self._ended and time.monotonic() < until:
            time.sleep(_STEP)
        self._listener.server_close()

    def forget(self) -> None:
        """In a forked child: close its handle on the port, without a word on it: the parent goes on listening."""
        self._over = True
        let_go(self._listener.socket, in_use=not self._ended)


def _as_imported(sock: Any) -> Any:
    """The same connection as a socket of the kind that this module knows: gevent may have replaced it since."""
    return sock if type(sock) is Socket else Socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
