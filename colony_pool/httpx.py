"""``ColonyAuth`` for those who bring ``httpx``: a pool's token on each request, one refresh on 401."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import httpx

from ._aio.agent import AsyncAgent, agent_behind
from ._aio.auth import AgentAuth, has_token, is_refused, is_replayable, to_be_sent_again, with_token
from ._aio.pool import async_agent
from ._http.url import belongs
from .agent import Agent, engines_behind, replays_of

__all__ = ["ColonyAuth"]

_UNAUTHORIZED = 401


class ColonyAuth(httpx.Auth):
    """Authenticates requests to the API of an agent's pool: ``httpx.Client(auth=ColonyAuth(agent))``, or async.

    A request to any other address goes out without the token, also when a redirect leads there. httpx sends the one
    that follows a redirect within the API without it, too: a read, and what was refused, is then sent once more.

    A 401 is answered as in ``Agent.request``: the request is replayed with another token, or a little later with one
    that is too young to be known. A streaming body (a generator, a multipart form with files) is not replayed: its
    401 is returned, and the next request has the new token. Errors of the token itself are ``colony_pool``'s.

    With ``AsyncClient``, on asyncio, nothing blocks the loop; ``agent`` may be a ``ColonyPool``'s or an
    ``AsyncColonyPool``'s.
    """

    def __init__(self, agent: Agent | AsyncAgent) -> None:
        if not isinstance(agent, (Agent, AsyncAgent)):
            raise TypeError(f"agent: must be what pool.agent(key) returns, not {type(agent).__name__}")
        self._agent = agent_behind(agent) if isinstance(agent, AsyncAgent) else agent
        self._async_agent = agent if isinstance(agent, AsyncAgent) else None
        self._base_url = engines_behind(self._agent).current.options.base_url

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Called by ``httpx.Client`` for each request."""
        if not belongs(self._base_url, str(request.url)):
            yield request
            return
        replays, jwt = replays_of(self._agent), ""
        try:
            while True:
                jwt = self._agent.token()
                response = yield with_token(request, jwt)
                if to_be_sent_again(response, request, self._base_url):
                    request = response.request
                    continue
                if response.status_code == _UNAUTHORIZED:
                    response.read()  # whose 401 it is stands in its body
                pause = replays.pause(jwt) if is_refused(response, jwt) else None
                if pause is None or not is_replayable(request):
                    break
                if pause:
                    engines_behind(self._agent).current.closing.wait(pause)
            if response.is_success and has_token(response.request, jwt):
                replays.worked(jwt)
        finally:
            del jwt  # no traceback of ours holds a token

    def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Called by ``httpx.AsyncClient`` for each request."""
        if not belongs(self._base_url, str(request.url)):
            return super().async_auth_flow(request)  # which sends it as it is
        return AgentAuth(self._async_agent or async_agent(self._agent)).async_auth_flow(request)
