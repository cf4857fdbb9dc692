"""What a waiter that gets no token is told: data here, a fresh exception in the waiter's own stack.

One exception shared by all waiters would grow a traceback with each waiter that raises it. ``message`` says what
happened, ``hint`` says what to do next; see ``colony_pool.errors``.
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
from .outcome import CHECK_BASE_URL, LOCAL, NETWORK_ERROR, NOT_LOOKED_AT, RATE_LIMITED, REJECTED, Outcome, described
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
_HINT_BY_CODE: dict[str | None, str] = {
    "AUTH_2FA_INVALID": "The one-time code was refused or is spent; the next one may work. The API key is fine",
    "AUTH_2FA_REQUIRED": "This account has 2FA: pass totp= a callable that returns a fresh code. The API key is fine",
}
_HINT_BY_STATUS = {
    400: "The request was refused as malformed",
    401: "The API key was refused: check that it is the current one of this agent",
    403: "The account is not allowed to do this",
    404: "There is nothing at this address: check base_url",
    405: "This address does not take the request: check base_url",
    409: "The request conflicts with what already exists",
    421: "The server has not looked at the request: another connection may lead to one that does",
    422: "The request was refused as malformed",
    425: "The server has not looked at the request: try again",
}
_KEY_IS_FINE = "the API key is fine"
_NOT_THE_KEY = "no key or token is at fault"
_LATER = f"Try again then, or pass a larger max_wait; {_KEY_IS_FINE}"


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
    hint: str = ""

    def exception(self) -> BaseException:
        """Return a fresh exception; of a caller's own, a copy."""
        if self.raised is not None:
            return own_copy(self.raised, "totp()")
        return self.error(self.message, self.status, self.response, self.code, **self.extra, hint=self.hint)


def from_status(
    status: int, detail: str, code: str | None, response: Mapping[str, Any], after: float | None, where: str
) -> Failure:
    """Map an HTTP error status to what is raised for it."""
    if status == 429:
        return _rate_limited(status, detail, code, response, after, where)
    error = _BY_CODE.get(code) if status in (401, 403) else None
    error = error or _class_of(status)
    hint = _HINT_BY_CODE.get(code) or _HINT_BY_STATUS.get(status)
    hint = hint or ("The server is at fault: try again later" if status >= 500 else "The request is not retried")
    when = "" if after is None else f"; the server asks to wait {after:.0f} s"
    return Failure(error, f"{where}: HTTP {status}{_said(status, detail)}{when}", status, response, code, hint=hint)


def _class_of(status: int) -> type[ColonyAPIError]:
    return _BY_STATUS.get(status) or (ColonyServerError if status >= 500 else ColonyAPIError)


def _rate_limited(
    status: int, detail: str, code: str | None, response: Mapping[str, Any], after: float | None, where: str
) -> Failure:
    """The rate limit refused the request, with whatever status: to callers it is a 429, and the message has both."""
    message, extra = f"{where}: HTTP {status}{_said(status, detail)}", {"retry_after": after}
    return Failure(ColonyRateLimitError, message, 429, response, code, extra, hint=_when_to_retry(after))


def _when_to_retry(after: float | None) -> str:
    when = "later" if after is None else f"in {after:.0f} s, not sooner"
    return f"The server limits the rate of requests: try again {when}; {_KEY_IS_FINE}"


def _said(status: int, detail: str) -> str:
    """What the server said beside the status."""
    return f": {detail[:300]}" if detail and detail != f"HTTP {status}" else ""


def from_stranger(status: int, headers: Mapping[str, str], body: bytes, after: float | None, where: str) -> Failure:
    """Map an HTTP error whose body is not the API's: the class of its status, and what came in words."""
    message = f"{where}: {described(status, headers, body)}"
    if status == 429:
        extra = {"retry_after": after}
        return Failure(ColonyRateLimitError, message, 429, extra=extra, hint=_when_to_retry(after))
    if status == 404:
        hint = f"Check the path, or base_url; {_NOT_THE_KEY}"
    elif status in NOT_LOOKED_AT:
        hint = f"{_HINT_BY_STATUS[status]}; {_NOT_THE_KEY}"
    else:
        hint = f"A gateway, a proxy or a firewall may have sent this; {_NOT_THE_KEY}"
    return Failure(_class_of(status), message, status, hint=hint)


def unreadable(status: int, words: str, where: str) -> Failure:
    """An API call's answer that broke off, is too long or is compressed. It keeps the class of its status."""
    error = (_BY_STATUS.get(status) or ColonyAPIError) if 400 <= status < 500 else ColonyServerError
    return Failure(error, f"{where}: {words}", status)


def from_outcome(outcome: Outcome, tried: int = 1, where: str = "/auth/token", *, known_good: bool = True) -> Failure:
    """What the waiters of a flight are told when this outcome ends it after ``tried`` attempts.

    ``known_good``: the address gave a token before, so the address is right.
    """
    if outcome.kind == LOCAL:
        return _from_local(outcome, where)
    if outcome.kind in (REJECTED, RATE_LIMITED):
        make = from_status if outcome.kind == REJECTED else _rate_limited
        return make(outcome.status, outcome.detail, outcome.code, outcome.response, outcome.retry_after, where)
    if outcome.kind == NETWORK_ERROR:
        hint = _with_address(outcome.hint or f"Check the network, or wait; {_NOT_THE_KEY}", known_good)
        return Failure(ColonyNetworkError, f"{where}: no answer ({outcome.detail})", hint=hint)
    times = f"{',' * outcome.is_foreign} in {tried} attempts" if tried > 1 else ""
    whose = "A gateway or another address answered" if outcome.is_foreign else "The server is at fault"
    hint = _with_address(f"{whose}: try again later; {_KEY_IS_FINE}", known_good)
    message = f"{where}: {outcome.detail}{times}"
    return Failure(ColonyServerError, message, _shown(outcome.status), outcome.response, outcome.code, hint=hint)


def _from_local(outcome: Outcome, where: str) -> Failure:
    if outcome.local_error is not None:
        return Failure(ColonyAPIError, "", raised=outcome.local_error)
    if outcome.wait_for_totp or outcome.code is not None:
        return Failure(ColonyTwoFactorRequiredError, f"{where}: {outcome.detail}", 401, {}, outcome.code)
    message = f"{where}: nothing was sent ({outcome.detail})"
    return Failure(ColonyNetworkError, message, hint=f"The problem is on this host; {_NOT_THE_KEY}")


def _with_address(hint: str, known_good: bool) -> str:
    return hint if known_good else f"{hint}; {CHECK_BASE_URL}"


def _shown(status: int) -> int:
    """The ``status`` of a server's error: a gateway's 401 or 403 must not lead anybody to replace a healthy key."""
    return 502 if 400 <= status < 500 and status not in (408, *NOT_LOOKED_AT, 429) else status


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
    """The breaker is open, and the next probe comes later than this call may wait."""
    return Failure(
        CircuitOpenError,
        f"/auth/token has been down for {opened_for:.0f} s (last: {cause}); waited {waited:.0f} s, next probe in "
        f"{retry_after:.0f} s",
        _shown(status) or 503,
        extra={
            "state": state.replace("_", "-"),
            "cause": cause,
            "opened_for": opened_for,
            "retry_after": retry_after,
            "waited": waited,
            "token_valid_until": valid_until,
        },
        hint=_with_address(_LATER, known_good),
    )


def held(seconds: float, cause: str) -> Failure:
    """The rate limit lasts longer than this call may wait."""
    return Failure(
        ColonyRateLimitError,
        f"/auth/token is rate limited for {seconds:.0f} s ({cause})",
        429,
        extra={"retry_after": seconds},
        hint=f"Do not try again sooner: that prolongs the rate limit; {_KEY_IS_FINE}",
    )


def no_code(seconds: float, refusal: Failure | None = None) -> Failure:
    """The one-time code at hand is spent, and the next one comes later than this call may wait.

    ``refusal``: what the server said of it, if it refused it.
    """
    if refusal is not None:
        message = f"{refusal.message}; the next code is sent in {seconds:.0f} s"
        return replace(refusal, message=message, hint=f"{refusal.hint}. To wait for it, pass a larger max_wait")
    return Failure(
        ColonyTwoFactorRequiredError,
        f"/auth/token: the one-time code was sent before; the next one comes in {seconds:.0f} s",
        401,
        code="AUTH_2FA_REQUIRED",
        hint=_LATER,
    )


def totp_hangs(seconds: float) -> Failure:
    """The callable that gives one-time codes has not returned."""
    return Failure(
        ColonyTwoFactorRequiredError,
        f"/auth/token: totp() was called {seconds:.0f} s ago and has not returned; nothing was sent",
        401,
        code="AUTH_2FA_REQUIRED",
        hint=f"Find out what totp() waits for, or pass a larger max_wait; {_KEY_IS_FINE}",
    )


def overdue(waited: float, last: Outcome | None, tried: int, *, known_good: bool = True) -> Failure:
    """The call waited as long as it may while the breaker was closed."""
    if last is not None:
        return from_outcome(last, tried, known_good=known_good)
    message = f"/auth/token: waited {waited:.0f} s for a turn and got none"
    return Failure(ColonyServerError, message, 503, hint="Try again, or pass a larger max_wait")


def renewed_lately(seconds: float, life: float) -> Failure:
    """The last token has ended, and has come too lately to ask for another within this call's patience."""
    message = (
        f"/auth/token: the last token of this key was to live for {life:.3g} s only, and has ended; the next one is "
        f"asked for in {seconds:.0f} s"
    )
    return Failure(ColonyServerError, message, 503, hint=_LATER)


def closed() -> Failure:
    """The pool is closed."""
    return Failure(PoolClosedError, "this ColonyPool is closed", hint="Make a new one")
