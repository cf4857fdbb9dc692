"""One-time codes: a key with 2FA is asked for its code before it takes a permit.

``totp()`` is the user's callable. It may take long, never return, or wait for another key's token. A permit is
scarce: the probe's is the only one while the breaker is open, and the window begins at one. So a code is asked for
first, by a task of its own. The key's flight stands aside meanwhile, and others start before it. A callable is asked
once at a time for each key. The code that it gives is good until its window ends.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from .account import Account

# A callable that takes longer than this, seconds, does not keep others from being asked.
_HANGS_AFTER = 1.0


class CodeDesk:
    """Which keys are being asked for a code, since when. Times are monotonic seconds."""

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        self._recent: OrderedDict[int, float] = (
            OrderedDict()
        )  # by key, the oldest first; those that hang are not in it

    def needs(self, account: Account, now: float) -> bool:
        """Say whether the key has to be asked for a code before its next attempt."""
        return account.totp and now >= account.code_until

    def free_at(self, limit: int, now: float) -> float:
        """When one more may be asked, if no more than ``limit`` are to be asked at once; ``now`` is now."""
        while self._recent and next(iter(self._recent.values())) + _HANGS_AFTER <= now:
            self._recent.popitem(last=False)
        return now if len(self._recent) < limit else next(iter(self._recent.values())) + _HANGS_AFTER

    def ask(self, account: Account, now: float) -> bool:
        """Note that the key is asked; False if it is being asked already."""
        if account.code_asked_at is not None:
            return False
        account.code_asked_at = self._recent[account.serial] = now
        return True

    def answered(self, account: Account, until: float = -math.inf) -> None:
        """Note that the callable has returned; its code is good ``until``, by default it gave none."""
        self.forget(account)
        account.code_until = until

    def forget(self, account: Account) -> None:
        """Note that the key is not being asked, whatever was noted."""
        self._recent.pop(account.serial, None)
        account.code_asked_at = None

    def used(self, account: Account) -> None:
        """The code at hand goes with an attempt."""
        account.code_until = -math.inf
