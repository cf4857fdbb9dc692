"""``ColonyAuth`` for those who bring ``requests``: a pool's token on each request, one refresh on 401."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import requests
from requests.auth import AuthBase
from requests.sessions import SessionRedirectMixin
from requests.structures import CaseInsensitiveDict
from requests.utils import requote_uri, rewind_body

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
        asked = response.request  # of which requests makes the one that follows a redirect
        replays = replays_of(self._agent)
        while self._is_refused(response):
            pause = replays.pause(_token_of(response))
            if pause is None or not _rewound(response.request):
                return response
            if pause:
                engines_behind(self._agent).current.closing.wait(pause)
            response = self._replayed(response, options)
        jwt = _token_of(response)
        if response.is_redirect and jwt:
            stays = belongs(self._base_url, _target(response))
            asked.headers = _KeptHeaders(asked.headers, jwt) if stays else _without_token(asked.headers)
        elif response.status_code < 300 and jwt:
            replays.worked(jwt)
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
        request.headers = _KeptHeaders(request.headers, self._agent.token())
        adapter: Any = response.connection  # as requests' own digest authentication
        again: requests.Response = adapter.send(request, **options)
        again.history = [*response.history, response]
        again.request = request
        return again


class _KeptHeaders(CaseInsensitiveDict[str]):
    """Headers with a token that nothing takes the place of.

    At each redirect requests puts the password that ``~/.netrc`` has for the host in the place of the token.
    """

    def __init__(self, headers: Mapping[str, str], jwt: str) -> None:
        self._jwt = jwt
        super().__init__(headers)
        super().__setitem__("Authorization", f"Bearer {jwt}")

    def __setitem__(self, key: str, value: str) -> None:
        if key.lower() != "authorization":
            super().__setitem__(key, value)

    def copy(self) -> _KeptHeaders:
        return _KeptHeaders(self, self._jwt)


def _without_token(headers: Mapping[str, str]) -> CaseInsensitiveDict[str]:
    return CaseInsensitiveDict({name: value for name, value in headers.items() if name.lower() != "authorization"})


def _target(response: requests.Response) -> str:
    """Where a redirect leads, as requests reads it; ``""`` where it is going to fail at that."""
    try:
        target = SessionRedirectMixin().get_redirect_target(response)
        return urljoin(response.url, requote_uri(target or ""))
    except (ValueError, requests.exceptions.InvalidURL):
        return ""


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
