"""Refused keys, and how to tell a refused key from a server that refuses everybody (G14)."""

from __future__ import annotations

from ..config import PolicyConfig
from .account import Account, Denial
from .failure import Failure, from_outcome, from_status
from .instant import Instant
from .outcome import Outcome
from .shared_state import SharedDenial

CODE_REFUSED = "AUTH_2FA_INVALID"


def next_window(at: Instant, width: float) -> float:
    """When the next TOTP window begins, monotonic seconds."""
    return at.monotonic + width - at.wall % width


class DenialCache:
    """Remembers refusals per key, and watches for a server that refuses keys which worked before."""

    __slots__ = ("_config", "_last", "_recent", "_refused", "_resting")

    def __init__(self, config: PolicyConfig) -> None:
        self._config = config
        self._recent: dict[int, float] = {}  # keys that worked: when tried last, oldest first
        self._refused: set[int] = set()  # those of them that were refused then
        self._resting: dict[int, Account] = {}  # and those of these whose refusal is remembered
        self._last: tuple[float, Account] | None = None

    def tried(self, account: Account, refused: bool, now: float) -> int:
        """Note one verdict on a key; how many good keys are refused, once that is the server's fault (else 0)."""
        if not account.has_succeeded:
            return 0
        self._recent.pop(account.serial, None)
        self._recent[account.serial] = now
        if refused:
            self._refused.add(account.serial)
        else:
            self._refused.discard(account.serial)
            self._resting.pop(account.serial, None)
        self._forget(now - self._config.server_fault_window)
        if not refused or len(self._recent) < self._config.server_fault_keys:
            return 0
        if len(self._refused) <= self._config.server_fault_ratio * len(self._recent):
            return 0
        for innocent in self._resting.values():
            innocent.denial = None
        self._resting.clear()
        return len(self._refused)

    def code_was_refused(self, account: Account, now: float) -> None:
        """Note a refusal that only a one-time code has met."""
        self._last = (now, account)

    def take_last(self, now: float) -> Account | None:
        """Return the key that was refused last, if that is not long ago: a 429 of now is blamed on it, once."""
        last = self._last
        if last is None or now - last[0] > self._config.server_fault_window:
            return None
        self._last = None
        return last[1]

    def _forget(self, before: float) -> None:
        while self._recent[oldest := next(iter(self._recent))] < before:
            del self._recent[oldest]
            self._refused.discard(oldest)
            self._resting.pop(oldest, None)

    def learn(self, account: Account, shared: SharedDenial, now: float) -> Failure:
        """Remember a refusal that another process has met; nothing is said of the server by it."""
        failure = from_status(shared.status, shared.detail, shared.code, {}, None, "/auth/token")
        account.denial = Denial(now + shared.seconds, shared.times, failure, code_only=False)
        return failure

    def deny(self, account: Account, outcome: Outcome, at: Instant) -> Denial:
        """Remember the refusal of ``account``."""
        self._last = (at.monotonic, account)
        if account.serial in self._refused:
            self._resting[account.serial] = account
        failure = from_outcome(outcome)
        if outcome.code == CODE_REFUSED:
            until = next_window(at, self._config.totp_window)
            account.denial = Denial(until, 0, failure, code_only=True)
            return account.denial
        times = account.denial.times + 1 if account.denial is not None else 1
        delay = self._config.rejected_for(times)
        account.denial = Denial(at.monotonic + delay, times, failure, code_only=False)
        return account.denial
