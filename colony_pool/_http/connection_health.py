"""Which idle connection a request may use: what each has brought, and how old it is.

A connection leads to one backend, by one way, for as long as it is kept. So a kept one may go on failing where a new
one would work: a balancer keeps it at a broken backend, the name has moved, a NAT has forgotten it.

- One that brought 421, 502, 503 without ``Retry-After``, 504 or 520 to 530 rests until a newer one has had a success.
  One that brought another 5xx may be used by others: a handshake costs an overloaded server more than a request.
- An attempt after a failure uses one that is new, or has had a success since.
- One on which nothing came in time makes all dead that have brought nothing since that request was sent.
- One that is older than ``max_age``, or was idle for ``max_idle``, is not used again.
- All that were opened before a ``retire`` are not used again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

from .failures import BUSY, BadReply, NetworkFailure, RawResponse

# A laptop's sleep counts as idle time: its peer has not slept. Only Linux has such a clock.
_age_clock: Callable[[], float] = (
    (lambda: time.clock_gettime(time.CLOCK_BOOTTIME)) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
_MISDIRECTED = 421  # this connection leads to a server of other addresses
# A gateway's own words on the backend that it has chosen.
_GATEWAY = frozenset({_MISDIRECTED, 502, 504, *range(520, 531)})
_OVERLOADED = 503


class ConnectionRecord:
    """What is known of one connection. Only ``ConnectionHealth`` writes to it."""

    __slots__ = ("answered_at", "born", "failed_at", "opened_at", "proven_at", "rested", "unwell_at")

    def __init__(self, now: float, age: float) -> None:
        self.opened_at = now  # monotonic seconds, as all that end in ``_at``
        self.answered_at = -math.inf
        self.proven_at = -math.inf  # when an answer came last that was no failure
        self.unwell_at = -math.inf  # when another one came last
        self.failed_at = -math.inf  # when a gateway's failure came last
        self.born = age  # in the seconds of the clock that ages go by
        self.rested = age


class ConnectionHealth:
    """Judges the connections of one pool.

    Its few numbers only grow. Where two threads write at once one of them may get lost: then a connection is used
    that the next failure finds out.

    Arguments:
        max_age: seconds after which a connection is not used again.
        max_idle: seconds at rest after which it is not.
        monotonic: the clock of failures and successes, and of ``since``.
        age: the clock of ages.
    """

    def __init__(
        self, max_age: float, max_idle: float,
        monotonic: Callable[[], float] = time.monotonic, age: Callable[[], float] = _age_clock,
    ) -> None:  # fmt: skip
        self._max_age = max_age
        self._max_idle = max_idle
        self._monotonic = monotonic
        self._age = age
        self._alive_since = -math.inf  # what has neither been opened nor answered since is taken for dead
        self._retired_at = -math.inf
        self._newest: ConnectionRecord | None = None  # the newest that has had a success

    def opened(self) -> ConnectionRecord:
        """A connection is about to be opened."""
        return ConnectionRecord(self._monotonic(), self._age())

    @staticmethod
    def is_gateway_failure(status: int, headers: Mapping[str, str]) -> bool:
        """Whether an answer says that this connection's backend is broken, and not only busy."""
        return status in _GATEWAY or (status == _OVERLOADED and "retry-after" not in headers)

    def answered(self, record: ConnectionRecord, status: int, headers: Mapping[str, str]) -> None:
        """It brought an answer; ``headers`` have lower-case names."""
        now = self._monotonic()
        record.answered_at = now
        is_gateways = self.is_gateway_failure(status, headers)
        if status < 500 and not is_gateways and "html" not in headers.get("content-type", ""):  # a gateway's own page
            record.proven_at = now
            if self._newest is None or record.opened_at >= self._newest.opened_at:
                self._newest = record
            return
        record.unwell_at = now
        if is_gateways:
            record.failed_at = now

    def silent(self, sent_at: float) -> None:
        """Nothing came in time on a connection that had worked before; its request was sent then."""
        self._alive_since = max(self._alive_since, sent_at)

    def rests(self, record: ConnectionRecord) -> None:
        """It is idle from now on."""
        record.rested = self._age()

    def retire(self) -> None:
        """None that is open now is used for another request."""
        self._retired_at = self._monotonic()

    def is_over(self, record: ConnectionRecord) -> bool:
        """Whether nobody may use it any more."""
        if max(record.opened_at, record.answered_at) <= self._alive_since or record.opened_at <= self._retired_at:
            return True
        age = self._age()
        return age - record.born >= self._max_age or age - record.rested >= self._max_idle

    @staticmethod
    def is_proven(record: ConnectionRecord, since: float) -> bool:
        """Whether it was opened, or has had a success, after ``since``, and has not failed after that."""
        if since == -math.inf:
            return True
        well_at = max(record.opened_at, record.proven_at)
        return well_at > since and record.unwell_at <= well_at

    def suits(self, record: ConnectionRecord, since: float, others: Iterable[ConnectionRecord]) -> bool:
        """Whether a request may use it that needs one opened, or proven, after ``since``.

        ``others`` are idle, too: one of them may show that the endpoint is well again.
        """
        if not self.is_proven(record, since):
            return False
        if record.failed_at == -math.inf or record.proven_at > record.failed_at:
            return True
        newest = self._newest
        return any(
            other.opened_at > record.opened_at and other.proven_at > record.failed_at
            for other in ([newest, *others] if newest is not None else others)
        )


def is_failure(reply: RawResponse | NetworkFailure | BadReply) -> bool:
    """Whether what came of a request may be its connection's fault, so that the next needs another."""
    if isinstance(reply, RawResponse):
        return reply.status >= 500 or reply.status == _MISDIRECTED
    return not (isinstance(reply, NetworkFailure) and reply.kind == BUSY)


class LastFailure:
    """When the last attempt of an agent failed: the next needs a connection that is better known, or new."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since = -math.inf  # monotonic seconds; -inf: the last has not failed

    def note(self, now: float, *, failed: bool) -> None:
        """An attempt has ended."""
        self.since = now if failed else -math.inf
