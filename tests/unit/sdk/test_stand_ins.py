"""Where a test has something stand in for the network, the SDK's requests go there, that for a token too.

Each case is played with the SDK's own client as well: what the stand-in hears must be the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import io
import json
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
from urllib.response import addinfourl

import colony_sdk
import httpx
import pytest

import colony_pool.sdk
from colony_pool import ColonyPool
from colony_pool.sdk import AsyncColonyClient, ColonyClient
from colony_pool.testing import FakeColony
from tests.support.private import tell_once

ANSWER = {"access_token": "mocked", "username": "mocked", "api_key": "col_mocked"}
TOKEN = "/auth/token"
Heard = list[str]
StandIn = Callable[[Heard, Any], AbstractContextManager[object]]


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONY_SDK_NO_TOKEN_CACHE", "1")


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


def answer() -> Any:
    response: Any = addinfourl(io.BytesIO(json.dumps(ANSWER).encode()), Message(), "http://mocked", 200)
    response.getheaders, response.msg, response.reason = list, "OK", "OK"
    return response


def hearing(heard: Heard) -> Callable[..., Any]:
    """What is called with a ``Request`` among its arguments."""

    def urlopen(*args: Any, **_: Any) -> Any:
        heard.extend(request.selector for request in args if isinstance(request, urllib.request.Request))
        return answer()

    return urlopen


def by_mock(heard: Heard, _: Any) -> Any:
    return mock.patch("colony_sdk.client.urlopen", side_effect=hearing(heard))


def by_autospec(heard: Heard, _: Any) -> Any:
    return mock.patch("colony_sdk.client.urlopen", autospec=True, side_effect=hearing(heard))


def by_a_function(heard: Heard, _: Any) -> Any:
    return mock.patch("colony_sdk.client.urlopen", hearing(heard))


def by_a_wrapper(heard: Heard, _: Any) -> Any:
    wrapper = functools.wraps(urllib.request.urlopen)(hearing(heard))
    return mock.patch("colony_sdk.client.urlopen", wrapper)


def by_a_partial(heard: Heard, _: Any) -> Any:
    return mock.patch("colony_sdk.client.urlopen", functools.partial(hearing(heard)))


def by_the_name_of_ours(heard: Heard, _: Any) -> Any:
    return mock.patch("colony_pool.sdk.client.urlopen", hearing(heard))


def by_the_opener(heard: Heard, _: Any) -> Any:
    return mock.patch("urllib.request.OpenerDirector.open", hearing(heard))


def by_the_handler(heard: Heard, _: Any) -> Any:
    return mock.patch("urllib.request.AbstractHTTPHandler.do_open", hearing(heard))


@contextmanager
def by_a_handler_of_its_own(heard: Heard, _: Any) -> Iterator[None]:
    class Handler(urllib.request.HTTPHandler):
        def http_open(self, req: Any) -> Any:
            return hearing(heard)(req)

    before = urllib.request._opener  # type: ignore[attr-defined]
    urllib.request.install_opener(urllib.request.build_opener(Handler()))
    try:
        yield
    finally:
        urllib.request.install_opener(before)


def by_the_connection(heard: Heard, _: Any) -> Any:
    class Connection(http.client.HTTPConnection):
        def request(self, method: str, url: str, *_: Any, **__: Any) -> None:
            heard.append(url)

        def getresponse(self) -> Any:
            return answer()

    return mock.patch("http.client.HTTPConnection", Connection)


def by_the_method_of_the_connection(heard: Heard, _: Any) -> Any:
    def request(self: Any, method: str, url: str, *_: Any, **__: Any) -> None:
        heard.append(url)
        self.getresponse = answer

    return mock.patch("http.client.HTTPConnection.request", request)


def by_sockets(heard: Heard, _: Any) -> Any:
    if socket.create_connection.__module__.startswith("gevent"):
        pytest.skip("gevent connects by a class of its own, so that the SDK's own requests pass this by, too")

    class Socket(socket.socket):
        """Answers what is sent at once."""

        def connect(self, address: Any) -> None:
            heard.append(str(address))

        def sendall(self, data: Any, flags: int = 0) -> None:
            self.said = io.BytesIO(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(ANSWER).encode())

        def makefile(self, *_: Any, **__: Any) -> Any:
            return self.said

    return mock.patch("socket.socket", Socket)


def by_create_connection(heard: Heard, _: Any) -> Any:
    def create_connection(address: Any, *_: Any, **__: Any) -> Any:
        heard.append(str(address))
        return mock.Mock(makefile=lambda *_: io.BytesIO(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(ANSWER).encode()))

    return mock.patch("socket.create_connection", create_connection)


def by_the_client(heard: Heard, client: Any) -> Any:
    def raw_request(method: str, path: str, *_: Any, **__: Any) -> Any:
        heard.append(path)
        return ANSWER

    return mock.patch.object(client, "_raw_request", raw_request)


def by_the_class(heard: Heard, client: Any) -> Any:
    def raw_request(method: str, path: str, **_: Any) -> Any:
        heard.append(path)
        return ANSWER

    return mock.patch.object(type(client), "_raw_request", side_effect=raw_request)


def by_the_sdks_class(heard: Heard, client: Any) -> Any:
    def raw_request(self: Any, method: str, path: str, *_: Any, **__: Any) -> Any:
        heard.append(path)
        return ANSWER

    return mock.patch("colony_sdk.client.ColonyClient._raw_request", raw_request)


STAND_INS: list[StandIn] = [
    by_mock, by_autospec, by_a_function, by_a_wrapper, by_a_partial, by_the_name_of_ours, by_the_opener,
    by_the_handler, by_a_handler_of_its_own, by_the_connection, by_the_method_of_the_connection, by_sockets,
    by_create_connection, by_the_client,
    by_the_class, by_the_sdks_class,
]  # fmt: skip


def upload(client: Any) -> Any:
    return client._raw_multipart_upload(
        "/up", field_name="f", filename="f", file_bytes=b"", content_type="text/plain"
    )


def everything(client: Any) -> None:
    client.get_me()
    client.get_auth_token()
    client.refresh_token()
    client.get_me()
    client.rotate_key()
    client.get_me()


@pytest.mark.parametrize("stand_in", STAND_INS, ids=lambda found: found.__name__)
def test_a_stand_in_hears_what_it_heard_from_the_sdk_and_the_api_hears_nothing(
    stand_in: StandIn, colony: FakeColony
) -> None:
    heard: dict[ModuleType, Heard] = {colony_sdk: [], colony_pool.sdk: []}
    for module, paths in heard.items():
        client = module.ColonyClient("col_a", base_url=colony.base_url)
        with stand_in(paths, client):
            everything(client)
            if not stand_in.__name__.endswith(("client", "class")):  # these stand in for JSON alone
                assert "mocked" == upload(client)["username"]
    assert heard[colony_sdk] == heard[colony_pool.sdk] != []
    assert [] == colony.requests()


def test_each_client_asks_a_stand_in_once_for_a_token(colony: FakeColony) -> None:
    heard: Heard = []
    with mock.patch("colony_sdk.client.urlopen", side_effect=hearing(heard)):
        client = ColonyClient("col_a", base_url=colony.base_url)
        for _ in range(3):
            client.get_me()
        assert 1 == sum(path.endswith(TOKEN) for path in heard)
        ColonyClient("col_a", base_url=colony.base_url).get_me()
        assert 2 == sum(path.endswith(TOKEN) for path in heard)


def test_a_client_that_has_a_token_of_the_pool_asks_a_stand_in_for_none(colony: FakeColony) -> None:
    heard: Heard = []
    with ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        client = ColonyClient("col_a", pool=pool)
        client.get_me()
        with mock.patch("colony_sdk.client.urlopen", side_effect=hearing(heard)):
            client.get_me()
        assert ["/api/v1/users/me"] == heard


def test_a_401_of_a_stand_in_is_the_sdks_business(colony: FakeColony) -> None:
    refused = [True]
    heard: Heard = []

    def urlopen(request: urllib.request.Request, **_: Any) -> Any:
        heard.append(request.selector)
        if request.selector.endswith("/me") and refused and refused.pop():
            raise urllib.request.HTTPError(request.full_url, 401, "no", Message(), io.BytesIO(b"{}"))
        return answer()

    with mock.patch("colony_sdk.client.urlopen", urlopen):
        ColonyClient("col_a", base_url=colony.base_url).get_me()
    assert 4 == len(heard), "two for tokens, two for the call"
    assert [] == colony.requests()


def test_a_proxy_that_a_mock_stands_in_for_is_asked_for_the_token_too(colony: FakeColony) -> None:
    heard: Heard = []
    opener = mock.Mock(open=hearing(heard))
    with mock.patch("urllib.request.build_opener", return_value=opener):
        ColonyClient("col_a", base_url=colony.base_url, proxy="http://127.0.0.1:9").get_me()
    assert 2 == len(heard)


@pytest.mark.parametrize("base_url", ["http://colony.test/api/v1", "http://testserver", "not even a URL"])
def test_a_client_of_no_real_api_can_be_made_and_mocked(base_url: str) -> None:
    mocked = mock.patch("colony_sdk.client.urlopen", side_effect=hearing([]))
    with mocked, contextlib.suppress(ValueError):  # urllib's, of what is no URL
        assert "mocked" == ColonyClient("col_a", base_url=base_url).get_me()["username"]
    with pytest.raises(ValueError, match="base_url"):
        ColonyClient("col_a", base_url=base_url).get_me()


def test_what_only_watches_stands_in_for_nothing(colony: FakeColony) -> None:
    """As OpenTelemetry, New Relic and others do it."""
    before, seen = urllib.request.OpenerDirector.open, []

    @functools.wraps(before)
    def watching(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(args)
        return before(self, *args, **kwargs)

    with (
        ColonyPool(colony.base_url, token_cache=None, registry=None) as pool,
        mock.patch.object(urllib.request.OpenerDirector, "open", watching),
    ):
        assert ColonyClient("col_a", pool=pool).get_me()["username"] != "mocked"
        assert 1 == len(seen), "the token came by the pool"
        assert 1 == pool.status().tokens.fresh


def test_after_a_stand_in_the_pool_has_its_part_again(colony: FakeColony) -> None:
    with ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        client = ColonyClient("col_a", pool=pool)
        with mock.patch("colony_sdk.client.urlopen", side_effect=hearing([])):
            client.get_me()
        assert client.get_me()["username"] != "mocked", (
            "the API refuses the token of the mock; the next is the pool's"
        )
        assert 1 == pool.status().tokens.fresh
        assert ["401", "200"] == [str(r.status) for r in colony.requests() if not r.path.endswith(TOKEN)]


def test_vcrpy_records_and_replays_all_of_it(colony: FakeColony, tmp_path: Path) -> None:
    vcr = pytest.importorskip("vcr")
    for cassette, make in (("sync", ColonyClient), ("async", AsyncColonyClient)):
        for key in ("col_recorded", "col_replayed"):
            before = len(colony.requests())
            with vcr.use_cassette(str(tmp_path / f"{cassette}.yaml"), match_on=["method", "path"]):
                client = make(key, base_url=colony.base_url)
                assert run(client.get_me(), client)["username"]
            assert (2 if key == "col_recorded" else 0) == len(colony.requests()) - before


# -- the asynchronous client ------------------------------------------------------------------------------


def run(call: Any, client: Any) -> Any:
    async def awaited() -> Any:
        try:
            return await call
        finally:
            await client.aclose()

    return asyncio.run(awaited()) if asyncio.iscoroutine(call) else call


def responding(heard: Heard) -> Callable[[httpx.Request], httpx.Response]:
    def respond(request: httpx.Request) -> httpx.Response:
        heard.append(request.url.path)
        return httpx.Response(200, json=ANSWER, request=request)

    return respond


class OwnTransport(httpx.AsyncBaseTransport):
    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return responding(self._heard)(request)


def app_of(heard: Heard) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(ANSWER).encode()})

    return app


def stub_of(heard: Heard) -> Any:
    async def request(method: str, url: str, **_: Any) -> httpx.Response:
        return responding(heard)(httpx.Request(method, url))

    return mock.AsyncMock(spec=httpx.AsyncClient, request=request)


class Stub:
    """Not even a class of httpx."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    async def request(self, method: str, url: str, **_: Any) -> httpx.Response:
        return responding(self._heard)(httpx.Request(method, url))


CLIENTS: dict[str, Callable[[Heard], Any]] = {
    "MockTransport": lambda heard: httpx.AsyncClient(transport=httpx.MockTransport(responding(heard))),
    "a transport of its own": lambda heard: httpx.AsyncClient(transport=OwnTransport(heard)),
    "a mount": lambda heard: httpx.AsyncClient(mounts={"all://": OwnTransport(heard)}),
    "an application": lambda heard: httpx.AsyncClient(transport=httpx.ASGITransport(app_of(heard))),
    "a mock": stub_of,
    "a stub": Stub,
}


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_of_httpx_that_reaches_no_network_is_asked_for_the_token(kind: str, colony: FakeColony) -> None:
    heard: dict[ModuleType, Heard] = {colony_sdk: [], colony_pool.sdk: []}
    for module, paths in heard.items():
        client = module.AsyncColonyClient("col_a", base_url=colony.base_url, client=CLIENTS[kind](paths))
        assert "mocked" == run(client.get_me(), client)["username"]
    assert ["/api/v1/auth/token", "/api/v1/users/me"] == heard[colony_sdk] == heard[colony_pool.sdk]
    assert [] == colony.requests()


def mocked_transport(heard: Heard) -> Any:
    """As pytest-httpx does it."""

    async def handle(self: Any, request: httpx.Request) -> httpx.Response:
        return responding(heard)(request)

    return mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", handle)


def mocked_request(heard: Heard) -> Any:
    async def request(self: Any, method: str, url: str, **_: Any) -> httpx.Response:
        return responding(heard)(httpx.Request(method, url))

    return mock.patch.object(httpx.AsyncClient, "request", request)


def mocked_send(heard: Heard) -> Any:
    async def send(self: Any, request: httpx.Request, **_: Any) -> httpx.Response:
        return responding(heard)(request)

    return mock.patch.object(httpx.AsyncClient, "send", send)


@contextmanager
def with_respx(heard: Heard, using: str = "httpcore") -> Iterator[None]:
    respx = pytest.importorskip("respx")
    with respx.mock(assert_all_called=False, using=using) as router:
        router.route().mock(side_effect=responding(heard))
        yield


MOCKS: dict[str, Callable[[Heard], AbstractContextManager[object]]] = {
    "the transport's method": mocked_transport,
    "AsyncClient.request": mocked_request,
    "AsyncClient.send": mocked_send,
    "respx": with_respx,
    "respx at httpx": functools.partial(with_respx, using="httpx"),
}


@pytest.mark.parametrize("kind", MOCKS)
def test_a_mock_of_httpx_is_asked_for_the_token(kind: str, colony: FakeColony) -> None:
    client = AsyncColonyClient("col_a", base_url=colony.base_url)
    heard: Heard = []
    with MOCKS[kind](heard):
        assert "mocked" == run(client.get_me(), client)["username"]
    assert ["/api/v1/auth/token", "/api/v1/users/me"] == heard
    assert [] == colony.requests()


class Around(httpx.AsyncBaseTransport):
    """A transport that has the network's, as those that retry or cache."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def watching_send() -> Any:
    """As Sentry does it."""
    before = httpx.AsyncClient.send

    async def send(self: Any, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        return await before(self, request, **kwargs)

    return mock.patch.object(httpx.AsyncClient, "send", send)


def watching_transport() -> Any:
    """As OpenTelemetry does it."""
    before = httpx.AsyncHTTPTransport.handle_async_request

    @functools.wraps(before)
    async def handle(self: Any, request: httpx.Request) -> httpx.Response:
        return await before(self, request)

    return mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", handle)


@pytest.mark.parametrize("watched", [contextlib.nullcontext, watching_send, watching_transport])
@pytest.mark.parametrize("transport", [None, Around])
def test_a_client_of_httpx_that_reaches_the_network_has_its_tokens_of_the_pool(
    transport: Callable[[], Any] | None, watched: Callable[[], AbstractContextManager[object]], colony: FakeColony
) -> None:
    with ColonyPool(colony.base_url, token_cache=None, registry=None) as pool, watched():
        given = httpx.AsyncClient(transport=transport()) if transport else None
        client = AsyncColonyClient("col_a", pool=pool, client=given)

        async def ask() -> None:
            await client.get_me()
            await client.aclose()
            if given is not None:
                await given.aclose()

        asyncio.run(ask())
        assert 1 == pool.status().tokens.fresh


def test_the_log_says_once_that_the_pool_is_left_out(colony: FakeColony, caplog: pytest.LogCaptureFixture) -> None:
    tell_once.cache_clear()
    heard: Heard = []
    with mock.patch("colony_sdk.client.urlopen", hearing(heard)):
        for name in ("a", "b"):
            ColonyClient(f"col_{name}", base_url=colony.base_url).get_me()
    assert heard
    assert sum("has no part" in record.getMessage() for record in caplog.records) == 1
