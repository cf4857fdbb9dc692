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
