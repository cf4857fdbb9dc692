"""``ColonyAuth`` for those who bring ``requests``: a pool's token on each request, one refresh on 401."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import requests
from requests.auth import AuthBase
from requests.utils import rewind_body

from ._shell.url import belongs
from .agent import Agent

__all__ = ["ColonyAuth"]

_BEARER = "Bearer "


class ColonyAuth(AuthBase):
    """Authenticates requests to the API of an agent's pool: ``requests.get(url, auth=ColonyAuth(agent))``.

    A request to any other address goes out without the token, and a redirect that leaves the API takes none along.
    On a 401 the token that was refused is dropped, and the request replayed once with a new one. A body that is a
    generator, or a file that cannot be rewound, is not replayed: its 401 is returned, and the next request has the
    new token. Errors of the token itself are ``colony_pool``'s.
    """

    def __init__(self, agent: Agent) -> None:
        if not isinstance(agent, Agent):
            raise TypeError(f"agent: must be what ColonyPool.agent(key) returns, not {type(agent).__name__}")
        self._agent = agent
        self._base_url = agent._pool.base_url

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token on a request, if it is for the API."""
        if belongs(self._base_url, r.url or ""):
            r.headers["Authorization"] = f"Bearer {self._agent.token()}"
            r.register_hook("response", self._answered)  # type: ignore[no-untyped-call]
        return r

    def _answered(self, response: requests.Response, **options: Any) -> requests.Response:
        request = response.request
        sent = request.headers.get("Authorization", "")
        if response.is_redirect:
            if not belongs(self._base_url, urljoin(response.url, response.headers["Location"])):
                request.headers.pop("Authorization", None)  # requests copies these headers for the next request
            return response
        refused = response.status_code == 401 and sent.startswith(_BEARER) and belongs(self._base_url, response.url)
        again = refused and self._agent._rejected(sent[len(_BEARER) :]) and _rewound(request)
        del sent  # no traceback of ours holds a token
        return self._replayed(response, options) if again else response

    def _replayed(self, response: requests.Response, options: dict[str, Any]) -> requests.Response:
        response.content  # noqa: B018 - read, so that its connection is free, whatever comes of the token
        response.close()
        request = response.request.copy()
        request.headers["Authorization"] = f"Bearer {self._agent.token()}"
        adapter: Any = response.connection  # as requests' own digest authentication
        again: requests.Response = adapter.send(request, **options)
        again.history.append(response)
        again.request = request
        return again


def _rewound(request: requests.PreparedRequest) -> bool:
    """Whether the body can be sent once more, and is ready to."""
    if request.body is None or isinstance(request.body, (bytes, str)):
        return True
    try:
        rewind_body(request)
    except requests.exceptions.UnrewindableBodyError:
        return False
    return True
