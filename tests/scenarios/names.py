"""DNS that fails, is slow, or is silent: a look-up cannot be interrupted, and still nobody else waits for it."""

from __future__ import annotations

import _socket  # the C sockets: the name server is native, whatever gevent has patched
import os
import socket
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.support.namespaces import Impossible, private_mounts, run
from tests.support.private import engine_of

from . import World, scenario
from ._after import assert_documented, assert_recovered, key

ADDRESS = (f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}", 53)  # of loopback, and of this process alone
HEADER = struct.Struct("!HHHHHH")
NO_ERROR, NO_SUCH_NAME = 0x8180, 0x8183
AN_A_RECORD = b"\xc0\x0c" + struct.pack("!HHIH4s", 1, 1, 0, 4, socket.inet_aton("127.0.0.1"))


class NameServer:
    """Every name is 127.0.0.1, unless it is to have no address; queries wait while ``silent``."""

    def __init__(self, w: World) -> None:
        self.flags, self.silent, self.closed = NO_ERROR, False, False
        self.waiting: list[tuple[bytes, tuple[str, int]]] = []
        self._sock = _socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._sock.bind(ADDRESS)
        except OSError as error:
            raise Impossible(f"no name server at {ADDRESS}: {error}") from None
        self._sock.settimeout(0.05)
        self._has_ended = w.native(self._serve)

    def _serve(self) -> None:
        while not self.closed:
            with suppress(TimeoutError):
                self.waiting.append(self._sock.recvfrom(512))
            while self.waiting and not self.silent:
                query, asker = self.waiting.pop(0)
                self._sock.sendto(self._answer(query), asker)
        self._sock.close()

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", HEADER.size) + 5
        question = query[HEADER.size : end]
        is_a = question[-4:-2] == b"\0\1" and self.flags == NO_ERROR
        answers = AN_A_RECORD if is_a else b""
        return HEADER.pack(HEADER.unpack_from(query)[0], self.flags, 1, int(is_a), 0, 0) + question + answers

    def close(self, w: World) -> None:
        self.closed = True
        w.until(self._has_ended, "the name server ends")


def _ask_only_our_server(folder: str) -> None:
    """Point this process at the name server, which is asked again each second."""
    private_mounts()
    config = Path(folder) / "resolv.conf"
    config.write_text(f"nameserver {ADDRESS[0]}\noptions timeout:1 attempts:5 ndots:0\n")
    run("mount", "--bind", str(config), "/etc/resolv.conf")


@scenario("threads", "gevent", "gevent-unpatched", "asyncio")
def names_that_resolve_late_or_never_hold_up_nobody_else(w: World) -> None:
    from colony_pool import ColonyNetworkError, RetryConfig, Timeout

    once = RetryConfig(max_retries=0)
    with tempfile.TemporaryDirectory() as folder:
        _ask_only_our_server(folder)
        names = NameServer(w)
        url = f"http://api.colony.test:{w.colony.port}/api/v1"
        pool = w.pool(url, allow_insecure=True, auth_token_retry=once, timeout=Timeout(total=20.0))
        hasty = w.pool(
            url, allow_insecure=True, auth_token_retry=once, timeout=Timeout(connect=0.2, read=0.2, total=0.2)
        )
        other = w.pool()

        names.silent = True
        slow = w.spawn(pool.agent(key("slow")).token)
        w.until(lambda: names.waiting, "a look-up is under way")
        assert other.agent(key("other")).get("/users/me").status == 200, "meanwhile somebody else is served"
        names.silent = False
        assert slow.result(), "a slow look-up is waited for"

        names.silent = True
        assert_documented(w.spawn(hasty.agent(key("hasty")).token).join().error, ColonyNetworkError)
        assert names.waiting, "its caller was told before the look-up has ended"
        names.silent = False
        w.until(lambda: engine_of(hasty).network.bulkhead.in_use == 0, "the look-up ends, and its slot comes back")
        names.flags = NO_SUCH_NAME
        error = w.spawn(hasty.agent(key("none")).token).join().error
        assert_documented(error, ColonyNetworkError, words="dns: the host name does not resolve: api.colony.test")
        names.flags = NO_ERROR
        for each in (pool, other):
            assert each.agent(key("last")).get("/users/me").status == 200
        names.close(w)
        assert_recovered(w, other)
