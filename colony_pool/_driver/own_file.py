"""Files that this user alone can have written. Opening one never blocks, whatever lies at its path.

A FIFO would block the thread that opens it, and with it a gevent hub or an event loop. A link can lead anywhere. A
file or a folder that others may write to says what others want. All three are refused with words that say why.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_NEVER_BLOCKS = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)
_OTHERS = 0o077


class NotOwn(OSError):
    """It is there, and is not to be trusted. Its words say why."""


def read_own(path: Path, limit: int) -> bytes:
    """Return the content of a plain file of this user, mode 0600, of at most ``limit`` bytes.

    Raises:
        FileNotFoundError: there is none.
        NotOwn: it is a link or no plain file, another user's, open to others, or too long.
        OSError: it cannot be read.
    """
    try:
        handle = os.open(path, _NEVER_BLOCKS)
    except FileNotFoundError:
        raise
    except OSError as exc:
        if path.is_symlink():
            raise NotOwn(f"{path.name} is a link") from exc
        raise
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise NotOwn(f"{path.name} is no plain file")
        _check_owner(found, path.name)
        if os.name == "posix" and found.st_mode & _OTHERS:
            raise NotOwn(f"{path.name} is open to others (mode {stat.S_IMODE(found.st_mode):04o}, must be 0600)")
        content = b""
        while len(content) <= limit and (more := os.read(handle, limit + 1 - len(content))):
            content += more
        if len(content) > limit:
            raise NotOwn(f"{path.name} is longer than {limit} bytes")
        return content
    finally:
        os.close(handle)


def check_own_folder(folder: Path) -> None:
    """Refuse a folder that is a link, another user's, or open to the writing of others.

    A group may write there if it is this user's own: where each user has a group of his own, folders are made so.

    Raises:
        FileNotFoundError: there is none.
        NotOwn: it is not to be trusted.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotOwn("it must be a plain folder, and no link")
    if os.name != "posix":
        return
    _check_owner(found, "it")
    group_is_own = found.st_gid == os.getegid() == os.geteuid()
    if found.st_mode & (stat.S_IWOTH if group_is_own else stat.S_IWOTH | stat.S_IWGRP):
        raise NotOwn(f"others may write to it (mode {stat.S_IMODE(found.st_mode):04o}); chmod 700 it")


def is_own_file(path: Path) -> bool:
    """Whether ``path`` is a plain file of this user."""
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and (os.name != "posix" or found.st_uid == os.geteuid())


def _check_owner(found: os.stat_result, what: str) -> None:
    if os.name == "posix" and found.st_uid != os.geteuid():
        raise NotOwn(f"{what} belongs to another user (uid {found.st_uid})")
