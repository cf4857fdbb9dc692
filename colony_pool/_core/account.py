"""What the dispatcher knows of one key.

A key itself never comes here: an ``Account`` stands for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import Any

from .failure import Failure
from .token import Token, TrackRecord

_serial = count(1)
_SAME_END = 1.0  # seconds: tokens whose ends are this close are one
_QUICK = 3  # attempts of one key that quick retries may make ...
QUICK_WITHIN = 1.1  # ... in so many seconds: a second, and what the way to the server may vary
_NEVER = -math.inf  # one object for all: a negation makes a new one each time, and an account would have four


@dataclass(frozen=True, slots=True)
class Denial:
    """A refused key is not tried before ``until`` (monotonic); ``code_only``: until the next TOTP window."""

    until: float
    times: int
    failure: Failure
    code_only: bool


class Account:
    """The dispatcher's memory of one key. Times are monotonic seconds.

    Arguments:
        owner: whose key it is. It is never read here; the dispatcher's caller finds it again by this.
        jitter_hash: in [0, 1), from the key's hash.
        totp: an attempt needs a one-time code.
    """

    __slots__ = (
        "__weakref__",
        "_ended_at",
        "_failed_in",
        "_failures",
        "_record",
        "_started",
        "code_refusal",
        "code_refusals",
        "cooldown_until",
        "denial",
        "era",
        "forced",
        "has_succeeded",
        "jitter_hash",
        "last_expiry",
        "next_code_at",
        "owner",
        "refresh_not_before",
        "serial",
        "spaced_until",
        "token",
        "totp",
    )  # fmt: skip

    def __init__(self, *, owner: Any = None, jitter_hash: float = 0.0, totp: bool = False) -> None:
        self.owner = owner
        self.jitter_hash = jitter_hash
        self.totp = totp
        self.serial = next(_serial)
        self.token: Token | None = None
        self.denial: Denial | None = None
        self._failures = 0  # attempts in a row that failed in ``_failed_in``, over all flights
        self._failed_in = 0  # the closed period, with the outage after it, to which they belong
        self._started: tuple[float, ...] = ()  # when its last attempts began, up to ``_QUICK``, the oldest first
        self.spaced_until = _NEVER  # it has failed as often as a key may within a second: no attempt before
        self.has_succeeded = False
        self.cooldown_until = _NEVER  # the server counts its refused attempts: no attempt before
        self.next_code_at = _NEVER  # no unspent code before
        self.code_refusal: Failure | None = None  # what the server said of the last code, if it refused it
        self.code_refusals = 0  # codes in a row that it refused
        self.refresh_not_before = _NEVER  # no background refresh before
        self._record: TrackRecord | None = None  # most keys that wait have none yet
        self.era = 0  # one more with each ``invalidate()``: what was asked for in an earlier one is void
        self.forced = False  # a 401 took the token, and no new one has come yet
        self.last_expiry: float | None = None  # unix time at which a token that was rejected would have ended
        self._ended_at = math.inf  # since when it has had no token at all; what counts of one that ended is its end

    # -- attempts -------------------------------------------------------------------------------------

    def attempt_started(self, now: float) -> None:
        """An attempt begins."""
        self._started = (*self._started[1 - _QUICK :], now)

    def attempt_never_left(self) -> None:
        """Its last attempt does not count."""
        self._started = self._started[:-1]

    def attempt_failed(self, period: int) -> None:
        """Count a failure."""
        self._failures = self.failures_in(period) + 1
        self._failed_in = period

    def failures_in(self, period: int) -> int:
        """Attempts in a row that failed in this ``period``: a breaker that closes forgives those before (G8)."""
        return self._failures if self._failed_in == period else 0

    def space_attempts(self) -> None:
        """Let no more than ``_QUICK`` attempts begin within ``QUICK_WITHIN`` seconds."""
        self.spaced_until = self._quick_from(_QUICK)

    def has_room_at(self, moment: float) -> bool:
        """Whether one more attempt now would still leave room for the one at ``moment``."""
        return self._quick_from(_QUICK - 1) <= moment

    def _quick_from(self, attempts: int) -> float:
        """When so many attempts lie more than ``QUICK_WITHIN`` seconds back."""
        return self._started[-attempts] + QUICK_WITHIN if len(self._started) >= attempts else _NEVER

    # -- its token ------------------------------------------------------------------------------------

    def take_token(self, token: Token) -> None:
        """Have ``token`` from now on."""
        self.token = token
        self.forced = False

    def lose_token(self, now: float, *, forced: bool) -> None:
        """Have no token from now on; ``forced``: an API call was refused with it."""
        if self.token is not None:
            self._ended_at = min(now, self.token.ends)
            self.last_expiry = self.token.ends_wall
        self.token = None
        self.forced = forced

    def succeeded(self) -> None:
        """The server has given it a token."""
        self._failures = 0
        self.has_succeeded = True

    def refusal_at(self, now: float) -> Failure | None:
        """What a call of a refused key is told at once; ``None`` when the key may be tried (G14)."""
        return self.denial.failure if self.denial is not None and now < self.denial.until else None

    def forgive(self) -> None:
        """Forget that the key, or its code, was refused."""
        self.denial = self.code_refusal = None
        self.code_refusals = 0

    def note_tokenless(self, since: float) -> None:
        """A call has found no token; the first such call says ``since`` when there is none."""
        self._ended_at = min(self._ended_at, since)

    @property
    def record(self) -> TrackRecord:
        """What became of its tokens."""
        if self._record is None:
            self._record = TrackRecord()
        return self._record

    @property
    def renew_at(self) -> float:
        """No exchange before, if the token has only ended; -inf without one."""
        return self.record.renew_at if self.token is not None else _NEVER

    def is_news(self, jwt: str, ends_wall: float) -> bool:
        """Whether a token that another process has left is of use: another than those refused, or a later one."""
        return self.record.is_usable(jwt) and (self.token is None or ends_wall > self.token.ends_wall + _SAME_END)

    @property
    def tokenless_since(self) -> float:
        """Since when it has been without a token, or from when on it will be. Calls come and go, this stays."""
        return self._ended_at if self.token is None else self.token.ends

    @property
    def never_asked(self) -> bool:
        """Whether no call has wanted a token of it yet, and it has never had one."""
        return self.token is None and self._ended_at == math.inf
