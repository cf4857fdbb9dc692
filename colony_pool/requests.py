"""``ColonyAuth`` for those who bring ``requests``: a pool's token on each request, one refresh on 401."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import requests
from requests.auth import AuthBase
from requests.utils import rewind_body

from ._http.api import token_refused
from ._http.url import belongs
from .agent import Agent, engines_behind, replays_of

__all__ = ["ColonyAuth"]

_BEARER = "Bearer "


class ColonyRequestsAuth(AuthBase):
    """Authenticates requests to the API of an agent's pool: ``requests.get(url, auth=ColonyAuth(agent))``.

    A request to any other address goes out without the token, and a redirect that leaves the API takes none along.
    A 401 is answered as in ``Agent.request``: the request is replayed with another token, or a little later with one
    that is too young to be known. A body that is a generator, or a file that cannot be rewound, is not replayed: its
    401 is returned, and the next request has the new token. Errors of the token itself are ``colony_pool``'s.
    """

    def __init__(self, agent: Agent) -> None:
        if not isinstance(agent, Agent):
            raise TypeError(f"agent: must be what ColonyPool.agent(key) returns, not {type(agent).__name__}")
        self._agent = agent
        self._base_url = engines_behind(agent).current.options.base_url

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token on a request, if it is for the API."""
        if belongs(self._base_url, r.url or ""):
            r.headers["Authorization"] = f"Bearer {self._agent.token()}"
            r.register_hook("response", self._answered)  # type: ignore[no-untyped-call]
        return r

    def _answered(self, response: requests.Response, **options: Any) -> requests.Response:
        replays = replays_of(self._agent)
        while self._is_refused(response):
            pause = replays.pause(_token_of(response))
            if pause is None or not _rewound(response.request):
                return response
            if pause:
                engines_behind(self._agent).current.closing.wait(pause)
            response = self._replayed(response, options)
        if response.is_redirect:
            if not belongs(self._base_url, urljoin(response.url, response.headers["Location"])):
                # requests copies these headers for the next request
                response.request.headers.pop("Authorization", None)
        elif response.status_code < 300:
            replays.worked(_token_of(response))
        return response

    def _is_refused(self, response: requests.Response) -> bool:
        """Whether the API refused the token: a gateway's own 401 says nothing of it."""
        if response.status_code != 401 or not _token_of(response) or not belongs(self._base_url, response.url):
            return False
        headers = {"content-type": response.headers.get("Content-Type", "")}
        return token_refused(response.status_code, headers, response.content, response.request.method or "")

    def _replayed(self, response: requests.Response, options: dict[str, Any]) -> requests.Response:
        response.content  # noqa: B018 - read, so that its connection is free, whatever comes of the token
        response.close()
        request = response.request.copy()
        request.headers["Authorization"] = f"Bearer {self._agent.token()}"
        adapter: Any = response.connection  # as requests' own digest authentication
        again: requests.Response = adapter.send(request, **options)
        again.history = [*response.history, response]
        again.request = request
        return again


def _token_of(response: requests.Response) -> str:
    sent = response.request.headers.get("Authorization", "")
    return sent[len(_BEARER) :] if sent.startswith(_BEARER) else ""


def _rewound(request: requests.PreparedRequest) -> bool:
    """Whether the body can be sent once more, and is ready to."""
    if request.body is None or isinstance(request.body, (bytes, str)):
        return True
    try:
        rewind_body(request)
    except requests.exceptions.UnrewindableBodyError:
        return False
    return True


ColonyAuth = ColonyRequestsAuth  # as ``colony_pool.httpx`` calls its own
