"""An HTTP proxy on loopback that connects and forwards, may ask for a password, and keeps what it was asked.

Also what stands before a server and speaks TLS for it. Both lead wherever they are told to: no name is looked up.
"""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request of a client to the proxy."""

    line: str
    host: str
    authorization: str


class Listener:
    """Accepts connections, each for a task of its own; ``tls`` is the context of a server."""

    def __init__(self, upstream: int, tls: ssl.SSLContext | None = None) -> None:
        self.upstream = upstream  # a port of loopback, to which all that is asked for leads
        self.tls = tls
        self.connections = 0
        self.certificates: list[dict[str, Any]] = []  # that clients have shown
        self._peers: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut(self) -> None:
        """End all connections."""
        for peer in list(self._peers):
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with suppress(OSError), peer:
            if self.tls is None:
                self._known(peer)
            else:
                with self.tls.wrap_socket(peer, server_side=True) as wrapped:
                    if shown := wrapped.getpeercert():
                        self.certificates.append(dict(shown))
                    self._known(wrapped)

    def _known(self, peer: socket.socket) -> None:
        self._peers.add(peer)
        try:
            self.serve(peer)
        finally:
            self._peers.discard(peer)

    def serve(self, peer: socket.socket) -> None:
        """Join ``peer`` with the server."""
        self.join(peer, b"")

    def join(self, peer: socket.socket, first: bytes) -> None:
        """Carry bytes both ways until one side ends; ``first`` goes to the server before all else."""
        with socket.create_connection(("127.0.0.1", self.upstream)) as server:
            server.sendall(first)
            back = threading.Thread(target=_carry, args=(server, peer), daemon=True)
            back.start()
            _carry(peer, server)
            back.join()


class Proxy(Listener):
    """The proxy.

    ``credentials`` (``user:password``) are asked for, if there are any. ``answer`` is given to every request in the
    place of what it asks for; an empty one hangs up.
    """

    def __init__(
        self, upstream: int, credentials: str = "", answer: bytes | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.asked: list[Asked] = []
        self.credentials = credentials
        self.answer = answer
        super().__init__(upstream, tls)

    def url(self, credentials: str = "") -> str:
        """Its address, with ``credentials`` as they stand in a URL."""
        scheme, host = ("https", "localhost") if self.tls is not None else ("http", "127.0.0.1")
        return f"{scheme}://{credentials}{'@' if credentials else ''}{host}:{self.port}"

    def serve(self, peer: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += (more := peer.recv(65_536))
            if not more:
                return
            if head.startswith(b"\x16"):  # that is TLS
                peer.sendall(refusal(400))
                return
        rows, _, body = head.partition(b"\r\n\r\n")
        line, *lines = rows.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in lines)}
        mine = headers.get("proxy-authorization", "")
        self.asked.append(Asked(line, headers.get("host", ""), mine))
        wanted = "Basic " + base64.b64encode(self.credentials.encode()).decode() if self.credentials else ""
        if self.answer is not None:
            peer.sendall(self.answer)
        elif wanted and mine != wanted:
            peer.sendall(refusal(407, "Proxy-Authenticate: Basic realm=x\r\n"))
        elif line.startswith("CONNECT "):
            peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.join(peer, body)
        else:  # one request for each connection
            kept = [row for row in lines if not row.lower().startswith(("proxy-", "connection:"))]
            self.join(peer, "\r\n".join([line, *kept, "Connection: close", "", ""]).encode("latin-1") + body)


def refusal(status: int, headers: str = "", body: str = "") -> bytes:
    """What a proxy says in the place of the API."""
    head = f"HTTP/1.1 {status} So it is\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError, ValueError):  # of a socket that the other way has closed
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
