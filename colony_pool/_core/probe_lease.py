"""The right to probe, which one of several processes has at a time.

Before a probe leaves, the store is asked. Its answer is *granted*, with a number, the fence, by which the probe is
reported; *refused*, while another process probes; or none: then this process decides alone.
"""

from __future__ import annotations

import math


class ProbeLease:
    """What this process knows of the lease. Times are monotonic seconds."""

    __slots__ = ("_fence", "_next_request", "_reply_deadline", "_until", "_was_unknown")

    def __init__(self) -> None:
        self._reply_deadline = math.inf  # the store was asked; whether or not it answers, the probe leaves then
        self._next_request = -math.inf  # another process probes until then
        self._fence: int | None = None
        self._until = -math.inf  # a probe may leave until then, by the store's leave or without anybody's
        self._was_unknown = False  # the store has refused, since it has not heard that the breaker is open

    @property
    def is_requested(self) -> bool:
        """Whether the store has still to answer."""
        return self._reply_deadline < math.inf

    def allows(self, until: float) -> bool:
        """Whether a probe may leave that has its outcome by ``until``."""
        return self._until >= until

    def is_overdue(self, now: float) -> bool:
        """Whether the store has not answered in time."""
        return self._reply_deadline <= now

    def may_request(self, now: float, answer_within: float) -> bool:
        """Whether to ask the store now; then it has so many seconds to answer."""
        if self.is_requested or self._next_request > now:
            return False
        self.end()
        self._reply_deadline = now + answer_within
        return True

    def next_step_at(self) -> float:
        """When the store answers at the latest, or can be asked again."""
        return self._reply_deadline if self.is_requested else self._next_request

    def granted(self, fence: int, answer_within: float, seconds: float) -> None:
        """The store allows a probe for ``seconds`` since it was asked, ``answer_within`` before its deadline."""
        self._until = self._reply_deadline - answer_within + seconds
        self.report_with(fence)

    def report_with(self, fence: int) -> None:
        """A probe that left without leave is reported with ``fence``."""
        self._fence = fence
        self._reply_deadline = math.inf

    def answered(self) -> None:
        """The store has answered something that changes nothing here."""
        self._reply_deadline = math.inf

    def refused(self, next_request: float) -> None:
        """Another process probes."""
        self._reply_deadline = math.inf
        self._next_request = next_request

    def go_alone(self, until: float) -> None:
        """The store does not answer: a probe may leave until then."""
        self._reply_deadline = math.inf
        self._until = until

    def skip(self) -> None:
        """An operator wants a probe, whatever the others do."""
        self._until = math.inf

    def request_after(self, moment: float) -> None:
        """The store says for how long another process probes."""
        self._next_request = moment

    def forget_others(self) -> None:
        """Who else probes is not known any more."""
        self._next_request = -math.inf

    def is_unknown_again(self, unknown: bool) -> bool:
        """Record whether the store refused because it does not know that the breaker is open.

        Returns True the second time in a row.
        """
        again = unknown and self._was_unknown
        self._was_unknown = unknown and not self._was_unknown
        return again

    def forget_unknown(self) -> None:
        """What the store did not know, it may know by now."""
        self._was_unknown = False

    def end(self) -> int | None:
        """Forget the lease, and return its fence."""
        fence, self._fence = self._fence, None
        self._until = -math.inf
        return fence
