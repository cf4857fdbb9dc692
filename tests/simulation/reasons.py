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
from .ledger import Visit
from .users import TotpRaised

if TYPE_CHECKING:
    from .witness import Witness

Reason = Callable[["Witness", Visit, Any], bool]
_EPSILON = 1e-6


def none(w: Witness, visit: Visit, error: Any) -> bool:
    """There is none for errors that are not in the list."""
    return False


def _may_not_wait(w: Witness, visit: Visit, until: float) -> bool:
    return w.now + w.patience_left(visit) <= until + _EPSILON or visit.waiter.max_wait <= 0.0


def _refused_like_that(w: Witness, visit: Visit, error: Any) -> bool:
    answer = w.refused.get(visit.key, (0.0, None))[1] or w.last.get(visit.key)
    return answer is not None and answer.means == DENIED and answer.status == error.status


def _code_is_missing(w: Witness, visit: Visit, error: Any) -> bool:
    return bool(visit.waiter.account.totp)


def _server_counts(w: Witness, visit: Visit, error: Any) -> bool:
    until = max(w.hold_until, w.key_hold.get(visit.key, 0.0))
    last = w.last.get(visit.key)
    return until > w.now or (last is not None and last.means == THROTTLED)


def _next_probe_is_too_late(w: Witness, visit: Visit, error: CircuitOpenError) -> bool:
    # Alone it keeps its own schedule, for there is nobody whose probe could forgive it.
    alone = all(other.key == visit.key for other in w.visits.values())
    too_late = alone or _may_not_wait(w, visit, w.now + (error.retry_after or 0.0))
    return w.state != ev.CLOSED and too_late


def _it_failed(w: Witness, visit: Visit, error: Any) -> bool:
    last = w.last.get(visit.key)
    failed = last is not None and (last.means in BAD or w.blamed)
    # A token that has only just come and has ended is not replaced at once.
    return failed or _may_not_wait(w, visit, max(w.now, visit.waiter.account.renew_at))


def _no_answer(w: Witness, visit: Visit, error: Any) -> bool:
    last = w.last.get(visit.key)
    return last is not None and last.means == NETWORK


def _pool_is_closed(w: Witness, visit: Visit, error: Any) -> bool:
    return w.closed


def _by_its_own_callable(w: Witness, visit: Visit, error: Any) -> bool:
    return bool(visit.waiter.account.totp)


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
