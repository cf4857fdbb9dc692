"""How a key gets a token, and how it loses one."""

from __future__ import annotations

import math

from ..config import PolicyConfig
from . import actions as act
from . import events as ev
from .account import Account
from .actions import Outbox
from .history import EndpointHistory
from .instant import Instant
from .outcome import Outcome
from .token import Token, issue


class Tokens:
    """The tokens of all accounts. Who waits for one is none of its business."""

    def __init__(self, config: PolicyConfig, outbox: Outbox, history: EndpointHistory) -> None:
        self._config = config
        self._outbox = outbox
        self._history = history

    def exchanged(self, account: Account, outcome: Outcome, at: Instant) -> None:
        """The server has given ``account`` a token."""
        life = self._config.token_life if outcome.life is None else outcome.life
        account.take_token(issue(outcome.jwt, life, 0.0, account.jitter_hash, at, self._config))
        account.record.exchanged(life, at.monotonic, self._config, cut=outcome.life_cut)
        account.forgive()
        account.succeeded()
        self._history.granted(at.monotonic)
        self._outbox.add(act.TokenChanged(account, account.token, exchanged=True))

    def received(self, account: Account, jwt: str, life: float, at: Instant) -> None:
        """Another process was given a token for the attempt that this one did not make."""
        age = max(0.0, self._config.token_life - life)
        account.take_token(issue(jwt, life, age, account.jitter_hash, at, self._config))
        account.record.found(at.monotonic)
        account.forgive()
        self._history.token_found()
        self._outbox.add(act.TokenChanged(account, account.token))

    def adopt(self, account: Account, token: Token, at: Instant, *, instead_of: Token | None) -> bool:
        """Take a token that was found elsewhere, if it is better than the one at hand; say whether it is.

        ``instead_of``: a token that an API call was refused with, so that any other is better.
        """
        known, record = account.token, account.record
        better = known is None or known.ends < token.ends or known is instead_of
        if not better or not record.is_usable(token.jwt):
            return False
        self._outbox.add(ev.TokenAsked("disk"))
        self._history.token_found()
        if known is not None and known is instead_of:
            record.replaced(known)
            account.last_expiry = known.ends_wall
        newer = instead_of is not None and token.ends_wall > instead_of.ends_wall
        record.found(at.monotonic if newer else -math.inf)
        account.take_token(token)
        self._outbox.add(act.TokenChanged(account, token))
        return True

    def drop(self, account: Account, at: Instant, *, forced: bool) -> None:
        """The token of ``account`` is not to be used again; ``forced``: an API call was refused with it."""
        token = account.token
        account.record.dropped(token, at.monotonic, forced=forced)
        if token is not None:
            account.lose_token(at.monotonic, forced=forced)
            self._outbox.add(act.TokenChanged(account, None, lost=token))
