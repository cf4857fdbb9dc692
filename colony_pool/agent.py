"""``Agent``: one API key. ``token()`` is the hot path: no lock, no allocation, one clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from ._check import patience
from ._core.account import Account, Waiter
from ._core.actions import Grant
from ._core.token import Token, issue
from ._shell.api import Response, prepare
from ._shell.credential import Credential, Totp
from ._shell.fork import notice_fork
from ._shell.runner import Step
from .config import DeskConfig
from .errors import ColonyTwoFactorInvalidError, ColonyTwoFactorRequiredError

if TYPE_CHECKING:
    from typing_extensions import Unpack  # type checkers have it; nobody else reads the annotation

    from ._shell.api import RequestOptions
    from .pool import ColonyPool

__all__ = ["Agent"]

# The hot path reads the monotonic clock alone. This often, in seconds, the slow path looks at the wall clock,
# which goes on while a laptop sleeps and the monotonic one does not.
_RECHECK = 1.0
_REPLAYS = 8  # of one API call, whatever its answers of 401 say
# A call whose wake-up got lost with a dead thread's timers looks for itself this often, seconds.
_LOOK = 5.0
_OF_THE_CODE = (ColonyTwoFactorInvalidError, ColonyTwoFactorRequiredError)
Feed = Callable[[Step], object]


def look_after(patience: float) -> float:
    """Seconds after which a call that still waits looks for itself."""
    return min(max(patience, _LOOK), 3600.0) + 1.0


def patience_of(config: DeskConfig, max_wait: float | None) -> float:
    """Seconds for which a call that asks for ``max_wait`` may be parked."""
    seconds = config.max_wait if max_wait is None else patience(max_wait)
    return 0.0 if config.retry.max_retries == 0 else seconds


def answer_of(waiter: Waiter) -> str:
    """Return what ``waiter`` has waited for, or raise it."""
    if waiter.token is not None:
        return waiter.token.jwt
    assert waiter.failure is not None  # noqa: S101 - the desk finishes a waiter with one of the two
    raise waiter.failure.exception()


class Replays:
    """What one API call does about answers of 401 (G19).

    Another token that is at hand is tried; with one that is too young to be known the call is made again a little
    later; else the server is asked for a new token, once in a call. ``once``: after that the call is made only once
    again, and with a young token, too.
    """

    __slots__ = ("_agent", "_left", "_may_ask", "_once", "is_new")

    def __init__(self, agent: Agent, *, once: bool = False) -> None:
        self._agent = agent
        self._once = once
        self._left = _REPLAYS
        self._may_ask = True
        self.is_new = False  # whether the next token is another one

    def worked(self, jwt: str) -> None:
        """The call has worked with ``jwt``."""
        self._agent._worked(jwt)

    def pause(self, jwt: str) -> float | None:
        """Seconds until the call is made again, with the token of then; ``None``: its 401 stands. May block."""
        agent = self._agent
        self.is_new = False
        try:
            if not self._left:
                return None
            self._left -= 1
            if agent._has_another(jwt):
                self.is_new = True
                return 0.0
            young = agent._known_in(jwt, once=self._once)
            if young is not None:
                return young
            if not self._may_ask:
                agent._doubt(jwt)
                return None
            self._may_ask = False
            self.is_new = agent._rejected(jwt)
            if self._once:
                self._left = 0
            return 0.0 if self.is_new else None
        finally:
            del jwt  # no traceback of ours holds a token


class Agent:
    """A handle on one API key. Cheap; made by ``pool.agent(api_key)``; shared by threads and greenlets."""

    __slots__ = ("__weakref__", "_account", "_credential", "_disk_at", "_fresh_until", "_jwt", "_monotonic", "_pool")

    def __init__(self, pool: ColonyPool, credential: Credential) -> None:
        self._pool = pool
        self._credential = credential
        self._jwt = ""
        self._fresh_until = -math.inf
        self._disk_at = -math.inf
        self._monotonic = pool._runtime.monotonic
        self._account = Account(spread=credential.spread, totp=credential.totp is not None, secret=credential)
        self._account.listener = self._granted

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
        if self._monotonic() < self._fresh_until:
            return self._jwt
        return self._renew(max_wait)

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
        self._pool._ready()
        call = prepare(
            method, path, json=json, params=params, headers=headers, idempotency_key=idempotency_key, timeout=timeout,
            max_wait=max_wait,
        )  # fmt: skip
        return self._pool._api.perform(self, call, Replays(self))

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

    def _is_of_use(self) -> bool:
        """Whether the pool has to keep this handle for calls to come: it has a token, or must remember a refusal."""
        account, runtime = self._account, self._pool._runtime
        now, wall = runtime.monotonic(), runtime.now()
        denial, token = account.denial, account.token
        # A refusal is remembered for twice its time: the next one of the key then lasts twice as long.
        refused = denial is not None and now < denial.until + self._pool._config.denial.rest(denial.times)
        return refused or account.flight is not None or (token is not None and token.valid(now, wall))

    def invalidate(self) -> None:
        """Forget the token, on disk too, and that the key was refused: the next call asks the server."""
        notice_fork()
        desk = self._pool._runner.dispatcher
        if self._pool._cache is not None:
            self._pool._cache.remove(self._credential.key, None)
        if self._pool._link is not None:
            self._pool._link.forget(self._credential.key)
        self._pool._runner.settle(lambda now, wall: desk.invalidate(self._account, None, False, now))

    # -- the slow path --------------------------------------------------------------------------------

    def _renew(self, max_wait: float | None) -> str:
        pool = self._pool
        patience = patience_of(pool._config, max_wait)
        pool._ready()
        runtime, runner = pool._runtime, pool._runner
        jwt = self._at_hand(runner.feed) or self._on_disk()
        if jwt is not None:
            return jwt
        waiter = Waiter(self._account, patience, runtime.event(), runtime.home())
        desk = runner.dispatcher
        try:
            runner.demand(waiter)
            while not waiter.event.wait(runner.look_in(look_after(patience))):
                runner.feed(desk.tick)
        finally:
            if not waiter.done:
                runner.cancel(waiter, runner.feed)
        return answer_of(waiter)

    def _at_hand(self, feed: Feed) -> str | None:
        """The token in memory, if it is usable. Never blocks, if ``feed`` does not."""
        runtime = self._pool._runtime
        now, wall, token = runtime.monotonic(), runtime.now(), self._account.token
        if token is None or not token.usable(now, wall):
            return None
        self._use(token, now, wall, feed)
        return token.jwt

    def _on_disk(self) -> str | None:
        """A usable token that is left on disk; else note for how long there has been none."""
        pool, account = self._pool, self._account
        feed = pool._runner.feed
        now, wall = pool._runtime.monotonic(), pool._runtime.now()
        token = self._from_disk(now, wall)
        if token is not None:
            self._use(token, now, wall, feed)
            return token.jwt
        if account.token is None and pool._cache is not None and account.lost_at == math.inf:
            hunger = pool._cache.without(self._credential.key, wall)
            account.lost_at = now - min(hunger, pool._config.token.life)
        return None

    def _use(self, token: Token, now: float, wall: float, feed: Feed) -> None:
        """Put ``token`` on the hot path; past its soft point, see to it that one attempt refreshes it."""
        until = token.soft
        if token.is_soft(now, wall):
            until = token.margin_at
            account = self._account
            if account.flight is None and now >= max(account.rest_until, account.renew_at):
                desk = self._pool._runner.dispatcher
                feed(lambda now, wall: desk.refresh(account, now, wall))
        self._jwt = token.jwt
        self._fresh_until = min(until, token.margin_at, now + _RECHECK)
        if self._account.token is not token:  # invalidated since it was looked at
            self._fresh_until = -math.inf

    def _granted(self, action: Grant) -> None:
        """The desk has a new token, or has dropped the one it had."""
        token = action.token
        if token is None:
            self._fresh_until = -math.inf
            if action.lost is not None and self._pool._cache is not None:
                self._pool._cache.remove(self._credential.key, action.lost.jwt)
            if action.lost is not None and self._pool._link is not None:
                self._pool._link.forget(self._credential.key)
            return
        if action.exchanged and self._pool._unsaved is not None:
            self._pool._unsaved.note(self._account, token)
        if token is self._account.token and not self._pool._closed:
            self._pool._agents.keep(self._credential.key, self)
            now = self._monotonic()
            self._jwt = token.jwt
            self._fresh_until = min(token.soft, now + _RECHECK)

    def _from_disk(self, now: float, wall: float) -> Token | None:
        """A usable token that this or another process has left on disk, asked for once a second at most."""
        pool = self._pool
        if pool._cache is None or now < self._disk_at:
            return None
        self._disk_at = now + _RECHECK
        found = pool._cache.load(self._credential.key, wall)
        if found is None or not self._account.is_news(*found):
            return None
        token = self._issued(*found, now, wall)
        if not token.usable(now, wall):
            return None
        desk = pool._runner.dispatcher
        pool._runner.feed(lambda now, wall: desk.adopt(self._account, token, now, wall))
        return token

    def _look_on_disk(self) -> None:
        """Adopt a token that another process has left there just now, for calls that wait for one."""
        self._disk_at = -math.inf
        self._from_disk(self._pool._runtime.monotonic(), self._pool._runtime.now())

    def _issued(self, jwt: str, ends_wall: float, now: float, wall: float) -> Token:
        """The token ``jwt`` that another process has left, as old as it seems to be."""
        life, config = ends_wall - wall, self._pool._config.token
        return issue(jwt, life, max(0.0, config.life - life), self._account.spread, now, wall, config)

    # -- what an API call's answer says of the token ----------------------------------------------------

    def _worked(self, jwt: str) -> None:
        """An API call has worked with ``jwt``."""
        token = self._account.token
        if token is not None and token.jwt == jwt:
            self._account.record.worked(token)

    def _has_another(self, refused: str) -> bool:
        """Whether there is, or will be, another token than ``refused``: in memory, on disk, or in the store."""
        notice_fork()
        account, pool = self._account, self._pool
        old = account.token
        if old is None or old.jwt != refused:
            return True
        now, wall = pool._runtime.monotonic(), pool._runtime.now()
        found = pool._cache.load(self._credential.key, wall) if pool._cache is not None else None
        if found is None or found[0] == refused or not account.record.is_usable(found[0]):
            left = pool._link.newer(account) if pool._link is not None else None
            found = (left[0], wall + left[1]) if left is not None and left[0] != refused else None
        if found is None:
            return False
        token = self._issued(*found, now, wall)
        if not token.usable(now, wall):
            return False
        desk = pool._runner.dispatcher
        pool._runner.settle(lambda now, wall: desk.adopt(account, token, now, wall, instead_of=old))
        return account.token is not old

    def _known_in(self, refused: str, *, once: bool) -> float | None:
        """Seconds until a call that was ``refused`` is made again, if the API may not know that token yet."""
        token, pool = self._account.token, self._pool
        if token is None or token.jwt != refused:
            return 0.0
        now, known_after = pool._runtime.monotonic(), pool._config.token.known_after
        return self._account.record.replay_in(token, now, known_after, once=once)

    def _doubt(self, refused: str) -> None:
        """Note that ``refused`` is no token that works."""
        token = self._account.token
        if token is not None and token.jwt == refused:
            self._account.record.doubt(token)

    def _rejected(self, jwt: str) -> bool:
        """Drop the token that was refused, if the next call may ask the server for another; whether it may."""
        notice_fork()
        account, pool = self._account, self._pool
        token, record = account.token, account.record
        if token is None or token.jwt != jwt:
            return True
        record.doubt(token)
        rests = pool._runtime.monotonic() < record.forced_at + pool._config.token.forced_interval
        if rests and not record.has_worked(token):
            return False
        desk = pool._runner.dispatcher
        pool._runner.settle(lambda now, wall: desk.invalidate(account, token, True, now))
        return True

    def _set_totp(self, totp: Totp) -> None:
        """A new second factor is a new chance for a code, or for want of one, that was refused; not for the key."""
        try:
            if totp is None or totp is self._credential.totp or totp == self._credential.totp:
                return
            account, denial = self._account, self._account.denial
            self._credential = account.secret = self._credential.with_totp(totp)
            if account.totp and (denial is None or not issubclass(denial.failure.error, _OF_THE_CODE)):
                return  # a new callable at each call must not make a refused key be asked for each time
            account.totp = True
            account.denial = account.code_refusal = None
            account.code_refusals, account.totp_at = 0, -math.inf
            if self._pool._link is not None:
                self._pool._link.forget(self._credential.key)
        finally:
            del totp  # no traceback of ours holds a secret
