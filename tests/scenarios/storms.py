"""Kills, by the thousand."""

from __future__ import annotations

import random

from . import World, scenario


@scenario("gevent")
def g3_four_thousand_kills_leak_nothing(w: World) -> None:
    import gevent

    maxsize = 16
    pool = w.pool(maxsize=maxsize)
    dice = random.Random(7)
    w.colony.latency(0.01)
    steady = pool.agent("col_steady")
    steady.token()
    failures: list[BaseException] = []
    running = True

    def innocent() -> None:
        while running:
            try:
                assert steady.get("/users/me").status == 200
            except BaseException as error:
                failures.append(error)
                return

    innocents = [gevent.spawn(innocent) for _ in range(8)]
    for round_number in range(40):
        victims = []
        for i in range(100):
            agent = pool.agent(f"col_{round_number}_{i % 40}")
            victims.append(gevent.spawn(_victim, agent, dice.random() < 0.5, dice.random() * 0.05))
        gevent.sleep(dice.random() * 0.03)
        dice.shuffle(victims)
        for victim in victims:
            if dice.random() < 0.05:
                gevent.sleep(0)
            victim.kill(block=False)
        gevent.joinall(victims)
    running = False
    gevent.joinall(innocents)
    assert failures == [], "nobody else's call fails"
    w.until(lambda: pool.status().in_flight == 0 and pool.status().waiters == 0, "permits and waiters come back")
    w.until(lambda: pool._runner.dispatcher.flights == {}, "no flight is left")
    assert pool._transport.bulkhead.in_use == 0
    assert w.colony.stats().max_in_flight <= maxsize
    w.until(lambda: w.colony.stats().open_connections <= maxsize, "no socket is left open")
    assert steady.get("/users/me").status == 200
    assert pool.agent("col_after").token()


def _victim(agent: object, get: bool, timeout: float) -> None:
    import gevent

    from colony_pool import Agent

    assert isinstance(agent, Agent)
    with gevent.Timeout(timeout, False):
        if get:
            agent.get("/users/me")
        else:
            agent.token()
            agent.invalidate()
            agent.token()
