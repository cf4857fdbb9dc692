"""Refused keys, and how to tell a refused key from a server that refuses everybody (G14)."""

from __future__ import annotations

from ..config import DenialConfig
from .account import Account, Denial
from .failure import Failure, from_outcome
from .outcome import Outcome

_CODE_REFUSED = "AUTH_2FA_INVALID"


def next_window(now: float, wall: float, width: float) -> float:
    """When the next TOTP window begins, monotonic seconds."""
    return now + width - wall % width


class DenialDesk:
    """Remembers refusals per key, and watches for a server that refuses keys which worked before."""

    __slots__ = ("_config", "_recent", "last")

    def __init__(self, config: DenialConfig) -> None:
        self._config = config
        self._recent: dict[int, tuple[float, bool, Account]] = {}  # keys that worked: when tried, refused?
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
        self._recent[account.serial] = (now, refused, account)
        while (oldest := next(iter(self._recent.values())))[0] < now - self._config.fault_window:
            del self._recent[oldest[2].serial]
        if not refused or len(self._recent) < self._config.fault_keys:
            return 0
        accused = [account for _, denied, account in self._recent.values() if denied]
        if len(accused) <= self._config.fault_ratio * len(self._recent):
            return 0
        for innocent in accused:
            innocent.denial = None
        return len(accused)

    def deny(self, account: Account, outcome: Outcome, now: float, wall: float) -> Denial:
        """Remember the refusal of ``account``."""
        self.last = (now, account)
        failure = from_outcome(outcome)
        if outcome.code == _CODE_REFUSED:
            until = next_window(now, wall, self._config.totp_window)
            account.denial = Denial(until, 0, failure, code_only=True)
            return account.denial
        times = account.denial.times + 1 if account.denial is not None else 1
        delay = min(self._config.delay * 2.0 ** min(times - 1, 60), self._config.delay_max)
        account.denial = Denial(now + delay, times, failure, code_only=False)
        return account.denial
