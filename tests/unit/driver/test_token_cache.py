"""The token cache on disk after processes that were killed as they wrote."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.private import TokenCache


def test_g21_what_a_killed_process_left_is_swept_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path))
    names = ".0123456789abcdef-left.tmp", ".0123456789abcdef-busy.tmp", "0123456789abcdef.json", "notes.tmp"
    day_ago = time.time() - 86_400.0
    for name in names:
        (tmp_path / name).write_text("{")
        if "busy" not in name:
            os.utime(tmp_path / name, (day_ago, day_ago))
    cache = TokenCache("https://example.org")
    cache.save("key", "jwt", day_ago + 2 * 86_400.0)
    left, saved = {path.name for path in tmp_path.iterdir()}, cache._path("key").name
    assert {*names[1:], saved} == left
    (tmp_path / names[0]).write_text("{")
    os.utime(tmp_path / names[0], (day_ago, day_ago))
    cache.save("key", "jwt", day_ago + 2 * 86_400.0)
    assert (tmp_path / names[0]).exists()  # a host with many tokens is not searched at each write
