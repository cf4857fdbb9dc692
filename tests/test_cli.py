"""The command line, as a shell sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from colony_pool.testing import FakeColony

KEY = "col_command_line_key"


@pytest.fixture(scope="module")
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


def run(colony: FakeColony, tmp: Path, *args: str, key: str | None = KEY) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("COLONY")}
    env |= {"COLONY_BASE_URL": colony.base_url, "COLONY_SDK_TOKEN_CACHE_DIR": str(tmp / "cache"), "COLUMNS": "100"}
    if key is not None:
        env["COLONY_API_KEY"] = key
    done = subprocess.run(
        [sys.executable, "-m", "colony_pool", *args], env=env, check=False, capture_output=True, text=True, timeout=90
    )
    assert KEY not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_token_prints_the_jwt_and_nothing_else_and_uses_the_cache(colony: FakeColony, tmp_path: Path) -> None:
    colony.behave("healthy")
    first = run(colony, tmp_path, "token")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.count(".") == 2
    before = colony.count("/auth/token")
    assert run(colony, tmp_path, "token").stdout == first.stdout
    assert colony.count("/auth/token") == before
    told = json.loads(run(colony, tmp_path, "token", "--json").stdout)
    assert told["token"] == first.stdout.strip()
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    assert run(colony, tmp_path, "token", "--api-key-file", str(key_file), key=None).stdout == first.stdout


@pytest.mark.parametrize(
    ("status", "code", "said"), [(401, 3, "API key was refused"), (429, 4, "come back in 77 s"), (502, 5, "HTTP 502")]
)
def test_failures_are_one_line_and_an_exit_code(
    colony: FakeColony, tmp_path: Path, status: int, code: int, said: str
) -> None:
    colony.behave("status", status=status, headers={"Retry-After": "77"} if status == 429 else {})
    done = run(colony, tmp_path, "token", "--max-wait", "0")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_misuse_is_2(colony: FakeColony, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    for args in (
        ("token",),
        ("token", "--api-key-file", str(tmp_path / "none")),
        ("token", "--api-key-file", str(empty)),
        ("token", "--nonsense"),
        ("demo", "--runtime", "twisted"),
        ("demo", "--report", str(tmp_path / "no" / "where.html")),
        ("demo", "--agents", "0"),
    ):
        done = run(colony, tmp_path, *args, key=None)
        assert done.returncode == 2, (args, done.stdout, done.stderr)
        assert done.stderr
    assert run(colony, tmp_path, "token", key="not a key").returncode == 2


def test_help_and_version(colony: FakeColony, tmp_path: Path) -> None:
    for args in ((), ("--help",), ("token", "--help"), ("demo", "--help")):
        done = run(colony, tmp_path, *args)
        assert "Usage" in done.stdout + done.stderr
    assert run(colony, tmp_path, "--version").stdout.startswith("colony-pool 0.")


def test_the_demo_ends_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "colony_pool", "demo", "--agents", "20"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "outage" in line:
            break
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.strip() == "colony-pool: interrupted"


def test_the_demo_tells_the_same_in_all_its_forms(tmp_path: Path) -> None:
    report = tmp_path / "demo.html"
    command = [sys.executable, "-m", "colony_pool", "demo", "--agents", "20", "--json", "--report", str(report)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    told = json.loads(done.stdout)
    ours = told["colony_pool"]
    assert (ours["agents_lost"], ours["never_back"], ours["knocks"]) == (0, 0, 0)
    assert ours["attempts_during_outage"] <= 100 < told["alone"]["attempts_during_outage"]
    page = report.read_text()
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert "http" not in page.replace("HTTP", "").replace("loopback http", "")
    assert f"{told['alone']['attempts_during_outage']:,}" in page
