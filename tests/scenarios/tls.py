"""G22: TLS that is not to be trusted, and handshakes that never end. No byte of a key is sent before it stands."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path
from typing import Any

from . import World, error_of, scenario
from ._after import assert_documented, assert_recovered, key

DAY = datetime.timedelta(days=1)
BODY = '{"access_token": "evil.evil.evil", "id": "evil"}'


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: str) -> None:
        import trustme

        self._folder = Path(folder)
        self._authority = trustme.CA()
        self.root = str(self._folder / "root.pem")
        self._authority.cert_pem.write_to_path(self.root)

    def issue(self, name: str, *hosts: str, **options: Any) -> tuple[str, str]:
        """``(certificate, key)`` as files."""
        issued = self._authority.issue_cert(*hosts, **options)
        chain, secret = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(secret))
        return str(chain), str(secret)


@scenario("threads", "gevent", "gevent-unpatched", "asyncio")
def g22_a_certificate_out_of_date_or_of_another_host_is_refused(w: World) -> None:
    from colony_pool import ColonyNetworkError

    now = datetime.datetime.now(datetime.timezone.utc)
    wrong: dict[str, tuple[str, dict[str, Any]]] = {
        "certificate has expired": ("localhost", {"not_before": now - 9 * DAY, "not_after": now - DAY}),
        "certificate is not yet valid": ("localhost", {"not_before": now + DAY, "not_after": now + 9 * DAY}),
        "hostname mismatch": ("example.org", {}),
    }
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        for words, (host, options) in wrong.items():
            server = w.other_colony(tls=authority.issue("server", host, **options))
            pool = w.pool(server.base_url, ca_certs=authority.root)
            error = error_of(pool.agent(key("a")).token)
            assert_documented(error, ColonyNetworkError, words=f"tls: {words}")
            assert server.stats().requests == 0, "no byte of a key has arrived"
            w.until(lambda p=pool: p.status().connections == (0, 0), "its socket is closed")  # type: ignore[misc]


@scenario("threads", "gevent", "gevent-unpatched", "asyncio")
def g22_a_handshake_without_an_end_is_cut_off(w: World) -> None:
    """The peer is a server that speaks no TLS: it resets, or it ignores."""
    from colony_pool import ColonyNetworkError, Timeout

    url = w.colony.base_url.replace("http:", "https:")
    pool = w.pool(url, timeout=Timeout(connect=1.0, read=1.0, total=1.5))

    def fails(words: str) -> None:
        calls = [w.spawn(pool.agent(key(i)).token) for i in range(2)]
        for call in calls:
            assert_documented(call.join().error, ColonyNetworkError, words=words)

    w.colony.behave("reset_handshake")
    fails("reset: ")
    w.colony.behave("silence")
    fails("timeout: no connection in time")
    w.colony.behave("healthy")
    assert w.colony.stats().requests == 0
    w.until(lambda: pool.status().connections == (0, 0), "sockets are closed")
    w.until(lambda: w.sockets() == 0, "all of them")


def _with_body(size: int) -> str:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{BODY.ljust(size)}"


@scenario("threads", "gevent", "gevent-unpatched", "asyncio")
def g22_what_comes_behind_an_answer_in_tls_is_nobodys_answer(w: World) -> None:
    """One record holds the end of an answer and another answer: the socket shows the second no more."""
    from colony_pool.testing import subject

    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        server = w.other_colony(tls=authority.issue("server", "localhost"))
        pool = w.pool(server.base_url, ca_certs=authority.root, maxsize=1)
        for size in (len(BODY), 8192, 12_000):
            server.behave("raw", data=_with_body(size) + _with_body(len(BODY)), then="keep")
            assert pool.agent(key(size)).token() == "evil.evil.evil"
            server.behave("healthy")
            mine = key(f"next_{size}")
            assert pool.agent(mine).get("/users/me").json()["id"] == subject(mine), size
            server.behave("raw", data=_with_body(size) + _with_body(len(BODY)), then="keep")
            assert "evil" in pool.agent(mine).get("/users/me").text
            server.behave("healthy")
            assert pool.agent(mine).get("/users/me").json()["id"] == subject(mine), size
        assert_recovered(w, pool)
