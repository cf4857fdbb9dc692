"""``AgentAuth``: an agent's token on each request of an ``httpx.AsyncClient``, and what is done about a 401."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx

from .._core.failure import closed
from .._http.api import token_refused
from ..agent import replays_of
from .agent import AsyncAgent, agent_behind, run_off_loop, waiting_of

__all__ = ["AgentAuth", "is_refused", "is_replayable", "with_token"]

_UNAUTHORIZED = 401


class AgentAuth(httpx.Auth):
    """Authenticates requests to the API, all of them: whose address is the API's has been decided before."""

    def __init__(self, agent: AsyncAgent, max_wait: float | None = None) -> None:
        self._agent = agent
        self._max_wait = max_wait

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Called by ``httpx.AsyncClient`` for each request."""
        agent = self._agent
        replays, jwt = replays_of(agent_behind(agent)), ""
        try:
            while True:
                jwt = await agent.token(max_wait=self._max_wait)
                response = yield with_token(request, jwt)
                if response.status_code == _UNAUTHORIZED:
                    await response.aread()  # whose 401 it is stands in its body
                pause = await run_off_loop(agent, replays.pause, jwt) if is_refused(response, jwt) else None
                if pause is None or not is_replayable(request):
                    break
                if pause and await waiting_of(agent).pause(pause):
                    raise closed().exception()
            if response.is_success:
                replays.worked(jwt)
        finally:
            del jwt  # no traceback of ours holds a token


def is_refused(response: httpx.Response, jwt: str) -> bool:
    """Whether the API refused ``jwt``: a gateway's own 401 says nothing of it."""
    request = response.request
    if response.status_code != _UNAUTHORIZED or request.headers.get("Authorization") != f"Bearer {jwt}":
        return False
    return token_refused(_UNAUTHORIZED, response.headers, response.content, request.method)


def with_token(request: httpx.Request, jwt: str) -> httpx.Request:
    """Return ``request``, which now carries ``jwt``."""
    request.headers["Authorization"] = f"Bearer {jwt}"
    return request


def is_replayable(request: httpx.Request) -> bool:
    """Whether it can be sent again: its body is no stream."""
    try:
        request.content  # noqa: B018 - there is one unless the body is a stream
    except httpx.RequestNotRead:
        return False
    return True
