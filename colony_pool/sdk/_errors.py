"""The pool's errors as the SDK's own: its classes, codes and hints, with the pool's error as the cause."""

from __future__ import annotations

import json
import math
from typing import Any

import colony_sdk

from .. import errors
from .._http.api import token_refused
from ._compat import sdk

__all__ = ["bad_key", "is_refusal", "translated"]

_WHERE = "Colony API error (POST /auth/token)"
_NO_ANSWER = "Colony API network error (POST /auth/token)"


def translated(error: errors.ColonyAPIError) -> colony_sdk.ColonyAPIError:
    """What the SDK would raise where the pool raised ``error``: of the SDK's class, and of that of ``error``.

    What the server said is put into the SDK's words. Where it said nothing (the breaker is open, a hold, an HTML
    page) the pool's sentence stands in its place, followed by the SDK's hint. What else the pool's error has, such as
    ``retry_after`` and ``state`` of a ``CircuitOpenError``, this one has, too.
    """
    both = _BOTH[_pools_class(error)]
    theirs = both.__bases__[0]
    values = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    values["status"] = error.status or 0
    if theirs is colony_sdk.ColonyNetworkError:
        values |= {"message": f"{_NO_ANSWER}: {error}", "status": 0, "response": {}, "code": None}
    else:
        values["message"] = f"{_WHERE}: {error}"
        if isinstance(error, errors.ColonyRateLimitError) and error.retry_after is not None:
            values["retry_after"] = math.ceil(error.retry_after)  # the SDK's are whole
        built = sdk._build_api_error(
            error.status or 0, json.dumps(error.response), error.message, _WHERE, values.get("retry_after")
        )
        # The SDK goes by the status alone; the pool knows more: that a 200 was no answer, that no code was at hand.
        if type(built) is theirs:
            values |= {"message": str(built), "response": built.response, "code": built.code}
    made: colony_sdk.ColonyAPIError = both(**values)
    return made


def bad_key(error: ValueError) -> colony_sdk.ColonyAPIError:
    """A key that cannot be one is never sent; the SDK's caller expects what the server would have said of it."""
    return translated(errors.ColonyAuthError(str(error), 401))


def is_refusal(error: colony_sdk.ColonyAPIError) -> bool:
    """Whether the API refused the token of a call: of that a gateway's own 401 says nothing, nor does the pool."""
    return not isinstance(error, errors.ColonyAPIError) and token_refused(
        error.status, {}, json.dumps(error.response).encode(), "GET"
    )


def _pools_class(error: errors.ColonyAPIError) -> type[errors.ColonyAPIError]:
    return next((cls for cls in type(error).__mro__ if cls in _BOTH), errors.ColonyAPIError)


def _sdks_class(ours: type) -> type[colony_sdk.ColonyAPIError]:
    """The SDK's class of this name, else of its base's."""
    if issubclass(ours, errors.PoolClosedError):
        return colony_sdk.ColonyNetworkError
    for cls in ours.__mro__:
        found = getattr(colony_sdk, cls.__name__, None)
        if isinstance(found, type) and issubclass(found, colony_sdk.ColonyAPIError):
            return found
    return colony_sdk.ColonyAPIError


def _text(error: errors.ColonyAPIError) -> str:
    return error.message  # the SDK's words have its hint in them


def _both(ours: Any) -> Any:
    """A class of the SDK's kind and of ``ours``, and its name; made like ``ours``, so that it pickles like it."""
    body = {"__module__": __name__, "__doc__": ours.__doc__, "__init__": ours.__init__, "__str__": _text}
    return type(ours.__name__, (_sdks_class(ours), ours), body)


_BOTH: dict[type, Any] = {getattr(errors, name): _both(getattr(errors, name)) for name in errors.__all__}
globals().update({cls.__name__: cls for cls in _BOTH.values()})  # where pickle looks for them
