"""A token and its ages: fresh, soft (one refreshes, the rest use it), margin (callers wait), expired.

Two clocks bound it. The monotonic one cannot be stepped back, so a wall clock set back an hour prolongs
nothing; the wall clock goes on while a laptop sleeps and the monotonic one does not, so waking up refreshes.
Either may end a token early, neither can extend it (G20).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..config import TokenConfig

# A short-lived token would be in its margin all its life, and each call would refresh it.
_MARGIN_RATIO = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """One JWT. ``soft``, ``margin_at`` and ``ends`` are monotonic seconds, ``ends_wall`` is unix time."""

    jwt: str = field(repr=False)
    soft: float
    margin_at: float
    ends: float
    ends_wall: float
    margin: float

    def valid(self, now: float, wall: float) -> bool:
        """Say whether the endpoint would still accept it."""
        return now < self.ends and wall < self.ends_wall

    def usable(self, now: float, wall: float) -> bool:
        """Say whether a caller gets it without waiting: valid, and not in its margin."""
        return now < self.margin_at and wall < self.ends_wall - self.margin

    def age(self, now: float, wall: float) -> str:
        """``fresh``, ``soft``, ``margin`` or ``expired``."""
        if not self.usable(now, wall):
            return "margin" if self.valid(now, wall) else "expired"
        return "soft" if self.is_soft(now, wall) else "fresh"

    def is_soft(self, now: float, wall: float) -> bool:
        """Say whether it is past its soft point, by either clock."""
        return now >= self.soft or wall >= self.ends_wall - (self.ends - self.soft)


def issue(jwt: str, life: float, age: float, spread: float, now: float, wall: float, config: TokenConfig) -> Token:
    """Return the token that has ``life`` seconds left after ``age`` seconds.

    ``spread`` in [0, 1) comes from the key's hash: the soft point is the same after a restart, so that a
    fleet never refreshes in step (G17).
    """
    whole = life + age
    margin = min(config.margin, whole * _MARGIN_RATIO)
    soft = now + whole * (config.soft_min + config.soft_spread * spread) - age
    return Token(jwt, min(soft, now + life - margin), now + life - margin, now + life, wall + life, margin)
