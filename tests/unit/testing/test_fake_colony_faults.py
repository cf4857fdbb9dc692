"""What FakeColony does for the scenarios of faults (wire, tls, names, network, host, standstill, restarts)."""

from __future__ import annotations

import socket

import pytest

from colony_pool.testing import FakeColony, FakeColonyError
from tests.conftest import Client, until


@pytest.mark.parametrize(("then", "ends"), [("close", b""), ("reset", None)])
def test_raw_says_the_bytes_and_ends_as_told(client: Client, then: str, ends: bytes | None) -> None:
    client.colony.behave("raw", data="\xff no HTTP\r\n", then=then)
    with client.raw() as sock:
        got = b""
        try:
            while piece := sock.recv(100):
                got += piece
            assert ends == b""
        except ConnectionResetError:
            assert ends is None
        assert b"\xff no HTTP\r\n" == got
    until(lambda: client.colony.count("/users/me", status=0) == 1)


def test_raw_may_keep_the_connection_for_the_next_request_or_hang(client: Client) -> None:
    answer = "HTTP/1.1 204 Fine\r\n\r\n"
    client.colony.behave("raw", data=answer, then="keep")
    with client.raw() as sock:
        assert answer.encode() == sock.recv(100)
        client.colony.behave("raw", data="late", then="hang")
        sock.sendall(b"GET /api/v1/x HTTP/1.1\r\n\r\n")
        assert b"late" == sock.recv(100)
        until(lambda: client.colony.stats().in_flight == 1)
    until(lambda: client.colony.stats().in_flight == 0)


def test_silence_takes_connections_and_ignores_them(client: Client) -> None:
    client.colony.behave("silence")
    with client.raw() as sock:
        until(lambda: client.colony.stats().open_connections >= 1)
        client.colony.behave("healthy")
        assert client.token().status == 200, "those that come later are served"
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
    assert client.colony.count("/users/me") == 0
    with pytest.raises(FakeColonyError, match="before any request"):
        client.colony.behave("silence", only="/x")


def test_it_listens_where_it_is_told() -> None:
    with FakeColony(host="127.0.0.9") as colony:
        assert f"http://127.0.0.9:{colony.port}/api/v1" == colony.base_url
        with socket.create_connection(("127.0.0.9", colony.port)):
            until(lambda: colony.stats().open_connections == 1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", colony.port))
