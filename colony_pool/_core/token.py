"""A token and its ages: fresh, due for an advisory refresh, due for a mandatory one, expired.

Past its advisory point one call refreshes it and the others use it; past its mandatory point callers wait for a new
one. (The words are botocore's.) Two clocks bound a token. The monotonic one cannot be stepped back, so a wall clock
set back an hour prolongs nothing; the wall clock goes on while a laptop sleeps and the monotonic one does not, so
waking up refreshes. Either may end a token early, neither can extend it (G20).

*How long it lives* is said by the answer that brought it (G17, G20). Two things speak of it, and the earliest end
counts: ``expires_in``, in seconds, and the JWT's own ``exp``, a moment.

=================== =================================== ==========================================================
``expires_in``      the JWT's ``exp``                   the token lives
=================== =================================== ==========================================================
a number            none, or none that can be read      as ``expires_in`` says
none, 0 or less     in the future                       as ``exp`` says
a number            in the future                       until the first of the two
a number            in the past, by both clocks         not at all: it has ended
a number            in the past, by one of two clocks   as the other one says: one of them is wrong
a number            in the past, and there is one only  as ``expires_in`` says: it may be wrong
none                in the past                         not at all
none                none                                ``PolicyConfig.token_life``
=================== =================================== ==========================================================

``exp`` is read against the answer's ``Date``, the clock of the server; without one, against this host's. A number may
be written as a string. A number that is too large has mistaken its unit: ``exp`` in milliseconds is read as such, and
a life of more than ten years says nothing.

*What has become of it* is remembered for each key in its ``TrackRecord`` (G17, G19).

*A 401.* A token that an API call has worked with, and that is refused later, was revoked: it is replaced at once,
however often that happens. A token that never worked may be as good as the next one, and the 401 is of something
else: an account that is blocked, a path that refuses everybody. Such a one is replaced once in
``PolicyConfig.forced_refresh_interval``. It stays of that kind even if another path takes it: else an API with one
path for everybody and one for nobody would cost an exchange for each call.

*A token that is not known yet.* Behind some APIs it takes a second until every server knows a new token. So a 401
within ``PolicyConfig.new_token_grace`` of its issue means nothing yet: the call is made again, with the same token.

*A token that ends at once.* A server whose tokens live for three seconds must not be asked every three seconds.
Between two exchanges of which the second has no other reason than that the token ended lie ``renew_interval``
seconds, and twice as many with each further token that ends too soon, up to ``renew_interval_max``. Too soon is
sooner than that; or within ``renew_interval_max``, and long before the JWT's own end: ``"expires_in": 24`` may be
hours. A token that lives longer, if only for half a minute, is short-lived by design, and never waits.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from ..config import PolicyConfig
from .instant import Instant

_REPLAYS = (0.15, 0.5, 1.0)  # when a call is made again, as shares of ``known_after``
_REMEMBERED = 8  # refused tokens: what a disk that cannot be written to may still have
_DOUBLINGS = 30
_A_MOMENT = 0.01  # seconds: a timer may end that much too early
_NEVER = -math.inf


class TrackRecord:
    """The memory of one key's tokens. Times are monotonic seconds."""

    __slots__ = (
        "_doubted", "_early", "_proven", "_refused", "ask_anew", "forced_at", "issued_at", "life", "renew_at",
    )  # fmt: skip

    def __init__(self) -> None:
        self._proven: Token | None = None  # an API call has worked with it
        self._doubted: Token | None = None  # it was refused before it ever worked
        self._refused: tuple[int, ...] = ()  # hashes of tokens that were refused or invalidated
        self._early = 0  # tokens in a row that were to end too soon
        self.ask_anew = False  # the next token must be of an exchange: no other process's will do
        self.forced_at = _NEVER  # when a token that had never worked was replaced last
        self.issued_at = _NEVER  # when the server issued the token of now, as far as is known
        self.life = math.inf  # what the last exchange's token had to live when it was issued, seconds
        self.renew_at = _NEVER  # no exchange before, if all that is wrong with the last token is that it ended

    def exchanged(self, life: float, now: float, config: PolicyConfig, *, cut: bool) -> None:
        """A new token has come from the server, to live for ``life`` seconds; ``cut``: by its ``exp`` far longer."""
        pause = config.renew_interval
        if life < pause or (cut and life < config.renew_interval_max):
            pause = min(pause * 2.0 ** min(self._early, _DOUBLINGS), config.renew_interval_max)
            self._early += 1
        else:
            self._early = 0
        self.renew_at = now + pause
        self.life = life
        self.found(now)

    def found(self, issued_at: float) -> None:
        """A new token is there, issued at ``issued_at`` (-inf: nobody knows)."""
        self.ask_anew = False
        self.issued_at = issued_at

    def worked(self, token: Token) -> None:
        """An API call has worked with ``token``."""
        if token is not self._doubted:
            self._proven = token

    def has_worked(self, token: Token) -> bool:
        """Whether an API call has worked with ``token``, and none was refused with it before."""
        return token is self._proven

    def is_undecided(self, token: Token) -> bool:
        """Whether it is not known yet if ``token`` works."""
        return token is not self._proven and token is not self._doubted

    def may_be_replaced(self, token: Token, now: float, config: PolicyConfig) -> bool:
        """Whether the server may be asked for another token in place of ``token``, which was refused."""
        return self.has_worked(token) or now >= self.forced_at + config.forced_refresh_interval

    def doubt(self, token: Token) -> None:
        """``token`` was refused, and it is not too young to be known."""
        if token is not self._proven:
            self._doubted = token

    def replay_in(self, token: Token, now: float, known_after: float, *, once: bool) -> float | None:
        """Seconds until a call that was refused with a young ``token`` is made again; ``None``: it is not young.

        ``once``: the call cannot be made more than once again.
        """
        age = now - self.issued_at
        if token is self._proven or not 0.0 <= age < known_after:
            return None
        for share in _REPLAYS[-1:] if once else _REPLAYS:
            if (pause := share * known_after - age) > _A_MOMENT:
                return pause
        return None

    def dropped(self, token: Token | None, now: float, *, forced: bool) -> None:
        """``token`` is not to be used again: an API call was refused with it (``forced``), or a user says so."""
        if forced and token is not None and token is not self._proven:
            self.forced_at = now
        if token is not None:
            self.replaced(token)
        self._early = 0
        self.ask_anew = self.ask_anew or not forced

    def replaced(self, token: Token) -> None:
        """``token`` was refused, and another process's has taken its place."""
        self._refused = (*self._refused[1 - _REMEMBERED :], hash(token.jwt))
        self._proven = self._doubted = None

    def is_usable(self, jwt: str) -> bool:
        """Whether a token that was found elsewhere may be used: it was not refused, and no exchange is wanted."""
        return not self.ask_anew and hash(jwt) not in self._refused


MAX_LIFE = 10 * 365 * 86_400.0  # of a token, seconds
_LARGEST = 1e11  # seconds
_MILLISECONDS = (1e12, 1e14)  # unix time from 2001 to 5138
_FAR = 10.0  # times as long: such an ``expires_in`` may be in hours or minutes
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{0,15})?", re.ASCII)


def seconds_left(expires_in: object, jwt: str, server_now: float | None, wall: float) -> tuple[float | None, bool]:
    """``(seconds, cut)``: how long ``jwt`` lives, and whether its own ``exp`` says more than ten times as long.

    0 seconds or less: it has ended; ``None``: nothing says how long. ``server_now`` is the answer's ``Date`` and
    ``wall`` this host's clock, both unix time.
    """
    said = _sane(_any_number(expires_in))
    said = None if said is None or said > MAX_LIFE else said
    expiry = claims_expiry(jwt)
    if expiry is None:
        return said, False
    by_jwt = expiry - (wall if server_now is None else server_now)
    if said is None or said <= 0.0:
        return (said if by_jwt > MAX_LIFE else by_jwt), False
    if by_jwt <= 0.0:
        by_jwt = expiry - wall  # the server's clock may be the wrong one
    if by_jwt <= 0.0 and server_now is None:
        return said, False
    return min(said, by_jwt), by_jwt > _FAR * said


def claims_expiry(jwt: str) -> float | None:
    """Unix time of a JWT's ``exp``, ``None`` when it is no JWT or has none. Nothing is verified."""
    expiry = _any_number(_claims(jwt).get("exp"))
    if expiry is not None and _MILLISECONDS[0] <= expiry < _MILLISECONDS[1]:
        expiry /= 1000.0
    return _sane(expiry)


def _claims(jwt: str) -> dict[str, Any]:
    parts = jwt.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "==").decode())
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _any_number(value: object) -> float | None:
    """A number, or a string that is one; ``None`` for anything else."""
    if isinstance(value, str):
        text = value.strip()
        return float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_MILLISECONDS[1] < value < _MILLISECONDS[1] else None


def _sane(value: float | None) -> float | None:
    """``value``, if it can be seconds."""
    return value if value is not None and -_LARGEST < value < _LARGEST else None


# A short-lived token would be in its margin all its life, and each call would refresh it.
_MARGIN_RATIO = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """One JWT. ``refresh_at``, ``mandatory_at`` and ``ends`` are monotonic seconds, ``ends_wall`` is unix time."""

    jwt: str = field(repr=False)
    refresh_at: float
    mandatory_at: float
    ends: float
    ends_wall: float
    margin: float  # seconds from ``mandatory_at`` to ``ends``

    def is_valid(self, at: Instant) -> bool:
        """Say whether the endpoint would still accept it."""
        return at.monotonic < self.ends and at.wall < self.ends_wall

    def is_usable(self, at: Instant) -> bool:
        """Say whether a caller gets it without waiting: valid, and not past its mandatory point."""
        return at.monotonic < self.mandatory_at and at.wall < self.ends_wall - self.margin

    def age(self, at: Instant) -> str:
        """``fresh``, ``soft`` (advisory), ``margin`` (mandatory) or ``expired``."""
        if not self.is_usable(at):
            return "margin" if self.is_valid(at) else "expired"
        return "soft" if self.is_refresh_due(at) else "fresh"

    def is_refresh_due(self, at: Instant) -> bool:
        """Say whether it is past its advisory point, by either clock."""
        return at.monotonic >= self.refresh_at or at.wall >= self.ends_wall - (self.ends - self.refresh_at)


def issue(jwt: str, life: float, age: float, jitter_hash: float, at: Instant, config: PolicyConfig) -> Token:
    """Return the token that has ``life`` seconds left after ``age`` seconds.

    ``jitter_hash`` in [0, 1) comes from the key's hash: the advisory point is the same after a restart, so that a
    fleet never refreshes in step (G17).
    """
    whole = life + age
    margin = min(config.mandatory_margin, whole * _MARGIN_RATIO)
    refresh_at = at.monotonic + whole * (config.refresh_after + config.refresh_jitter * jitter_hash) - age
    mandatory_at = at.monotonic + life - margin
    return Token(jwt, min(refresh_at, mandatory_at), mandatory_at, at.monotonic + life, at.wall + life, margin)
