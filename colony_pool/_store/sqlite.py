"""What the processes of one user on one host share: an SQLite file for each API, with nothing to install or to run.

=================== ==============================================================================================
transactions        one a verb, ``BEGIN IMMEDIATE``, no I/O in it but the file's; WAL, so that ``look`` never waits
waiting             0.1 s at most for another process, then ``StoreUnavailable``
durability          ``synchronous=OFF``: nothing in it is true after a crash of the host, and without ``fsync`` no
                    disk, however busy, holds a verb up. A crash of a process loses nothing
time                ``BootClock``; what another start of the host has written is void
removed, replaced   noticed by the next verb, which opens what is there now, or makes it anew
corrupt, empty      put aside as ``.corrupt``; this verb fails, the next begins with an empty record
another version     ``StoreUnavailable``; two versions must not take turns with one file
cost                20 us for a ``look``, 40 to 60 us for what may write: ``python -m tests.tools.bench stores``
fork                closed before it, since SQLite counts locks by process and a child would take its parent's for
                    its own: what it reads and writes would be lost to all others once the parent has left. Where
                    Python is not told of the fork, the child closes it first thing: at rest, that tells SQLite that
                    no lock is its own, and touches none of the parent's. In the middle of a verb it would touch the
                    file: then the connection is kept, and the child's verbs may fail for as long as it lives
=================== ==============================================================================================

Whatever else is wrong with the file or its folder is ``StoreUnavailable``, too, and every verb tries again: what is
mended is used without a restart. It keeps no tokens: on one host they are shared by the token cache on disk.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, fields
from pathlib import Path

from .._fork import drop_before_forks, notice_fork
from .boot_clock import BootClock
from .contended_lock import SharedLock
from .host_file import BUSY, host_file, identity, opening, put_aside
from .protocol import StoreUnavailable
from .record import EndpointRecord, Key, RecordStore, Transaction

SCHEMA = 1
_COLUMNS = ", ".join(item.name for item in fields(Key))
_TABLES = f"""
CREATE TABLE door (id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT NOT NULL, at REAL NOT NULL, record TEXT NOT NULL);
CREATE TABLE keys (name TEXT PRIMARY KEY, {_COLUMNS}) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA};
"""
_VERB = 1.0  # seconds; longer than any verb takes, unless the disk hangs
_inherited: list[sqlite3.Connection] = []  # of a verb that hung; who closed or lost it would write to the file


class HostStore(RecordStore):
    """A ``Store`` for all processes of this user on this host. Opened by the first verb; safe for threads.

    Arguments:
        base_url: the API.
        clock: for tests.
    """

    def __init__(self, base_url: str, *, clock: BootClock | None = None) -> None:
        self._base_url = base_url
        self._clock = clock or BootClock()
        self._lock = SharedLock(BUSY)  # guards all that follow
        self._path: Path | None = None
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which file the connection is to
        self._forks: int | None = None  # the thread that keeps the lock as it forks
        drop_before_forks(self)

    def _before_fork(self) -> None:
        if self._lock.take_first(_VERB):
            self._forks = threading.get_ident()
            self._close()

    def _fork_is_over(self) -> None:
        if self._forks == threading.get_ident():  # else it is another thread's fork, or a verb hung
            self._forks = None
            self._lock.release()

    def _after_fork(self) -> None:
        if self._db is not None and self._lock.is_free():
            self._close()
        elif self._db is not None:
            _inherited.append(self._db)
        self._lock, self._forks = SharedLock(BUSY), None
        self._db = None

    def close(self) -> None:
        """Close the file; a later verb would open it again."""
        notice_fork()
        with self._lock:
            self._close()

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    @contextmanager
    def _reading(self) -> Iterator[tuple[float, EndpointRecord]]:
        with self._connected() as db:
            row = db.execute("SELECT boot, at, record FROM door").fetchone()
            now = self._clock.now()
            yield now, self._endpoint(row, now) or self._new_door(now)

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        with self._connected() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                row = db.execute("SELECT boot, at, record FROM door").fetchone()
                now = self._clock.now()
                endpoint = self._endpoint(row, now)
                if endpoint is None:
                    db.execute("DELETE FROM keys")
                    endpoint = self._new_door(now)
                yield Transaction(now, endpoint, _KeysInTable(db, now))
                record = json.dumps(asdict(endpoint))
                if row is None or row[2] != record or row[0] != self._clock.boot:
                    db.execute("INSERT OR REPLACE INTO door VALUES (1, ?, ?, ?)", (self._clock.boot, now, record))
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    def _endpoint(self, row: tuple[str, float, str] | None, now: float) -> EndpointRecord | None:
        """Return the record, ``None`` if there is none of this start of the host."""
        if row is None or row[0] != self._clock.boot:
            return None
        try:
            return None if row[1] > now else EndpointRecord.read(json.loads(row[2]))
        except (ValueError, TypeError, RecursionError) as exc:
            raise sqlite3.DatabaseError("the record cannot be read") from exc

    def _new_door(self, now: float) -> EndpointRecord:
        return EndpointRecord(epoch=int(now * 1000))

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection; every error of the file becomes ``StoreUnavailable``."""
        notice_fork()
        with self._lock:
            path = self._path = self._path or host_file(self._base_url)
            try:
                yield self._open(path)
            except sqlite3.Error as exc:
                self._close()
                if type(exc) is sqlite3.DatabaseError:  # nothing but "malformed", "not a database" and ours is
                    put_aside(path, self._file)
                raise StoreUnavailable(f"{path}: {exc}") from exc

    def _open(self, path: Path) -> sqlite3.Connection:
        """Return the connection to what lies at ``path`` now."""
        if self._db is not None and self._file is not None and identity(path) == self._file:
            return self._db
        self._close()
        with opening(path, _make):
            self._file = identity(path)
            self._db = _connect(path)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]  # opens the journal, too
        if not version and self._db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            raise sqlite3.DatabaseError("the file is empty")  # as a crash of the host leaves one that is new
        if version != SCHEMA:
            self._close()
            raise StoreUnavailable(
                f"{path}: is of version {version}, and this colony_pool knows version {SCHEMA}; use one version of "
                "colony_pool, or remove the file when nothing uses it"
            )
        return self._db


class _KeysInTable:
    """The table of keys within a transaction."""

    def __init__(self, db: sqlite3.Connection, now: float) -> None:
        self._db = db
        self._now = now

    def get(self, name: str) -> Key:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM keys WHERE name = ?", (name,)).fetchone()  # noqa: S608 - names
        return Key.read(*row) if row else Key()

    def put(self, name: str, key: Key) -> None:
        marks = ", ".join("?" * (len(fields(Key)) + 1))
        self._db.execute(f"INSERT OR REPLACE INTO keys VALUES ({marks})", (name, *astuple(key)))  # noqa: S608 - marks
        ended = "max(claimed_until, denied_until, token_until) <= ?"
        self._db.execute(f"DELETE FROM keys WHERE {ended}", (self._now,))  # noqa: S608 - names of columns

    def free(self, owner: str) -> None:
        self._db.execute("UPDATE keys SET owner = NULL, claimed_until = 0 WHERE owner = ?", (owner,))

    def denied(self, now: float) -> int:
        return int(self._db.execute("SELECT count(*) FROM keys WHERE denied_until > ?", (now,)).fetchone()[0])

    def clear_denials(self) -> None:
        self._db.execute("UPDATE keys SET denied_until = 0")


def _connect(path: Path) -> sqlite3.Connection:
    # By a URI, since SQLite would otherwise make a file that was put aside just now, empty and open to others.
    where = f"{path.absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(where, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA synchronous = OFF")  # reads the file
    except sqlite3.Error:
        db.close()
        raise
    return db


def _make(path: Path) -> None:
    db = _connect(path)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_TABLES)
    finally:
        db.close()
