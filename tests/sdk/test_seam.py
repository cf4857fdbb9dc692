"""Where the SDK is touched; each test fails, and says what has moved, when a new SDK moves it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import colony_sdk
import pytest

from colony_pool.sdk import AsyncColonyClient, ColonyClient
from tests.support.private import OPENERS, check_async, check_sync, sdk


def methods(cls: type) -> Iterator[tuple[str, FunctionType]]:
    for name, value in vars(cls).items():
        function = getattr(value, "__func__", value)
        if isinstance(function, FunctionType):
            yield name, function


def test_no_other_method_of_the_client_opens_a_url_or_an_opener() -> None:
    found = {
        name for name, f in methods(colony_sdk.ColonyClient) if {"urlopen", "build_opener"} & {*f.__code__.co_names}
    }
    assert found == {*OPENERS, "register_begin", "register_confirm"}


def test_no_other_method_reads_or_writes_the_token() -> None:
    found = {name for name, f in methods(colony_sdk.ColonyClient) if "_token" in f.__code__.co_names}
    known = {
        "__init__", "_load_cached_token", "_save_cached_token", "_ensure_token", "refresh_token", "get_auth_token",
        "rotate_key", "confirm_key_recovery", "_raw_request", "_raw_multipart_upload", "_raw_request_bytes",
    }  # fmt: skip
    assert found == known


@pytest.mark.parametrize("ours_cls", [ColonyClient, AsyncColonyClient])
def test_the_constructor_is_the_sdks_plus_pool(ours_cls: type) -> None:
    theirs = dict(inspect.signature(ours_cls.__mro__[1]).parameters)
    ours = dict(inspect.signature(ours_cls).parameters)
    ours.pop("pool")
    assert [(p.name, p.default, p.kind) for p in ours.values()] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]


@pytest.mark.parametrize("gone", [*OPENERS, "_ensure_token", "_clear_cached_token"])
def test_an_sdk_without_a_seam_is_refused_by_name(gone: str) -> None:
    class Moved(colony_sdk.ColonyClient):
        pass

    setattr(Moved, gone, None)
    with pytest.raises(ImportError, match=rf"does not fit colony-sdk .*{gone}"):
        check_sync(Moved)


@pytest.mark.parametrize("gone", ["_ensure_token", "_clear_cached_token", "_raw_request_bytes", "get_auth_token"])
def test_an_sdk_without_an_asynchronous_seam_is_refused_by_name(gone: str) -> None:
    class Moved(colony_sdk.AsyncColonyClient):
        pass

    setattr(Moved, gone, None)
    with pytest.raises(ImportError, match=rf"does not fit colony-sdk .*{gone}"):
        check_async(Moved)


def test_an_asynchronous_sdk_that_cannot_leave_a_401_to_us_is_refused() -> None:
    class Moved(colony_sdk.AsyncColonyClient):
        async def _raw_request(self, method: str, path: str) -> Any:  # type: ignore[override]
            await self._ensure_token()
            self._clear_cached_token()
            return self._token

    with pytest.raises(ImportError, match="_token_refreshed"):
        check_async(Moved)


def test_an_sdk_that_builds_its_errors_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(status: int) -> Any:
        return status

    monkeypatch.setattr(sdk, "_build_api_error", other)
    with pytest.raises(ImportError, match="_build_api_error"):
        check_sync()


def test_nothing_changes_for_the_sdks_own_clients() -> None:
    from urllib.request import urlopen

    assert sdk.urlopen is urlopen  # type: ignore[attr-defined] # it imports it for itself
    assert colony_sdk.ColonyClient._raw_request.__globals__ is vars(sdk)
