"""A token and its ages: fresh, due for an advisory refresh, due for a mandatory one, expired.

Past its advisory point one call refreshes it and the others use it; past its mandatory point callers wait for a new
one. (The words are botocore's.) Two clocks bound a token. The monotonic one cannot be stepped back, so a wall clock
set back an hour prolongs nothing; the wall clock goes on while a laptop sleeps and the monotonic one does not, so
waking up refreshes. Either may end a token early, neither can extend it (G20).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..config import TokenConfig
from .instant import Instant

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


def issue(jwt: str, life: float, age: float, jitter_hash: float, at: Instant, config: TokenConfig) -> Token:
    """Return the token that has ``life`` seconds left after ``age`` seconds.

    ``jitter_hash`` in [0, 1) comes from the key's hash: the advisory point is the same after a restart, so that a
    fleet never refreshes in step (G17).
    """
    whole = life + age
    margin = min(config.margin, whole * _MARGIN_RATIO)
    refresh_at = at.monotonic + whole * (config.soft_min + config.soft_spread * jitter_hash) - age
    mandatory_at = at.monotonic + life - margin
    return Token(jwt, min(refresh_at, mandatory_at), mandatory_at, at.monotonic + life, at.wall + life, margin)
