"""Why a call may fail: for each class of error, what must have happened.

The server must have said so about that key, or the breaker, or a hold, must make waiting useless for that call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from colony_pool import (
    CircuitOpenError,
    ColonyAuthError,
    ColonyNetworkError,
    ColonyNotFoundError,
    ColonyRateLimitError,
    ColonyServerError,
    ColonyTwoFactorInvalidError,
    ColonyTwoFactorRequiredError,
    ColonyValidationError,
    PoolClosedError,
)
from tests.support.private import events as ev

from .answers import BAD, DENIED, NETWORK, THROTTLED
from .ledger import WaitingCall
from .users import TotpRaised

if TYPE_CHECKING:
    from .witness import Witness

Reason = Callable[["Witness", WaitingCall, Any], bool]
_EPSILON = 1e-6


def none(w: Witness, call: WaitingCall, error: Any) -> bool:
    """There is none for errors that are not in the list."""
    return False


def _may_not_wait(w: Witness, call: WaitingCall, until: float) -> bool:
    return w.now + w.patience_left(call) <= until + _EPSILON or call.waiter.max_wait <= 0.0


def _refused_like_that(w: Witness, call: WaitingCall, error: Any) -> bool:
    answer = w.refused.get(call.key, (0.0, None))[1] or w.last.get(call.key)
    return answer is not None and answer.means == DENIED and answer.status == error.status


def _code_is_missing(w: Witness, call: WaitingCall, error: Any) -> bool:
    return bool(call.waiter.account.totp)


def _server_counts(w: Witness, call: WaitingCall, error: Any) -> bool:
    until = max(w.paused_until, w.key_paused_until.get(call.key, 0.0))
    last = w.last.get(call.key)
    return until > w.now or (last is not None and last.means == THROTTLED)


def _next_probe_is_too_late(w: Witness, call: WaitingCall, error: CircuitOpenError) -> bool:
    # Alone it keeps its own schedule, for there is nobody whose probe could forgive it.
    alone = all(other.key == call.key for other in w.waiting.values())
    too_late = alone or _may_not_wait(w, call, w.now + (error.retry_after or 0.0))
    return w.state != ev.CLOSED and too_late


def _it_failed(w: Witness, call: WaitingCall, error: Any) -> bool:
    last = w.last.get(call.key)
    failed = last is not None and (last.means in BAD or w.blamed)
    # A token that has only just come and has ended is not replaced at once.
    return failed or _may_not_wait(w, call, max(w.now, call.waiter.account.renew_at))


def _no_answer(w: Witness, call: WaitingCall, error: Any) -> bool:
    last = w.last.get(call.key)
    return last is not None and last.means == NETWORK


def _pool_is_closed(w: Witness, call: WaitingCall, error: Any) -> bool:
    return w.closed


def _by_its_own_callable(w: Witness, call: WaitingCall, error: Any) -> bool:
    return bool(call.waiter.account.totp)


REASONS: dict[type, Reason] = {
    CircuitOpenError: _next_probe_is_too_late,
    ColonyAuthError: _refused_like_that,
    ColonyNetworkError: _no_answer,
    ColonyNotFoundError: _refused_like_that,
    ColonyRateLimitError: _server_counts,
    ColonyServerError: _it_failed,
    ColonyTwoFactorInvalidError: _refused_like_that,
    ColonyTwoFactorRequiredError: _code_is_missing,
    ColonyValidationError: _refused_like_that,
    PoolClosedError: _pool_is_closed,
    TotpRaised: _by_its_own_callable,
}
