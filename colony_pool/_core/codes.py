"""One-time codes: a key with 2FA is asked for its code before it takes a permit.

``totp()`` is the user's callable. It may take long, never return, or wait for another key's token. A permit is
scarce: the probe's is the only one while the breaker is open, and the limiter begins at one. So a code is asked for
first, by a task of its own. The key's flight stands aside meanwhile, and others start before it. A callable is asked
once at a time for each key. The code that it gives is good until its window ends.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from .account import Account

# A callable that takes longer than this, seconds, does not keep others from being asked.
_HANGS_AFTER = 1.0


class CodeRequests:
    """Which keys are being asked for a code, since when, and which have one. Times are monotonic seconds."""

    __slots__ = ("_asked_at", "_ready_until", "_recent")

    def __init__(self) -> None:
        self._asked_at: dict[Account, float] = {}
        self._recent: OrderedDict[Account, float] = OrderedDict()  # of these, the oldest first, without what hangs
        self._ready_until: OrderedDict[Account, float] = OrderedDict()  # keys with a code at hand, the oldest first

    def needs(self, account: Account, now: float) -> bool:
        """Say whether the key has to be asked for a code before its next attempt."""
        return account.totp and now >= self._ready_until.get(account, -math.inf)

    def asked_at(self, account: Account) -> float | None:
        """Since when the key is being asked, ``None`` if it is not."""
        return self._asked_at.get(account)

    def free_at(self, limit: int, now: float) -> float:
        """When one more may be asked, if no more than ``limit`` are to be asked at once; ``now`` is now."""
        while self._recent and next(iter(self._recent.values())) + _HANGS_AFTER <= now:
            self._recent.popitem(last=False)
        return now if len(self._recent) < limit else next(iter(self._recent.values())) + _HANGS_AFTER

    def ask(self, account: Account, now: float) -> bool:
        """Note that the key is asked; False if it is being asked already."""
        if account in self._asked_at:
            return False
        self._asked_at[account] = self._recent[account] = now
        return True

    def given(self, account: Account, now: float, until: float) -> None:
        """The callable has returned a code, which is good ``until``."""
        self.forget(account)
        while self._ready_until and next(iter(self._ready_until.values())) <= now:
            self._ready_until.popitem(last=False)
        self._ready_until[account] = until

    def missing(self, account: Account) -> None:
        """The callable has given no code."""
        self.forget(account)
        self._ready_until.pop(account, None)

    def forget(self, account: Account) -> None:
        """Note that the key is not being asked, whatever was noted."""
        self._recent.pop(account, None)
        self._asked_at.pop(account, None)

    def used(self, account: Account) -> None:
        """The code at hand goes with an attempt."""
        self._ready_until.pop(account, None)
