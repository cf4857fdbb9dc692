"""What one process knows of those with which it shares an endpoint: the state, not the rules (``fleet.py``)."""

from __future__ import annotations

import math


class Fleet:
    """The fleet, as one process sees it. Times are monotonic seconds."""

    __slots__ = (
        "_left", "answer_by", "ask_at", "fence", "follow_until", "generation", "hold_met", "idle_at", "joined_until",
        "lead_answer_by", "lead_at", "lead_until", "lease_until", "look_at", "looking", "members", "on_fallback",
        "period", "unheard",
    )  # fmt: skip

    def __init__(self, period: float) -> None:
        self.period = period  # between two looks at the store
        self.generation = 0  # of the record that was adopted last; 0: none
        self.on_fallback = False  # the store has failed, and it is its fallback that answers
        self._left = 0  # the generation of the store's record when the fallback's took its place
        self.members = 1
        self.answer_by = math.inf  # an Ask is out; whether or not it is answered, the probe leaves then
        self.ask_at = -math.inf  # another process probes until then
        self.fence: int | None = None  # of the lease that was granted
        self.unheard = False  # the store refuses, since it has not heard that the breaker is open
        self.lease_until = -math.inf  # a probe may leave until then, by that lease or without anybody's leave
        self.lead_answer_by = math.inf  # a Lead is out
        self.lead_at = -math.inf  # not to be asked for before
        self.lead_until = -math.inf  # this process is the one that goes on
        self.follow_until = math.inf  # another one is; this is as long as it is waited for
        self.look_at = -math.inf
        self.looking = False
        self.hold_met = False  # a call was sent away since the last look, for a hold
        self.joined_until = -math.inf
        self.idle_at = -math.inf  # when nobody waited here last

    @property
    def asking(self) -> bool:
        """Whether the store has still to say if a probe may leave."""
        return self.answer_by < math.inf

    def move(self, to_fallback: bool) -> None:
        """Hear another record from now on; who probes by the one before does not count in this one.

        What a fallback has heard is of the last time that the store failed, and no news; of a store that is back
        we want to know what has changed meanwhile.
        """
        if to_fallback:
            self._left = self.generation
        self.generation = 0 if to_fallback else self._left
        self.on_fallback = to_fallback
        self.ask_at = -math.inf
        self.unheard = False

    def end_doubt(self) -> bool:
        """Forget who leads; whether it was this process."""
        led, self.lead_until, self.follow_until = self.lead_until > -math.inf, -math.inf, math.inf
        return led

    def end_lease(self) -> int | None:
        """Forget the lease, and return its fence."""
        fence, self.fence = self.fence, None
        self.lease_until = -math.inf
        return fence
