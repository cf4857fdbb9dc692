"""The adapters for httpx and requests: one refresh on 401, and no token for anybody else."""

from __future__ import annotations

import asyncio
import io
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from requests.adapters import HTTPAdapter

import colony_pool.httpx
import colony_pool.requests
from colony_pool import Agent, ColonyPool, ColonyServerError
from colony_pool.testing import FakeColony
from tests.support.private import AgentState, TokenSource, state_of
from tests.tools.sdk.server import TOKEN, ApiServer

Send = Callable[..., int]
OURS = str(Path(colony_pool.__file__).parent)


def with_httpx(agent: Agent, method: str, url: str, data: Any = None) -> int:
    with httpx.Client(auth=colony_pool.httpx.ColonyAuth(agent), follow_redirects=True, trust_env=False) as client:
        return client.request(method, url, content=data() if data else None).status_code


def with_async_httpx(agent: Agent, method: str, url: str, data: Any = None) -> int:
    async def stream() -> Any:
        for part in data():
            yield part

    async def ask() -> int:
        auth = colony_pool.httpx.ColonyAuth(agent)
        async with httpx.AsyncClient(auth=auth, follow_redirects=True, trust_env=False) as client:
            content = data() if data else None
            content = content if content is None or isinstance(content, bytes) else stream()
            return (await client.request(method, url, content=content)).status_code

    return asyncio.run(ask())


def with_requests(agent: Agent, method: str, url: str, data: Any = None) -> int:
    with requests.Session() as session:
        session.trust_env = False
        session.auth = colony_pool.requests.ColonyAuth(agent)
        return session.request(method, url, data=data() if data else None).status_code


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
        yield pool.agent("col_adapted")


def tokens(server: ApiServer) -> int:
    return sum(request.path == TOKEN for request in server.requests)


def statuses(colony: FakeColony) -> list[int]:
    return [request.status for request in colony.requests() if not request.path.endswith(TOKEN)]


def test_requests_carry_the_pools_token(send: Send, colony: FakeColony, agent: Agent) -> None:
    assert (
        200 == send(agent, "GET", f"{colony.base_url}/users/me") == send(agent, "GET", f"{colony.base_url}/users/me")
    )
    assert 1 == colony.count(TOKEN)


@pytest.mark.slow
def test_g19_a_401_is_refreshed_and_replayed_once(send: Send, colony: FakeColony, agent: Agent) -> None:
    assert 200 == send(agent, "GET", f"{colony.base_url}/users/me")
    for asked in (2, 3):  # a token that has worked is replaced at once
        colony.revoke_tokens()
        assert 200 == send(agent, "POST", f"{colony.base_url}/posts", lambda: b"body")
        assert [401, 200] == statuses(colony)[-2:]
        assert asked == colony.count(TOKEN)
    colony.behave("status", status=401, only="/users/me")
    for asked in (4, 5, 5):  # and one that never worked once a minute
        assert 401 == send(agent, "GET", f"{colony.base_url}/users/me")
        assert asked == colony.count(TOKEN)


def test_g19_a_token_that_the_api_does_not_know_yet_is_not_thrown_away(send: Send) -> None:
    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        agent = pool.agent("col_young")
        server.unknown_for = 1
        assert 200 == send(agent, "POST", f"{server.base_url}/posts", lambda: b"body")
        assert [b"body"] * 2 == [request.body for request in server.requests if request.path == "/posts"]
        assert 1 == tokens(server)


@pytest.mark.slow
def test_a_body_that_cannot_be_sent_again_gets_its_401_and_the_next_request_a_token(send: Send) -> None:
    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        agent = pool.agent("col_streaming")
        server.revoked.add(agent.token())
        assert 401 == send(agent, "POST", f"{server.base_url}/posts", lambda: iter([b"a", b"b"]))
        assert [b"ab"] == [request.body for request in server.requests if request.path == "/posts"]
        assert 200 == send(agent, "GET", f"{server.base_url}/users/me")


@pytest.mark.slow
def test_a_file_is_rewound_by_requests(colony: FakeColony, agent: Agent) -> None:
    agent.token()
    colony.revoke_tokens()
    assert 200 == with_requests(agent, "POST", f"{colony.base_url}/posts", lambda: io.BytesIO(b"of a file"))


def test_g22_another_host_gets_no_token(send: Send, colony: FakeColony, agent: Agent) -> None:
    with FakeColony() as foreign:
        send(agent, "GET", f"{foreign.base_url}/users/me")
        send(agent, "GET", f"http://127.0.0.1:{colony.port}/elsewhere")
        colony.behave("redirect", location=f"{foreign.base_url}/users/me", only="/users/me")
        send(agent, "GET", f"{colony.base_url}/users/me")
        assert {""} == {request.agent for request in foreign.requests()}
        assert 2 == len(foreign.requests())
        assert {""} == {request.agent for request in colony.requests() if request.path == "/elsewhere"}


def test_a_redirect_within_the_api_keeps_the_token(send: Send, colony: FakeColony, agent: Agent) -> None:
    colony.behave("redirect", location=f"{colony.base_url}/echo", only="/users/me")
    assert 200 == send(agent, "GET", f"{colony.base_url}/users/me")


def test_g22_requests_takes_no_token_along_out_of_the_api(colony: FakeColony, agent: Agent) -> None:
    colony.behave("redirect", location=f"http://127.0.0.1:{colony.port}/elsewhere", only="/users/me")
    with_requests(agent, "GET", f"{colony.base_url}/users/me")
    assert [""] == [request.agent for request in colony.requests() if request.path == "/elsewhere"]


@pytest.mark.slow
def test_a_refresh_that_fails_keeps_no_connection_of_requests(colony: FakeColony, agent: Agent) -> None:
    """There may be no other: a session with ``pool_block`` would wait for it for good."""
    adapter: Any = HTTPAdapter(pool_connections=1, pool_maxsize=1, pool_block=True)
    with requests.Session() as session:
        session.trust_env = False
        session.auth = colony_pool.requests.ColonyAuth(agent)
        session.mount("http://", adapter)
        agent.token()
        colony.revoke_tokens()
        colony.behave("status", status=500, only=TOKEN)
        with pytest.raises(ColonyServerError):
            session.get(f"{colony.base_url}/users/me")
        (key,) = adapter.poolmanager.pools.keys()
        assert 1 == adapter.poolmanager.pools[key].pool.qsize(), "it is free"
        colony.behave("healthy")
        assert 200 == session.get(f"{colony.base_url}/users/me").status_code


@pytest.mark.slow
@pytest.mark.parametrize("what", ["the refresh", "the replay"])
def test_g23_when_a_refresh_or_a_replay_fails_no_variable_of_ours_shows_a_token(
    what: str, send: Send, colony: FakeColony, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crash reporters collect local variables."""
    on_401 = TokenSource.on_401

    def then_it_fails(tokens: TokenSource, state: AgentState, jwt: str) -> bool:
        if what == "the refresh":
            colony.behave("status", status=500, only=TOKEN)
        else:
            colony.behave("reset", only="/users/me")
        return on_401(tokens, state, jwt)

    monkeypatch.setattr(TokenSource, "on_401", then_it_fails)
    tokens = [agent.token()]
    colony.revoke_tokens()
    with pytest.raises((ColonyServerError, httpx.HTTPError, requests.ConnectionError)) as failed:
        send(agent, "GET", f"{colony.base_url}/users/me")
    tokens.append(state_of(agent).jwt)
    frames = [f for f, _ in traceback.walk_tb(failed.value.__traceback__) if f.f_code.co_filename.startswith(OURS)]
    assert bool(frames) == (what == "the refresh" or send is with_requests), "httpx closes its flow before"
    shown = repr([frame.f_locals for frame in frames]) + repr(failed.value) + str(failed.value)
    assert [False, False] == [token in shown for token in tokens]


def test_g19_a_gateways_own_401_is_no_word_of_the_token(send: Send, colony: FakeColony, agent: Agent) -> None:
    token = agent.token()
    for body, kind in (("<html>sign in</html>", "text/html"), ("", "text/plain"), ('{"message": "no"}', "text/json")):
        colony.behave("status", status=401, body=body, headers={"Content-Type": kind}, only="/users/me")
        assert 401 == send(agent, "GET", f"{colony.base_url}/users/me")
    assert [401, 401, 401] == statuses(colony)
    assert (token, 1) == (agent.token(), colony.count(TOKEN))
