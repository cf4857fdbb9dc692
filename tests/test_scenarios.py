"""Runs every scenario of ``tests/scenarios`` in a process of its own, on each runtime that it is for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.scenarios import SCENARIOS, asking, faults, limits, storms, waiting

assert all((asking, faults, limits, storms, waiting))
CASES = [(name, kind) for name, (_, kinds) in SCENARIOS.items() for kind in kinds]


@pytest.mark.parametrize(("name", "kind"), CASES, ids=[f"{name}-{kind}" for name, kind in CASES])
def test_scenario(name: str, kind: str) -> None:
    command = [sys.executable, "-m", "tests.scenarios", name, kind]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr
