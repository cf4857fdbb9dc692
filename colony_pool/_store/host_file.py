"""Where the file of a host's record lies, and whether that is a place to be trusted.

The folder is this user's alone (0700), and so is the file (0600): who can write there could hold every agent of the
user for a day, or have them all probe at once. What is wrong is not put right, for it may be somebody's doing; it is
told. A network's file system is refused: SQLite's locks do not hold there, and another host's clock is another.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .protocol import StoreUnavailable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BUSY = 0.1  # seconds to wait for another process

_MOUNTS = Path("/proc/mounts")
_OF_A_NETWORK = frozenset({
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "ocfs2", "orangefs", "smb3", "smbfs", "virtiofs",
    "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
})  # fmt: skip


def state_directory() -> Path:
    """Folder of colony_pool in the user's state; ``COLONY_POOL_STATE_DIR`` moves it."""
    override = os.environ.get("COLONY_POOL_STATE_DIR")
    if override:
        return Path(override)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.environ.get("APPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "colony-pool"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "colony-pool"
    xdg = os.environ.get("XDG_STATE_HOME")  # the XDG base directory specification: a relative path is none
    return (Path(xdg) if xdg and os.path.isabs(xdg) else Path.home() / ".local" / "state") / "colony-pool"


def host_file(base_url: str) -> Path:
    """Return the path of the record of one API. Nothing is made yet."""
    name = hashlib.sha256(base_url.rstrip("/").encode()).hexdigest()[:16]
    try:
        return state_directory() / "host" / f"{name}.db"
    except RuntimeError as exc:  # no home directory
        raise StoreUnavailable(f"no place for the host's record: {exc}; set COLONY_POOL_STATE_DIR") from exc


@contextmanager
def opening(path: Path, make: Callable[[Path], None]) -> Iterator[None]:
    """See that ``path`` is there, made by ``make`` if need be, and to be trusted; it stays the same meanwhile.

    SQLite opens the journal after the file, by its name. Were the file replaced between the two, it would go on with
    the old file and the journal of the new one.
    """
    try:
        if not os.path.lexists(path.parent):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(path.parent, stat.S_ISDIR, "folder", 0o700)
        _check_file_system(path.parent)
        if not os.path.lexists(path):
            with _locked(path):
                if not os.path.lexists(path):
                    _make(path, make)
        with _locked(path, shared=True):
            _check(path, stat.S_ISREG, "file", 0o600)
            yield
    except OSError as exc:
        raise StoreUnavailable(f"{path.parent}: {exc.strerror or exc}") from exc


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells this file from another one of the same name, ``None`` when it is gone."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def put_aside(path: Path, broken: tuple[int, int] | None) -> None:
    """Rename the ``broken`` file, in place of the one that was put aside before; unless somebody else already has."""
    try:
        with _locked(path):
            if broken is not None and identity(path) == broken:
                os.replace(path, path.with_suffix(".corrupt"))
    except OSError as exc:
        raise StoreUnavailable(f"{path}: corrupt, and cannot be put aside: {exc.strerror or exc}") from exc


def _make(path: Path, make: Callable[[Path], None]) -> None:
    """Make the file under another name first: nobody ever opens half of one."""
    for leftover in ("-wal", "-shm"):  # SQLite would believe the journal of a file that is gone
        Path(f"{path}{leftover}").unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".tmp", dir=path.parent)  # its mode is 0600
    os.close(handle)
    try:
        make(Path(name))
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep out who would replace the file, or (not ``shared``) open it; wait no longer than for a transaction."""
    if fcntl is None:
        yield
        return
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        give_up = time.monotonic() + BUSY
        while True:
            try:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise StoreUnavailable(f"{path}: somebody has been at opening it for {BUSY:g} s") from None
                time.sleep(BUSY / 50)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # closing alone would leave it to a child that was forked meanwhile
        os.close(handle)


def _check(path: Path, is_kind: Callable[[int], bool], kind: str, mode: int) -> None:
    """Refuse what is a link, another user's, or open to others."""
    found = path.lstat()
    if not is_kind(found.st_mode):
        raise StoreUnavailable(f"{path}: must be a plain {kind}, and no link")
    if os.name != "posix":
        return
    if found.st_uid != os.geteuid():
        raise StoreUnavailable(f"{path}: belongs to another user (uid {found.st_uid})")
    if found.st_mode & 0o077:
        raise StoreUnavailable(f"{path}: is open to others; chmod {mode:o} it, if you trust what is there")


def _check_file_system(folder: Path) -> None:
    kind = _file_system(os.path.realpath(folder))
    if kind in _OF_A_NETWORK:
        raise StoreUnavailable(f"{folder}: lies on {kind}, where locks do not hold; set COLONY_POOL_STATE_DIR")


def _file_system(folder: str) -> str:
    """Name the kind of file system that ``folder`` is on, "" where the system does not say (elsewhere than Linux)."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    deepest, kind = "", ""
    for line in lines:
        _, escaped, this, *_ = line.split(" ")
        mount = escaped.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        inside = folder == mount or folder.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(deepest):  # the last of two mounts in one place is the one that is seen
            deepest, kind = mount, this
    return kind
