"""The hot path's copy of each token: what callers get without a look at anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .._core import actions as act
from .._core.instant import Instant
from .._core.token import Token
from .._runtime.protocol import Runtime
from .agent_state import AgentState
from .token_cache import TokenCache
from .unsaved import Unsaved

# The hot path reads the monotonic clock alone. This often, in seconds, the slow path looks at the wall clock,
# which goes on while a laptop sleeps and the monotonic one does not.
RECHECK = 1.0


class SharedMemory(Protocol):
    """The store that processes share."""

    def forget(self, key: str) -> None:
        """Have the others forget what came of ``key``; never waits."""


class HotPath:
    """Follows each change of a token.

    Arguments:
        cache: tokens on this host's disk, if they are kept there.
        unsaved: tokens that are still to be written there.
        keep: keeps the handle of a key that has a token.
    """

    def __init__(
        self, runtime: Runtime, cache: TokenCache | None, unsaved: Unsaved | None, store: SharedMemory | None,
        keep: Callable[[AgentState], object],
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._cache = cache
        self._unsaved = unsaved
        self._store = store
        self._keep = keep
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
            self._keep(key)
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
