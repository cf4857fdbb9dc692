"""Refused keys, and how to tell a refused key from a server that refuses everybody (G14)."""

from __future__ import annotations

from ..config import DenialConfig
from . import view
from .account import Account, Denial
from .failure import Failure, from_outcome, from_status
from .outcome import Outcome

CODE_REFUSED = "AUTH_2FA_INVALID"


def next_window(now: float, wall: float, width: float) -> float:
    """When the next TOTP window begins, monotonic seconds."""
    return now + width - wall % width


class DenialDesk:
    """Remembers refusals per key, and watches for a server that refuses keys which worked before."""

    __slots__ = ("_config", "_recent", "_refused", "_resting", "last")

    def __init__(self, config: DenialConfig) -> None:
        self._config = config
        self._recent: dict[int, float] = {}  # keys that worked: when tried last, oldest first
        self._refused: set[int] = set()  # those of them that were refused then
        self._resting: dict[int, Account] = {}  # and those of these whose refusal is remembered
        self.last: tuple[float, Account] | None = None

    def standing(self, account: Account, now: float) -> Failure | None:
        """What a call of a refused key is told at once; ``None`` when the key may be tried."""
        denial = account.denial
        return denial.failure if denial is not None and now < denial.until else None

    def tried(self, account: Account, refused: bool, now: float) -> int:
        """Note one verdict on a key; how many good keys are refused, once that is the server's fault (else 0)."""
        if not account.ever_good:
            return 0
        self._recent.pop(account.serial, None)
        self._recent[account.serial] = now
        if refused:
            self._refused.add(account.serial)
        else:
            self._refused.discard(account.serial)
            self._resting.pop(account.serial, None)
        self._forget(now - self._config.fault_window)
        if not refused or len(self._recent) < self._config.fault_keys:
            return 0
        if len(self._refused) <= self._config.fault_ratio * len(self._recent):
            return 0
        for innocent in self._resting.values():
            innocent.denial = None
        self._resting.clear()
        return len(self._refused)

    def _forget(self, before: float) -> None:
        while self._recent[oldest := next(iter(self._recent))] < before:
            del self._recent[oldest]
            self._refused.discard(oldest)
            self._resting.pop(oldest, None)

    def learn(self, account: Account, told: view.Denial, now: float) -> Failure:
        """Remember a refusal that another process has met; nothing is said of the server by it."""
        failure = from_status(told.status, told.detail, told.code, {}, None, "/auth/token")
        account.denial = Denial(now + told.seconds, told.times, failure, code_only=False)
        return failure

    def deny(self, account: Account, outcome: Outcome, now: float, wall: float) -> Denial:
        """Remember the refusal of ``account``."""
        self.last = (now, account)
        if account.serial in self._refused:
            self._resting[account.serial] = account
        failure = from_outcome(outcome)
        if outcome.code == CODE_REFUSED:
            until = next_window(now, wall, self._config.totp_window)
            account.denial = Denial(until, 0, failure, code_only=True)
            return account.denial
        times = account.denial.times + 1 if account.denial is not None else 1
        delay = self._config.rest(times)
        account.denial = Denial(now + delay, times, failure, code_only=False)
        return account.denial
