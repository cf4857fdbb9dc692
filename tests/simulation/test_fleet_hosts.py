"""The protocol among many hosts (``python -m tests.simulation.fleet`` plays ten thousand)."""

from __future__ import annotations

import pytest

from tests.simulation.fleet.hosts import Plan, play


@pytest.mark.parametrize("hosts", [10, 100])
def test_g1_g8_g10_a_fleet_probes_as_one_recovers_as_one_and_spares_its_store(hosts: int) -> None:
    result = play(Plan(hosts, agents=20, rate=5.0 * hosts))
    assert (result.probes, 0, 0) == (result.intervals, result.knocks, result.lost)
    assert result.before_open <= 40 + 1.5 * hosts, "one attempt each, and the breaker's sixteen"
    assert result.per_token <= 1.5
    assert result.recovery <= 2 * result.ideal + 40.0, "twice the longest pause of a process that was unlucky"
    assert result.store_mean <= 0.5 * hosts
    assert 1 == result.verbs["PublishOpen"]
