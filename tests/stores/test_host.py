"""The host's file and what becomes of it: whatever is wrong with it is said, and what is mended is used again."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from colony_pool._shared import place
from colony_pool._shared.boot import BootClock
from colony_pool._shared.place import host_file, state_directory
from colony_pool._shared.sqlite import SCHEMA, HostStore
from colony_pool._shared.store import Opening, StoreUnavailable, View

from ..namespaces import Impossible, mount_tmpfs, private_mounts, run

URL = "https://api.example/v1"
LONG = 1000.0
OPENING = Opening(LONG, 1, 0.0, "502", 502)
Make = Callable[..., HostStore]
_fork = multiprocessing.get_context("fork")


class Start(BootClock):
    """A clock of one start of the host."""

    def __init__(self, boot: str, at: float) -> None:
        self.boot, self.at = boot, at

    def now(self) -> float:
        return self.at


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLONY_POOL_STATE_DIR", str(tmp_path / "state"))
    return host_file(URL)


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[HostStore] = []

    def new(base_url: str, **options: Any) -> HostStore:
        made.append(HostStore(base_url, **options))
        return made[-1]

    yield new
    for store in made:
        store.close()


@pytest.fixture
def store(make: Make) -> HostStore:
    """A store that knows of a hold."""
    store = make(URL)
    store.hold(LONG, "429")
    return store


def refused(store: HostStore) -> str:
    """What both a reading and a writing verb say."""
    with pytest.raises(StoreUnavailable) as reading:
        store.look()
    with pytest.raises(StoreUnavailable) as writing:
        store.hold(1.0, "x")
    assert str(reading.value) == str(writing.value)
    return str(writing.value)


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


def test_nothing_is_made_before_the_first_verb(path: Path, make: Make) -> None:
    make(URL)
    assert not path.parent.exists()


def test_folder_and_files_are_the_users_alone(store: HostStore, path: Path) -> None:
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert {f"{path.name}-wal", f"{path.name}-shm", path.name, f"{path.stem}.lock"} == set(modes)
    assert {0o600} == set(modes.values())


def test_each_api_has_a_file_of_its_own(store: HostStore, make: Make) -> None:
    assert View() == make("https://other.example").look()
    assert "429" == make(URL + "/").look().hold_cause


def test_where_the_state_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert tmp_path / "state" == state_directory()
    monkeypatch.delenv("COLONY_POOL_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/of/mine")
    monkeypatch.setattr("sys.platform", "linux")
    assert Path("/var/of/mine/colony-pool") == state_directory()
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert Path.home() / ".local/state/colony-pool" == state_directory()
    monkeypatch.setattr("sys.platform", "darwin")
    assert Path.home() / "Library/Application Support/colony-pool" == state_directory()
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert Path("/local/colony-pool") == state_directory()


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_open_to_others_is_refused_until_it_is_not(path: Path, store: HostStore, what: str) -> None:
    store.close()
    target, right = (path.parent, 0o700) if what == "folder" else (path, 0o600)
    target.chmod(0o777)
    assert f"chmod {right:o}" in refused(store)
    target.chmod(right)
    assert "429" == store.look().hold_cause


def test_links_are_refused(path: Path, tmp_path: Path, make: Make) -> None:
    path.parent.mkdir(parents=True, mode=0o700)
    (tmp_path / "elsewhere").touch(0o600)
    path.symlink_to(tmp_path / "elsewhere")
    assert "no link" in refused(make(URL))
    shutil.rmtree(path.parent)
    (tmp_path / "folder").mkdir(mode=0o700)
    path.parent.symlink_to(tmp_path / "folder")
    assert "no link" in refused(make(URL))


def test_another_users_folder_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    path.parent.mkdir(parents=True, mode=0o700)
    other = os.geteuid() + 1
    monkeypatch.setattr("os.geteuid", lambda: other)
    assert "another user" in refused(make(URL))


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path, make: Make) -> None:
    (tmp_path / "state").touch()
    assert "Not a directory" in refused(make(URL))


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs"])
def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, path: Path, make: Make
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {os.path.realpath(tmp_path)} {kind} rw 0 0\n")
    monkeypatch.setattr(place, "_MOUNTS", mounts)
    assert f"lies on {kind}" in refused(make(URL))
    with mounts.open("a") as file:
        file.write(f"/dev/sdb {os.path.realpath(tmp_path)}/state ext4 rw 0 0\n")
    assert View() == make(URL).look()


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
    assert View() == first.look() == make(URL).look()


def test_a_record_that_cannot_be_read_is_a_corrupt_file(store: HostStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("UPDATE door SET record = ?", (json.dumps({"no": "door"}),))
    other.close()
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        store.look()
    assert View() == store.look()


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


def test_a_removed_file_is_made_anew_by_the_next_verb(store: HostStore, path: Path, make: Make) -> None:
    """And all who have the old one open meet in the new one."""
    other = make(URL)
    before = other.open("b", other.look().generation, OPENING)
    path.unlink()
    assert View() == store.look()
    after = store.open("a", 0, OPENING)
    assert after.generation == other.look().generation > before.generation


def test_a_removed_folder_is_made_anew(store: HostStore, path: Path) -> None:
    shutil.rmtree(path.parent)
    assert View() == store.look()


def _full(folder: Path) -> None:
    mount_tmpfs(folder, "size=256k,mode=0700")
    store = HostStore(URL)
    store.hold(LONG, "429")
    with (folder / "ballast").open("wb") as ballast:
        try:
            while True:
                ballast.write(b"x" * 4096)
                ballast.flush()
        except OSError:
            pass

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


def test_a_record_of_another_start_of_the_host_is_void(path: Path, make: Make) -> None:
    """Rebooted: no lease, hold, opening, denial or claim survives, whatever the clock says."""
    before = make(URL, clock=Start("first", 5000.0))
    before.open("a", 0, Opening(0.0, 1, 0.0, "502", 502))
    before.claim_probe("a", LONG)
    before.hold(LONG, "429")
    before.close()
    for at in (10.0, 5000.0, 9000.0):
        after = make(URL, clock=Start(f"second, {at}", at))
        assert View() == after.look()
        assert after.claim_key("b", "k", LONG).mine
        assert not after.claim_key("c", "k", LONG).mine
        after.hold(LONG, "429")


def test_without_a_boot_id_a_record_of_the_future_is_void(path: Path, make: Make) -> None:
    make(URL, clock=Start("", 5000.0)).hold(LONG, "429")
    assert "429" == make(URL, clock=Start("", 5001.0)).look().hold_cause
    assert View() == make(URL, clock=Start("", 10.0)).look()


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


def test_a_forked_child_makes_a_connection_of_its_own(store: HostStore, path: Path) -> None:
    """G24: even where the parent is within a transaction as it forks."""

    def child(folder: Path) -> None:
        del folder
        assert "429" == store.look().hold_cause
        store.join("child", LONG)

    with store._lock:  # as if another thread were at it
        in_a_child(child, path.parent)
    assert 2 == store.join("parent", LONG).members


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
        clock.at += 20.0
    reader = sqlite3.connect(path)
    assert 1 == reader.execute("SELECT count(*) FROM keys").fetchone()[0]
    reader.close()
