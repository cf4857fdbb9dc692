"""A name whose addresses a test chooses, and addresses that are silent."""

from __future__ import annotations

import _socket  # what all look-ups end in, in native threads, whatever gevent has patched
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.support.namespaces import Impossible, run
from tests.support.netns import device

NAME = "api.colony.test"


def entry(host: str, port: int) -> tuple[Any, ...]:
    """As ``getaddrinfo`` says it."""
    if ":" in host:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))


def _native_lock() -> Any:
    import _thread

    monkey = sys.modules.get("gevent.monkey")
    new_lock = _thread.allocate_lock if monkey is None else monkey.get_original("_thread", "allocate_lock")
    return new_lock()


@contextmanager
def patched_look_up(look_up: Callable[..., Any]) -> Iterator[None]:
    """Have ``look_up`` answer all look-ups."""
    before = _socket.getaddrinfo
    _socket.getaddrinfo = look_up
    try:
        yield
    finally:
        _socket.getaddrinfo = before


class Names:
    """Answers the look-ups of ``NAME``, in the place of the system's resolver, and hears what is connected to.

    Attributes:
        entries: what a look-up finds.
        error: what it raises instead.
        asked: how many look-ups have begun.
        tried: hosts to which a connection was tried, in order.
    """

    def __init__(self, *entries: tuple[Any, ...]) -> None:
        self.entries = list(entries)
        self.error: Exception | None = None
        self.asked = 0
        self.tried: list[str] = []
        self._gate = _native_lock()
        self._real, self._class, self._connect = _socket.getaddrinfo, socket.socket, socket.socket.connect

    def url(self, port: int, scheme: str = "http", name: str = NAME) -> str:
        return f"{scheme}://{name}:{port}/api/v1"

    def silence(self) -> None:
        """Look-ups that begin from now on wait."""
        self._gate.acquire()

    def speak(self) -> None:
        """They go on."""
        self._gate.release()

    def __enter__(self) -> Names:
        tried = self.tried

        def connect(sock: Any, address: Any) -> Any:
            if isinstance(address, tuple) and address in [each[4] for each in self.entries]:
                tried.append(address[0])
            return self._connect(sock, address)

        self._patch = patched_look_up(self._look_up)
        self._patch.__enter__()
        self._class.connect = connect  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.__exit__(None, None, None)
        self._class.connect = self._connect  # type: ignore[method-assign]

    def _look_up(self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if flags & socket.AI_NUMERICHOST or name not in (NAME, NAME + "."):
            return self._real(host, port, family, type, proto, flags)
        self.asked += 1
        with self._gate:
            if self.error is not None:
                raise self.error
            return list(self.entries)


@contextmanager
def silent(port: int, *hosts: str) -> Iterator[list[tuple[Any, ...]]]:
    """Addresses that answer nothing: a full queue of connections, in which the kernel drops whoever comes.

    ``port`` is that of the URL: anyio takes no other, whatever a look-up says.
    """
    with ExitStack() as open_ones:
        found = []
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                server = open_ones.enter_context(socket.socket(family))
                server.bind((host, port))
            except OSError as error:
                raise Impossible(f"no address {host} here: {error}") from None
            server.listen(0)
            for _ in range(6):
                other = open_ones.enter_context(socket.socket(family))
                other.setblocking(False)
                other.connect_ex(server.getsockname())
            found.append(entry(host, server.getsockname()[1]))
        yield found


def refused(host: str) -> tuple[Any, ...]:
    """An address at which nobody listens."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        try:
            sock.bind((host, 0))
        except OSError as error:
            raise Impossible(f"no address {host} here: {error}") from None
        return entry(host, sock.getsockname()[1])


class Swallowed:
    """A network of this thread's own, with an IPv6 address behind a wire that swallows all packets."""

    host = "2001:db8::2"

    def __enter__(self) -> Swallowed:
        self._device = device("192.0.2.1")
        self._ports: set[bytes] = set()
        run("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "wire", "nodad")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._device)

    def connections(self) -> int:
        """How many connections to it have been tried so far."""
        while True:
            try:
                packet = os.read(self._device, 65_536)
            except BlockingIOError:
                return len(self._ports)
            if packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_TCP:
                self._ports.add(packet[40:42])
