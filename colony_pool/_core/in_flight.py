"""The attempts that are out, when they must have ended, and the one probe among them (G1, G4)."""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush

from .flight import Permit

# A probe that found no slot or thread here would leave again at once: the next one waits so many seconds, twice as
# many each time, at most so many.
_FIRST_REST = 0.1
_LONGEST_REST = 1.0


def rest_after(times: int) -> float:
    """Seconds before what was put off so many ``times`` in a row is tried again."""
    return float(min(_FIRST_REST * 2.0 ** min(times - 1, 10), _LONGEST_REST))


class InFlight:
    """Live permits. Times are monotonic seconds."""

    __slots__ = ("_count", "_deadlines", "_probes_put_off", "permits", "probe", "probe_not_before")

    def __init__(self) -> None:
        self.permits: set[Permit] = set()
        self.probe: Permit | None = None
        self.probe_not_before = -math.inf
        self._probes_put_off = 0  # in a row
        self._deadlines: list[tuple[float, int, Permit]] = []
        self._count = 0

    def start(self, permit: Permit) -> None:
        """An attempt leaves."""
        self.permits.add(permit)
        self._count += 1
        heappush(self._deadlines, (permit.deadline, self._count, permit))
        if permit.is_probe:
            self.probe = permit

    def end(self, permit: Permit) -> None:
        """An attempt has ended, or is given up."""
        permit.alive = False
        self.permits.discard(permit)
        if permit is self.probe:
            self.probe = None

    def take_expired(self, now: float) -> Permit | None:
        """Return an attempt that is past its deadline, each once."""
        while self._deadlines and (self._deadlines[0][0] <= now or not self._deadlines[0][2].alive):
            permit = heappop(self._deadlines)[2]
            if permit.alive:
                return permit
        return None

    def next_deadline(self) -> float:
        """When the next attempt must have ended; inf for never."""
        while self._deadlines and not self._deadlines[0][2].alive:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else math.inf

    def in_order(self) -> list[Permit]:
        """All of them, in the same order each time."""
        return sorted(self.permits, key=lambda permit: permit.flight.serial)

    def probe_put_off(self, now: float) -> None:
        """A probe came back since this host lacked something: the next candidate would lack it as well."""
        self._probes_put_off += 1
        self.probe_not_before = now + rest_after(self._probes_put_off)

    def probe_answered(self) -> None:
        """A probe has reached the endpoint, or has failed to."""
        self._probes_put_off = 0

    def mend(self) -> None:
        """After an interrupt: have each live permit count once, and end by its deadline."""
        self.permits = {permit for permit in self.permits if permit.alive}
        for permit in self.permits:
            permit.flight.permit = permit
        self._deadlines = [(permit.deadline, number, permit) for number, permit in enumerate(self.permits)]
        heapify(self._deadlines)
        self._count = max(self._count, len(self.permits))
        if self.probe not in self.permits:
            self.probe = None
