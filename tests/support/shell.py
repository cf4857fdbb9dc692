"""``colony-pool`` run as a shell runs it, and what must hold of whatever it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from colony_pool.testing import FakeColony
from tests.support.private import import_line

KEY = "col_" + "k" * 43
FACTS = {"error", "message", "hint", "status", "retry_after", "exit_code"}
Done = subprocess.CompletedProcess[str]


def environment(tmp_path: Path, colony: FakeColony | None = None) -> dict[str, str]:
    """A user's variables: a key, the API's address, and a cache and a host's record that are this test's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COLONY_")}
    if colony is not None:
        kept["COLONY_BASE_URL"] = colony.base_url
    return {
        **kept,
        "COLONY_API_KEY": KEY,
        "COLONY_SDK_TOKEN_CACHE_DIR": str(tmp_path / "cache"),
        "COLONY_POOL_STATE_DIR": str(tmp_path / "state"),
        "COLUMNS": "100",
    }


def without(env: dict[str, str], package: str, tmp_path: Path) -> dict[str, str]:
    """The same where ``package`` is not installed."""
    (tmp_path / f"{package}.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [env.get("PYTHONPATH")])])
    return {**env, "PYTHONPATH": path}


def patient(env: dict[str, str], tmp_path: Path, seconds: float = 60.0) -> dict[str, str]:
    """The same where what is shared is waited for as long as it takes: a busy machine is not what is tested."""
    (tmp_path / "sitecustomize.py").write_text(
        "".join(map(import_line, ("coordinator", "health", "place", "redis", "sqlite")))
        + "[place.BUSY, sqlite.BUSY, redis.TIMEOUT, health.PATIENCE, coordinator._ANSWER]  # they are there\n"
        f"place.BUSY = sqlite.BUSY = redis.TIMEOUT = health.PATIENCE = coordinator._ANSWER = {seconds}\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [env.get("PYTHONPATH")])])
    return {**env, "PYTHONPATH": path}


def start(env: dict[str, str], *args: str) -> subprocess.Popen[str]:
    """Start it; its stdin is empty and it has no terminal."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "colony_pool", *args],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def finish(process: subprocess.Popen[str]) -> Done:
    """Wait for its end. Whatever happened, nobody has seen a key or a traceback (G23)."""
    with process:
        try:
            out, err = process.communicate(timeout=100)
        finally:
            process.kill()
    assert KEY not in out + err
    assert "Traceback" not in out + err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def cli(env: dict[str, str], *args: str) -> Done:
    return finish(start(env, *args))


def assert_failed(done: Done, code: int, *words: str) -> None:
    """One line on stderr and nothing on stdout."""
    assert code == done.returncode, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def assert_failed_as_json(done: Done, code: int, error: str) -> dict[str, Any]:
    """With ``--json``: the same line, and one object of a fixed shape on stdout: what happened, and what to do."""
    facts: dict[str, Any] = json.loads(done.stdout)
    assert set(facts) == FACTS
    assert (code, error, code) == (done.returncode, facts["error"], facts["exit_code"])
    assert done.stderr.startswith(f"colony-pool: {facts['message']}")
    assert done.stderr.endswith(f"{facts['hint']}\n")
    assert facts["hint"] not in facts["message"] or not facts["hint"]
    return facts


def until(process: subprocess.Popen[str], word: str) -> str:
    """Read its output up to a line that holds ``word``."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    raise AssertionError(f"it ended without saying {word!r}")
