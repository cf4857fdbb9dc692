"""Where this library reaches into ``colony_sdk``, and the check that the SDK still has it there.

The SDK's own methods run, unchanged, for everything: hooks, cache, typed models, retries, error texts. Two things in
them are ours: where a token comes from (``_ensure_token``, ``_clear_cached_token``), and what the name ``urlopen``
means in the four methods that open a URL. That name is a global of the SDK's module. To replace it there would
replace it for every other client in the process; so our classes get copies of those four functions, with the same
code, that look names up in a copy of the module's globals.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

import colony_sdk
import colony_sdk.client as sdk

__all__ = ["MOVED", "OPENERS", "check_async", "check_sync", "sdk", "turned", "with_opener"]

Method = TypeVar("Method", bound=Callable[..., Any])

OPENERS = ("_raw_request", "_raw_multipart_upload", "_raw_request_bytes", "_oauth_form_post")
_TOKEN = ("_ensure_token", "_clear_cached_token", "rotate_key", "confirm_key_recovery", "refresh_token")
_BUILDER = ("status", "raw_body", "fallback", "message_prefix", "retry_after")
_ASKS_FOR_A_TOKEN = ("_raw_request", "_raw_multipart_upload", "_raw_request_bytes", "get_auth_token")
MOVED = "colony_pool.sdk does not fit colony-sdk {version}: {what}; use a version that it was made for (>=1.30,<2)"


def with_opener(method: Method, urlopen: Callable[..., Any]) -> Method:
    """A copy of the SDK's ``method`` to which ``urlopen`` means ours."""
    original: Any = method
    names = {**original.__globals__, "urlopen": urlopen}
    copy: Any = FunctionType(original.__code__, names, original.__name__, original.__defaults__, original.__closure__)
    copy.__kwdefaults__ = original.__kwdefaults__
    functools.update_wrapper(copy, original)
    return cast(Method, copy)


def check_sync(cls: type = colony_sdk.ColonyClient) -> None:
    """Raise ``ImportError``, saying what has moved, unless ``cls`` is a client that we can stand behind."""
    for name in OPENERS:
        if "urlopen" not in _names(cls, name):
            raise _moved(f"ColonyClient.{name} does not open its URL with urlopen")
    _check_tokens(cls)


def check_async(cls: type) -> None:
    """The same for the SDK's asynchronous client, which opens its URLs with httpx: only its tokens are ours."""
    _check_tokens(cls)
    if not inspect.iscoroutinefunction(getattr(cls, "_ensure_token", None)):
        raise _moved(f"{cls.__name__}._ensure_token is no coroutine")
    if "_token_refreshed" not in inspect.signature(cls._raw_request).parameters:  # type: ignore[attr-defined]
        raise _moved(f"{cls.__name__}._raw_request cannot be told to leave a 401 alone (_token_refreshed)")


def turned(cls: type, theirs: type, ours: type, own: tuple[str, ...]) -> type:
    """What ``cls``, a class of the SDK's clients, becomes when one of its instances is adopted."""
    if issubclass(cls, ours):
        return cls
    for name in own:
        if getattr(cls, name) is not getattr(theirs, name):
            raise TypeError(
                f"adopt: {cls.__name__} has its own {name}; derive it from colony_pool.sdk's client instead"
            )
    return ours if cls is theirs else type(cls.__name__, (ours, cls), {})


def _check_tokens(cls: type) -> None:
    for name in _TOKEN:
        if not callable(getattr(cls, name, None)):
            raise _moved(f"{cls.__name__} has no {name}")
    for name in _ASKS_FOR_A_TOKEN:
        names = _names(cls, name)
        if "_ensure_token" not in names or "_token" not in names:
            raise _moved(f"{cls.__name__}.{name} does not take its token from _ensure_token and _token")
    if "_clear_cached_token" not in _names(cls, "_raw_request"):
        raise _moved(f"{cls.__name__}._raw_request does not call _clear_cached_token when a token is refused")
    builder = getattr(sdk, "_build_api_error", None)
    if builder is None or tuple(inspect.signature(builder).parameters) != _BUILDER:
        raise _moved("_build_api_error is gone, or takes something else")


def _names(cls: type, method: str) -> tuple[str, ...]:
    code = getattr(getattr(cls, method, None), "__code__", None)
    return code.co_names if code is not None else ()


def _moved(what: str) -> ImportError:
    return ImportError(MOVED.format(version=colony_sdk.__version__, what=what))
