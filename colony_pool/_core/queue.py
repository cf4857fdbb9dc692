"""The queue: who is ready, who sleeps, whose patience ends next.

Three heaps with lazy deletion, so that every operation is O(log N): *ready* in the order of admission,
*sleeping* by the end of each flight's own backoff, *expiry* by the least patient waiter's deadline. A flight has
one live entry at most in each, and dead ones are swept before they outnumber the living.

The order of admission. Whose callers have no token comes before who holds a valid one, and both before refreshes
ahead of time, which leave in the order in which their tokens end. Among callers:

- as long as the endpoint serves everybody who waits, all are served within seconds, and what counts is patience:
  (failures so far, deadline), so that nobody leaves whom a better order had served;
- when it serves fewer (a rate limit), whoever is not served comes back when its window is over, and the order of
  arrival would serve some twice before others once. What counts then is *starvation*: since when the key has been
  without a token, to the minute, then the deadline. A failure costs as much as an hour of it: less than "never",
  or a key that failed once would wait for good behind those that did not.

To change from one to the other is O(N). Between two moments at which nobody waits it happens once, and once more
whenever the breaker opens or closes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from .flight import Flight, Waiter
from .instant import Instant

# How many of the foremost flights a probe is chosen from: enough to find a proven key, few enough to be cheap.
_PROBE_CHOICE = 8

_SWEEP_AT = 256

_NO_TOKEN, _HAS_TOKEN, _PREFETCH = range(3)  # callers without a token, callers with a valid one, nobody yet
_MINUTE, _FAILURE = 60.0, 3600.0  # starvation: its grain, and what a failure takes off it

_Ready = tuple[int, int, float, int, int, Flight]
_Timed = tuple[float, int, int, Flight]


class Queue:
    """Flights that wait for an attempt. Times are monotonic seconds."""

    __slots__ = ("_expiry", "_has_failed", "_limits", "_longest_starved_first", "_period", "_ready", "_sleeping")

    def __init__(self) -> None:
        self._ready: list[_Ready] = []
        self._sleeping: list[_Timed] = []
        self._expiry: list[_Timed] = []
        self._longest_starved_first = False
        self._period = 0  # failures of other ones do not count
        self._has_failed = False  # a ready one may have failed in this period
        self._limits = [_SWEEP_AT] * 3  # lengths at which ready, sleeping and expiry are swept

    def clear(self) -> None:
        """Forget all entries: every flight is put, or watched, anew."""
        self._ready, self._sleeping, self._expiry = [], [], []

    def put(self, flight: Flight, at: Instant) -> None:
        """Queue ``flight``, or move it to where it belongs by now."""
        not_before = flight.not_ready_before
        flight.heap_version += 1
        if not_before > at.monotonic:
            heappush(self._sleeping, (not_before, flight.serial, flight.heap_version, flight))
            self._sweep(1, self._sleeping, _is_current)
        else:
            heappush(self._ready, self._ranked(flight, at))
            self._sweep(0, self._ready, _is_current)
        self.watch(flight)

    def order(self, at: Instant, *, longest_starved_first: bool) -> None:
        """Order the ready ones by starvation, or by failures and deadline."""
        if longest_starved_first != self._longest_starved_first:
            self._longest_starved_first = longest_starved_first
            self._ready = [self._ranked(entry[-1], at) for entry in self._ready if _is_current(entry)]
            heapify(self._ready)

    def _ranked(self, flight: Flight, at: Instant) -> _Ready:
        account, token = flight.account, flight.account.token
        fails = account.failures_in(self._period)
        self._has_failed = self._has_failed or fails > 0
        if flight.has_no_waiters:
            return (_PREFETCH, fails, account.tokenless_since, flight.serial, flight.heap_version, flight)
        kind = _HAS_TOKEN if token is not None and token.is_valid(at) else _NO_TOKEN
        turn = fails
        if self._longest_starved_first:
            turn = math.floor((account.tokenless_since + fails * _FAILURE) / _MINUTE)
        return (kind, turn, flight.deadline(), flight.serial, flight.heap_version, flight)

    def watch(self, flight: Flight) -> None:
        """Note the deadline of ``flight``'s least patient waiter."""
        deadline = flight.deadline()
        if deadline < flight.noted_deadline:
            flight.noted_deadline = deadline
            heappush(self._expiry, (deadline, flight.serial, 0, flight))
            self._sweep(2, self._expiry, _is_watched)

    def _sweep(self, which: int, heap: list[Any], alive: Callable[[Any], bool]) -> None:
        if len(heap) >= self._limits[which]:
            heap[:] = [entry for entry in heap if alive(entry)]
            heapify(heap)
            self._limits[which] = max(_SWEEP_AT, 2 * len(heap))

    def wake(self, at: Instant) -> None:
        """Move the flights whose backoff is over to the ready ones."""
        while self._sleeping and self._sleeping[0][0] <= at.monotonic:
            *_, version, flight = heappop(self._sleeping)
            if version == flight.heap_version:
                self.put(flight, at)

    def forgive(self, at: Instant, period: int) -> None:
        """End every flight's own backoff, and forget failures before ``period``. TOTP windows and holds stay."""
        if period != self._period:
            self._period = period
            if self._has_failed:
                self._has_failed = False
                self._ready = [self._ranked(entry[-1], at) for entry in self._ready if _is_current(entry)]
                heapify(self._ready)
        sleepers = [flight for *_, version, flight in self._sleeping if version == flight.heap_version]
        self._sleeping.clear()
        for flight in sleepers:
            flight.not_before = flight.account.spaced_until
            self.put(flight, at)

    def first(self) -> Flight | None:
        """Return the foremost ready flight without taking it."""
        while self._ready and self._ready[0][4] != self._ready[0][5].heap_version:
            heappop(self._ready)
        return self._ready[0][5] if self._ready else None

    def take(self) -> Flight:
        """Take the foremost ready flight; ``first`` must have found one."""
        flight = heappop(self._ready)[5]
        flight.heap_version += 1
        return flight

    def take_for_probe(self) -> Flight | None:
        """Take the flight to probe with: fewest failures, then a proven key without TOTP (G7)."""
        choice: list[_Ready] = []
        while len(choice) < _PROBE_CHOICE and self.first() is not None:
            if choice and self._ready[0][:2] != choice[0][:2]:
                break
            choice.append(heappop(self._ready))
        if not choice:
            return None
        best = min(choice, key=lambda e: (e[5].account.totp, not e[5].account.has_succeeded, e[:4]))
        for entry in choice:
            if entry is not best:
                heappush(self._ready, entry)
        best[5].heap_version += 1
        return best[5]

    def drop(self, flight: Flight) -> None:
        """Forget ``flight``."""
        flight.heap_version += 1

    def expired(self, limit: float) -> list[tuple[Flight, list[Waiter]]]:
        """Take out the waiters whose patience ends by ``limit``, with their flights."""
        late = []
        while self._expiry and self._expiry[0][0] <= limit:
            flight = self._unwatch()
            # While its attempt is out the clock stands still; whoever ends it watches it again.
            if flight.permit is None:
                waiters = flight.take_expired(limit)
                self.watch(flight)
                if waiters:
                    late.append((flight, waiters))
        return late

    def next_expiry(self) -> float:
        """When the next patience ends; inf for never."""
        while self._expiry:
            deadline, _, _, flight = self._expiry[0]
            if flight.permit is None and flight.deadline() == deadline:
                return deadline
            self._unwatch()
            if flight.permit is None:
                self.watch(flight)
        return math.inf

    def _unwatch(self) -> Flight:
        deadline, _, _, flight = heappop(self._expiry)
        if deadline == flight.noted_deadline:
            flight.noted_deadline = math.inf
        return flight

    def next_sleeper(self) -> float:
        """When the next backoff ends; inf for never."""
        while self._sleeping and self._sleeping[0][2] != self._sleeping[0][3].heap_version:
            heappop(self._sleeping)
        return self._sleeping[0][0] if self._sleeping else math.inf


def _is_current(entry: Any) -> bool:
    return bool(entry[-2] == entry[-1].heap_version)


def _is_watched(entry: Any) -> bool:
    return bool(entry[0] == entry[3].noted_deadline and not entry[3].has_no_waiters)
