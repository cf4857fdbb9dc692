"""G22: whom TLS trusts, and what it shows, in files that change while the process runs."""

from __future__ import annotations

import logging
import ssl
import tempfile
from pathlib import Path
from typing import Any

from tests.support.proxy import Listener, Proxy

from . import World, error_of, scenario
from ._after import assert_documented, key
from .tls import Authority

HOST = "api.colony.test"  # the proxy here looks it up nowhere


class _Warnings(logging.Handler):
    """What the library says of its configuration."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "event=configuration" in record.getMessage():
            self.lines.append(record.getMessage())


def _authority(folder: str, name: str) -> Authority:
    place = Path(folder) / name
    place.mkdir()
    return Authority(str(place))


def _serving(issued: tuple[str, str], wanted: str | None = None) -> ssl.SSLContext:
    """The context of a server; with ``wanted`` it takes only clients that show a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued)
    if wanted is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(wanted)
    return context


@scenario()
def g22_certificates_that_have_changed_are_used_on_the_next_connection(w: World) -> None:
    from colony_pool import ColonyNetworkError

    said = _Warnings()
    logging.getLogger("colony_pool").addHandler(said)
    with tempfile.TemporaryDirectory() as folder:
        old, new = _authority(folder, "old"), _authority(folder, "new")
        before, after = (w.other_colony(tls=one.issue("server", HOST)) for one in (old, new))
        bundle = Path(folder) / "bundle.pem"
        bundle.write_bytes(Path(old.root).read_bytes())
        proxy = Proxy(before.port)  # it leads to the one or to the other
        pool = w.pool(f"https://{HOST}/api/v1", ca_certs=str(bundle), proxy=proxy.url())
        agents = [pool.agent(key(i)) for i in range(2)]
        assert agents[0].get("/users/me").status == 200

        proxy.upstream = after.port
        proxy.cut()
        for call in (agents[1].token, lambda: agents[0].get("/users/me")):
            error: Any = error_of(call)
            assert_documented(error, ColonyNetworkError, words="tls: ")
            for name in ("ca_certs=", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
                assert name in error.hint, error.hint
        bundle.write_bytes(Path(new.root).read_bytes())
        for agent in agents:
            assert agent.get("/users/me").status == 200

        def broken() -> None:
            for agent in agents:
                proxy.cut()
                assert agent.get("/users/me").status == 200, "what was read before is used"
            w.until(lambda: len(said.lines) >= lines)
            assert len(said.lines) == lines, said.lines
            assert str(bundle) in said.lines[-1]

        lines = 1
        bundle.write_text("no certificate")
        broken()
        lines = 2
        bundle.unlink()
        broken()
        bundle.write_bytes(Path(old.root).read_bytes() + Path(new.root).read_bytes())
        for server in (before, after):
            proxy.upstream = server.port
            for name in ("again", server.port):
                proxy.cut()
                assert pool.agent(key(name)).token()
                assert agents[0].get("/users/me", timeout=20.0).status in (200, 401)
        assert len(said.lines) == lines
        proxy.close()


@scenario()
def g22_a_client_shows_its_own_certificate(w: World) -> None:
    from colony_pool import ColonyNetworkError

    with tempfile.TemporaryDirectory() as folder:
        servers, ours, next_ones = (_authority(folder, name) for name in ("servers", "ours", "next"))
        issued = servers.issue("server", "localhost")
        front = Listener(w.colony.port, _serving(issued, ours.root))
        options = {"base_url": f"https://localhost:{front.port}/api/v1", "ca_certs": servers.root}
        certificate, secret = ours.issue("agent", "agent.colony.test")
        one_file = Path(folder) / "both.pem"
        one_file.write_bytes(Path(certificate).read_bytes() + Path(secret).read_bytes())
        encrypted = _encrypted(Path(secret), "S3CRET")

        error = error_of(w.pool(**options).agent(key("none")).token)
        assert_documented(error, ColonyNetworkError)
        assert front.certificates == []
        for shown in (str(one_file), (certificate, secret), (certificate, encrypted, "S3CRET")):
            pool = w.pool(**options, client_cert=shown)
            assert pool.agent(key("a")).get("/users/me").status == 200
        assert len(front.certificates) >= 3

        front.tls = _serving(issued, next_ones.root)
        front.cut()
        assert_documented(error_of(pool.agent(key("b")).token), ColonyNetworkError)
        certificate_now, secret_now = next_ones.issue("agent", "agent.colony.test")
        Path(certificate).write_bytes(Path(certificate_now).read_bytes())
        Path(encrypted).write_bytes(Path(_encrypted(Path(secret_now), "S3CRET")).read_bytes())
        assert pool.agent(key("b")).get("/users/me").status == 200
        front.close()

        wrong: tuple[tuple[Any, str], ...] = (
            ((certificate, secret), "key values mismatch"),
            ((certificate, "/nonexistent.key"), "no such file or directory"),
            ((certificate, encrypted), "its key has a password"),
            ((certificate, encrypted, "S3CRET2"), "the password of its key is wrong"),
            (servers.root, "cannot be used"),
            (("one", "two", "S3CRET", "four"), "must be a file"),
            (("one", 2), "must be a file"),
            (3, "must be a file"),
        )
        for bad, words in wrong:
            error = error_of(w.pool, **options, client_cert=bad)
            assert type(error) is ValueError, error
            assert "client_cert" in str(error), error
            assert words in str(error), error
            assert "S3CRET" not in str(error)


@scenario()
def g22_a_proxy_may_speak_tls_and_is_shown_no_certificate_of_the_client(w: World) -> None:
    from colony_pool import ColonyNetworkError

    with tempfile.TemporaryDirectory() as folder:
        authority = _authority(folder, "all")
        context = _serving(authority.issue("proxy", "localhost"))
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(authority.root)
        secure = w.other_colony(tls=authority.issue("server", HOST))
        mine = authority.issue("agent", "agent.colony.test")
        for server, options in (
            (secure, {"base_url": f"https://{HOST}/api/v1"}),
            (w.other_colony(), {"base_url": f"http://{HOST}/api/v1", "allow_insecure": True}),
        ):
            proxy = Proxy(server.port, "user:word", tls=context)
            bundle = Path(folder) / "bundle.pem"
            bundle.write_bytes(Path(authority.root).read_bytes())
            pool = w.pool(**options, proxy=proxy.url("user:word"), ca_certs=bundle, client_cert=mine)
            for i in range(2):
                assert pool.agent(key(i)).get("/users/me").status == 200
            assert proxy.asked
            assert proxy.certificates == []
            again = _authority(folder, f"again_{server.port}")
            proxy.tls = _serving(again.issue("proxy", "localhost"))
            proxy.cut()
            error: Any = error_of(pool.agent(key("b")).token)
            assert_documented(error, ColonyNetworkError, words=f"no TLS with the proxy {proxy.url()}: ")
            bundle.write_bytes(Path(authority.root).read_bytes() + Path(again.root).read_bytes())
            assert pool.agent(key("b")).get("/users/me").status == 200

            error = error_of(w.pool(**options, proxy=proxy.url("user:word")).agent(key("a")).token)
            assert_documented(error, ColonyNetworkError, words=f"no TLS with the proxy {proxy.url()}: ")
            assert "SSL_CERT_FILE" in error.hint, error.hint
            proxy.close()
            plain = Proxy(server.port)
            mistaken = plain.url().replace("http:", "https:")
            error = error_of(w.pool(**options, proxy=mistaken).agent(key("a")).token)
            assert_documented(error, ColonyNetworkError, words=f"no TLS with the proxy {mistaken}: ")
            assert "begins with http://" in error.hint, error.hint
            plain.close()


def _encrypted(secret: Path, password: str) -> str:
    from cryptography.hazmat.primitives import serialization as form

    loaded = form.load_pem_private_key(secret.read_bytes(), None)
    path = secret.with_suffix(".encrypted")
    algorithm = form.BestAvailableEncryption(password.encode())
    path.write_bytes(loaded.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, algorithm))
    return str(path)
