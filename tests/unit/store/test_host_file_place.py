"""Where the host's file lies: in a folder of the user's alone, on a disk of the host's own, or it is refused."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.support.private import HostStore, SharedState, place, state_directory

from .conftest import URL, Make, refused

pytestmark = pytest.mark.usefixtures("path")


def test_nothing_is_made_before_the_first_verb(path: Path, make: Make) -> None:
    make(URL)
    assert not path.parent.exists()


def test_folder_and_files_are_the_users_alone(store: HostStore, path: Path) -> None:
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert {f"{path.name}-wal", f"{path.name}-shm", path.name, f"{path.stem}.lock"} == set(modes)
    assert {0o600} == set(modes.values())


def test_each_api_has_a_file_of_its_own(store: HostStore, make: Make) -> None:
    assert SharedState() == make("https://other.example").look()
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
    assert SharedState() == make(URL).look()
