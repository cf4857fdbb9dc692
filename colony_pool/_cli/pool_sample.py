"""What a metrics endpoint says of one pool, as ``colony-pool status --url`` shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from ..prometheus._reader import PoolNumbers
from .render import Section, counted, span

_FAILED = ("error", "error_retried", "fast_fail")
_WAITING_FOR = {"probe": "for the next probe", "hold": "for the rate limit to end", "flight": "for their token"}


@dataclass(frozen=True, slots=True)
class PoolSample:
    """One pool at one address. Times in seconds, rates per second; ``None``: not known, or does not apply.

    Attributes:
        address: where it was read.
        pool: its name.
        state: closed, half_open or open: the worst of all processes behind the address. gone: no process exports it.
        processes: breakers behind the address, and ``not_closed`` of them that are not closed.
        since: time since the last change of a breaker.
        next_probe_in: until the next probe may start.
        hold_ends_in: until the present rate limit ends.
        tokens: valid tokens held; ``expired`` ones beside them.
        first_ends_in: until the first valid token ends.
        waiting: calls that wait, by what they wait for.
        denied: keys that the server refuses.
        window: attempts that may be in flight at once.
        budget, budget_limit: retries that are left, and out of how many.
        attempts_per_s, retries_per_s: since the sample before.
        calls_ok: ratio of the calls since the sample before that got a token.
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
        """StoreWorker that wait, for whatever."""
        return sum(self.waiting.values())

    def as_section(self) -> Section:
        """What a person reads."""
        limited = self.hold_ends_in
        return Section(
            title=f"{self.pool} at {urlsplit(self.address).netloc}",
            state=self.state,
            rate_limited_for=limited,
            waiting=self.waiters,
            refused=self.denied,
            rows=[
                ("breaker", self._breaker()),
                ("probe", self._probe()),
                ("rate limit", f"{span(limited)} more" if limited else "none"),
                ("waiting", self._waiting()),
                ("refused", counted(self.denied, "key", "keys")),
                ("tokens", self._tokens()),
                ("attempts", self._attempts()),
                ("calls", "-" if self.calls_ok is None else f"{self.calls_ok:.1%} got a token"),
                ("retries", self._retries()),
            ],
        )

    def _breaker(self) -> str:
        words = "no process exports it" if self.state == "gone" else self.state.replace("_", "-")
        if self.not_closed and self.processes > 1:
            words += f" in {self.not_closed} of {self.processes} processes"
        return words if self.since is None else f"{words} for {span(self.since)}"

    def _probe(self) -> str:
        if self.state == "half_open":
            return "out now"
        if self.next_probe_in is not None:
            return f"in {span(self.next_probe_in)}" if self.next_probe_in else "with the next call"
        return "none is needed"

    def _waiting(self) -> str:
        kinds = [f"{count:,} {_WAITING_FOR[kind]}" for kind, count in self.waiting.items() if count]
        total = counted(self.waiters, "call", "calls")
        return f"{total}: {', '.join(kinds)}" if kinds else total

    def _tokens(self) -> str:
        words = f"{self.tokens:,} valid"
        if self.first_ends_in is not None:
            words += f", first ends in {span(self.first_ends_in)}"
        return words + (f"; {self.expired:,} expired" if self.expired else "")

    def _attempts(self) -> str:
        rate = "-" if self.attempts_per_s is None else f"{self.attempts_per_s:.1f} per s"
        if self.retries_per_s:
            rate += f", of these {self.retries_per_s:.1f} retries"
        return rate if self.window is None else f"{rate}; limit {max(1.0, self.window):.0f} at once"

    def _retries(self) -> str:
        return "-" if self.budget is None else f"{self.budget:.0f} of {self.budget_limit or 0:.0f} left"


@dataclass(frozen=True, slots=True)
class Sample:
    """The numbers of one pool at a moment, unix time."""

    numbers: PoolNumbers
    at: float


def summarize(address: str, now: Sample, before: Sample | None) -> PoolSample:
    """Make sense of ``now``, and of what has changed since ``before``."""
    numbers = now.numbers
    states = {state: int(numbers.get("breaker_state", state=state) or 0) for state in ("open", "half_open", "closed")}
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
        waiting={kind: int(numbers.get("waiters", kind=kind) or 0) for kind in _WAITING_FOR},
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
    """By how much a counter grew; one that went back was reset by a restart."""
    if before is None:
        return None
    new, old = now.numbers.total(metric, **labels), before.numbers.total(metric, **labels)
    return new - old if new >= old else new


def _rate(now: Sample, before: Sample | None, metric: str) -> float | None:
    grown = _grown(now, before, metric)
    return None if grown is None or before is None or now.at <= before.at else grown / (now.at - before.at)


def _share_ok(now: Sample, before: Sample | None) -> float | None:
    total, gone = _grown(now, before, "calls_total"), _grown(now, before, "calls_total", outcome="cancelled")
    failed = sum(_grown(now, before, "calls_total", outcome=outcome) or 0.0 for outcome in _FAILED)
    counted_calls = (total or 0.0) - (gone or 0.0)
    return 1.0 - failed / counted_calls if counted_calls > 0 else None
