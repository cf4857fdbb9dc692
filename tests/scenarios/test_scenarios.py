"""Runs every scenario of ``tests/scenarios`` in a process of its own, on each runtime that it is for.

They mostly wait, so a few run side by side, and beside the tests that wait for nothing (``conftest.py`` puts these
behind the first scenario); each test then looks at what has come of its own.

In the fast lane a scenario runs on one of its runtimes, which its name chooses.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.scenarios import SCENARIOS, load

load()
SLOW = (  # on all of its runtimes
    "g11_a_call_that_gets_no_slot_is_told_so", "g11_a_probe_leaves_while_api_calls_hold_the_slots",
    "g11_api_calls_that_hang_do_not_keep_the_pool_from_its_tokens", "g1_ten_thousand_parked_callers_send_one_probe",
    "nothing_grows_in_rounds_of_everything_that_goes_wrong",
)  # fmt: skip
CASES = [(name, kind) for name, (_, kinds) in SCENARIOS.items() for kind in kinds]


def _case(name: str, kind: str) -> Any:
    kinds = SCENARIOS[name][1]
    fast = name not in SLOW and kind == kinds[zlib.crc32(name.encode()) % len(kinds)]
    return pytest.param(name, kind, id=f"{name}-{kind}", marks=() if fast else pytest.mark.slow)


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
@pytest.mark.parametrize(("name", "kind"), [_case(*case) for case in CASES])
def test_scenario(name: str, kind: str, runs: Runs) -> None:
    done = runs[name, kind].result()
    if done.returncode == 0 and done.stdout.startswith("skip: "):
        pytest.skip(done.stdout.strip())
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr
