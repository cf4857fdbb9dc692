"""Every exception a caller can meet.

Names, attributes and meaning are those of ``colony-sdk``, so that code written for the SDK reads on.
``ColonyAPIError`` is the one root: catching it catches everything below. All of them pickle, and none ever
holds an API key, a token or a one-time code.

A message says what happened and what to do next, and names the right object: on 2026-08-03 a spent TOTP
code was reported as "check your API key" and invited its reader to rotate a healthy key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "CircuitOpenError",
    "ColonyAPIError",
    "ColonyAuthError",
    "ColonyConflictError",
    "ColonyNetworkError",
    "ColonyNotFoundError",
    "ColonyRateLimitError",
    "ColonyServerError",
    "ColonyTwoFactorInvalidError",
    "ColonyTwoFactorRequiredError",
    "ColonyValidationError",
    "PoolClosedError",
]


def _rebuild(cls: type[ColonyAPIError], args: tuple[Any, ...], state: dict[str, Any]) -> ColonyAPIError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class ColonyAPIError(Exception):
    """The root of all errors of this library.

    ``args`` is what the constructor takes: ``type(error)(*error.args)`` is the same error, through JSON as well (task
    queues do that). The first of them is the message, and ``str(error)`` is that alone.

    Attributes:
        status: HTTP status, ``0`` when there was no answer; ``None`` if it was not told.
        response: the parsed JSON body, ``{}`` when it was none.
        code: the API's machine-readable code (``"AUTH_2FA_REQUIRED"``), or ``None``.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        response: Mapping[str, Any] | None = None,
        code: str | None = None,
    ) -> None:
        self.status = status
        self.response = dict(response or {})
        self.code = code
        super().__init__(message, status, self.response, code)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Callable[..., ColonyAPIError], tuple[Any, ...]]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


class ColonyAuthError(ColonyAPIError):
    """401 or 403: this key, or this account, was refused."""


class ColonyTwoFactorRequiredError(ColonyAuthError):
    """401 ``AUTH_2FA_REQUIRED``: the account has 2FA and no (unspent) code was at hand. The key is fine."""


class ColonyTwoFactorInvalidError(ColonyAuthError):
    """401 ``AUTH_2FA_INVALID``: the code was refused or is spent. The key is fine."""


class ColonyNotFoundError(ColonyAPIError):
    """404: there is no such thing."""


class ColonyConflictError(ColonyAPIError):
    """409: the request collides with what is there already."""


class ColonyValidationError(ColonyAPIError):
    """400 or 422: the request was refused as malformed."""


class ColonyRateLimitError(ColonyAPIError):
    """429, or a hold that an earlier 429 put on the whole pool.

    A 400, 403 or 503 by which the token endpoint says the same is told as a 429, too; the message has its status.

    Attributes:
        retry_after: seconds until another attempt can help; the rest of the hold, if there is one. ``None`` when
            nobody said, as it may be for an API call.
    """

    def __init__(
        self,
        message: str,
        status: int | None = 429,
        response: Mapping[str, Any] | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status, response, code)
        self.args += (retry_after,)
        self.retry_after = retry_after


class ColonyServerError(ColonyAPIError):
    """5xx, or an answer that is no answer: the server's fault, worth trying later."""


class CircuitOpenError(ColonyServerError):
    """The breaker is open and waiting cannot help within this call's patience.

    Attributes:
        state: ``"open"`` or ``"half-open"``.
        cause: what opened the breaker, in words.
        opened_for: seconds since it opened.
        retry_after: seconds until the next probe may leave; ``None`` if it was not told.
        waited: seconds this call was parked.
        token_valid_until: unix time until which this agent's last token is good, or ``None``.
    """

    def __init__(
        self,
        message: str,
        status: int | None = 503,
        response: Mapping[str, Any] | None = None,
        code: str | None = None,
        state: str = "open",
        cause: str = "",
        opened_for: float = 0.0,
        retry_after: float | None = None,
        waited: float = 0.0,
        token_valid_until: float | None = None,
    ) -> None:
        super().__init__(message, status, response, code)
        self.args += (state, cause, opened_for, retry_after, waited, token_valid_until)
        self.state = state
        self.cause = cause
        self.opened_for = opened_for
        self.retry_after = retry_after
        self.waited = waited
        self.token_valid_until = token_valid_until


class ColonyNetworkError(ColonyAPIError):
    """No HTTP answer: DNS, refused, reset, TLS or a timeout. ``status`` is 0."""


class PoolClosedError(ColonyAPIError):
    """The pool was closed before or during the call."""
