"""G21: what lies at the place of the token cache, and may be anything."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import World, scenario


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp())
    os.environ["COLONY_SDK_TOKEN_CACHE_DIR"] = str(folder)
    return folder


def _entry(w: World, folder: Path, key: str) -> Path:
    return folder / f"{hashlib.sha256(f'{w.colony.base_url}|{key}'.encode()).hexdigest()[:16]}.json"


def _plant(path: Path, mode: int = 0o600) -> None:
    path.write_text(json.dumps({"v": 1, "token": "planted", "expiry": time.time() + 9000.0}))
    path.chmod(mode)


def _is_a_link(path: Path) -> None:
    _plant(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


def _belongs_to_another(path: Path) -> None:
    _plant(path)
    os.chown(path, 12345, 12345)


KINDS: dict[str, Callable[[Path], object]] = {
    "a FIFO": lambda path: os.mkfifo(path, 0o600),
    "a folder": lambda path: path.mkdir(),
    "a link": _is_a_link,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "readable by others": lambda path: _plant(path, 0o644),
    "writable by others": lambda path: _plant(path, 0o666),
    "too long": lambda path: path.write_text("x" * 70_000),
}
if os.name == "posix" and os.geteuid() == 0:
    KINDS["another user's"] = _belongs_to_another


@scenario()
def g21_whatever_lies_in_the_cache_no_caller_waits_for_it_or_believes_it(w: World) -> None:
    folder = _folder()
    pool = w.pool(token_cache="disk")
    for number, (what, make) in enumerate(KINDS.items()):
        make(_entry(w, folder, f"col_{number}"))
        token = pool.agent(f"col_{number}").token(max_wait=1)
        assert token not in ("", "planted"), what
        pool.agent(f"col_{number}").invalidate()
    assert pool.agent("col_innocent").token(max_wait=1)
    pool.close()


@scenario()
def g21_a_folder_in_which_others_may_write_is_not_used(w: World) -> None:
    for mode, is_used in ((0o700, True), (0o755, True), (0o777, False), (0o1777, False)):
        folder = _folder()
        _plant(_entry(w, folder, "col_a"))
        folder.chmod(mode)
        pool = w.pool(token_cache="disk")
        assert (pool.agent("col_a").token() == "planted") == is_used, oct(mode)
        pool.close()
