"""Eight processes of a hundred agents on one host, and one of eight hundred, through an hour's outage, scaled."""

from __future__ import annotations

from pathlib import Path

from tests.tools.scale.running import ALONE, assert_as_one, plays

FLEET = ("--processes", "8", "--agents", "100", "--shared", "host")


def test_g1_g8_eight_processes_of_a_host_cost_an_outage_what_one_does_and_lose_nobody(tmp_path: Path) -> None:
    alone, fleet = plays(tmp_path, ALONE, FLEET)
    assert_as_one(fleet, alone, 8)
