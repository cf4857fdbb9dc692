"""The outage of an hour over real sockets, all schedules / 180; and the law's table on virtual time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.tools.law import CELLS

RUNS = {
    "200 agents, threads, default patience": ["--agents", "200", "--runtime", "threads"],
    "1,000 agents, greenlets, patience covers it": ["--agents", "1000", "--runtime", "gevent", "--patience", "60"],
}


@pytest.mark.parametrize("name", RUNS)
def test_g1_g8_g9_an_hours_outage_costs_a_hundred_attempts_and_no_agent(name: str) -> None:
    command = [sys.executable, "-m", "tests.tools.outage", *RUNS[name]]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=110)
    row = json.loads(done.stdout)
    assert row["attempts_during_outage"] <= 100, row
    assert row["knocks"] == 0, row
    assert row["never_back"] == 0, row
    if "--patience" in RUNS[name]:
        assert row["restarts"] == 0, row


@pytest.mark.parametrize("cell", ["A", "B", "C", "E", "F", "O"])
def test_g8_g10_the_table_of_the_law(cell: str) -> None:
    rows = CELLS[cell](2, [50, 200])
    assert [] == [text for good, text in rows if not good]
