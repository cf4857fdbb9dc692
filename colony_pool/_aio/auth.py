"""``AgentAuth``: an agent's token on each request of an ``httpx.AsyncClient``, and what is done about a 401."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx

from .._core.failure import closed
from .._http.api import token_refused
from .._http.url import belongs
from ..agent import engines_behind, replays_of
from .agent import AsyncAgent, agent_behind, run_off_loop, waiting_of
from .token_headers import TokenHeaders

__all__ = ["AgentAuth", "has_token", "is_refused", "is_replayable", "to_be_sent_again", "with_token"]

_UNAUTHORIZED = 401
_NOT_DONE = (401, 403)  # what an API says to a request without a token, and does nothing
_READS = ("GET", "HEAD")


class AgentAuth(httpx.Auth):
    """Authenticates requests to the API, all of them: whose address is the API's has been decided before."""

    def __init__(self, agent: AsyncAgent, max_wait: float | None = None) -> None:
        self._agent = agent
        self._max_wait = max_wait

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Called by ``httpx.AsyncClient`` for each request."""
        agent = self._agent
        base_url = engines_behind(agent_behind(agent)).current.options.base_url
        replays, jwt = replays_of(agent_behind(agent)), ""
        try:
            while True:
                jwt = await agent.token(max_wait=self._max_wait)
                response = yield with_token(request, jwt)
                if to_be_sent_again(response, request, base_url):
                    request = response.request
                    continue
                if response.status_code == _UNAUTHORIZED:
                    await response.aread()  # whose 401 it is stands in its body
                pause = await run_off_loop(agent, replays.pause, jwt) if is_refused(response, jwt) else None
                if pause is None or not is_replayable(request):
                    break
                if pause and await waiting_of(agent).pause(pause):
                    raise closed().exception()
            if response.is_success and has_token(response.request, jwt):
                replays.worked(jwt)
        finally:
            del jwt  # no traceback of ours holds a token


def has_token(request: httpx.Request, jwt: str) -> bool:
    """Whether ``request`` carries ``jwt``: it may be one that followed a redirect."""
    return bool(request.headers.get("Authorization") == f"Bearer {jwt}")


def is_refused(response: httpx.Response, jwt: str) -> bool:
    """Whether the API refused ``jwt``: a gateway's own 401 says nothing of it."""
    request = response.request
    if response.status_code != _UNAUTHORIZED or not has_token(request, jwt):
        return False
    return token_refused(_UNAUTHORIZED, response.headers, response.content, request.method)


def to_be_sent_again(response: httpx.Response, asked: httpx.Request, base_url: str) -> bool:
    """Whether ``asked`` was redirected within the API: its request is another, which left without the token."""
    request = response.request
    if request is asked or not belongs(base_url, str(request.url)):
        return False
    return (request.method in _READS or response.status_code in _NOT_DONE) and is_replayable(request)


def with_token(request: httpx.Request, jwt: str) -> httpx.Request:
    """Return ``request``, which now carries ``jwt``; no request that follows a redirect does."""
    request.headers = TokenHeaders(request.headers, jwt)
    return request


def is_replayable(request: httpx.Request) -> bool:
    """Whether it can be sent again: its body is no stream."""
    return isinstance(request.stream, httpx.ByteStream)
