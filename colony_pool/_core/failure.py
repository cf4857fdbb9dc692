"""What a waiter is told when it gets no token: data here, a fresh exception in the waiter's own stack.

One shared exception instance would grow a traceback with each waiter that raises it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import (
    CircuitOpenError,
    ColonyAPIError,
    ColonyAuthError,
    ColonyConflictError,
    ColonyNetworkError,
    ColonyNotFoundError,
    ColonyRateLimitError,
    ColonyServerError,
    ColonyTwoFactorInvalidError,
    ColonyTwoFactorRequiredError,
    ColonyValidationError,
    PoolClosedError,
)
from .answer import CHECK_BASE_URL, described
from .outcome import DENIED, LOCAL, NETWORK, THROTTLED, Outcome
from .passed_on import own_copy

_BY_CODE: dict[str | None, type[ColonyAPIError]] = {
    "AUTH_2FA_REQUIRED": ColonyTwoFactorRequiredError,
    "AUTH_2FA_INVALID": ColonyTwoFactorInvalidError,
}
CODES_OF_2FA = frozenset(_BY_CODE)
_BY_STATUS: dict[int, type[ColonyAPIError]] = {
    400: ColonyValidationError,
    401: ColonyAuthError,
    403: ColonyAuthError,
    404: ColonyNotFoundError,
    409: ColonyConflictError,
    422: ColonyValidationError,
}
_NEXT_BY_CODE: dict[str | None, str] = {
    "AUTH_2FA_INVALID": "the one-time code was refused or is spent; the next one may work. The API key is fine",
    "AUTH_2FA_REQUIRED": "this account has 2FA: pass totp= a callable that returns a fresh code. The key is fine",
}
_NEXT_BY_STATUS = {
    400: "the request was refused as malformed",
    401: "the API key was refused: check that it is the current one of this agent",
    403: "the account is not allowed to do this",
    404: "there is nothing at this address: check base_url",
    405: "this address does not take the request: check base_url",
    409: "it collides with what is there already",
    422: "the request was refused as malformed",
}
_COUNTS = "the server counts: do not try again before retry_after"


@dataclass(frozen=True, slots=True)
class Failure:
    """A class of exception and what to build it from."""

    error: type[ColonyAPIError]
    message: str
    status: int = 0
    response: Mapping[str, Any] = field(default_factory=dict, repr=False)
    code: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    raised: BaseException | None = field(default=None, repr=False)  # a caller's own exception, passed on

    def exception(self) -> BaseException:
        """Return a fresh exception; of a caller's own, a copy."""
        if self.raised is not None:
            return own_copy(self.raised, "totp()")
        return self.error(self.message, self.status, self.response, self.code, **self.extra)


def from_status(
    status: int, detail: str, code: str | None, response: Mapping[str, Any], after: float | None, where: str
) -> Failure:
    """Map an HTTP error status to what is raised for it."""
    if status == 429:
        return _throttled(status, detail, code, response, after, where)
    said = _said(detail)
    hint = _NEXT_BY_CODE.get(code) or _NEXT_BY_STATUS.get(status) or ""
    error = _BY_CODE.get(code) if status in (401, 403) else None
    error = error or _BY_STATUS.get(status) or (ColonyServerError if status >= 500 else ColonyAPIError)
    hint = hint or ("the server's fault; try again later" if status >= 500 else "not retried")
    when = "" if after is None else f"; the server asks to wait {after:.0f} s"
    return Failure(error, f"{where}: HTTP {status}{said} ({hint}{when})", status, response, code)


def _throttled(
    status: int, detail: str, code: str | None, response: Mapping[str, Any], after: float | None, where: str
) -> Failure:
    """The rate limit refused the request, with whatever status: to callers it is a 429, and the message has both."""
    when = "" if after is None else f"; try again in {after:.0f} s"
    message = f"{where}: HTTP {status}{_said(detail)} ({_COUNTS}{when})"
    return Failure(ColonyRateLimitError, message, 429, response, code, {"retry_after": after})


def _said(detail: str) -> str:
    return f": {detail[:300]}" if detail and not detail.startswith("HTTP ") else ""


def from_stranger(status: int, headers: Mapping[str, str], body: bytes, after: float | None, where: str) -> Failure:
    """Map an HTTP error whose body is not the API's: the class of its status, and what came in words."""
    said = described(status, headers, body)
    if status == 429:
        when = "" if after is None else f"; try again in {after:.0f} s"
        extra = {"retry_after": after}
        return Failure(
            ColonyRateLimitError, f"{where}: {said} (do not try again before retry_after{when})", 429, extra=extra
        )
    error = _BY_STATUS.get(status) or (ColonyServerError if status >= 500 else ColonyAPIError)
    hint = "a gateway, a proxy or a firewall may have sent it; no key or token is at fault"
    if status == 404:
        hint = "check the path, or base_url; no key or token is at fault"
    return Failure(error, f"{where}: {said} ({hint})", status)


def unreadable(status: int, words: str, where: str) -> Failure:
    """An API call's answer that broke off, is too long or is compressed. It keeps the class of its status."""
    error = (_BY_STATUS.get(status) or ColonyAPIError) if 400 <= status < 500 else ColonyServerError
    return Failure(error, f"{where}: {words}", status)


def from_outcome(outcome: Outcome, tried: int = 1, where: str = "/auth/token", *, known_good: bool = True) -> Failure:
    """What the waiters of a flight are told when this outcome ends it after ``tried`` attempts.

    ``known_good``: the address gave a token before, so that it is not the address that is wrong.
    """
    hint = "" if known_good else f"; {CHECK_BASE_URL}"
    if outcome.kind == LOCAL:
        if outcome.local_error is not None:
            return Failure(ColonyAPIError, "", raised=outcome.local_error)
        if outcome.code_wait or outcome.code is not None:
            return Failure(ColonyTwoFactorRequiredError, f"{where}: {outcome.detail}", 401, {}, outcome.code)
        words = (
            f"{where}: nothing was sent ({outcome.detail}): the trouble is on this host; no key or token is at fault"
        )
        return Failure(ColonyNetworkError, words)
    if outcome.kind == NETWORK:
        words = f"{where}: no answer ({outcome.detail}); check the network, or wait: no key or token is at fault"
        message = f"{words}{hint}"
        return Failure(ColonyNetworkError, message)
    if outcome.kind in (DENIED, THROTTLED):
        tell = from_status if outcome.kind == DENIED else _throttled
        return tell(outcome.status, outcome.detail, outcome.code, outcome.response, outcome.retry_after, where)
    times = f"{',' * outcome.is_foreign} in {tried} attempts" if tried > 1 else ""
    whose = "a gateway or another address answered" if outcome.is_foreign else "the server's fault"
    message = f"{where}: {outcome.detail}{times} ({whose}: try again later; the API key is fine{hint})"
    return Failure(ColonyServerError, message, _told(outcome.status), outcome.response, outcome.code)


def _told(status: int) -> int:
    """The ``status`` of a server's error: a gateway's 401 or 403 must not lead anybody to replace a healthy key."""
    return 502 if 400 <= status < 500 and status not in (408, 425, 429) else status


def circuit_open(
    state: str,
    cause: str,
    status: int,
    opened_for: float,
    retry_after: float,
    waited: float,
    valid_until: float | None,
    *,
    known_good: bool = True,
) -> Failure:
    """The breaker is open and the next probe lies beyond this call's patience."""
    message = (
        f"/auth/token has been down for {opened_for:.0f} s (last: {cause}); waited {waited:.0f} s, next probe in "
        f"{retry_after:.0f} s. Try again then, or pass a larger max_wait; the API key is fine"
        f"{'' if known_good else f'; {CHECK_BASE_URL}'}"
    )
    return Failure(
        CircuitOpenError,
        message,
        _told(status) or 503,
        extra={
            "state": state.replace("_", "-"),
            "cause": cause,
            "opened_for": opened_for,
            "retry_after": retry_after,
            "waited": waited,
            "token_valid_until": valid_until,
        },
    )


def held(seconds: float, cause: str) -> Failure:
    """The server asked everybody to wait for longer than this call may."""
    message = (
        f"/auth/token is on hold for {seconds:.0f} s ({cause}): the server is counting, and trying would prolong it. "
        "The API key is fine"
    )
    return Failure(ColonyRateLimitError, message, 429, extra={"retry_after": seconds})


def no_code(seconds: float, refusal: Failure | None = None) -> Failure:
    """The one-time code at hand is spent, and the next window lies beyond this call's patience.

    ``refusal``: what the server said of it, if it refused it.
    """
    if refusal is not None:
        words = f"{refusal.message}; the next one is sent in {seconds:.0f} s: pass a max_wait that is larger"
        return replace(refusal, message=words)
    message = (
        f"/auth/token: the one-time code was sent before; the next one comes in {seconds:.0f} s. "
        "Try again then, or pass a larger max_wait; the API key is fine"
    )
    return Failure(ColonyTwoFactorRequiredError, message, 401, code="AUTH_2FA_REQUIRED")


def totp_hangs(seconds: float) -> Failure:
    """The callable that gives one-time codes has not returned."""
    message = (
        f"/auth/token: totp() was called {seconds:.0f} s ago and has not returned; nothing was sent. See what "
        "it waits for, or pass a larger max_wait; the API key is fine"
    )
    return Failure(ColonyTwoFactorRequiredError, message, 401, code="AUTH_2FA_REQUIRED")


def overdue(waited: float, last: Outcome | None, tried: int, *, known_good: bool = True) -> Failure:
    """Patience ran out while the breaker was closed."""
    if last is not None:
        return from_outcome(last, tried, known_good=known_good)
    message = f"/auth/token: waited {waited:.0f} s for a turn and got none; try again, or pass a larger max_wait"
    return Failure(ColonyServerError, message, 503)


def renewed_lately(seconds: float, life: float) -> Failure:
    """The last token has ended, and has come too lately to ask for another within this call's patience."""
    message = (
        f"/auth/token: the last token of this key was to live for {life:.3g} s only, and has ended; the next one is "
        f"asked for in {seconds:.0f} s. Try again then, or pass a larger max_wait; the API key is fine"
    )
    return Failure(ColonyServerError, message, 503)


def closed() -> Failure:
    """The pool is closed."""
    return Failure(PoolClosedError, "this ColonyPool is closed; make a new one")
