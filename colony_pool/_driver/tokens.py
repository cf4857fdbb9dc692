"""Where a call's token comes from: memory, the disk, the store that processes share, or the endpoint."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from .._check import patience
from .._core import actions as act
from .._core.account import Account
from .._core.flight import Waiter
from .._core.instant import Instant
from .._core.token import Token, issue
from .._runtime.protocol import Runtime
from ..config import DispatcherConfig
from ..errors import ColonyTwoFactorInvalidError, ColonyTwoFactorRequiredError
from .credential import AgentState, Totp
from .driver import Driver, Wakeable
from .handles import Handles
from .inbox import Step
from .token_cache import TokenCache
from .unsaved import Unsaved

# The hot path reads the monotonic clock alone. This often, in seconds, the slow path looks at the wall clock,
# which goes on while a laptop sleeps and the monotonic one does not.
RECHECK = 1.0


class SharedMemory(Protocol):
    """The store that processes share."""

    def forget(self, key: str) -> None:
        """Have the others forget what came of ``key``; never waits."""


class TokenPublisher:
    """Follows each change of a token.

    Arguments:
        cache: tokens on this host's disk, if they are kept there.
        unsaved: tokens that are still to be written there.
        handles: keeps the handle of a key that has a token.
    """

    def __init__(
        self, runtime: Runtime, cache: TokenCache | None, unsaved: Unsaved | None, store: SharedMemory | None,
        handles: Handles[Any],
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._cache = cache
        self._unsaved = unsaved
        self._store = store
        self._handles = handles
        self._is_closed = False

    def token_changed(self, action: act.TokenChanged) -> None:
        """The dispatcher has a new token for a key, or has dropped the one it had."""
        account, token = action.account, action.token
        key: AgentState = account.owner
        if token is None:
            key.expire()
            if action.lost is not None:
                self._forget(key, action.lost.jwt)
            return
        if action.exchanged and self._unsaved is not None:
            self._unsaved.note(key, token)
        if token is account.token and not self._is_closed:
            self._handles.keep(key.credential.key, key.handle)
            key.serve(token.jwt, min(token.refresh_at, self._runtime.monotonic() + RECHECK))

    def offer(self, key: AgentState, token: Token, at: Instant) -> None:
        """Serve ``token``, which the slow path has found usable, for a while."""
        until = token.mandatory_at if token.is_refresh_due(at) else token.refresh_at
        key.serve(token.jwt, min(until, token.mandatory_at, at.monotonic + RECHECK))
        if key.account.token is not token:  # invalidated since it was looked at
            key.expire()

    def forget(self, key: AgentState) -> None:
        """The token of ``key`` is not to be used by any process, whatever it is."""
        self._forget(key, None)

    def _forget(self, key: AgentState, jwt: str | None) -> None:
        if self._cache is not None:
            self._cache.remove(key.credential.key, jwt)
        if self._store is not None:
            self._store.forget(key.credential.key)

    def close(self) -> None:
        """Serve nobody any more."""
        self._is_closed = True


# A call looks for itself this often, seconds: its wake-up, or a timer, may have died with a thread.
_LOOK = 5.0
_OF_THE_CODE = (ColonyTwoFactorInvalidError, ColonyTwoFactorRequiredError)
Submit = Callable[[Step], object]


class SharedTokens(Protocol):
    """The store that processes share, if it keeps tokens."""

    def newer(self, account: Account, reply: Submit) -> tuple[str, float] | None:
        """Another token of ``account``, and seconds that it has left."""

    def forget(self, key: str) -> None:
        """Have the others forget what came of ``key``; never waits."""


def recheck_after(max_wait: float) -> float:
    """Seconds after which a call that still waits looks for itself."""
    return min(max(max_wait, _LOOK), 3600.0) + 1.0


def result_or_raise(waiter: Waiter) -> str:
    """Return what ``waiter`` has waited for, or raise it."""
    if waiter.token is not None:
        return waiter.token.jwt
    assert waiter.failure is not None  # noqa: S101 - the dispatcher finishes a waiter with one of the two
    raise waiter.failure.exception()


class TokenSource:
    """The tokens of all keys of one pool, for threads, greenlets and tasks of event loops alike."""

    def __init__(
        self, config: DispatcherConfig, runtime: Runtime, driver: Driver, publisher: TokenPublisher,
        cache: TokenCache | None, store: SharedTokens | None,
    ) -> None:  # fmt: skip
        self._config = config
        self._runtime = runtime
        self._driver = driver
        self._dispatcher = driver.dispatcher
        self._publisher = publisher
        self._cache = cache
        self._store = store

    # -- a token for a call ---------------------------------------------------------------------------

    def effective_max_wait(self, max_wait: float | None) -> float:
        """Seconds for which a call that asks for ``max_wait`` may be parked. Raises ``ValueError``."""
        seconds = self._config.max_wait if max_wait is None else patience(max_wait)
        return 0.0 if self._config.retry.max_retries == 0 else seconds

    def get(self, key: AgentState, max_wait: float | None) -> str:
        """Return a token of ``key``; waits for one if need be, and raises why there is none."""
        seconds = self.effective_max_wait(max_wait)
        driver = self._driver
        jwt = self.from_memory(key, driver.submit) or self.from_disk(key)
        if jwt is not None:
            return jwt
        waiter, event = Waiter(key.account, seconds), self._runtime.event()
        try:
            self.request(key, waiter, event, self._runtime.current_context())
            while not event.wait(driver.recheck_within(recheck_after(seconds))) and not waiter.done:
                driver.submit(self._dispatcher.tick)
        finally:
            if not waiter.done:
                driver.cancel(waiter, driver.submit)
        return result_or_raise(waiter)

    def from_memory(self, key: AgentState, submit: Submit) -> str | None:
        """The token in memory, if it is usable. Never blocks, if ``submit`` does not."""
        at, token = self._now(), key.account.token
        if token is None or not token.is_usable(at):
            return None
        self._offer(key, token, at, submit)
        return token.jwt

    def from_disk(self, key: AgentState) -> str | None:
        """A usable token that this or another process has left on disk."""
        at = self._now()
        token = self._read_disk(key, at)
        if token is None:
            return None
        self._offer(key, token, at, self._driver.submit)
        return token.jwt

    def request(self, key: AgentState, waiter: Waiter, event: Wakeable, context: Hashable | None) -> None:
        """Have ``event``, which lives in ``context``, set once ``waiter`` is answered; reads the disk."""
        self._driver.request_token(waiter, event, context, tokenless_for=self._tokenless_for(key))

    def look_on_disk(self, key: AgentState) -> None:
        """Adopt a token that another process has left there just now, for calls that wait for one."""
        key.disk_checked_at = float("-inf")
        self._read_disk(key, self._now())

    def is_of_use(self, key: AgentState) -> bool:
        """Whether ``key`` has to be kept for calls to come: it has a token, or a refusal is remembered."""
        account, at = key.account, self._now()
        denial, token = account.denial, account.token
        # A refusal is remembered for twice its time: the next one of the key then lasts twice as long.
        refused = denial is not None and at.monotonic < denial.until + self._config.policy.rejected_for(denial.times)
        return refused or self._has_flight(account) or (token is not None and token.is_valid(at))

    def _now(self) -> Instant:
        return Instant(self._runtime.monotonic(), self._runtime.now())

    def _has_flight(self, account: Account) -> bool:
        return account in self._dispatcher.waiters.flights

    def _offer(self, key: AgentState, token: Token, at: Instant, submit: Submit) -> None:
        """Put ``token`` on the hot path; past its advisory point, see to it that one attempt refreshes it."""
        account = key.account
        not_before = max(account.refresh_not_before, account.renew_at)
        if token.is_refresh_due(at) and not self._has_flight(account) and at.monotonic >= not_before:
            submit(lambda at: self._dispatcher.refresh(account, at))
        self._publisher.offer(key, token, at)

    def _tokenless_for(self, key: AgentState) -> float:
        """Seconds for which there has been no token, as the disk tells: 0 if nothing does."""
        if self._cache is None or not key.account.never_asked:
            return 0.0
        seconds = self._cache.seconds_since_expiry(key.credential.key, self._runtime.now())
        return min(seconds, self._config.policy.token_life)

    def _read_disk(self, key: AgentState, at: Instant) -> Token | None:
        """A usable token on disk, asked for once a second at most."""
        if self._cache is None or at.monotonic < key.disk_checked_at + RECHECK:
            return None
        key.disk_checked_at = at.monotonic
        found = self._cache.load(key.credential.key, at.wall)
        if found is None or not key.account.is_news(*found):
            return None
        token = self._issued(key.account, *found, at)
        if not token.is_usable(at):
            return None
        self._driver.submit(lambda at: self._dispatcher.adopt(key.account, token, at))
        return token

    def _issued(self, account: Account, jwt: str, ends_wall: float, at: Instant) -> Token:
        """The token ``jwt`` that another process has left, as old as it seems to be."""
        life, config = ends_wall - at.wall, self._config.policy
        return issue(jwt, life, max(0.0, config.token_life - life), account.jitter_hash, at, config)

    # -- what a user says -----------------------------------------------------------------------------

    def invalidate(self, key: AgentState) -> None:
        """Forget the token, on disk too, and that the key was refused: the next call asks the server."""
        self._publisher.forget(key)
        self._driver.submit_and_wait(lambda at: self._dispatcher.invalidate(key.account, at))

    def set_totp(self, key: AgentState, totp: Totp) -> None:
        """A new second factor is a new chance for a code, or for want of one, that was refused; not for the key."""
        try:
            known = key.credential.totp
            if totp is None or totp is known or totp == known:
                return
            account, denial = key.account, key.account.denial
            key.credential.replace_totp(totp)
            # A new callable at each call must not make a refused key be asked for each time.
            if account.totp and (denial is None or not issubclass(denial.failure.error, _OF_THE_CODE)):
                return
            self._driver.submit(lambda at: self._dispatcher.second_factor_changed(account, at))
            if self._store is not None:
                self._store.forget(key.credential.key)
        finally:
            del totp  # no traceback of ours holds a secret

    # -- what an API call's answer says of the token --------------------------------------------------

    def worked(self, key: AgentState, jwt: str, submit: Submit) -> None:
        """An API call has worked with ``jwt``. Never blocks, if ``submit`` does not."""
        account, token = key.account, key.account.token
        if token is not None and token.jwt == jwt and account.record.is_undecided(token):
            submit(lambda at: self._dispatcher.token_worked(account, token, at))

    def doubt(self, key: AgentState, refused: str) -> None:
        """Note that ``refused`` is no token that works."""
        account, token = key.account, key.account.token
        if token is not None and token.jwt == refused:
            self._driver.submit(lambda at: self._dispatcher.token_doubted(account, token, at))

    def has_another(self, key: AgentState, refused: str) -> bool:
        """Whether there is, or will be, another token than ``refused``: in memory, on disk, or in the store."""
        account = key.account
        old = account.token
        if old is None or old.jwt != refused:
            return True
        at = self._now()
        found = self._cache.load(key.credential.key, at.wall) if self._cache is not None else None
        if found is None or found[0] == refused or not account.record.is_usable(found[0]):
            left = self._store.newer(account, self._driver.submit) if self._store is not None else None
            found = (left[0], at.wall + left[1]) if left is not None and left[0] != refused else None
        if found is None:
            return False
        token = self._issued(account, *found, at)
        if not token.is_usable(at):
            return False
        self._driver.submit_and_wait(lambda at: self._dispatcher.adopt(account, token, at, instead_of=old))
        return account.token is not old

    def known_in(self, key: AgentState, refused: str, *, once: bool) -> float | None:
        """Seconds until a call that was ``refused`` is made again, if the API may not know that token yet."""
        token = key.account.token
        if token is None or token.jwt != refused:
            return 0.0
        now, known_after = self._runtime.monotonic(), self._config.policy.new_token_grace
        return key.account.record.replay_in(token, now, known_after, once=once)

    def on_401(self, key: AgentState, refused: str) -> bool:
        """Drop the token that was refused, if the next call may ask the server for another; say whether it may."""
        account, token = key.account, key.account.token
        if token is None or token.jwt != refused:
            return True
        may = account.record.may_be_replaced(token, self._runtime.monotonic(), self._config.policy)
        self._driver.submit_and_wait(lambda at: self._dispatcher.token_refused(account, token, at))
        return may
