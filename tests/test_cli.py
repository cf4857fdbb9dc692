"""``colony-pool`` as a shell sees it: real processes against a real server on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colony_pool.testing import FakeColony

KEY = "col_" + "k" * 43
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def env(tmp_path: Path, colony: FakeColony) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COLONY_")}
    return {
        **kept,
        "COLONY_API_KEY": KEY,
        "COLONY_BASE_URL": colony.base_url,
        "COLONY_SDK_TOKEN_CACHE_DIR": str(tmp_path / "cache"),
        "COLUMNS": "100",
    }


def cli(env: dict[str, str], *args: str, timeout: float = 60.0) -> Done:
    """Run it; its stdin is empty and it has no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "colony_pool", *args],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def assert_failed(done: Done, code: int, *words: str) -> None:
    """One line on stderr, nothing on stdout, the key nowhere."""
    assert code == done.returncode, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert KEY not in done.stderr
    for word in words:
        assert word in done.stderr


def test_token_prints_the_jwt_and_nothing_else(env: dict[str, str]) -> None:
    done = cli(env, "token")
    assert (done.returncode, done.stderr) == (0, "")
    assert JWT.fullmatch(done.stdout.removesuffix("\n"))


def test_a_second_run_takes_the_token_from_disk(env: dict[str, str], colony: FakeColony) -> None:
    assert cli(env, "token").stdout == cli(env, "token").stdout
    assert colony.count("/auth/token") == 1


def test_token_json(env: dict[str, str]) -> None:
    answer = json.loads(cli(env, "token", "--json").stdout)
    assert JWT.fullmatch(answer["token"])
    assert answer["expires_at"] > 1_700_000_000


def test_the_key_may_come_from_a_file(env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    del env["COLONY_API_KEY"]
    done = cli(env, "token", "--api-key-file", str(path))
    assert done.returncode == 0, done.stderr


def test_denied_is_3(env: dict[str, str], colony: FakeColony) -> None:
    colony.deny(KEY)
    assert_failed(cli(env, "token"), 3, "401")


def test_throttled_is_4_and_says_when_to_come_back(env: dict[str, str], colony: FakeColony) -> None:
    colony.behave("status", status=429, headers={"Retry-After": "600"})
    assert_failed(cli(env, "token"), 4, "600 s")


@pytest.mark.parametrize("status", [500, 502, 503])
def test_unavailable_is_5(env: dict[str, str], colony: FakeColony, status: int) -> None:
    colony.behave("status", status=status)
    assert_failed(cli(env, "token", "--max-wait", "0"), 5)


def test_no_network_is_5(env: dict[str, str]) -> None:
    env["COLONY_BASE_URL"] = "http://127.0.0.1:9/api/v1"
    assert_failed(cli(env, "token"), 5)


def test_a_failure_is_json_on_request(env: dict[str, str], colony: FakeColony) -> None:
    colony.behave("status", status=429, headers={"Retry-After": "600"})
    done = cli(env, "token", "--json")
    assert done.returncode == 4
    assert json.loads(done.stdout)["retry_after"] == 600
    assert KEY not in done.stdout + done.stderr


def test_no_key_is_misuse(env: dict[str, str]) -> None:
    del env["COLONY_API_KEY"]
    assert_failed(cli(env, "token"), 2, "COLONY_API_KEY", "--api-key-file")


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe\x00", None])
def test_a_useless_key_file_is_misuse(env: dict[str, str], tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    assert_failed(cli(env, "token", "--api-key-file", str(path)), 2)


def test_a_key_that_cannot_be_one_is_misuse_and_is_not_shown(env: dict[str, str]) -> None:
    env["COLONY_API_KEY"] = "sk_secret_of_another"
    done = cli(env, "token")
    assert_failed(done, 2)
    assert "secret_of_another" not in done.stderr


def test_a_base_url_in_clear_is_misuse(env: dict[str, str]) -> None:
    assert_failed(cli(env, "token", "--base-url", "http://example.com"), 2, "https")


def test_an_unknown_option_is_misuse(env: dict[str, str]) -> None:
    assert cli(env, "token", "--key", "x").returncode == 2


@pytest.mark.parametrize("args", [("--help",), ("token", "--help"), ("demo", "--help")])
def test_help_names_the_exit_codes(env: dict[str, str], args: tuple[str, ...]) -> None:
    done = cli(env, *args)
    assert done.returncode == 0
    if args[0] != "demo":
        assert "3 denied" in " ".join(done.stdout.split())


def test_version(env: dict[str, str]) -> None:
    assert cli(env, "--version").stdout.startswith("colony-pool ")


def test_ctrl_c_while_waiting_is_130(env: dict[str, str], colony: FakeColony) -> None:
    colony.behave("hang")
    process = start(env, "token")
    while not colony.stats().in_flight:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert KEY not in err


# -- the demo ---------------------------------------------------------------------------------------------


def start(env: dict[str, str], *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "colony_pool", *args],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def test_demo_without_a_terminal(env: dict[str, str], tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    done = cli(env, "demo", "--agents", "20", "--json", "--report", str(page), timeout=100)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["colony_pool"]["agents_lost"] == 0
    assert result["colony_pool"]["never_back"] == 0
    assert result["alone"]["attempts_during_outage"] > result["colony_pool"]["attempts_during_outage"]
    html = page.read_text()
    assert "<svg" in html
    assert "<script" not in html
    assert not re.search(r'(?:src|href)="https?:', html)
    assert "col_" not in done.stderr.replace("colony_pool", "") + done.stdout.replace("colony_pool", "")


@pytest.mark.parametrize("runtime", ["threads", "gevent"])
def test_ctrl_c_ends_the_demo_and_all_that_it_started(env: dict[str, str], runtime: str) -> None:
    process = start(env, "demo", "--agents", "20", "--runtime", runtime)
    assert process.stdout is not None
    while "healthy" not in process.stdout.readline():
        assert process.poll() is None
    started = children(process.pid)
    assert started
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def test_a_report_into_no_folder_is_misuse(env: dict[str, str], tmp_path: Path) -> None:
    done = cli(env, "demo", "--report", str(tmp_path / "no" / "demo.html"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_unknown_runtime_is_misuse(env: dict[str, str]) -> None:
    assert_failed(cli(env, "demo", "--runtime", "asyncio"), 2, "asyncio")
