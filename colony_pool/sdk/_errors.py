"""The pool's errors as the SDK's own: its classes, codes and hints, with the pool's error as the cause."""

from __future__ import annotations

import json
import math

import colony_sdk

from .._http.api import token_refused
from ..errors import ColonyAPIError, ColonyRateLimitError, PoolClosedError
from ._compat import sdk

__all__ = ["bad_key", "is_refusal", "translated"]

_WHERE = "Colony API error (POST /auth/token)"
_NO_ANSWER = "Colony API network error (POST /auth/token)"


def translated(error: ColonyAPIError) -> colony_sdk.ColonyAPIError:
    """What the SDK would raise where the pool raised ``error``.

    What the server said is put into the SDK's words. Where it said nothing (the breaker is open, a hold, an HTML
    page) the pool's sentence stands in its place, followed by the SDK's hint.
    """
    wanted = _class(error)
    if wanted is colony_sdk.ColonyNetworkError:
        return wanted(f"{_NO_ANSWER}: {error}", 0, {})
    after = getattr(error, "retry_after", None)
    seconds = math.ceil(after) if isinstance(error, ColonyRateLimitError) and after is not None else None
    built = sdk._build_api_error(error.status or 0, json.dumps(error.response), error.message, _WHERE, seconds)
    # The SDK goes by the status alone; the pool knows more: that a 200 was no answer, that no code was at hand.
    if type(built) is wanted:
        return built
    return wanted(f"{_WHERE}: {error}", error.status or 0, error.response, error.code)


def bad_key(error: ValueError) -> colony_sdk.ColonyAuthError:
    """A key that cannot be one is never sent; the SDK's caller expects what the server would have said of it."""
    built = sdk._build_api_error(401, "{}", str(error), _WHERE, None)
    assert isinstance(built, colony_sdk.ColonyAuthError)  # noqa: S101 - 401 is that
    return built


def is_refusal(error: colony_sdk.ColonyAPIError) -> bool:
    """Whether the API refused the token of a call: a gateway's own 401 says nothing of it."""
    return token_refused(error.status, {}, json.dumps(error.response).encode(), "GET")


def _class(error: ColonyAPIError) -> type[colony_sdk.ColonyAPIError]:
    if isinstance(error, PoolClosedError):
        return colony_sdk.ColonyNetworkError
    for cls in type(error).__mro__:
        found = getattr(colony_sdk, cls.__name__, None)
        if isinstance(found, type) and issubclass(found, colony_sdk.ColonyAPIError):
            return found
    return colony_sdk.ColonyAPIError
