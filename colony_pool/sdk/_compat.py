"""What of ``colony_sdk``'s this library relies on without a promise of its makers, and the check that it is there.

The SDK's own methods run, unchanged, for everything: ``urlopen``, hooks, cache, typed models, retries, error texts.
Ours is where a token comes from, and what is done about one that was refused.
"""

from __future__ import annotations

import inspect

import colony_sdk
import colony_sdk.client as sdk

__all__ = ["INCOMPATIBLE", "adopted_class", "check_async", "check_sync", "sdk"]

INCOMPATIBLE = (
    "colony_pool.sdk does not fit colony-sdk {version}: {what}; use a version that it was made for (>=1.30,<2)"
)

# The SDK's private names, all of them, and the guarantee that each keeps. Of its clients, replaced by ours:
_OVERRIDDEN = {
    "_ensure_token": "G1, G16, G18: a token comes from the pool, and is valid",
    "_clear_cached_token": "G21: a token that its owner gives up, or whose key goes, is nowhere any more",
    "_raw_request": "G19: a token that the API refused is replaced, and none for a gateway's own 401; by it the SDK "
    "asks for tokens itself while something stands in for the network",
    "_raw_multipart_upload": "G18, G19: the same for uploads, to which the SDK gives whatever token it had",
    "_raw_request_bytes": "G18, G19: the same for downloads",
}
# Of its clients, read and written:
_ATTRIBUTES = {
    "_token": "G18: what the SDK puts on a request",
    "_token_expiry": "a token that a test has put there is left alone",
    "_totp": "G15: what gives the codes",
    "_consecutive_failures": "a refused token that is replaced is no failure to the SDK's own breaker, as without us",
}
# And these:
_GET_CLIENT = "_get_client"  # of the asynchronous one: whether what it sends with reaches the network
_REFRESHED = "_token_refreshed"  # G19: an argument of _raw_request, which then raises a 401 and does no more about it
_BUILDER = "_build_api_error"  # G23: the pool's errors in the SDK's classes and words
_BUILDER_TAKES = ("status", "raw_body", "fallback", "message_prefix", "retry_after")

_ASK_FOR_A_TOKEN = ("_raw_request", "_raw_multipart_upload", "_raw_request_bytes", "get_auth_token")
_GIVE_A_TOKEN_UP = ("refresh_token", "rotate_key", "confirm_key_recovery")


def check_sync(cls: type = colony_sdk.ColonyClient) -> None:
    """Raise ``ImportError``, saying what has changed, unless ``cls`` is a client that we can stand behind."""
    for name in _OVERRIDDEN:
        if not callable(getattr(cls, name, None)):
            raise _incompatible(f"{cls.__name__} has no {name}")
    for name in _ATTRIBUTES:
        if name not in _names(cls, "__init__"):
            raise _incompatible(f"{cls.__name__} has no {name}")
    for name in _ASK_FOR_A_TOKEN:
        if not {"_ensure_token", "_token"} <= {*_names(cls, name)}:
            raise _incompatible(f"{cls.__name__}.{name} does not take its token from _ensure_token and _token")
    if not callable(getattr(sdk, "urlopen", None)):
        raise _incompatible("its client has no urlopen")
    for name in _GIVE_A_TOKEN_UP:
        if "_clear_cached_token" not in _names(cls, name):
            raise _incompatible(f"{cls.__name__}.{name} does not call _clear_cached_token")
    if _REFRESHED not in inspect.signature(cls._raw_request).parameters:  # type: ignore[attr-defined]
        raise _incompatible(f"{cls.__name__}._raw_request cannot be told to leave a 401 alone ({_REFRESHED})")
    builder = getattr(sdk, _BUILDER, None)
    if builder is None or tuple(inspect.signature(builder).parameters) != _BUILDER_TAKES:
        raise _incompatible(f"{_BUILDER} is gone, or takes something else")


def check_async(cls: type) -> None:
    """The same for the SDK's asynchronous client."""
    check_sync(cls)
    if not inspect.iscoroutinefunction(getattr(cls, "_ensure_token", None)):
        raise _incompatible(f"{cls.__name__}._ensure_token is no coroutine")
    if not callable(getattr(cls, _GET_CLIENT, None)):
        raise _incompatible(f"{cls.__name__} has no {_GET_CLIENT}")


def adopted_class(cls: type, theirs: type, ours: type) -> type:
    """What ``cls``, a class of the SDK's clients, becomes when one of its instances is adopted."""
    if issubclass(cls, ours):
        return cls
    for name in _OVERRIDDEN:
        if getattr(cls, name) is not getattr(theirs, name):
            raise TypeError(
                f"adopt: {cls.__name__} has its own {name}; derive it from colony_pool.sdk's client instead"
            )
    return ours if cls is theirs else type(cls.__name__, (ours, cls), {})


def _names(cls: type, method: str) -> tuple[str, ...]:
    code = getattr(getattr(cls, method, None), "__code__", None)
    return code.co_names if code is not None else ()


def _incompatible(what: str) -> ImportError:
    return ImportError(INCOMPATIBLE.format(version=colony_sdk.__version__, what=what))
