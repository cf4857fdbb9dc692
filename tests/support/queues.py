"""Flights and queues for the tests of the queue by itself."""

from __future__ import annotations

from colony_pool.config import PolicyConfig
from tests.support.dispatcher_harness import START
from tests.support.private import Account, Flight, Queue, Waiter, issue

WALL = 1_000_000_000.0


def flight(*patience: float, **facts: object) -> Flight:
    """A flight of so many callers; ``facts`` are its account's."""
    account = Account()
    for name, value in facts.items():
        setattr(account, name, value)
    made = Flight(account, 0.0)
    for seconds in patience:
        made.join(Waiter(account, seconds), 0.0, seconds)
    return made


def queue_of(*flights: Flight) -> Queue:
    queue = Queue()
    for one in flights:
        queue.put(one, START)
    return queue


def holder() -> Flight:
    return flight(1.0, token=issue("j", 3600.0, 0.0, 0.0, START, PolicyConfig()))


def drain(queue: Queue) -> list[Flight]:
    order = []
    while queue.first() is not None:
        order.append(queue.take())
    return order
