"""Which proxy a pool uses: by its option, or by the environment, for all ways into the library (G22, G23)."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import colony_sdk
import pytest

import colony_pool as cp
from colony_pool.sdk import AsyncColonyClient, ColonyClient, default_pool
from colony_pool.testing import FakeColony
from tests.conftest import until
from tests.support.proxy import Proxy, refusal

API = "https://api.colony.invalid:8443/api/v1"  # there is no such name: who finds it has asked a proxy
KEY = "col_behind_a_proxy"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")
NO_RETRIES = cp.RetryConfig(max_retries=0)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing in the environment says anything of proxies; what is cached or shared is nobody else's."""
    for name in (*VARIABLES, *map(str.lower, VARIABLES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLONY_POOL_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """It refuses whatever it is asked."""
    one = Proxy(9, answer=refusal(403))
    yield one
    one.close()


def pool_on(base_url: str = API, **options: Any) -> cp.ColonyPool:
    return cp.ColonyPool(base_url, token_cache=None, registry=None, auth_token_retry=NO_RETRIES, **options)


def asks(server: Proxy, /, base_url: str = API, **options: Any) -> bool:
    """Whether a pool that is made now asks ``server`` for a token."""
    before = len(server.asked)
    with pool_on(base_url, **options) as pool, pytest.raises(cp.ColonyAPIError):
        pool.agent(KEY).token(max_wait=0)
    return len(server.asked) > before


def configuration_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "event=configuration" in record.getMessage()]


@pytest.mark.parametrize(
    ("variables", "used"),
    [
        ({"HTTPS_PROXY": "http://HERE"}, True),
        ({"https_proxy": "HERE"}, True),
        ({"https_proxy": "  HTTP://HERE/\n"}, True),
        ({"https_proxy": "http://user:p%40ss@HERE"}, True),
        ({"https_proxy": "user:p@ss@HERE"}, True),
        ({"https_proxy": "http://HERE", "HTTPS_PROXY": "http://127.0.0.1:9"}, True),
        ({"https_proxy": "", "HTTPS_PROXY": "http://HERE"}, False),
        ({"http_proxy": "http://HERE"}, False),
        ({"ALL_PROXY": "http://HERE"}, True),
        ({"all_proxy": "http://HERE", "https_proxy": ""}, True),
        ({"ALL_PROXY": "socks5://127.0.0.1:9", "HTTPS_PROXY": "http://HERE"}, True),
        ({"ALL_PROXY": "http://HERE", "HTTPS_PROXY": "socks5://127.0.0.1:9"}, False),
        ({"https_proxy": "http://HERE", "no_proxy": "*"}, False),
        ({"https_proxy": "http://HERE", "NO_PROXY": "api.colony.invalid"}, False),
        ({"https_proxy": "http://HERE", "NO_PROXY": "other.test, colony.invalid"}, False),
        ({"https_proxy": "http://HERE", "NO_PROXY": ".COLONY.invalid"}, False),
        ({"https_proxy": "http://HERE", "NO_PROXY": "api.colony.invalid:8443"}, False),
        ({"https_proxy": "http://HERE", "NO_PROXY": "api.colony.invalid:443"}, True),
        ({"https_proxy": "http://HERE", "NO_PROXY": "ny.invalid"}, True),
        ({"https_proxy": "http://HERE", "NO_PROXY": ""}, True),
    ],
)
def test_the_environment_is_read_as_urllib_and_curl_do(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, variables: dict[str, str], used: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("HERE", f"127.0.0.1:{proxy.port}"))
    assert asks(proxy) is used
    assert not asks(proxy, proxy=None)
    assert not asks(proxy, proxy="")


def test_g22_in_a_cgi_script_a_header_of_the_client_names_no_proxy(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    clear: dict[str, Any] = {"base_url": "http://api.colony.invalid/api/v1", "allow_insecure": True}
    monkeypatch.setenv("HTTP_PROXY", proxy.url())
    assert asks(proxy, **clear)
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    assert not asks(proxy, **clear)
    monkeypatch.setenv("http_proxy", proxy.url())
    assert asks(proxy, **clear)


def test_the_environment_is_read_as_the_pool_is_made(monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url())
    with pool_on() as pool:
        monkeypatch.delenv("HTTPS_PROXY")
        with pytest.raises(cp.ColonyNetworkError, match="the proxy"):
            pool.agent(KEY).token(max_wait=0)
    assert proxy.asked


def test_g22_loopback_is_asked_without_the_environments_proxy(monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url())
    with FakeColony() as colony, pool_on(colony.base_url) as pool:
        assert pool.agent(KEY).get("/users/me").status == 200
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # for the SDK's own calls
        assert ColonyClient(KEY, colony.base_url).get_me()
    assert proxy.asked == []


@pytest.mark.parametrize(
    "value",
    [
        "socks5://user:S3CRET@127.0.0.1:9", "socks5h://S3CRET", "http://u:S3CRET@127.0.0.1:99999", "http://", "://",
        "http://u:S3CRET@a b", "ftp://u:S3CRET@127.0.0.1", "http://u:1#S3CRET@127.0.0.1:9", "http://u:S3CRET@[::z]",
        "http://u:S3CRET@ex\u00e4mple..test", "S3CRET\x00", "http://u:S3\udcffCRET@", "https:S3CRET", "http:///S3CRET",
    ],
)  # fmt: skip
def test_g23_a_bad_value_in_the_environment_is_a_line_in_the_log_and_no_proxy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    environment = {**os.environ, "HTTPS_PROXY": value}
    monkeypatch.setattr(os, "environ", environment)  # the system's own takes no NUL
    caplog.set_level(logging.DEBUG, "colony_pool")
    with pool_on() as pool:
        with pytest.raises(cp.ColonyNetworkError, match="dns: "):
            pool.agent(KEY).token(max_wait=0)
        until(lambda: configuration_lines(caplog))
    said = configuration_lines(caplog)
    assert len(said) == 1, said
    assert "HTTPS_PROXY" in said[0]
    assert "requests go without a proxy" in said[0]
    assert "S3CRET" not in caplog.text
    for client in (lambda: ColonyClient(KEY, API), lambda: AsyncColonyClient(KEY, API)):
        assert isinstance(client(), (colony_sdk.ColonyClient, AsyncColonyClient))
    default_pool(API).close()


def test_each_way_into_the_library_uses_the_environments_proxy(monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url("user:word"))

    def asked(call: Any) -> int:
        before = len(proxy.asked)
        with pytest.raises(Exception, match=r"the proxy http://127.0.0.1:\d+ refuses to connect to api.colony.inv"):
            call()
        assert {one.authorization for one in proxy.asked[before:]} == {"Basic dXNlcjp3b3Jk"}
        return len(proxy.asked) - before

    async def on_a_loop() -> None:
        async with cp.AsyncColonyPool(API, token_cache=None, registry=None, auth_token_retry=NO_RETRIES) as pool:
            await pool.agent(KEY).token(max_wait=0)

    def command_line() -> None:
        command = [sys.executable, "-m", "colony_pool", "token", "--max-wait", "0", "--shared", "none"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True,
            env={**os.environ, "COLONY_API_KEY": KEY, "COLONY_BASE_URL": API},
        )  # fmt: skip
        assert "word" not in done.stderr
        assert done.returncode == 5
        raise RuntimeError(done.stderr)

    schedule = colony_sdk.RetryConfig(max_retries=0)
    assert asked(lambda: asyncio.run(on_a_loop())) == 1
    assert asked(lambda: ColonyClient(KEY, API, auth_token_retry=schedule, cache_token=False).get_me()) == 1
    assert asked(command_line) == 1
    default_pool(API, cache_token=False).close()


def test_g22_a_key_is_not_sent_in_clear_to_a_proxy_on_another_host() -> None:
    far = "http://user:S3CRET@proxy.corp.invalid:3128"
    for base_url in ("http://localhost:8000/api/v1", "http://127.0.0.1", "http://[::1]:1", "https://localhost/api"):
        with pytest.raises(ValueError, match=r"proxy='http://proxy.corp.invalid:3128'.*allow_insecure") as caught:
            pool_on(base_url, proxy=far)
        assert "S3CRET" not in str(caught.value)
        pool_on(base_url, proxy=far, allow_insecure=True).close()
        for near in ("http://127.0.0.1:3128", "http://localhost:3128", "http://[::1]:3128"):
            pool_on(base_url, proxy=near).close()
    pool_on(proxy=far).close()
    with pytest.raises(ValueError, match="allow_insecure"):
        pool_on("http://api.colony.invalid", proxy=far)


@pytest.mark.parametrize(
    "value",
    ["proxy:3128", "127.0.0.1:3128", "socks5://h:1", "http://h:0", "http://h:1 2", "http://h\n:1", "http://u:1#x@h:2",
     "http://u:1/x@h:2", 3128, True, b"http://h:1", ["http://h:1"]],
)  # fmt: skip
def test_g23_a_bad_option_is_refused_and_not_shown(value: Any) -> None:
    with pytest.raises(ValueError, match="proxy: must be the URL of an HTTP proxy") as caught:
        pool_on(proxy=value)
    assert "u:1" not in str(caught.value)


@pytest.mark.parametrize("around", ["{}", " {}", "{}\n", "{}\r\n", "\t{} "])
def test_white_space_around_an_option_is_none_of_it(proxy: Proxy, around: str) -> None:
    assert asks(proxy, proxy=around.format(proxy.url("user:word")))
    assert proxy.asked[-1].authorization == "Basic dXNlcjp3b3Jk"


@pytest.mark.parametrize(
    ("credentials", "sent"),
    [
        ("user:p%40s%3As%2F%25", "dXNlcjpwQHM6cy8l"), ("user", "dXNlcjo="), ("user:", "dXNlcjo="),
        (":word", "OndvcmQ="),
        ("DOMAIN\\user:word", "RE9NQUlOXHVzZXI6d29yZA=="), ("%FC:%E9", "/Drp"), ("\u00fc:\u00e9", "w7w6w6k="),
        ("user:p@ss", "dXNlcjpwQHNz"), ("user:%0d%0aX-Evil:%201", "dXNlcjoNClgtRXZpbDogMQ=="),
    ],
)  # fmt: skip
def test_g22_what_is_encoded_in_a_password_is_decoded_byte_by_byte(proxy: Proxy, credentials: str, sent: str) -> None:
    assert asks(proxy, proxy=proxy.url(credentials))
    assert proxy.asked[-1].authorization == f"Basic {sent}"
