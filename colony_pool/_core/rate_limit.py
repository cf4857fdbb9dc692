"""The server's rate limit: what remains of it, and the pause after a 429 (G13).

``X-RateLimit-Remaining: 3`` while four attempts are out means that one of them is refused, and counted. So no attempt
starts while as many are out as the last answer has left. At 0, or after a 429, nothing starts: that is a *pause*. A
key that was refused just before a 429 has caused it, and rests twice as long as everybody else.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..config import PolicyConfig
from .account import Account

_SHORTEST = 1.0  # seconds of a pause
_SAME = 1.0  # pauses whose ends are this close, seconds, are one


class Paused(NamedTuple):
    """What a request to pause did: for how many ``seconds`` nothing starts now, and whether that is new."""

    seconds: float
    began: bool  # nothing was paused before
    extended: bool  # nothing starts for longer than before


class Remaining:
    """Requests left, as the headers tell. Times are monotonic seconds."""

    __slots__ = ("_insufficient", "_left", "_until")

    def __init__(self) -> None:
        # What is left, and until when: then the server counts anew. Nothing bounds anybody before the first answer.
        self._left = self._until = math.inf
        self._insufficient = False

    def update(self, left: int, seconds: float, now: float) -> None:
        """An answer says that ``left`` requests remain for ``seconds``; of answers in any order the least counts."""
        self._left = min(float(left), self.at(now))
        self._until = now + seconds

    def at(self, now: float) -> float:
        """How many attempts may be out; inf while nothing is known."""
        return self._left if now < self._until else math.inf

    def is_insufficient(self, wanted: int, now: float) -> bool:
        """Say whether fewer than ``wanted`` are served: from when the server says so until all have been served."""
        self._insufficient = self._insufficient or self.at(now) < wanted
        return self._insufficient

    def forget(self) -> None:
        """What the last answers have said is not to be believed."""
        self._left = self._until = math.inf

    def mark_exhausted(self) -> None:
        """Nobody is served for a while, and all come back at once."""
        self._insufficient = True

    def reset(self) -> None:
        """Everybody has been served."""
        self._insufficient = False


class RateLimit:
    """Whether, until when and why nothing may start. Times are monotonic seconds."""

    def __init__(self, config: PolicyConfig) -> None:
        self._config = config
        self.remaining = Remaining()
        self.paused_until = -math.inf
        self.paused_since = -math.inf  # when the server asked for it, of whichever process
        self.cause = ""
        self._cleared_at = -math.inf  # an operator has ended a pause of before
        self._short = _SHORTEST / 2  # seconds of the last pause whose 429 said "now": they double while they repeat
        self._short_since = -math.inf
        self._cooldowns: set[Account] = set()
        self._is_on = False  # a pause has begun, and its end was not noticed yet

    def is_paused(self, now: float) -> bool:
        """Whether nothing may start."""
        return self.paused_until > now

    def left(self, now: float) -> float:
        """Seconds until the pause ends, 0 without one."""
        return max(0.0, self.paused_until - now)

    def pause(self, seconds: float, cause: str, now: float, *, since: float | None = None) -> Paused:
        """Let nothing start for ``seconds``, unless a pause of now lasts longer."""
        seconds = min(seconds, self._config.rate_limit_max)
        began = not self.is_paused(now)
        if now + seconds <= max(self.paused_until, now):
            return Paused(self.left(now), began=False, extended=False)
        if began or now + seconds > self.paused_until + _SAME:  # else it is the same pause, heard once more
            self.paused_since = now if since is None else since
        self.paused_until, self.cause = now + seconds, cause
        self.remaining.mark_exhausted()
        return Paused(seconds, began, extended=True)

    def seconds_for(self, asked: float | None, started: float, now: float) -> float:
        """Seconds of the pause for which a 429 has ``asked`` (``None``: for none) that met an attempt of ``started``.

        A 429 that says "now" pauses for a second, and twice as long each time while that repeats.
        """
        longest = self._config.rate_limit_default
        asked = longest if asked is None else asked
        if asked >= _SHORTEST:
            return asked
        if started >= self._short_since:  # else it left before the last such pause, and says no more than its 429
            self._short, self._short_since = min(2 * self._short, longest), now
        return max(asked, self._short)

    def served(self) -> None:
        """A request was served: the next pause whose 429 says "now" is a short one."""
        self._short, self._short_since = _SHORTEST / 2, -math.inf

    def has_ended(self, now: float) -> bool:
        """Whether a pause has ended since this was last asked."""
        was_on, self._is_on = self._is_on, self.is_paused(now)
        return was_on and not self._is_on

    def cool_down(self, account: Account, until: float, now: float) -> None:
        """Let no attempt of one key start before ``until``."""
        account.cooldown_until = until
        self._cooldowns = {key for key in self._cooldowns if key.cooldown_until > now} | {account}

    def is_newer_than_clear(self, since: float) -> bool:
        """Whether a pause that began at ``since`` is another one than those that an operator has ended."""
        return since > self._cleared_at

    def can_be_cleared(self, cleared_at: float, now: float) -> bool:
        """Whether there is something to clear for one who said so at ``cleared_at``."""
        return self.paused_since < cleared_at <= now and (self.is_paused(now) or bool(self._cooldowns))

    def longest_left(self, now: float) -> float:
        """Seconds until nothing, nor any single key, is paused."""
        return max(self.left(now), *(key.cooldown_until - now for key in self._cooldowns), 0.0)

    def clear(self, cleared_at: float, now: float) -> list[Account]:
        """End all pauses and forget what remains; return the keys that may start again.

        What the server answers from now on counts, be it to an attempt that left before.
        """
        keys = [key for key in self._cooldowns if key.cooldown_until > now]
        for key in keys:
            key.cooldown_until = now
        self.paused_until = min(self.paused_until, now)
        self._cleared_at = max(self._cleared_at, cleared_at)
        self._cooldowns = set()
        self.served()
        self.remaining.forget()
        return keys
