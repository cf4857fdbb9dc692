"""To which addresses the adapters for httpx and requests send the token, redirects included (G22)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

import colony_pool.httpx
import colony_pool.requests
from colony_pool import Agent, AsyncColonyPool, ColonyPool
from colony_pool.testing import FakeColony, FakeRequest, subject

KEY = "col_of_addresses"
Send = Callable[..., int]


def with_httpx(agent: Agent, url: str, method: str = "GET") -> int:
    with httpx.Client(auth=colony_pool.httpx.ColonyAuth(agent), follow_redirects=True) as client:
        return client.request(method, url, content=b"body" if method == "POST" else None).status_code


def with_async_httpx(agent: Agent, url: str, method: str = "GET") -> int:
    async def ask() -> int:
        async with httpx.AsyncClient(auth=colony_pool.httpx.ColonyAuth(agent), follow_redirects=True) as client:
            return (await client.request(method, url, content=b"body" if method == "POST" else None)).status_code

    return asyncio.run(ask())


def with_requests(agent: Agent, url: str, method: str = "GET") -> int:
    auth = colony_pool.requests.ColonyAuth(agent)
    return requests.request(
        method, url, auth=auth, data=b"body" if method == "POST" else None, timeout=30
    ).status_code


@pytest.fixture(params=[with_httpx, with_async_httpx, with_requests], ids=["httpx", "httpx async", "requests"])
def send(request: pytest.FixtureRequest) -> Send:
    chosen: Send = request.param
    return chosen


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def agent(colony: FakeColony) -> Iterator[Agent]:
    with ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        yield pool.agent(KEY)


def calls(colony: FakeColony) -> list[FakeRequest]:
    return [request for request in colony.requests() if not request.path.endswith("/auth/token")]


BELOW = [
    "/users", "", "/", "?next=../../x", "#/../../x", "/a/%2e%2e/b", "/a/../b", "/%2e/a", "/users/Zo%C3%AB",
    "/users/%E9", "/a%2fb", "/..a", "/a..", "/.../a", "/50%25", "//a", "/a;b=c",
]  # fmt: skip
ABOVE = [
    "/%2e%2e/other", "/%2E%2E/%2e%2E/other", "/..%2f..%2fother", "/a/%2e%2e/%2e%2e/other", "/a//%2e%2e/%2e%2e/other",
    "/a%2fb/%2e%2e/%2e%2e/other", "/a/%2e/%2e%2e/%2e%2e/other", "/%252e%252e/other", "/%25252e%25252e/other",
    "/..%5cother", "/a/..%5c..%5cother", "/..%3b/other", "/..;/other", "/..%3ba=b/other", "/..%20/other",
    "/..%00/other", "/%c0%ae%c0%ae/other", "/%e0%80%ae%e0%80%ae/other", "2/users", "/../other", "/../../other",
    "/%" + "25" * 10 + "2e%2e/other",
]  # fmt: skip


def test_g22_the_token_goes_below_the_path_of_base_url(send: Send, colony: FakeColony, agent: Agent) -> None:
    for rest in BELOW:
        send(agent, colony.base_url + rest)
        assert subject(KEY) == calls(colony)[-1].agent, rest
    assert len(BELOW) == len(calls(colony))


def test_g22_the_token_leaves_the_path_of_base_url_in_no_reading(
    send: Send, colony: FakeColony, agent: Agent
) -> None:
    """Percent-encoded once or more, dots removed, slashes merged, parameters dropped: servers differ."""
    agent.token()
    for rest in ABOVE:
        send(agent, colony.base_url + rest)
        assert "" == calls(colony)[-1].agent, rest
    assert len(ABOVE) == len(calls(colony))


@pytest.mark.parametrize("rest", [rest for rest in ABOVE if "%00" not in rest])
def test_g22_nor_does_it_when_a_redirect_leads_there(rest: str, send: Send, colony: FakeColony, agent: Agent) -> None:
    colony.behave("redirect", status=307, location=colony.base_url + rest, only="/moved")
    send(agent, f"{colony.base_url}/moved", "POST")
    first, second = calls(colony)
    assert (subject(KEY), "") == (first.agent, second.agent)


@pytest.mark.parametrize("origin", ["http://user@{}", "http://:word@{}"])
def test_g22_an_address_with_a_user_gets_none(origin: str, send: Send, colony: FakeColony, agent: Agent) -> None:
    send(agent, f"{origin.format(f'127.0.0.1:{colony.port}')}/api/v1/users/me")
    assert [""] == [request.agent for request in calls(colony)]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{port}/api/v1/x", "http://127.0.0.1/api/v1/x", "http://127.0.0.1.:{port}/api/v1/x",
        "http://localhost:{port}/api/v1/x", "http://127.0.0.1.example:{port}/api/v1/x", "http://127.0.0.1:0/api/v1/x",
        "http://127.0.0.1:{port}@example.com/api/v1/x", "http://example.com/127.0.0.1:{port}/api/v1/x",
        "http://127.0.0.1:{port}/api/v1\\..\\x", "http://127.0.0.1:{port}//api/v1/x", "http://127.0.0.1:{port}/API/v1/x",
        "http://127.0.0.1:{port}/api%2fv1/x", "http://127.0.0.1:{port}/api/v1/..\\x",
    ],
)  # fmt: skip
def test_g22_another_origin_or_a_path_beside_it_gets_none(url: str, colony: FakeColony, agent: Agent) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=request.headers.get("Authorization", "none"))

    auth = colony_pool.httpx.ColonyAuth(agent)
    with httpx.Client(auth=auth, transport=httpx.MockTransport(answer)) as client:
        assert client.get(f"{colony.base_url}/x").text == f"Bearer {agent.token()}"
        assert "none" == client.get(url.format(port=colony.port)).text


def test_scheme_and_host_are_the_same_in_any_case(send: Send, colony: FakeColony) -> None:
    with ColonyPool(f"HTTP://LocalHost:{colony.port}/api/v1", token_cache=None, registry=None) as pool:
        assert 200 == send(pool.agent(KEY), f"http://LOCALHOST:{colony.port}/api/v1/users/me")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [302, 307])
def test_g22_a_redirect_takes_the_token_no_further_than_the_api(
    method: str, status: int, send: Send, colony: FakeColony, agent: Agent
) -> None:
    """Not even to another path of the same origin, and not after a 401 either."""
    outside = f"http://127.0.0.1:{colony.port}/elsewhere"
    assert 200 == send(agent, f"{colony.base_url}/users/me")
    colony.behave("redirect", status=status, location=f"{colony.base_url}/moved", only="/a")
    colony.behave("redirect", status=status, location=outside, only="/moved")
    send(agent, f"{colony.base_url}/a", method)
    sent = {request.path: request.agent for request in calls(colony)}
    assert (subject(KEY), "") == (sent["/api/v1/a"], sent["/elsewhere"])


class Scripted(HTTPAdapter):
    """Answers the first request with a 401 of the API, the second with a redirect, and keeps what was sent."""

    def __init__(self, location: str) -> None:
        super().__init__()
        self.sent: list[tuple[str, str]] = []
        self._answers = [(401, {}, b'{"detail": "no"}'), (307, {"Location": location}, b""), (200, {}, b"")]

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        self.sent.append((str(request.url), str(request.headers.get("Authorization", ""))))
        status, headers, body = self._answers[len(self.sent) - 1]
        answer = urllib3.HTTPResponse(io.BytesIO(body), headers, status, preload_content=False)
        response: requests.Response = self.build_response(request, answer)
        return response


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("where", ["/elsewhere", "/api/v1/moved"])
def test_g22_a_token_that_was_just_refused_is_taken_nowhere(where: str, agent: Agent, colony: FakeColony) -> None:
    """requests makes the request that follows a redirect of the one that it has sent, not of ours in its place."""
    assert 200 == with_requests(agent, f"{colony.base_url}/users/me")
    first, adapter = agent.token(), Scripted(where)
    with requests.Session() as session:
        session.mount("http://", adapter)
        session.auth = colony_pool.requests.ColonyAuth(agent)
        assert 200 == session.get(f"{colony.base_url}/users/me").status_code
    second = f"Bearer {agent.token()}"
    assert f"Bearer {first}" != second
    tokens = [sent for _, sent in adapter.sent]
    assert [f"Bearer {first}", second] == tokens[:2]
    assert tokens[2] == second if where.startswith("/api") else tokens[2].startswith("Basic ")


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1\nlogin someone\npassword hunter2\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirect_within_the_api_ends_with_the_token(
    method: str, send: Send, colony: FakeColony, agent: Agent
) -> None:
    colony.behave("redirect", status=307, location=f"{colony.base_url}/moved", only="/a")
    colony.behave("redirect", status=307, location="/api/v1/users/me", only="/moved")
    assert 200 == send(agent, f"{colony.base_url}/a", method)
    last = calls(colony)[-1]
    assert ("/api/v1/users/me", method, subject(KEY)) == (last.path, last.method, last.agent)


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_password_of_netrc_never_takes_the_tokens_place(
    method: str, send: Send, colony: FakeColony, agent: Agent
) -> None:
    """requests looks there at each redirect."""
    assert 200 == send(agent, f"{colony.base_url}/users/me", method)
    colony.behave("redirect", status=307, location=f"{colony.base_url}/users/me", only="/moved")
    colony.behave("redirect", status=307, location="/api/v1/moved", only="/first")
    assert 200 == send(agent, f"{colony.base_url}/first", method)
    agent.invalidate()
    colony.revoke_tokens()
    assert 200 == send(agent, f"{colony.base_url}/first", method)


def test_a_client_that_follows_no_redirect_is_given_it(colony: FakeColony, agent: Agent) -> None:
    """Whatever it says."""
    for location in ("/api/v1/x", "//", "http://127.0.0.1:99999/x", "http://a..b/", "#"):
        colony.behave("redirect", location=location, only="/moved")
        url, auth = f"{colony.base_url}/moved", colony_pool.requests.ColonyAuth(agent)
        assert 302 == requests.get(url, auth=auth, allow_redirects=False, timeout=30).status_code


def test_g22_whatever_transport_httpx_has(agent: Agent, colony: FakeColony) -> None:
    """Each header is where it was, for whoever reads them: a transport, a hook, a test."""
    seen: list[tuple[str, str, list[str]]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        headers = request.headers
        said = headers.get("authorization", "")
        raw = [value.decode() for name, value in headers.raw if name.lower() == b"authorization"]
        assert ("AUTHORIZATION" in headers) == ("authorization" in list(headers)) == bool(said) == bool(raw)
        assert len(headers) == len(headers.raw) == len(headers.multi_items())
        assert said == dict(headers.items()).get("authorization", "") == "".join(headers.get_list("Authorization"))
        assert said.removeprefix("Bearer ") not in repr(headers) or not said
        assert headers == httpx.Headers(headers.raw)
        assert bool(said) == (said in headers.values())
        assert "authorization" not in headers.copy()
        seen.append((request.url.path, said, raw))
        if request.url.path.endswith("/moved"):
            return httpx.Response(307, headers={"Location": "/elsewhere"})
        return httpx.Response(200)

    def hook(request: httpx.Request) -> None:
        if request.headers.get("Authorization"):
            request.headers["X-Mine"] = "1"

    auth = colony_pool.httpx.ColonyAuth(agent)
    with httpx.Client(auth=auth, transport=httpx.MockTransport(answer), follow_redirects=True,
                      event_hooks={"request": [hook]}) as client:  # fmt: skip
        client.get(f"{colony.base_url}/moved")
    token = f"Bearer {agent.token()}"
    assert [("/api/v1/moved", token, [token]), ("/elsewhere", "", [])] == seen


def test_what_a_hook_makes_of_the_token_is_sent(agent: Agent, colony: FakeColony) -> None:
    """A hook may take it away, or put another in its place."""

    def without(request: httpx.Request) -> None:
        del request.headers["Authorization"]
        assert "Authorization" not in request.headers
        with pytest.raises(KeyError):
            del request.headers["Authorization"]

    def another(request: httpx.Request) -> None:
        request.headers["authorization"] = "Basic none"
        request.headers.update({"Authorization": "Basic other"})

    for hook in (without, another):
        auth = colony_pool.httpx.ColonyAuth(agent)
        with httpx.Client(auth=auth, event_hooks={"request": [hook]}) as client:
            assert client.get(f"{colony.base_url}/users/me").status_code in (401, 403)
        assert "" == calls(colony)[-1].agent


def test_g22_an_agent_of_an_async_pool_is_no_exception(colony: FakeColony) -> None:
    async def main() -> None:
        async with AsyncColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
            auth = colony_pool.httpx.ColonyAuth(pool.agent(KEY))
            async with httpx.AsyncClient(auth=auth, follow_redirects=True) as client:
                await client.get(f"{colony.base_url}/moved")
                await client.get(f"{colony.base_url}/%2e%2e/other")

    colony.behave("redirect", location="/elsewhere", only="/moved")
    asyncio.run(main())
    assert [subject(KEY), "", ""] == [request.agent for request in calls(colony)]
