"""Three hosts, each in a network of its own, and one Redis, through an hour's outage, scaled."""

from __future__ import annotations

from pathlib import Path

from tests.support.servers import find
from tests.tools.scale.running import ALONE, assert_as_one, plays

OUTAGE = ("--outage", "15")  # seconds: three quarters of the hour
FLEET = ("--processes", "3", "--agents", "267", "--shared", "redis", "--networks", *OUTAGE)


def test_g1_g8_three_hosts_cost_an_outage_what_one_process_does_and_lose_nobody(tmp_path: Path) -> None:
    find("redis")
    alone, fleet = plays(tmp_path, (*ALONE, *OUTAGE), FLEET)
    assert_as_one(fleet, alone, 3)
