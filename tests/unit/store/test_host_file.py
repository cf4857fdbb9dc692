"""The host's file and what becomes of it: whatever is wrong with it is said, and what is mended is used again."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.namespaces import Impossible, mount_tmpfs, private_mounts, run
from tests.support.private import (
    SCHEMA,
    BootClock,
    HostStore,
    OpenState,
    SharedDenial,
    SharedState,
    StoreUnavailable,
    place,
)

from .conftest import LONG, URL, Make, refused

OPENING = OpenState(0.0, 1, 0.0, "502", 502)
pytestmark = pytest.mark.usefixtures("path")
_fork = multiprocessing.get_context("fork")


class Start(BootClock):
    """A clock of one start of the host."""

    def __init__(self, boot: str, at: float) -> None:
        self.boot, self.at = boot, at

    def now(self) -> float:
        return self.at


def in_a_child(work: Callable[[Path], object], folder: Path) -> None:
    """Run ``work`` in a process of its own, with mounts of its own; a skip where the system grants none."""

    def child(said: Any) -> None:
        try:
            private_mounts()
            work(folder)
            said.send("ok")
        except Impossible as exc:
            said.send(f"skip: {exc}")
        except BaseException as exc:
            said.send(repr(exc))

    ours, theirs = _fork.Pipe()
    process = _fork.Process(target=child, args=(theirs,))
    process.start()
    answer = ours.recv()
    process.join()
    if answer.startswith("skip: "):
        pytest.skip(answer)
    assert "ok" == answer


def test_a_locked_file_is_not_waited_for(store: HostStore, path: Path) -> None:
    """Reading goes on; who must write is told at once, and again when it is free."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "429" == store.look().hold_cause
    with pytest.raises(StoreUnavailable, match="locked"):
        store.hold(2 * LONG, "x")
    other.execute("ROLLBACK")
    other.close()
    assert "x" == store.hold(2 * LONG, "x").hold_cause


def test_a_verb_keeps_others_out_from_its_beginning(store: HostStore, path: Path) -> None:
    """Or two that had read the same would fail at writing, instead of waiting for each other."""
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    with store._writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()


def test_threads_that_come_together_are_told_in_the_end(store: HostStore) -> None:
    with store._writing(), pytest.raises(StoreUnavailable, match="other threads"):
        store.look()
    assert "429" == store.look().hold_cause


@pytest.mark.parametrize("rubbish", [b"no database at all " * 500, None])
def test_a_corrupt_file_is_put_aside_and_the_next_verb_begins_anew(
    path: Path, rubbish: bytes | None, make: Make
) -> None:
    first = make(URL)
    first.hold(LONG, "429")
    first.close()
    content = path.read_bytes()
    rubbish = rubbish or content[:100] + b"\xff" * (len(content) - 100)
    path.write_bytes(rubbish)
    with pytest.raises(StoreUnavailable, match=r"malformed|not a database"):
        first.look()
    assert rubbish == path.with_suffix(".corrupt").read_bytes()
    assert SharedState() == first.look() == make(URL).look()


@pytest.mark.parametrize("length", [0, 1])
def test_a_file_that_a_crash_of_the_host_has_left_empty_is_put_aside(
    store: HostStore, path: Path, make: Make, length: int
) -> None:
    """It is renamed into its place before the disk has its content; SQLite takes it for a new database."""
    store.close()
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(StoreUnavailable, match="empty"):
        store.look()
    assert SharedState() == store.look()
    store.hold(LONG, "more")
    assert "more" == make(URL).look().hold_cause


def test_a_record_that_cannot_be_read_is_a_corrupt_file(store: HostStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("UPDATE door SET record = ?", (json.dumps({"no": "door"}),))
    other.close()
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        store.look()
    assert SharedState() == store.look()


def test_who_put_a_file_aside_did_it_for_all(path: Path, store: HostStore, make: Make) -> None:
    """The second to find the corrupt file must not put its successor aside."""
    found = place.identity(path)
    place.put_aside(path, found)
    store.hold(LONG, "new")
    place.put_aside(path, found)
    assert "new" == make(URL).look().hold_cause


@pytest.mark.parametrize("version", [SCHEMA + 1, 0])
def test_another_version_is_left_alone(store: HostStore, path: Path, version: int) -> None:
    store.close()
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {version}")
    assert f"is of version {version}" in refused(store)
    other.execute(f"PRAGMA user_version = {SCHEMA}")
    other.close()
    assert "429" == store.look().hold_cause


def test_a_removed_file_is_made_anew_by_the_next_verb(path: Path, make: Make) -> None:
    """And all who have the old one open meet in the new one, whose numbers are none of the old one's."""
    clock = Start("x", 5000.0)
    store, other = make(URL, clock=clock), make(URL, clock=clock)
    before = other.open("b", 0, OPENING)
    old, _ = other.claim_probe("b", LONG)
    clock.at += 1.0
    path.unlink()
    assert SharedState() == store.look()
    after = store.open("a", 0, OPENING)
    new, _ = store.claim_probe("a", LONG)
    assert after.generation == other.look().generation > before.generation
    assert old is not None
    assert new is not None
    assert new > old


def test_a_removed_folder_is_made_anew(store: HostStore, path: Path) -> None:
    shutil.rmtree(path.parent)
    assert SharedState() == store.look()


def _full(folder: Path) -> None:
    mount_tmpfs(folder, "size=256k,mode=0700")
    store = HostStore(URL)
    store.hold(LONG, "429")
    with (folder / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(b"x" * 4096)

    def until_full() -> None:  # its journal has some room left
        for number in count():
            store.hold(LONG + number, "x" * 4000)

    with pytest.raises(StoreUnavailable, match=r"full|disk I/O error"):
        until_full()
    assert store.look().hold_cause
    (folder / "ballast").unlink()
    assert "good" == store.hold(LONG**2, "good").hold_cause


def _read_only(folder: Path) -> None:
    mount_tmpfs(folder, "size=1m,mode=0700")
    store = HostStore(URL)
    store.hold(LONG, "429")
    store.close()
    run("mount", "-o", "remount,ro", str(folder))
    assert "Read-only" in refused(store)
    run("mount", "-o", "remount,rw", str(folder))
    assert "429" == store.look().hold_cause


@pytest.mark.parametrize("work", [_full, _read_only], ids=["full", "read-only"])
def test_a_disk_that_takes_nothing_is_told_and_used_again_when_it_does(
    path: Path, work: Callable[[Path], None]
) -> None:
    path.parent.parent.mkdir()
    in_a_child(work, path.parent.parent)


@pytest.mark.parametrize("at", [10.0, 5000.0, 5001.0])
def test_a_record_of_another_start_of_the_host_is_void(make: Make, at: float) -> None:
    """Rebooted: no lease, hold, opening, denial or claim survives, whatever the clock says."""
    before = make(URL, clock=Start("first", 5000.0))
    before.claim_key("a", "claimed", LONG)
    before.release_key("a", "denied", denial=SharedDenial(LONG, 1, 401, None, "no"))
    before.open("a", 0, OPENING)
    before.claim_probe("a", LONG)
    before.hold(LONG, "429")
    before.close()
    after = make(URL, clock=Start("second", at))
    assert SharedState() == after.look()
    assert [True, True] == [after.claim_key("b", key, LONG).mine for key in ("claimed", "denied")]
    assert not after.claim_key("c", "claimed", LONG).mine
    assert "429" == after.hold(LONG, "429").hold_cause


def test_without_a_boot_id_a_record_of_the_future_is_void(path: Path, make: Make) -> None:
    make(URL, clock=Start("", 5000.0)).hold(LONG, "429")
    assert "429" == make(URL, clock=Start("", 5001.0)).look().hold_cause
    assert SharedState() == make(URL, clock=Start("", 10.0)).look()


def test_a_stepped_wall_clock_changes_nothing(store: HostStore, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = time.time()
    for step in (-3600.0, 3600.0):
        monkeypatch.setattr(time, "time", lambda step=step: wall + step)
        assert LONG - 60 < store.look().hold_for <= LONG
        assert not store.claim_key("a", "k", LONG).mine


def test_the_clock_is_the_hosts() -> None:
    clock = BootClock()
    assert clock.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert time.clock_gettime(time.CLOCK_BOOTTIME) <= clock.now() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_threads_may_share_a_store(store: HostStore) -> None:
    threads = [threading.Thread(target=store.join, args=(f"t{number}", LONG)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 20 == store.look().members


def test_what_has_ended_is_not_kept(path: Path, make: Make) -> None:
    clock = Start("x", 5000.0)
    store = make(URL, clock=clock)
    for number in range(10):
        store.claim_key("a", f"k{number}", 10.0)
        store.join(f"owner {number}", 10.0)
        clock.at += 20.0
    reader = sqlite3.connect(path)
    assert 1 == reader.execute("SELECT count(*) FROM keys").fetchone()[0]
    assert ["owner 9"] == list(json.loads(reader.execute("SELECT record FROM door").fetchone()[0])["members"])
    reader.close()
