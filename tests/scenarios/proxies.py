"""Between this host and the API: proxies that want a password, proxies that refuse, and a password that is wrong."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.namespaces import NEWNET, Impossible, run, unshare
from tests.support.netns import require_ip
from tests.support.proxy import Proxy, refusal

from . import World, error_of, scenario
from ._after import assert_documented, key
from .tls import Authority

HOST = "api.colony.test"  # no proxy here looks it up
PASSWORD = "pa:ss@wo/rd"  # a URL has such letters encoded
IN_URL = "user:pa%3Ass%40wo%2Frd"
_LETTERS = "letters1"  # tinyproxy takes no others
HERE = "10.77.9.1"  # of this host, but no loopback


def _with_tls(w: World, folder: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A server for HOST, and the options of a pool that trusts it."""
    authority = Authority(folder)
    server = w.other_colony(tls=authority.issue("server", HOST))
    return server, {"base_url": f"https://{HOST}/api/v1", "ca_certs": authority.root, **options}


def _in_clear(w: World) -> tuple[Any, dict[str, Any]]:
    return w.other_colony(), {"base_url": f"http://{HOST}:8080/api/v1", "allow_insecure": True}


@scenario()
def g22_a_proxy_is_sent_its_password_and_told_the_origin(w: World) -> None:
    from colony_pool.testing import subject

    with tempfile.TemporaryDirectory() as folder:
        for server, options in (_with_tls(w, folder), _in_clear(w)):
            proxy = Proxy(server.port, f"user:{PASSWORD}")
            pool = w.pool(**options, proxy=proxy.url(IN_URL))
            agents = [pool.agent(key(i)) for i in range(3)]
            for i, agent in enumerate(agents):
                assert agent.get("/users/me").json()["id"] == subject(key(i))
            seen = agents[0].get("/echo").json()["headers"]
            assert not any("proxy" in name.lower() for name in seen), "the API has seen nothing of it"
            assert all(asked.authorization for asked in proxy.asked)
            if options["base_url"].startswith("https"):
                # Before 3.12, http.client says HTTP/1.0 here, and names no Host.
                assert {asked.line.removesuffix(".0").removesuffix(".1") for asked in proxy.asked} == {
                    f"CONNECT {HOST}:443 HTTP/1"
                }
                assert {asked.host for asked in proxy.asked} <= {"", f"{HOST}:443"}
            else:
                origin = f"{HOST}:8080"
                assert {asked.host for asked in proxy.asked} == {origin}
                assert {asked.line for asked in proxy.asked} == {
                    f"POST http://{origin}/api/v1/auth/token HTTP/1.1",
                    f"GET http://{origin}/api/v1/users/me HTTP/1.1",
                    f"GET http://{origin}/api/v1/echo HTTP/1.1",
                }
            proxy.close()


@scenario()
def g11_a_proxys_refusal_is_told_as_its_own_and_blames_no_key(w: World) -> None:
    """Neither a wrong password nor its 403 refuses a key, and no Retry-After of its holds anybody."""
    from colony_pool import ColonyNetworkError

    api_refuses = '{"detail": {"message": "no such key", "code": "AUTH_INVALID"}}'
    hold = "Retry-After: 3600\r\nContent-Type: application/json\r\nX-RateLimit-Remaining: 0\r\n"
    with tempfile.TemporaryDirectory() as folder:
        for server, options in (_with_tls(w, folder), _in_clear(w)):
            tls = options["base_url"].startswith("https")
            proxy = Proxy(server.port, f"user:{PASSWORD}")
            for credentials in ("", "user:wr%6Fng", "user"):
                pool = w.pool(**options, proxy=proxy.url(credentials))
                error: Any = error_of(pool.agent(key("a")).token)
                assert_documented(error, ColonyNetworkError, words=f"the proxy {proxy.url()} refuses to connect to")
                assert "HTTP 407 Proxy Authentication Required" in str(error), error
                assert "user and password" in error.hint
                assert error.status == 0
            for status in (
                (401, 403, 407, 429, 502, 503, 302, 999) if tls else (407,)
            ):  # else it may be the API's word
                proxy = Proxy(server.port, answer=refusal(status, hold, api_refuses))
                pool = w.pool(**options, proxy=proxy.url())
                agent = pool.agent(key("b"))
                error = error_of(agent.token)
                assert_documented(error, ColonyNetworkError, words=f"(HTTP {status}")
                assert "So it is" not in str(error), "a proxy may quote what it was sent"
                assert (pool.status().denied, pool.status().hold_for) == (0, 0.0)
                proxy.answer = None
                assert agent.token(), "the same key, at once"
                proxy.cut()
                proxy.answer = refusal(status, hold, api_refuses)
                error = error_of(agent.get, "/users/me")
                assert_documented(error, ColonyNetworkError, words=f"the proxy {proxy.url()} refuses to connect to")
                assert f"(HTTP {status}" in str(error), error
                proxy.answer = None
                assert agent.get("/users/me").status == 200
                proxy.close()


@scenario()
def g11_a_proxy_that_cannot_be_reached_is_named_without_its_password(w: World) -> None:
    from colony_pool import ColonyNetworkError, Timeout

    with tempfile.TemporaryDirectory() as folder:
        server, secure = _with_tls(w, folder)
        _, clear = _in_clear(w)
        dead = socket.create_server(("127.0.0.1", 0))
        url = f"http://user:S3CRET@127.0.0.1:{dead.getsockname()[1]}"
        dead.close()
        mute = Proxy(server.port, answer=b"")
        garbled = Proxy(server.port, answer=b"220 what is that?\r\n\r\n")
        silent = socket.create_server(("127.0.0.1", 0))
        brief = Timeout(connect=0.5, read=0.5, total=1.0)
        for options in (secure, clear):
            tls = options is secure
            cases = (
                (url, "proxy: no connection to the proxy http://127.0.0.1:", "connection refused"),
                (
                    "http://u:S3CRET@proxy.invalid:3128",
                    "proxy: no connection to the proxy http://proxy.invalid:3128",
                    "",
                ),
                (mute.url("u:S3CRET"), "reset: ", "(through the proxy " if tls else ""),
                (garbled.url("u:S3CRET"), "reset: ", "(through the proxy " if tls else "not HTTP"),
                (
                    f"http://u:S3CRET@127.0.0.1:{silent.getsockname()[1]}",
                    "timeout: ",
                    "(through the proxy " if tls else "",
                ),
            )
            for proxy, words, more in cases:
                pool = w.pool(**options, proxy=proxy, timeout=brief)
                error: Any = error_of(pool.agent(key("a")).token)
                assert_documented(error, ColonyNetworkError, words=words)
                assert more in str(error), error
                w.until(lambda p=pool: p.status().connections == (0, 0), "its socket is closed")  # type: ignore[misc]
        silent.close()


@scenario("threads", "gevent", "gevent-unpatched", "asyncio")
def g22_a_real_proxy_with_a_password_on_another_host(w: World) -> None:
    """tinyproxy, in a network of its own, where neither it nor the API is on loopback."""
    from colony_pool import ColonyNetworkError, ColonyServerError
    from colony_pool.testing import subject

    program = shutil.which("tinyproxy")
    if program is None:
        if os.environ.get("CI"):
            raise FileNotFoundError("tinyproxy: install it")
        raise Impossible("there is no tinyproxy here: install it")
    require_ip()
    unshare(NEWNET)
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{HERE}/32", "dev", "lo")
    with tempfile.TemporaryDirectory() as folder:
        config, port = Path(folder) / "tinyproxy.conf", 8888
        config.write_text(f"Port {port}\nListen {HERE}\nBasicAuth agent {_LETTERS}\nLogLevel Error\nTimeout 60\n")
        authority = Authority(folder)
        secure = w.other_colony(host=HERE, tls=authority.issue("server", HERE))
        clear = w.other_colony(host=HERE)
        process = subprocess.Popen([program, "-d", "-c", str(config)], stdout=subprocess.DEVNULL)
        try:
            w.until(lambda: _answers(HERE, port), "tinyproxy listens")
            for server, options in (
                (secure, {"base_url": f"https://{HERE}:{secure.port}/api/v1", "ca_certs": authority.root}),
                (clear, {"base_url": f"http://{HERE}:{clear.port}/api/v1", "allow_insecure": True}),
            ):
                before = server.stats().connections
                for credentials, words in (
                    ("", "(HTTP 407 Proxy Authentication Required)"),
                    ("agent:wrong@", "HTTP 401"),
                ):
                    pool = w.pool(**options, proxy=f"http://{credentials}{HERE}:{port}", max_wait=0)
                    error = error_of(pool.agent(key("a")).token)
                    # Over http:// its 401, of a wrong password, looks like the answer of a gateway.
                    classes = (ColonyNetworkError, *([ColonyServerError] if server is clear else []))
                    assert_documented(error, *classes, words=words)
                    assert pool.status().denied == 0
                assert server.stats().connections == before, "nothing has come through"
                pool = w.pool(**options, proxy=f"http://agent:{_LETTERS}@{HERE}:{port}")
                for i in range(3):
                    assert pool.agent(key(i)).get("/users/me").json()["id"] == subject(key(i))
                os.environ.update(https_proxy=f"agent:{_LETTERS}@{HERE}:{port}", no_proxy="")
                os.environ["http_proxy"] = os.environ["https_proxy"]
                pool = w.pool(**options)
                assert pool.agent(key("by_environment")).get("/users/me").status == 200
        finally:
            process.kill()
            process.wait()


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=10.0).close()
    except OSError:
        return False
    return True
