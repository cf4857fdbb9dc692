"""Processes that stand still, the server's or this one, and a server that comes back slowly."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from tests.support.private import metrics_of

from . import World, scenario
from ._after import assert_documented, assert_recovered, key

RUNTIMES = ("threads", "gevent", "gevent-unpatched", "asyncio")
# How long something stands still, seconds. COLONY_STOPPED_SECONDS=30 takes the time that such a fault takes in life.
STOPPED = float(os.environ.get("COLONY_STOPPED_SECONDS", "1"))


def _parking(w: World) -> Any:
    """A pool on which callers ride everything out, network errors too."""
    from colony_pool import BreakerConfig, RetryConfig, Timeout

    retry = RetryConfig(
        max_retries=99, base_delay=0.05, max_delay=0.2, retry_on=frozenset({502, 503}), retry_network_errors=True
    )
    breaker = BreakerConfig(fail_max=2, open_delay=0.1, open_delay_max=0.3, min_failure_time=0.0)
    timeout = Timeout(connect=1.0, read=1.0, total=1.5)
    return w.pool(auth_token_retry=retry, breaker=breaker, timeout=timeout, probe_timeout=0.4, max_wait=3600.0)


@scenario(*RUNTIMES)
def g4_a_server_that_stands_still_is_probed_until_it_goes_on(w: World) -> None:
    """SIGSTOP: its kernel accepts connections and takes requests; nobody answers."""
    from colony_pool import ColonyNetworkError
    from colony_pool.testing import subject

    pool = _parking(w)
    warm = pool.agent(key("warm"))
    token = warm.token()
    w.colony.pause()
    try:
        parked = [w.spawn(lambda n=i: pool.agent(key(n)).get("/users/me")) for i in range(20)]
        w.until(lambda: pool.status().breaker.state != "closed", "the breaker opens")
        assert warm.token() == token, "G18: served in every state"
        assert_documented(w.spawn(warm.get, "/users/me").join().error, ColonyNetworkError, words="timeout: ")
        probes = metrics_of(pool).counters.count("breaker_probes_total")
        w.pause(STOPPED)
        w.until(lambda: metrics_of(pool).counters.count("breaker_probes_total") >= probes + 2, "probes go on")
        assert pool.status().waiters == 20
    finally:
        w.colony.resume()
    for number, task in enumerate(parked):
        if task.join().error is None:
            assert task.value.json()["id"] == subject(key(number))
        else:  # its token came; its call met the server at work on what the others had left behind
            assert_documented(task.error, ColonyNetworkError)
    assert_recovered(w, pool)


@scenario(*RUNTIMES)
def g18_a_process_that_stood_still_knows_what_has_ended_meanwhile(w: World) -> None:
    """SIGSTOP to this process, in the middle of calls: tokens, leases and deadlines have run out when it goes on."""
    from colony_pool import ColonyNetworkError

    pool = _parking(w)
    w.colony.expires_in(STOPPED)
    agents = [pool.agent(key(i)) for i in range(5)]
    old = [agent.token() for agent in agents]
    w.colony.expires_in(3600.0)
    w.colony.latency(0.2)
    calls = [w.spawn(lambda n=i: pool.agent(key(f"call_{n}")).get("/users/me")) for i in range(5)]
    command = 'kill -STOP "$0"; sleep "$1"; kill -CONT "$0"'
    stopper = subprocess.Popen(["sh", "-c", command, str(os.getpid()), str(STOPPED * 1.5)])
    w.until(lambda: stopper.poll() is not None, "this process goes on")
    w.colony.latency(0.0)
    for call in calls:
        if call.join().error is not None:
            assert_documented(call.error, ColonyNetworkError, words="timeout: ")
    for agent, before in zip(agents, old, strict=True):
        assert agent.token() != before
        assert agent.get("/users/me").status == 200
    assert w.colony.count("/users/me", status=401) == 0, "no dead token was used"
    assert_recovered(w, pool)


@scenario("threads", "gevent", "asyncio")
def g8_a_server_that_recovers_at_one_request_a_second_serves_everybody(w: World) -> None:
    """One request too many within a second knocks it over for another second."""
    pool = _parking(w)
    w.colony.behave("status", status=502)
    parked = [w.spawn(pool.agent(key(i)).token) for i in range(4)]
    w.until(lambda: pool.status().breaker.state != "closed", "the breaker opens")
    w.colony.capacity(1.0)
    w.colony.reset_stats()
    w.colony.behave("healthy")
    assert all(task.result() for task in parked)
    assert w.colony.count("/auth/token", status=200) == 4
    w.colony.capacity(None)
    assert_recovered(w, pool)
