"""What the server says is left of its rate limit: never more attempts out than it will serve.

``X-RateLimit-Remaining: 3`` while four are out means that one of them is refused, and counted. So no attempt starts
while as many are out as the last answer has left. At 0 a hold takes over (G13).
"""

from __future__ import annotations

import math

_SHORTEST = 1.0  # seconds of a hold


class ShortHolds:
    """How long a hold lasts whose 429 says "now": a second, doubling while such holds repeat."""

    __slots__ = ("_began", "_seconds")

    def __init__(self) -> None:
        self.end()

    def end(self) -> None:
        """A request was served, or an operator knows better."""
        self._seconds, self._began = _SHORTEST / 2, -math.inf

    def lasts(self, asked: float, started: float, now: float, longest: float) -> float:
        """Seconds of a hold for which the answer to an attempt of ``started`` has ``asked``."""
        if asked >= _SHORTEST:
            return asked
        if started >= self._began:  # else it left before the last such hold, and says no more than the 429 of that
            self._seconds, self._began = min(2 * self._seconds, longest), now
        return max(asked, self._seconds)


class Quota:
    """Requests left, as the headers tell. Times are monotonic seconds."""

    __slots__ = ("_left", "_short", "_until")

    def __init__(self) -> None:
        # What is left, and until when: then the server counts anew. Nothing bounds anybody before the first answer.
        self._left = self._until = math.inf
        self._short = False

    def told(self, left: int, seconds: float, now: float) -> None:
        """An answer says that ``left`` requests remain for ``seconds``; of answers in any order the least counts."""
        self._left = min(float(left), self.left(now))
        self._until = now + seconds

    def left(self, now: float) -> float:
        """How many attempts may be out; inf while nothing is known."""
        return self._left if now < self._until else math.inf

    def short(self, wanted: int, now: float) -> bool:
        """Say whether it serves fewer than ``wanted``: from when it says so until all have been served."""
        self._short = self._short or self.left(now) < wanted
        return self._short

    def forget(self) -> None:
        """What the last answers have said is not to be believed."""
        self._left = self._until = math.inf

    def ran_out(self) -> None:
        """Nobody is served for a while, and all come back at once."""
        self._short = True

    def sufficed(self) -> None:
        """Everybody has been served."""
        self._short = False
