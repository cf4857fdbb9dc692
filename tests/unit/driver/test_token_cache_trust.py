"""G21: the token cache on disk reads and removes this user's own files alone, and says once why it is not used."""

from __future__ import annotations

import base64
import json
import logging
import os
import time
from pathlib import Path

import pytest
from colony_sdk import ColonyClient

from colony_pool import ColonyPool
from colony_pool.testing import FakeColony


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027])
def test_g21_what_the_sdk_writes_is_read_whatever_its_umask(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with FakeColony() as colony:
            client = ColonyClient("col_a", base_url=colony.base_url)
            client.get_me()
            with ColonyPool(colony.base_url, registry=None) as pool:
                assert client.get_auth_token() == pool.agent("col_a").token()
            assert 1 == colony.count("/auth/token")
    finally:
        os.umask(before)
    assert 1 == len(list(folder.glob("*.json")))


def test_g21_the_sweep_spares_what_is_not_the_caches_own(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    spared = ".my-important-notes.tmp", ".0123456789abcdef-.link.tmp", ".0123456789ABCDEF-x.tmp", ".0123-x.tmp"
    ours = ".0123456789abcdef-left.tmp"
    for name in (*spared, ours):
        (folder / name).write_text("x")
        os.utime(folder / name, (0, time.time() - 7200.0))
    (folder / spared[1]).unlink()
    (folder / spared[1]).symlink_to(folder / spared[0])
    with FakeColony() as colony, ColonyPool(colony.base_url, registry=None) as pool:
        pool.agent("col_a").token()
    left = {path.name for path in folder.iterdir()}
    assert set(spared) <= left
    assert ours not in left


def test_g21_one_line_says_why_the_cache_is_not_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    caplog.set_level(logging.WARNING, "colony_pool")
    with FakeColony() as colony, ColonyPool(colony.base_url, registry=None) as pool:
        for number in range(3):
            pool.agent(f"col_{number}").token()
    assert [
        f"colony_pool: the token cache '{folder}' is not used (others may write to it (mode 0777); chmod 700 it); "
        "each process asks for tokens of its own"
    ] == [record.message for record in caplog.records]
    assert [] == list(folder.iterdir())


def test_g21_a_link_in_the_place_of_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with FakeColony() as colony, ColonyPool(colony.base_url, registry=None) as pool:
        assert pool.agent("col_a").token()
    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_g21_no_token_on_disk_outlives_its_own_end(folder: Path) -> None:
    with FakeColony() as colony:
        with ColonyPool(colony.base_url, registry=None) as pool:
            pool.agent("col_a").token()
        (path,) = folder.glob("*.json")
        now, entry = time.time(), json.loads(path.read_text())
        for life, is_read in ((600.0, True), (-1.0, False), (30.0, False)):
            claims = base64.urlsafe_b64encode(json.dumps({"exp": now + life}).encode()).decode().rstrip("=")
            jwt = f"eyJhbGciOiJIUzI1NiJ9.{claims}.x"
            path.write_text(json.dumps({**entry, "token": jwt, "expiry": now + 9e6}))
            if is_read:  # its refresh ahead of time, which is due, must not replace it
                colony.behave("status", status=502, only="/auth/token")
            else:
                colony.behave("healthy")
            with ColonyPool(colony.base_url, registry=None) as pool:
                assert is_read == (pool.agent("col_a").token() == jwt)
                if is_read:
                    earliest = pool.status().tokens.earliest_expiry
                    assert earliest is not None
                    assert earliest <= now + life + 1.0
