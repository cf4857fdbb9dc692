"""Every exception that a caller can meet.

Names, attributes and meaning are those of ``colony-sdk``, so that code written for the SDK works unchanged.
``ColonyAPIError`` is the root: who catches it catches all of them. All of them pickle, and none of them holds an API
key, a token or a one-time code.

``message`` says what happened, ``hint`` says what to do next, and both name the right object. On 2026-08-03 a spent
TOTP code was reported as "check your API key", which invited readers to replace a healthy key.
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


def joined(message: str, hint: str) -> str:
    """Return ``message`` and ``hint`` as one line: two sentences."""
    if not message or not hint:
        return message or hint
    return f"{message}{'' if message.endswith(('.', '!', '?')) else '.'} {hint}"


def _rebuild(cls: type[ColonyAPIError], args: tuple[Any, ...], state: dict[str, Any]) -> ColonyAPIError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class ColonyAPIError(Exception):
    """The root of all errors of this library.

    ``type(error)(*error.args)`` is the same error, also when ``args`` went through JSON in between, as some task
    queues send them. ``str(error)`` is the message, then the hint.

    Attributes:
        message: what happened.
        status: HTTP status, ``0`` without an answer; ``None`` if it is not known.
        response: the parsed JSON body; ``{}`` if there was none.
        code: the API's machine-readable code (``"AUTH_2FA_REQUIRED"``), or ``None``.
        hint: what to do next, and what is not at fault. Empty if there is nothing to advise.
    """

    hint: str = ""  # of subclasses that do not call __init__

    def __init__(
        self,
        message: str,
        status: int | None = None,
        response: Mapping[str, Any] | None = None,
        code: str | None = None,
        hint: str = "",
    ) -> None:
        self.message = message
        self.status = status
        self.response = dict(response or {})
        self.code = code
        self.hint = hint
        super().__init__(message, status, self.response, code, hint)

    def __str__(self) -> str:
        return joined(str(self.args[0]) if self.args else "", self.hint)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Callable[..., ColonyAPIError], tuple[Any, ...]]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


class ColonyAuthError(ColonyAPIError):
    """401 or 403: the API refused this key or this account."""


class ColonyTwoFactorRequiredError(ColonyAuthError):
    """401 ``AUTH_2FA_REQUIRED``: the account has 2FA, and there was no unused code. The key is fine."""


class ColonyTwoFactorInvalidError(ColonyAuthError):
    """401 ``AUTH_2FA_INVALID``: the code was refused or already used. The key is fine."""


class ColonyNotFoundError(ColonyAPIError):
    """404: the API has nothing under this path."""


class ColonyConflictError(ColonyAPIError):
    """409: the request conflicts with what already exists."""


class ColonyValidationError(ColonyAPIError):
    """400 or 422: the API refused the request as malformed."""


class ColonyRateLimitError(ColonyAPIError):
    """429: the API limits the rate, now or since an earlier 429 that stopped the whole pool.

    A 400, 403 or 503 by which the token endpoint says the same is raised as a 429, too; the message has its status.

    Attributes:
        retry_after: seconds until another attempt can help; the rest of the rate limit, if there is one. ``None``
            if the server did not say, which happens with API calls.
    """

    def __init__(
        self,
        message: str,
        status: int | None = 429,
        response: Mapping[str, Any] | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, status, response, code, hint)
        self.args = (message, status, self.response, code, retry_after, hint)
        self.retry_after = retry_after


class ColonyServerError(ColonyAPIError):
    """5xx, or an answer that cannot be used: the server is at fault, and a later call may succeed."""


class CircuitOpenError(ColonyServerError):
    """The breaker is open, and the next probe comes later than this call may wait.

    Attributes:
        state: ``"open"`` or ``"half-open"``.
        cause: what opened the breaker, in words.
        opened_for: seconds since it opened.
        retry_after: seconds until the next probe may start; ``None`` if it is not known.
        waited: seconds that this call waited.
        token_valid_until: unix time until which this agent's last token is valid, or ``None``.
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
        hint: str = "",
    ) -> None:
        super().__init__(message, status, response, code, hint)
        more = (state, cause, opened_for, retry_after, waited, token_valid_until)
        self.args = (message, status, self.response, code, *more, hint)
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
