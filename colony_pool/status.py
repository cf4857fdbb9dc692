"""``pool.status()``: what the pool knows at one moment, as frozen values without any secret."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["BreakerStatus", "PoolStatus", "TokensStatus"]


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """The breaker. Times in seconds.

    Attributes:
        state: ``"closed"``, ``"open"`` or ``"half_open"``.
        cause: what opened it last, in words; empty when it never opened.
        failures: in a row.
        since: how long it has been in trouble; 0 when closed.
        next_probe_in: until the next probe may leave; ``None`` when closed.
        probing: a probe is on the wire.
        generation: counts the changes of state.
    """

    state: str
    cause: str
    failures: int
    since: float
    next_probe_in: float | None
    probing: bool
    generation: int


@dataclass(frozen=True, slots=True)
class TokensStatus:
    """Tokens by age, and the next to end (unix time; ``None`` without tokens)."""

    fresh: int
    soft: int
    expired: int
    earliest_expiry: float | None


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """One moment of a pool.

    Attributes:
        breaker: see ``BreakerStatus``.
        tokens: see ``TokensStatus``.
        agents: handles made so far.
        waiters: calls that wait now.
        in_flight: token attempts on the wire.
        window: attempts allowed in flight; below 1 they are spaced.
        hold_for: seconds until a hold ends, 0 without one.
        hold_cause: who asked for it.
        denied: keys that are refused for the time being.
        retry_budget: retries allowed now.
        retry_budget_limit: what that would be without any retry.
        connections: ``(in use, idle)``.
        closed: the pool is closed.
        last_failure: what the last failed attempt met, in words; empty after a success.
        known_good: this address gave a token before. While it did not, ``base_url`` may be wrong.
        shared: the store that processes share: ``"working"``, ``"unavailable"`` (this process decides alone),
            ``"unknown"`` (not asked yet), or ``"none"``.
    """

    breaker: BreakerStatus
    tokens: TokensStatus
    agents: int
    waiters: int
    in_flight: int
    window: float
    hold_for: float
    hold_cause: str
    denied: int
    retry_budget: float
    retry_budget_limit: float
    connections: tuple[int, int]
    closed: bool
    shared: str = "none"
    last_failure: str = ""
    known_good: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return asdict(self)
