"""What is relied on of the SDK; each test fails, and says what has changed, when a new SDK changes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import colony_sdk
import pytest

from colony_pool.sdk import AsyncColonyClient, ColonyClient
from tests.support.private import OVERRIDDEN, check_async, check_sync, sdk


def methods(cls: type) -> Iterator[tuple[str, FunctionType]]:
    for name, value in vars(cls).items():
        function = getattr(value, "__func__", value)
        if isinstance(function, FunctionType):
            yield name, function


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


@pytest.mark.parametrize("gone", [*OVERRIDDEN, "get_auth_token", "rotate_key"])
@pytest.mark.parametrize("check", [check_sync, check_async])
def test_an_sdk_without_what_is_overridden_or_relied_on_is_refused_by_name(
    gone: str, check: Callable[[type], None]
) -> None:
    theirs: Any = colony_sdk.ColonyClient if check is check_sync else colony_sdk.AsyncColonyClient

    class Moved(theirs):  # type: ignore[misc] # a class of the SDK's
        pass

    setattr(Moved, gone, None)
    with pytest.raises(ImportError, match=rf"does not fit colony-sdk .*{gone}"):
        check(Moved)


def test_an_sdk_whose_clients_keep_no_such_attribute_is_refused() -> None:
    class Moved(colony_sdk.ColonyClient):
        def __init__(self, api_key: str) -> None:
            self.api_key = api_key

    with pytest.raises(ImportError, match="has no _token"):
        check_sync(Moved)


def test_an_asynchronous_sdk_that_cannot_leave_a_401_to_us_is_refused() -> None:
    class Moved(colony_sdk.AsyncColonyClient):
        async def _raw_request(self, method: str, path: str) -> Any:  # type: ignore[override]
            await self._ensure_token()
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
