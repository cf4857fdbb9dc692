"""``from colony_pool.sdk import ...``: every public name of the SDK, of the one that is installed."""

from __future__ import annotations

import subprocess
import sys
from unittest import mock

import colony_sdk
import pytest

import colony_pool.sdk

OURS = {"AsyncColonyClient", "ColonyClient"}


def test_each_public_name_of_the_sdk_is_here_and_all_but_the_clients_are_its_own() -> None:
    assert set(colony_sdk.__all__) <= set(colony_pool.sdk.__all__) <= set(dir(colony_pool.sdk))
    for name in set(colony_sdk.__all__) - OURS:
        assert getattr(colony_pool.sdk, name) is getattr(colony_sdk, name), name
    for name in OURS:
        assert issubclass(getattr(colony_pool.sdk, name), getattr(colony_sdk, name))
        assert getattr(colony_pool.sdk, name) is not getattr(colony_sdk, name)


def test_a_name_that_a_later_sdk_has_is_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colony_sdk, "Festival", object(), raising=False)
    assert colony_pool.sdk.Festival is colony_sdk.Festival  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["Festival", "_private"])
def test_a_name_that_is_nowhere_is_named(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'colony_pool.sdk' has no attribute '{name}'"):
        getattr(colony_pool.sdk, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from colony_pool.sdk import {name}", {})


def test_a_star_brings_our_clients_and_the_sdks_errors() -> None:
    names: dict[str, object] = {}
    exec("from colony_pool.sdk import *", names)
    assert names["ColonyClient"] is colony_pool.sdk.ColonyClient
    assert names["ColonyAuthError"] is colony_sdk.ColonyAuthError


def test_a_mock_of_the_module_by_our_name_replaces_the_sdks() -> None:
    with mock.patch("colony_pool.sdk.client.urlopen") as urlopen:
        assert colony_sdk.client.urlopen is urlopen  # type: ignore[attr-defined]


def test_without_httpx_all_is_here_but_the_asynchronous_client() -> None:
    code = """if True:
        import sys
        sys.modules["httpx"] = None
        from colony_pool.sdk import ColonyAPIError, ColonyClient, RetryConfig
        assert ColonyClient("col_a", base_url="http://127.0.0.1:9", retry=RetryConfig(max_retries=0))
        try:
            from colony_pool.sdk import AsyncColonyClient
        except ImportError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "httpx" in done.stdout
