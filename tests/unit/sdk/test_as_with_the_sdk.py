"""What clients of the SDK do besides: warn at the caller's line, take a proxy, follow redirects, keep a token."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import colony_sdk
import pytest

import colony_pool.sdk
from colony_pool import ColonyPool, ColonyServerError
from colony_pool.sdk import AsyncColonyClient, ColonyClient, default_pool
from colony_pool.testing import FakeColony
from tests.tools.sdk.calls import PNG, POST
from tests.tools.sdk.server import TOKEN, ApiServer, Handler

LATER = 4e9  # unix time


class Old(ApiServer):
    """Says of each API call that its parameters are deprecated."""

    def answer(self, handler: Handler, path: str) -> tuple[int, dict[str, str], Any]:
        status, headers, body = super().answer(handler, path)
        return status, headers if path == TOKEN else {**headers, "X-Colony-Deprecated-Params": "old=new"}, body


def warned_at(call: Callable[[], Any]) -> list[tuple[str, int]]:
    """Where the warnings of ``call`` point."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecationWarning)
        call()
    return [(one.filename, one.lineno) for one in caught]


def line_of(function: Any) -> tuple[str, int]:
    """The one line of a lambda, or the first in the body of a function."""
    code = function.__code__
    return code.co_filename, code.co_firstlineno + (code.co_name != "<lambda>")


needs_warnings = pytest.mark.skipif(
    not hasattr(colony_sdk, "ColonyDeprecationWarning"), reason="this version of the SDK does not warn"
)


@needs_warnings
@pytest.mark.parametrize("ours", [False, True], ids=["SDK", "ours"])
@pytest.mark.parametrize("name", ["get_posts", "create_post", "rotate_key", "get_2fa_status"])
def test_a_warning_of_a_deprecated_parameter_points_at_the_caller(name: str, ours: bool) -> None:
    arguments = {"create_post": ("title", "body")}.get(name, ())
    with Old() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        theirs = colony_sdk.ColonyClient("col_a", base_url=server.base_url, cache_token=False)
        client = ColonyClient("col_a", pool=pool) if ours else theirs
        call = lambda: getattr(client, name)(*arguments)  # noqa: E731 - one line, whatever formats this
        assert [line_of(call)] == warned_at(call)


@needs_warnings
@pytest.mark.parametrize("ours", [False, True], ids=["SDK", "ours"])
def test_so_does_one_of_the_asynchronous_client(ours: bool) -> None:
    async def ask(client: Any) -> None:
        await client.get_posts()

    async def play(pool: ColonyPool) -> None:
        theirs = colony_sdk.AsyncColonyClient("col_a", base_url=pool.base_url, cache_token=False)
        async with AsyncColonyClient("col_a", pool=pool) if ours else theirs as client:
            await ask(client)

    with Old() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        assert [line_of(ask)] == warned_at(lambda: asyncio.run(play(pool)))


@needs_warnings
def test_so_does_one_of_a_call_that_was_made_again_for_its_token() -> None:
    with Old() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        client = ColonyClient("col_a", pool=pool)
        server.revoked.add(client.get_auth_token())
        call = lambda: client.get_posts()  # noqa: E731, PLW0108
        assert [line_of(call)] == warned_at(call)
        assert 2 == sum(request.path == TOKEN for request in server.requests)


# -- proxies ----------------------------------------------------------------------------------------------


class Proxy(ThreadingHTTPServer):
    """Answers for whatever it is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()
        self.server_close()


class ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(self.path.rpartition("/api/v1")[2])
        body = b'{"access_token": "by.proxy.x", "expires_in": 3600, "username": "by proxy"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _serve

    def log_message(self, *args: object) -> None:
        """Nothing."""


def test_a_proxy_that_is_given_to_a_client_later_is_for_its_tokens_too() -> None:
    with ApiServer() as server, Proxy() as proxy, Proxy() as another:
        client = ColonyClient("col_a", base_url=server.base_url, cache_token=False)
        pools = [client.pool]
        for place in (proxy, another):
            client.proxy = place.url
            pools.append(client.pool)
            assert "by proxy" == client.get_me()["username"]
            assert [TOKEN, "/users/me"] == place.asked
        client.proxy = None
        assert client.pool is pools[0]
        assert "me" == client.get_me()["username"]
        assert [TOKEN, "/users/me"] == [request.path for request in server.requests]
        assert 3 == len(set(pools))
        for pool in pools:
            pool.close()


def test_a_base_url_that_is_given_to_a_client_later_is_for_its_tokens_too() -> None:
    with ApiServer() as server, ApiServer() as other:
        client = ColonyClient("col_a", base_url=server.base_url, cache_token=False)
        client.base_url = other.base_url
        client.get_me()
        assert ([], 2) == (server.requests, len(other.requests))
        assert client.pool is default_pool(other.base_url, cache_token=False)
        client.pool.close()
        with ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
            client = ColonyClient("col_a", pool=pool)
            client.base_url = other.base_url
            with pytest.raises(ValueError, match="this pool is for"):
                client.get_me()
        assert 2 == len(other.requests), "no token of one API goes to another"


# -- a token that a user has put there --------------------------------------------------------------------


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.mark.parametrize("expiry", [LATER, 0])
@pytest.mark.parametrize("call", ["upload", "download"])
def test_a_token_that_is_put_there_is_used_for_uploads_and_downloads_until_it_is_refused(
    call: str, expiry: float
) -> None:
    """By the SDK even without an expiry."""
    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        client = ColonyClient("col_a", pool=pool)
        client._token, client._token_expiry = "of a user", expiry

        def transfer() -> object:
            if call == "upload":
                return client.upload_group_avatar(POST, "a.png", PNG, "image/png")
            return client.get_group_avatar(POST)

        transfer()
        assert 0 == sum(request.path == TOKEN for request in server.requests)
        server.revoked.add("of a user")
        transfer()
        transfer()
        assert 1 == sum(request.path == TOKEN for request in server.requests)


def test_a_token_that_is_put_there_stays_when_a_new_one_cannot_be_had(colony: FakeColony) -> None:
    colony.deny("col_a")
    with ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        client = ColonyClient("col_a", pool=pool)
        client._token = "of a user"
        with pytest.raises(colony_sdk.ColonyAuthError):
            client.get_me()
        assert "of a user" == client._token


def test_a_subclass_with_tokens_of_its_own_is_not_asked_without_end(colony: FakeColony) -> None:
    class Own(ColonyClient):
        def _ensure_token(self) -> None:
            self._token = "never good"

    with ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        with pytest.raises(colony_sdk.ColonyAuthError):
            Own("col_a", pool=pool).get_me()
        assert 2 == len(colony.requests())


# -- redirects --------------------------------------------------------------------------------------------


class Moved(ApiServer):
    """Sends whoever asks for ``path`` to ``target``."""

    path, target = "", ""

    def answer(self, handler: Handler, path: str) -> tuple[int, dict[str, str], Any]:
        if path == self.path:
            return 302, {"Location": self.target}, b""
        return super().answer(handler, path)


def test_api_calls_follow_redirects_as_the_sdks_and_token_requests_none() -> None:
    found = []
    for make in (colony_sdk.ColonyClient, ColonyClient):
        with (
            Moved() as server,
            ApiServer() as other,
            ColonyPool(server.base_url, token_cache=None, registry=None) as pool,
        ):
            options: dict[str, Any] = {"pool": pool} if make is ColonyClient else {"base_url": server.base_url}
            client = make("col_a", cache_token=False, **options)
            server.path, server.target = "/users/me", f"{server.base_url}/users/you"
            here = client.get_me()["id"]
            server.target = f"{other.base_url}/users/there"
            found.append((here, client.get_me()["id"], [(r.path, r.headers) for r in other.requests]))
    assert found[0] == found[1]
    assert ("/users/you", "/users/there") == found[1][:2]


def test_g22_a_token_request_of_a_client_follows_no_redirect() -> None:
    with Moved() as server, ApiServer() as other:
        server.path, server.target = TOKEN, f"{other.base_url}/auth/token"
        retry = colony_pool.RetryConfig(max_retries=0)
        with (
            ColonyPool(server.base_url, token_cache=None, registry=None, auth_token_retry=retry) as pool,
            pytest.raises(ColonyServerError),
        ):
            ColonyClient("col_a", pool=pool).get_me()
        assert [] == other.requests
