"""``Agent``: one API key. ``token()`` is the hot path: no lock, no allocation, one clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from ._driver.credential import AgentState, Credential
from ._driver.replays import Replays
from ._engine import EngineHolder
from ._fork import notice_fork
from ._http.api import RequestOptions, Response, prepare

if TYPE_CHECKING:
    from typing_extensions import Unpack  # type checkers have it; nobody else reads the annotation

__all__ = ["Agent"]


class Agent:
    """A handle on one API key. Cheap; made by ``pool.agent(api_key)``; shared by threads and greenlets."""

    __slots__ = ("__weakref__", "_engines", "_key", "_monotonic", "_pool")

    def __init__(self, pool: object, engines: EngineHolder, credential: Credential) -> None:
        self._pool = pool  # lives for as long as a handle of it
        self._engines = engines
        self._monotonic = engines.current.runtime.monotonic
        self._key = AgentState(credential, self)

    def __repr__(self) -> str:
        return f"<Agent of {self._pool!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Agent does not pickle: ask for it in each process, of the pool that is there")

    def token(self, *, max_wait: float | None = None) -> str:
        """Return a valid JWT: nanoseconds when there is one, else as long as waiting can help.

        Arguments:
            max_wait: seconds for which this call may be parked while the endpoint is down or held; its own
                attempts do not count. Default: the pool's (122). 0 never parks, ``math.inf`` has no limit.

        Raises:
            ColonyAuthError: this key, or its one-time code, was refused.
            ColonyRateLimitError: the server is counting; see ``retry_after``.
            CircuitOpenError: the endpoint is down, and the next probe lies beyond ``max_wait``.
            ColonyServerError: it failed for as long as this call could wait.
            ColonyNetworkError: there was no answer to this call's own first attempt.
            PoolClosedError: the pool is closed.
        """
        key = self._key
        if self._monotonic() < key.fresh_until:
            return key.jwt
        return self._engines.ready().tokens.get(key, max_wait)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        max_wait: float | None = None,
    ) -> Response:
        """Make an authenticated API call; one whose token was refused is made again with another (G19).

        GET and HEAD are retried by ``RetryConfig``; POST and PUT too, since they carry an ``Idempotency-Key``
        (one is made when none is given); PATCH and DELETE are not once they may have reached the server.

        Arguments:
            method: GET, HEAD, POST, PUT, PATCH or DELETE.
            path: relative to ``base_url``, starting with ``/``.
            json: a value for the body.
            params: the query; sequences repeat their name, and what is ``None`` is left out.
            headers: more headers; ``Authorization`` is the pool's.
            idempotency_key: for POST and PUT.
            timeout: seconds for each attempt, instead of the pool's ``timeout.total``.
            max_wait: seconds for which the call may be parked while it has no token, as in ``token``. Default:
                ``timeout`` if it is given, else the pool's.

        Raises:
            ColonyAPIError: or one of its subclasses, by status.
        """
        engine = self._engines.ready()
        call = prepare(
            method, path, json=json, params=params, headers=headers, idempotency_key=idempotency_key, timeout=timeout,
            max_wait=max_wait,
        )  # fmt: skip
        return engine.api.perform(
            self.token, call, Replays(engine.tokens, self._key, engine.driver.submit), self._key.last_failure
        )

    def get(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """``request("GET", path, ...)``."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """``request("POST", path, ...)``."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """``request("PUT", path, ...)``."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """``request("PATCH", path, ...)``."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """``request("DELETE", path, ...)``."""
        return self.request("DELETE", path, **options)

    def invalidate(self) -> None:
        """Forget the token, on disk too, and that the key was refused: the next call asks the server."""
        notice_fork()
        self._engines.current.tokens.invalidate(self._key)


# -- for the other modules of this library ----------------------------------------------------------------


def state_of(agent: Agent) -> AgentState:
    """What ``agent`` knows."""
    return agent._key


def engines_behind(agent: Agent) -> EngineHolder:
    """What works behind ``agent``."""
    return agent._engines


def pool_of(agent: Agent) -> Any:
    """The ``ColonyPool`` that has made ``agent``."""
    return agent._pool


def replays_of(agent: Agent, *, once: bool = False) -> Replays:
    """What one API call with a token of ``agent`` does about answers of 401; ``once``: see ``Replays``."""
    engine = agent._engines.current
    return Replays(engine.tokens, agent._key, engine.driver.submit, once=once)
