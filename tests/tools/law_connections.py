"""How many connections a pool opens for the attempts of one play: with the rules of connections, and without."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from tests.support.private import Account, ConnectionHealth, ConnectionRecord, LastFailure, Permit


class ConnectionModel:
    """A pool of connections: the one that rested last is used next. ``strict``: if its health allows that."""

    def __init__(self, monotonic: Callable[[], float], *, strict: bool) -> None:
        self.opened = 0
        self._now = monotonic
        self._strict = strict
        self._health = ConnectionHealth(300.0, 60.0, monotonic, monotonic)
        self._idle: list[ConnectionRecord] = []
        self._failures: defaultdict[Account, LastFailure] = defaultdict(LastFailure)

    def take(self, permit: Permit) -> ConnectionRecord:
        """The connection of an attempt."""
        since = math.inf if permit.is_probe else self._failures[permit.account].since
        if self._strict:
            self._idle = [record for record in self._idle if not self._health.is_over(record)]
        for record in reversed(self._idle):
            if not self._strict or self._health.suits(record, since, self._idle):
                self._idle.remove(record)
                return record
        self.opened += 1
        return self._health.opened()

    def give_back(self, permit: Permit, record: ConnectionRecord, status: int) -> None:
        """The attempt had an answer, or with 0 none: then its connection is closed."""
        self._failures[permit.account].note(self._now(), failed=not 0 < status < 500)
        if status:
            self._health.answered(record, status, {})
            self._health.rests(record)
            self._idle.append(record)

    def retire(self) -> None:
        """The breaker opened."""
        self._health.retire()
