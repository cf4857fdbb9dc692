"""What has become of one key's tokens: whether they worked, were refused, and how soon they ended (G17, G19).

*A 401.* A token that an API call has worked with, and that is refused later, was revoked: it is replaced at once,
however often that happens. A token that never worked may be as good as the next one, and the 401 is of something
else: an account that is blocked, a path that refuses everybody. Such a one is replaced once in
``TokenConfig.forced_interval``. It stays of that kind even if another path takes it: else an API with one path for
everybody and one for nobody would cost an exchange for each call.

*A token that is not known yet.* Behind some APIs it takes a second until every server knows a new token. So a 401
within ``TokenConfig.known_after`` of its issue means nothing yet: the call is made again, with the same token.

*A token that ends at once.* A server whose tokens live for three seconds must not be asked every three seconds.
Between two exchanges of which the second has no other reason than that the token ended lie ``renew_interval``
seconds, and twice as many with each further token that ends too soon, up to ``renew_interval_max``. Too soon is
sooner than that; or within ``renew_interval_max``, and long before the JWT's own end: ``"expires_in": 24`` may be
hours. A token that lives longer, if only for half a minute, is short-lived by design, and never waits.
"""

from __future__ import annotations

import math

from ..config import TokenConfig
from .token import Token

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

    def exchanged(self, life: float, now: float, config: TokenConfig, *, cut: bool) -> None:
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

    def may_be_replaced(self, token: Token, now: float, config: TokenConfig) -> bool:
        """Whether the server may be asked for another token in place of ``token``, which was refused."""
        return self.has_worked(token) or now >= self.forced_at + config.forced_interval

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
