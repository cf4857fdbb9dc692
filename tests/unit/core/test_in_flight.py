"""The attempts that are under way, and when the next of them must have ended (G4)."""

from __future__ import annotations

import math

from tests.support.dispatcher_harness import FOREVER, START, WALL, DispatcherHarness
from tests.support.private import Account, Dispatcher, InFlight, Instant, Permit, Waiter
from tests.support.private import actions as act
from tests.support.queues import flight


def test_g4_an_attempt_that_has_ended_has_no_deadline() -> None:
    in_flight = InFlight()
    first, second = Permit(flight(), 0.0, 5.0), Permit(flight(), 0.0, 9.0)
    for permit in (first, second):
        in_flight.start(permit)
    assert 5.0 == in_flight.next_deadline()
    in_flight.end(first)
    assert 9.0 == in_flight.next_deadline()
    in_flight.end(second)
    assert math.inf == in_flight.next_deadline()


def test_g4_where_nobody_says_when_an_attempt_begins_its_deadline_is_evidence() -> None:
    dispatcher = Dispatcher(DispatcherHarness().dispatcher.config, lambda: 0.5)
    actions = dispatcher.demand(Waiter(Account(), FOREVER), START)
    (permit,) = [action.permit for action in actions if isinstance(action, act.StartAttempt)]
    late = permit.deadline + 1.0
    dispatcher.tick(Instant(late, WALL + late))
    assert not permit.alive
    assert 1 == dispatcher.breaker.failures


def test_g11_a_probe_that_reached_the_endpoint_has_the_next_one_rest_for_a_moment_only() -> None:
    in_flight, rests = InFlight(), []
    for answered in (False, False, True):
        if answered:
            in_flight.probe_answered()
        in_flight.probe_put_off(5.0)
        rests.append(in_flight.probe_not_before)
    assert [5.1, 5.2, 5.1] == rests


def test_g3_after_an_interrupt_what_is_alive_is_its_flights_and_a_probe_that_ended_is_none() -> None:
    in_flight = InFlight()
    probe, other, dead = (Permit(flight(), 0.0, 5.0, is_probe=number == 0) for number in range(3))
    for permit in (probe, other, dead):
        in_flight.start(permit)
    dead.alive = False
    in_flight.mend()
    assert ({probe, other}, probe) == (in_flight.permits, in_flight.probe)
    assert (probe, other, None) == (probe.flight.permit, other.flight.permit, dead.flight.permit)
    probe.alive = False
    in_flight.mend()
    assert ({other}, None) == (in_flight.permits, in_flight.probe)
