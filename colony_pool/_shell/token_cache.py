"""The token cache on disk: the SDK's own format and place, so that both find each other's tokens (G21).

Every failure is a miss. Differences from the SDK that its readers cannot see: the temporary name is unique
(its fixed one lets two writers race), and a removal spares a token that somebody else has written since.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from .._core.life import MAX_LIFE
from .._core.outcome import MAX_TOKEN_CHARS

_VERSION = 1
_MARGIN = 60.0
_MAX_FILE = 65_536
_ABANDONED = 3600.0  # seconds: no write takes that long, so whoever was at it has been killed


class TokenCache:
    """Tokens of one API on this host's disk."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._swept = False

    def load(self, key: str, wall: float) -> tuple[str, float] | None:
        """``(jwt, expiry in unix time)`` of a token good for more than a minute, or ``None``."""
        found = self._read(key)
        return found if found is not None and _MARGIN < found[1] - wall <= MAX_LIFE else None

    def without(self, key: str, wall: float) -> float:
        """Seconds since the last token of ``key`` ended: inf if none has left a trace, 0 if the cache is off."""
        if not enabled():
            return 0.0
        found = self._read(key)
        return math.inf if found is None else max(0.0, wall - found[1])

    def _read(self, key: str) -> tuple[str, float] | None:
        """The token that was saved last and its expiry, however long ago that was."""
        try:
            return _entry(self._path(key)) if enabled() else None
        except RuntimeError:  # no home directory
            return None

    def save(self, key: str, jwt: str, expiry: float) -> None:
        """Write atomically, readable by the owner alone."""
        if not enabled():
            return
        with suppress(OSError, RuntimeError):
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep(path.parent)
            handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".tmp", dir=path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:  # mkstemp's mode is 0600
                    json.dump({"v": _VERSION, "token": jwt, "expiry": expiry}, file)
                os.replace(name, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)
                raise

    def _sweep(self, folder: Path) -> None:
        """Once: remove what processes that were killed as they wrote have left."""
        if self._swept:
            return
        self._swept = True
        for left in folder.glob(".*-*.tmp"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()

    def remove(self, key: str, jwt: str | None) -> None:
        """Remove the entry if it still is ``jwt``, or (``None``) whatever it is."""
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError, RuntimeError):
            path = self._path(key)
            if enabled() and jwt in (None, json.loads(path.read_text(encoding="utf-8"))["token"]):
                path.unlink()

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(f"{self._base_url}|{key}".encode()).hexdigest()[:16]
        return directory() / f"{name}.json"


def _entry(path: Path) -> tuple[str, float] | None:
    try:
        if path.stat().st_size > _MAX_FILE:
            return None
        entry = json.loads(path.read_text(encoding="utf-8"))
        jwt, expiry = entry["token"], float(entry["expiry"])
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    good = entry.get("v") == _VERSION and isinstance(jwt, str) and jwt.isascii() and jwt.isprintable()
    good = good and len(jwt) <= MAX_TOKEN_CHARS and math.isfinite(expiry)
    return (jwt, expiry) if good and jwt and " " not in jwt else None


def lives(wall: float) -> list[float]:
    """Seconds that are left of each token on this host's disk, of whatever API: the files' names do not tell."""
    try:
        found = [_entry(path) for path in directory().glob("*.json")] if enabled() else []
    except (OSError, RuntimeError):
        return []
    return [entry[1] - wall for entry in found if entry is not None and entry[1] > wall]


def enabled() -> bool:
    """Whether ``COLONY_SDK_NO_TOKEN_CACHE`` leaves the cache on."""
    return os.environ.get("COLONY_SDK_NO_TOKEN_CACHE", "").strip().lower() not in ("1", "true", "yes")


def directory() -> Path:
    """The SDK's cache directory on this platform; ``COLONY_SDK_TOKEN_CACHE_DIR`` moves it."""
    override = os.environ.get("COLONY_SDK_TOKEN_CACHE_DIR")
    if override:
        return Path(override)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.environ.get("APPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "colony-sdk" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "colony-sdk"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "colony-sdk"
