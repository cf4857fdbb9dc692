"""What the outside may see of a pool at one moment: ``status()`` for people, a snapshot for a scrape.

Both read without a lock and change nothing; a number may be a few microseconds older than its neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from .._core.account import Account
from .._core.dispatcher import Dispatcher
from .._core.events import CLOSED, STATES
from .._core.instant import Instant
from .._core.outcome import CHECK_BASE_URL
from .._core.shared_state import STORES
from .._core.waiters import WAITS
from ..status import BreakerStatus, PoolStatus, TokensStatus
from .counters import Counters, Series

_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment, as a scrape needs it: gauges, and what counters have grown by since their last event."""

    gauges: dict[str, Series]
    in_progress: dict[str, Series]


class StoreStatus(Protocol):
    """What is known of the store that processes share."""

    state: str
    failures: dict[str, int]


@dataclass(slots=True)
class SnapshotSource:
    """Takes snapshots of a pool. ``monotonic`` and ``wall`` are its clocks, ``connections`` says (in use, idle)."""

    dispatcher: Dispatcher
    counters: Counters
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    connections: Callable[[], tuple[int, int]]
    accounts: Callable[[], Iterable[Account]]
    opened: Callable[[], int]
    listener_errors: Callable[[], int]
    notices_dropped: Callable[[], int]
    shared: StoreStatus | None = None

    def status(self, *, closed: bool) -> PoolStatus:
        """The pool's state, for ``ColonyPool.status``."""
        at, dispatcher = Instant(self.monotonic(), self.wall()), self.dispatcher
        now = at.monotonic
        breaker, rate_limit = dispatcher.breaker, dispatcher.rate_limit
        troubled = breaker.state != CLOSED
        accounts = list(self.accounts())
        ages, earliest, denied = _census(accounts, at)
        return PoolStatus(
            breaker=BreakerStatus(
                state=breaker.state,
                cause=breaker.cause,
                failures=breaker.failures,
                since=max(0.0, now - breaker.opened_at) if troubled else 0.0,
                next_probe_in=max(0.0, max(breaker.probe_at, rate_limit.paused_until) - now) if troubled else None,
                probing=dispatcher.in_flight.probe is not None,
                generation=breaker.generation,
            ),
            tokens=TokensStatus(ages["fresh"], ages["soft"] + ages["margin"], ages["expired"], earliest),
            agents=len(accounts),
            waiters=dispatcher.waiters.count,
            in_flight=len(dispatcher.in_flight.permits),
            window=dispatcher.limiter.limit,
            hold_for=rate_limit.left(now),
            hold_cause=rate_limit.cause if rate_limit.is_paused(now) else "",
            denied=denied,
            retry_budget=dispatcher.retry_budget.balance_at(now),
            retry_budget_limit=dispatcher.retry_budget.limit_at(now),
            connections=self.connections(),
            closed=closed,
            shared=self._store(),
            last_failure=f"{dispatcher.history.last_failure}; {CHECK_BASE_URL}"
            if dispatcher.history.last_failure and not dispatcher.history.known_good
            else dispatcher.history.last_failure,
            known_good=dispatcher.history.known_good,
        )

    def take_snapshot(self) -> Snapshot:
        """Every gauge of the catalogue that has something to tell, and the running part of the time counters."""
        at, dispatcher, counters = Instant(self.monotonic(), self.wall()), self.dispatcher, self.counters
        now, wall = at
        accounts = list(self.accounts())
        ages, earliest, denied = _census(accounts, at)
        in_use, idle = self.connections()
        held = dispatcher.rate_limit.is_paused(now)
        waiting_for = "hold" if held else "flight" if dispatcher.breaker.state == CLOSED else "probe"
        gauges: dict[str, Series] = {
            "waiters": {(kind,): float(dispatcher.waiters.count * (kind == waiting_for)) for kind in WAITS},
            "attempts_in_flight": _one(len(dispatcher.in_flight.permits)),
            "admission_window": _one(dispatcher.limiter.limit),
            "retry_budget_tokens": _one(dispatcher.retry_budget.balance_at(now)),
            "retry_budget_limit_tokens": _one(dispatcher.retry_budget.limit_at(now)),
            "breaker_state": {(state,): float(state == counters.state) for state in STATES},
            "breaker_last_transition_timestamp_seconds": _one(wall - (now - counters.state_since)),
            "breaker_probes_in_flight": _one(dispatcher.in_flight.probe is not None),
            "denied_keys": _one(denied),
            "agents": _one(len(accounts)),
            "tokens": {(age,): float(count) for age, count in ages.items()},
            "connections": {("in_use",): float(in_use), ("idle",): float(idle)},
            "connections_limit": _one(dispatcher.config.maxsize),
            "shared_store_state": {(state,): float(state == self._store()) for state in STORES},
        }
        if dispatcher.breaker.state != CLOSED:
            gauges["breaker_opened_timestamp_seconds"] = _one(wall + dispatcher.breaker.opened_at - now)
            gauges["breaker_next_probe_timestamp_seconds"] = _one(
                wall + max(dispatcher.breaker.probe_at, dispatcher.rate_limit.paused_until) - now
            )
        if held:
            gauges["hold_end_timestamp_seconds"] = _one(wall + dispatcher.rate_limit.paused_until - now)
        if earliest is not None:
            gauges["token_earliest_expiry_timestamp_seconds"] = _one(earliest)
        if dispatcher.history.granted_at > float("-inf"):
            gauges["token_last_refresh_timestamp_seconds"] = _one(wall + dispatcher.history.granted_at - now)
        return Snapshot(gauges, self.in_progress())

    def _store(self) -> str:
        return self.shared.state if self.shared is not None else STORES[0]

    def in_progress(self) -> dict[str, Series]:
        """What counters have grown by since their last event, or are counted elsewhere."""
        now, dispatcher = self.monotonic(), self.dispatcher
        waited = dispatcher.waiters.times.until(now, dispatcher.waiters.count)
        failures = self.shared.failures if self.shared is not None else {}
        return {
            "breaker_state_seconds_total": {(self.counters.state,): max(0.0, now - self.counters.state_since)},
            "wait_seconds_total": {(kind,): seconds for kind, seconds in waited.items()},
            "connections_opened_total": _one(self.opened()),
            "listener_errors_total": _one(self.listener_errors()),
            "notices_dropped_total": _one(self.notices_dropped()),
            "shared_store_failures_total": {(kind,): float(n) for kind, n in failures.items()},
        }


def _one(value: float) -> Series:
    return {(): float(value)}


def _census(accounts: Iterable[Account], at: Instant) -> tuple[dict[str, int], float | None, int]:
    """``({age: tokens}, unix time at which the first valid one ends, keys that are refused for the time being)``.

    One pass, with the common case spelt out: a scrape of 50,000 agents takes milliseconds.
    """
    now, wall = at
    fresh, earliest, denied = 0, math.inf, 0
    ages = {"fresh": 0, "soft": 0, "margin": 0, "expired": 0}
    for account in accounts:
        if account.denial is not None and account.denial.until > now:
            denied += 1
        if (token := account.token) is None:
            continue
        ends = token.ends_wall
        if now < token.refresh_at and wall < ends - token.ends + token.refresh_at:  # as Token.is_refresh_due
            fresh += 1
        else:
            age = token.age(at)
            ages[age] += 1
            if age == "expired":
                continue
        if ends < earliest:  # noqa: PLR1730 - min() is a call, and takes as long as all the rest
            earliest = ends
    ages["fresh"] += fresh
    return ages, earliest if earliest < math.inf else None, denied


def check_name(name: str) -> str:
    """Return a pool's name for metrics and logs, or raise ``ValueError``."""
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_CHARS or not name.isprintable():
        raise ValueError(f"name: must be 1 to {_NAME_CHARS} printable characters; it is a label of every metric")
    if name.startswith("col_"):
        raise ValueError("name: looks like an API key, and would be in every metric and log line")
    return name
