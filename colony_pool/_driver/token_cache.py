"""The token cache on disk: the SDK's own format and place, so that both find each other's tokens (G21).

Every failure is a miss, and the first one that is more than a missing file is told in the log. Differences from the
SDK that its readers cannot see: the temporary name is unique (its fixed one lets two writers race), a removal spares
a token that somebody else has written since, and a file is read only if this user alone can have written it (mode
0600, as the SDK makes it). No entry is believed for longer than the ``exp`` of its token.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from .._core.outcome import MAX_TOKEN_CHARS
from .._core.token import MAX_LIFE, claims_expiry
from .._log import AT_ONCE, Lines
from .own_file import check_own_folder, is_own_file, read_own

_VERSION = 1
_MARGIN = 60.0
_MAX_FILE = 65_536
_ABANDONED = 3600.0  # seconds: no write takes that long, so its writer was killed
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}-[^/]*\.tmp")
_NOT_USED = "colony_pool: the token cache %s is not used (%s); each process asks for tokens of its own"


class TokenCache:
    """Tokens of one API on this host's disk. ``lines`` writes to the log, and keeps nobody."""

    def __init__(self, base_url: str, lines: Lines = AT_ONCE) -> None:
        self._base_url = base_url.rstrip("/")
        self._swept = False
        self._reported = False  # the log says why the cache is not used
        self._lines = lines

    def load(self, key: str, wall: float) -> tuple[str, float] | None:
        """``(jwt, expiry in unix time)`` of a token good for more than a minute, or ``None``."""
        found = self._read(key)
        return found if found is not None and _MARGIN < found[1] - wall <= MAX_LIFE else None

    def seconds_since_expiry(self, key: str, wall: float) -> float:
        """Seconds since the last token of ``key`` ended: inf if none has left a trace, 0 if the cache is off."""
        if not enabled():
            return 0.0
        found = self._read(key)
        return math.inf if found is None else max(0.0, wall - found[1])

    def _read(self, key: str) -> tuple[str, float] | None:
        """The token that was saved last and its expiry, however long ago that was."""
        if not enabled():
            return None
        try:
            path = self._path(key)
            check_own_folder(path.parent)
            return _entry(read_own(path, _MAX_FILE))
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, ValueError) as problem:  # no home directory, a path with a null
            self._report(problem)
            return None

    def _report(self, problem: Exception) -> None:
        """Say once why the cache is not used."""
        if self._reported:
            return
        self._reported = True
        words = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        try:
            where = repr(str(directory()))
        except RuntimeError:
            where = "on disk"
        self._lines.write(logging.WARNING, _NOT_USED, where, words)

    def save(self, key: str, jwt: str, expiry: float) -> None:
        """Write atomically, readable by the owner alone."""
        if not enabled():
            return
        try:
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            check_own_folder(path.parent)
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
        except (OSError, RuntimeError, ValueError) as problem:
            self._report(problem)

    def _sweep(self, folder: Path) -> None:
        """Once: remove what processes that were killed as they wrote have left."""
        if self._swept:
            return
        self._swept = True
        for left in folder.glob(".*-*.tmp"):
            with suppress(OSError):
                ours = _TEMPORARY.fullmatch(left.name) and is_own_file(left)
                if ours and time.time() - left.lstat().st_mtime > _ABANDONED:
                    left.unlink()

    def remove(self, key: str, jwt: str | None) -> None:
        """Remove the entry if it still is ``jwt``, or (``None``) whatever it is."""
        if not enabled():
            return
        with suppress(OSError, ValueError, RuntimeError):
            path = self._path(key)
            check_own_folder(path.parent)
            found = None if jwt is None else _entry(read_own(path, _MAX_FILE))
            if jwt is None or (found is not None and found[0] == jwt):
                path.unlink()

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(f"{self._base_url}|{key}".encode()).hexdigest()[:16]
        return directory() / f"{name}.json"


def _entry(content: bytes) -> tuple[str, float] | None:
    """The token and the end of its life, which is no later than its own ``exp``."""
    try:
        entry = json.loads(content)
        jwt, expiry = entry["token"], float(entry["expiry"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    good = entry.get("v") == _VERSION and isinstance(jwt, str) and jwt.isascii() and jwt.isprintable()
    good = good and len(jwt) <= MAX_TOKEN_CHARS and math.isfinite(expiry)
    if not good or not jwt or " " in jwt:
        return None
    ends = claims_expiry(jwt)
    return jwt, expiry if ends is None else min(expiry, ends)


def lives(wall: float) -> list[float]:
    """Seconds that are left of each token on this host's disk, of whatever API: the files' names do not tell."""
    if not enabled():
        return []
    found = []
    with suppress(OSError, RuntimeError, ValueError):
        folder = directory()
        check_own_folder(folder)
        for path in folder.glob("*.json"):
            with suppress(OSError):
                found.append(_entry(read_own(path, _MAX_FILE)))
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
