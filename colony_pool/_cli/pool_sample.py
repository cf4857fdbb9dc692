"""What ``colony-pool top`` knows of a pool at a glance, and what it says of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..prometheus._reader import PoolNumbers

_FAILED = ("error", "error_retried", "fast_fail")


@dataclass(frozen=True, slots=True)
class PoolSample:
    """One pool at one address. Times in seconds, rates per second; ``None`` is "not known" or "does not apply".

    Attributes:
        address: where it was read.
        pool: its name.
        state: closed, half_open or open: the worst of all processes behind the address.
        processes: breakers behind the address, and ``not_closed`` of them that are not closed.
        since: how long the last change of a breaker is ago.
        next_probe_in: until the next probe may leave.
        hold_ends_in: until the present hold ends.
        tokens: valid tokens held; ``expired`` ones beside them.
        first_ends_in: until the first valid token ends.
        waiting: calls that wait, by what they wait for.
        denied: keys that rest.
        window: attempts allowed in flight.
        budget, budget_limit: retries that are left, and out of how many.
        attempts_per_s, retries_per_s: since the last look.
        calls_ok: ratio of the calls since the last look that got a token.
    """

    address: str
    pool: str
    state: str
    processes: int
    not_closed: int
    since: float | None
    next_probe_in: float | None
    hold_ends_in: float | None
    tokens: int
    expired: int
    first_ends_in: float | None
    waiting: dict[str, int]
    denied: int
    window: float | None
    budget: float | None
    budget_limit: float | None
    attempts_per_s: float | None
    retries_per_s: float | None
    calls_ok: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @property
    def waiters(self) -> int:
        """Calls that wait, for whatever."""
        return sum(self.waiting.values())


@dataclass(frozen=True, slots=True)
class Sample:
    """The numbers of one pool at a moment, unix time."""

    numbers: PoolNumbers
    at: float


def summarize(address: str, now: Sample, before: Sample | None) -> PoolSample:
    """Make sense of ``now``, and of what has changed since ``before``."""
    numbers = now.numbers
    states = {state: int(numbers.get("breaker_state", state=state) or 0) for state in ("open", "half_open", "closed")}
    waiting = {kind: int(numbers.get("waiters", kind=kind) or 0) for kind in ("probe", "hold", "flight")}
    return PoolSample(
        address=address,
        pool=numbers.pool,
        state=next((state for state, count in states.items() if count), "gone"),
        processes=sum(states.values()),
        not_closed=states["open"] + states["half_open"],
        since=_ago(now, "breaker_last_transition_timestamp_seconds"),
        next_probe_in=_until(now, "breaker_next_probe_timestamp_seconds"),
        hold_ends_in=_until(now, "hold_end_timestamp_seconds"),
        tokens=int(sum(numbers.get("tokens", freshness=age) or 0 for age in ("fresh", "soft", "margin"))),
        expired=int(numbers.get("tokens", freshness="expired") or 0),
        first_ends_in=_until(now, "token_earliest_expiry_timestamp_seconds"),
        waiting=waiting,
        denied=int(numbers.get("denied_keys") or 0),
        window=numbers.get("admission_window"),
        budget=numbers.get("retry_budget_tokens"),
        budget_limit=numbers.get("retry_budget_limit_tokens"),
        attempts_per_s=_rate(now, before, "attempts_total"),
        retries_per_s=_rate(now, before, "retries_total"),
        calls_ok=_share_ok(now, before),
    )


def _ago(now: Sample, metric: str) -> float | None:
    at = now.numbers.get(metric)
    return None if at is None else max(0.0, now.at - at)


def _until(now: Sample, metric: str) -> float | None:
    at = now.numbers.get(metric)
    return None if at is None else max(0.0, at - now.at)


def _grown(now: Sample, before: Sample | None, metric: str, **labels: str) -> float | None:
    """By how much a counter grew; one that went back has begun anew."""
    if before is None:
        return None
    new, old = now.numbers.total(metric, **labels), before.numbers.total(metric, **labels)
    return new - old if new >= old else new


def _rate(now: Sample, before: Sample | None, metric: str) -> float | None:
    grown = _grown(now, before, metric)
    return None if grown is None or before is None or now.at <= before.at else grown / (now.at - before.at)


def _share_ok(now: Sample, before: Sample | None) -> float | None:
    whole, gone = _grown(now, before, "calls_total"), _grown(now, before, "calls_total", outcome="cancelled")
    failed = sum(_grown(now, before, "calls_total", outcome=outcome) or 0.0 for outcome in _FAILED)
    counted = (whole or 0.0) - (gone or 0.0)
    return 1.0 - failed / counted if counted > 0 else None


def advice(pools: list[PoolSample], silent: int) -> str:
    """One line: how it stands, and what to do or not to do."""
    troubled = [one for one in pools if one.not_closed]
    if any(one.hold_ends_in for one in pools):
        longest = max(one.hold_ends_in or 0.0 for one in pools)
        return (
            f"On hold: the server counts. It ends in {span(longest)} by itself; trying, or restarting, prolongs it."
        )
    if troubled:
        waiting = sum(one.waiters for one in troubled)
        calls = "1 call waits" if waiting == 1 else f"{waiting} calls wait"
        return (
            f"The endpoint does not answer for {len(troubled)} of {len(pools)} pools: call its owner. {calls}, "
            "valid tokens are served. Do not restart the agents: that loses who waits, and the tokens."
        )
    if silent:
        who = "1 address does" if silent == 1 else f"{silent} addresses do"
        return f"{who} not answer: is the process up, and its metrics port the one that you named?"
    if any(one.denied for one in pools):
        count = sum(one.denied for one in pools)
        who = "1 key is refused: put it" if count == 1 else f"{count} keys are refused: put them"
        return f"{who} right; no other agent is affected."
    return "All is well." if pools else "No pool is exported there."


def span(seconds: float | None) -> str:
    """``seconds`` in the largest units that matter: ``4.2 s``, ``3 min 20 s``, ``5 h 10 min``, ``2 d 3 h``."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    units = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
    for size, name, small, small_name in units:
        if seconds >= size:
            rest = int(seconds % size // small)
            return f"{int(seconds // size)} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{seconds:.0f} s"
