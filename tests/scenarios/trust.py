"""G22: what is not to be trusted: certificates, redirects, answers without end."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import World, error_of, scenario


def _listener(w: World, serve: Callable[[socket.socket], None]) -> tuple[int, list[bytes]]:
    """A raw listener; ``serve`` gets each connection. Returns its port and what it has received."""
    server = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def accept() -> None:
        while True:
            peer, _ = server.accept()
            heard.append(b"")
            serve(peer)

    if w.kind in ("gevent-unpatched", "asyncio"):
        w.native(accept)
    else:
        w.spawn(accept)
    return int(server.getsockname()[1]), heard


@scenario()
def g22_a_dripping_answer_is_cut_off(w: World) -> None:
    from colony_pool import ColonyNetworkError, Timeout

    pool = w.pool(timeout=Timeout(connect=1, read=1, total=0.5))
    warm = w.pool().agent("col_warm")
    warm.token()
    for headers in (True, False):
        w.colony.behave("drip", bytes_per_s=20.0, headers=headers)
        started = w.colony.now()
        for call in (pool.agent(f"col_{headers}").token, lambda: warm.get("/users/me", timeout=0.5)):
            error: Any = error_of(call)
            assert type(error) is ColonyNetworkError, error
            assert "timeout" in str(error)
        assert w.colony.now() - started < 5.0
    w.until(lambda: pool.status().connections[0] == 0)


@scenario()
def g22_64_kib_are_the_limit_of_a_token_answer(w: World) -> None:
    from colony_pool import ColonyServerError, RetryConfig

    pool = w.pool(auth_token_retry=RetryConfig(max_retries=0))
    answer = {"access_token": "a.b.c", "expires_in": 3600, "padding": ""}
    for size, fits in ((65_536, True), (65_537, False)):
        answer["padding"] = "x" * (size - len(json.dumps({**answer, "padding": ""})))
        w.colony.behave("status", status=200, body=json.dumps(answer))
        if fits:
            assert pool.agent("col_fits").token() == "a.b.c"
        else:
            assert type(error_of(pool.agent("col_big").token)) is ColonyServerError


@scenario()
def g22_no_redirect_is_followed_with_a_key_or_a_token(w: World) -> None:
    from colony_pool import ColonyAPIError, RetryConfig

    trap = w.other_colony()
    pool = w.pool(auth_token_retry=RetryConfig(max_retries=0))
    agent = pool.agent("col_warm")
    agent.token()
    for status in (301, 302, 303, 307, 308):
        for host in (trap.base_url, w.colony.base_url):
            w.colony.behave("redirect", status=status, location=f"{host}/auth/elsewhere")
            assert isinstance(error_of(pool.agent(f"col_{status}").token), ColonyAPIError)
            for method in ("GET", "POST", "DELETE"):
                error: Any = error_of(agent.request, method, "/users/me")
                assert error.status == status
    assert trap.stats().connections == 0
    assert w.colony.count("/auth/elsewhere") == 0


def _certificates(folder: Path, *names: str) -> tuple[tuple[str, str], str]:
    """``(certificate and key of a server, the authority's certificate)``, as files."""
    import trustme

    authority = trustme.CA()
    server = authority.issue_cert(*names)
    chain, key, root = folder / "chain.pem", folder / "key.pem", folder / "root.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    server.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(root))
    return (str(chain), str(key)), str(root)


@scenario()
def g22_the_right_certificate_is_accepted_and_no_other(w: World) -> None:
    from colony_pool import ColonyNetworkError
    from colony_pool.testing import subject

    with tempfile.TemporaryDirectory() as name:
        for part in ("good", "other", "elsewhere"):
            (Path(name) / part).mkdir()
        tls, root = _certificates(Path(name) / "good", "localhost")
        _, other_root = _certificates(Path(name) / "other", "localhost")
        wrong_name, its_root = _certificates(Path(name) / "elsewhere", "example.org")
        server, impostor = w.other_colony(tls=tls), w.other_colony(tls=wrong_name)
        pool = w.pool(server.base_url, ca_certs=root)
        tasks = [w.spawn(pool.agent(f"col_{i}").get, "/users/me") for i in range(30)]
        for i, task in enumerate(tasks):
            assert task.result().json()["id"] == subject(f"col_{i}")
        server.reset_stats()
        refused = [
            w.pool(server.base_url, ca_certs=other_root), w.pool(server.base_url),
            w.pool(impostor.base_url, ca_certs=its_root),
        ]  # fmt: skip
        for bad in refused:
            error: Any = error_of(bad.agent("col_a").token)
            assert type(error) is ColonyNetworkError, error
            assert "tls" in str(error), error
        assert server.stats().requests == impostor.stats().requests == 0, "no byte of a key has arrived"
    assert "ca_certs" in str(error_of(w.pool, server.base_url, ca_certs="/nonexistent.pem"))


@scenario()
def g22_a_handshake_that_drips_is_cut_off(w: World) -> None:
    from colony_pool import ColonyNetworkError, Timeout

    def drip(peer: socket.socket) -> None:
        try:
            peer.sendall(b"\x16\x03\x03\x40\x00")
            while True:
                w.pause(0.1)
                peer.sendall(b"\x02")
        except OSError:
            peer.close()

    if w.kind == "gevent-unpatched":
        return  # the native handshake has one deadline for all; and ``pause`` belongs to the hub
    port, heard = _listener(w, drip)
    pool = w.pool(f"https://127.0.0.1:{port}/api", timeout=Timeout(connect=0.4, read=5.0, total=5.0))
    error: Any = error_of(pool.agent("col_a").token)
    assert type(error) is ColonyNetworkError
    assert "timeout" in str(error), error
    assert heard
    w.until(lambda: pool.status().connections == (0, 0))


@scenario()
def g22_a_key_never_travels_in_clear(w: World) -> None:
    for url in ("http://example.org/api", "http://127.0.0.1.example.org", "http://10.0.0.1/", "http://[::2]/"):
        assert "allow_insecure" in str(error_of(w.pool, url)), url
    for url in ("http://127.8.8.8/api", "http://localhost:1/", "http://[::1]:1/", "https://example.org/api"):
        assert w.pool(url)
    assert w.pool("http://example.org/api", allow_insecure=True)


@scenario()
def g22_no_dns_no_answer_and_no_hang(w: World) -> None:
    from colony_pool import ColonyNetworkError

    error: Any = error_of(w.pool("https://nonexistent.invalid/api/v1").agent("col_a").token)
    assert type(error) is ColonyNetworkError
    assert "dns" in str(error)
