"""2026-05-21, and a week behind a rate limit, at full scale on virtual time (``tests/simulation``)."""

from __future__ import annotations

import pytest

from tests.simulation import incident, week
from tests.simulation.stage import HOUR
from tests.simulation.world import disk

pytestmark = pytest.mark.timeout(900)  # some ten seconds each, but nothing is to fail on a busy machine

AGENTS = 1000
# Until the probe that finds the server well: the open delay, and what the probe before took.
PROBE = 61.0


@pytest.mark.parametrize("max_wait", [3600.0, None], ids=["patience covers it", "default patience"])
def test_g1_g8_g9_the_incident_of_2026_05_21(max_wait: float | None) -> None:
    """An hour of 502 costs a hundred attempts; the server that recovers is not knocked over, and all are back."""
    result = incident.play(AGENTS, max_wait)
    assert result.attempts <= 110
    assert (0, 0) == (result.knocks, result.never_back)
    assert result.closed_after <= PROBE
    drained = 1.5 * result.ideal
    if max_wait is None:  # who was sent away comes back with the supervisor
        assert result.last_back <= result.closed_after + incident.RESTART + drained
    else:
        assert 0 == result.lost
        assert result.last_back <= result.closed_after + drained


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
def test_g8_g13_a_week_behind_a_rate_limit(cold: bool) -> None:
    """Two days of it: 700 agents, 30 exchanges an hour, a restart every 20 minutes, an outage of an hour each day.

    No refusal that the headers had foretold. Cold, all are served within the outage and the time that the limit needs
    for all; warm, who runs out waits for the outage, for the window that it runs out in, and for those before it.
    """
    with disk():
        result = week.play(days=2.0, cold=cold)
    assert 0 == result.foretold
    assert result.unforeseen <= result.processes
    assert result.longest_without <= (result.needed if cold else 3 * HOUR)
