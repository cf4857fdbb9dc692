"""Which of several processes goes on while everything fails, and for whom the others wait.

While closed each process counts its own failures, and eight of them would need eight times as many as one to see
that the endpoint is down. So a process that is suspicious, since everything it tried has failed or fails more often
than chance explains, asks to *lead*: one goes on, and the others wait for what it finds, but not for long.
"""

from __future__ import annotations

import math

_LEAD = 5.0
_FOLLOW = 30.0  # longer than a breaker needs to open where everything fails
_AGAIN = 0.1


class Leadership:
    """Whether this process leads, follows, or has still to ask. Times are monotonic seconds."""

    __slots__ = ("_answer_by", "_ask_at", "_follow_until", "_lead_until")

    def __init__(self) -> None:
        self._answer_by = math.inf  # the store was asked, and has to answer by then
        self._ask_at = -math.inf
        self._lead_until = -math.inf
        self._follow_until = math.inf

    def is_settled(self, now: float) -> bool:
        """Whether this process need not ask: it leads, or has followed for long enough."""
        return now < self._lead_until or now >= self._follow_until

    def may_ask(self, now: float, answer_within: float) -> bool:
        """Whether to ask the store now; then it has so many seconds to answer."""
        if self._answer_by != math.inf or self._ask_at > now:
            return False
        self._answer_by = now + answer_within
        return True

    def is_overdue(self, now: float) -> bool:
        """Whether the store has not answered: then this process goes on."""
        return self._answer_by <= now

    def next_step_at(self, now: float) -> float:
        """When there is something new while another process leads."""
        return min(self._answer_by, max(self._ask_at, now + _AGAIN), self._follow_until)

    def lead(self, now: float) -> None:
        """This process goes on."""
        self._answer_by, self._lead_until = math.inf, now + self.seconds

    def follow(self, now: float, ask_at: float) -> None:
        """Another one does; it may be asked for again at ``ask_at``."""
        self._answer_by, self._ask_at = math.inf, ask_at
        self._follow_until = min(self._follow_until, now + _FOLLOW)

    def end(self) -> bool:
        """There is no doubt any more; say whether it was this process that led."""
        led, self._lead_until, self._follow_until = self._lead_until > -math.inf, -math.inf, math.inf
        return led

    @property
    def seconds(self) -> float:
        """For how long one leads."""
        return _LEAD
