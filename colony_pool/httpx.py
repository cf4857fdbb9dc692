"""``ColonyAuth`` for those who bring ``httpx``: a pool's token on each request, one refresh on 401."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator

import httpx

from ._aio.agent import AsyncAgent
from ._aio.shared import async_agent
from ._http.url import belongs
from ._shell.api import token_refused
from .agent import Agent, Replays

__all__ = ["ColonyAuth"]

_UNAUTHORIZED = 401


class ColonyAuth(httpx.Auth):
    """Authenticates requests to the API of an agent's pool: ``httpx.Client(auth=ColonyAuth(agent))``, or async.

    A request to any other address goes out without the token; httpx itself drops it when a redirect leaves the
    origin. A 401 is answered as in ``Agent.request``: the request is replayed with another token, or a little later
    with one that is too young to be known. A streaming body (a generator, a multipart form with files) is not
    replayed: its 401 is returned, and the next request has the new token. Errors of the token itself are
    ``colony_pool``'s.

    With ``AsyncClient``, on asyncio, nothing blocks the loop; ``agent`` may be a ``ColonyPool``'s or an
    ``AsyncColonyPool``'s.
    """

    def __init__(self, agent: Agent | AsyncAgent) -> None:
        if not isinstance(agent, (Agent, AsyncAgent)):
            raise TypeError(f"agent: must be what pool.agent(key) returns, not {type(agent).__name__}")
        self._agent = agent._agent if isinstance(agent, AsyncAgent) else agent
        self._async_agent = agent if isinstance(agent, AsyncAgent) else None
        self._base_url = self._agent._pool.base_url

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Called by ``httpx.Client`` for each request."""
        if not belongs(self._base_url, str(request.url)):
            yield request
            return
        replays, jwt = Replays(self._agent), ""
        try:
            while True:
                jwt = self._agent.token()
                response = yield _with(request, jwt)
                if response.status_code == _UNAUTHORIZED:
                    response.read()  # whose 401 it is stands in its body
                pause = replays.pause(jwt) if _refused(response, jwt) else None
                if pause is None or not _replayable(request):
                    break
                if pause:
                    self._agent._pool._closing.wait(pause)
            if response.is_success:
                replays.worked(jwt)
        finally:
            del jwt  # no traceback of ours holds a token

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Called by ``httpx.AsyncClient`` for each request."""
        if not belongs(self._base_url, str(request.url)):
            yield request
            return
        agent = self._async_agent or async_agent(self._agent)
        replays, jwt = Replays(self._agent), ""
        try:
            while True:
                jwt = await agent.token()
                response = yield _with(request, jwt)
                if response.status_code == _UNAUTHORIZED:
                    await response.aread()
                pause = await agent._off_loop(replays.pause, jwt) if _refused(response, jwt) else None
                if pause is None or not _replayable(request):
                    break
                if pause:
                    await asyncio.sleep(pause)
            if response.is_success:
                replays.worked(jwt)
        finally:
            del jwt  # no traceback of ours holds a token


def _refused(response: httpx.Response, jwt: str) -> bool:
    """Whether the API refused ``jwt``: a gateway's own 401 says nothing of it."""
    request = response.request
    if response.status_code != _UNAUTHORIZED or request.headers.get("Authorization") != f"Bearer {jwt}":
        return False
    return token_refused(_UNAUTHORIZED, response.headers, response.content, request.method)


def _with(request: httpx.Request, jwt: str) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {jwt}"
    return request


def _replayable(request: httpx.Request) -> bool:
    try:
        request.content  # noqa: B018 - there is one unless the body is a stream
    except httpx.RequestNotRead:
        return False
    return True
