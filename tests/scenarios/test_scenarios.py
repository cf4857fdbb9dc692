"""Runs every scenario of ``tests/scenarios`` in a process of its own, on each runtime that it is for.

They mostly wait, so a few run side by side, and beside the tests that wait for nothing (``conftest.py`` puts these
behind the first scenario); each test then looks at what has come of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.scenarios import SCENARIOS, load

load()
CASES = [(name, kind) for name, (_, kinds) in SCENARIOS.items() for kind in kinds]
Runs = dict[tuple[str, str], "Future[subprocess.CompletedProcess[str]]"]


def _run(name: str, kind: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.scenarios", name, kind]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest) -> Iterator[Runs]:
    """The scenarios that were selected, all under way."""
    selected = [item.callspec.id for item in request.session.items if hasattr(item, "callspec")]
    pool = ThreadPoolExecutor(min(4, (os.cpu_count() or 1) + 2))
    yield {case: pool.submit(_run, *case) for case in CASES if "-".join(case) in selected}
    pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "kind"), CASES, ids=[f"{name}-{kind}" for name, kind in CASES])
def test_scenario(name: str, kind: str, runs: Runs) -> None:
    done = runs[name, kind].result()
    if done.returncode == 0 and done.stdout.startswith("skip: "):
        pytest.skip(done.stdout.strip())
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr
