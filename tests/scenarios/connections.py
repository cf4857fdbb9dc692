"""G27: a connection has an age. What a kept one goes on missing, a new one finds well again."""

from __future__ import annotations

import gc
import math
import socket
import tempfile
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tests.support.namespaces import NEWNET, private_mounts, run, unshare
from tests.support.netns import FarColony, require_ip
from tests.support.private import engine_of

from . import World, error_of, scenario
from ._after import key

RUNTIMES = ("threads", "gevent", "gevent-late", "gevent-unpatched", "asyncio")
N = 5


def _warm(w: World, pool: Any, count: int = N) -> list[Any]:
    """``count`` agents with a token, and as many idle connections."""
    agents = [pool.agent(key(number)) for number in range(count)]
    for agent in agents:
        agent.token()
    _all_at_once(w, w.colony, pool, agents)
    return agents


def _all_at_once(w: World, colony: Any, pool: Any, agents: list[Any]) -> None:
    """Each has a connection of its own: none is answered before all are at work."""
    colony.pause()
    tasks = [w.spawn(agent.get, "/users/me") for agent in agents]
    w.until(lambda: engine_of(pool).network.bulkhead.in_use == len(agents), "all are at work")
    colony.resume()
    for task in tasks:
        assert task.result().status == 200


def _since(w: World, at: float) -> list[Any]:
    return [r for r in w.colony.requests() if r.at >= at]


@scenario(*RUNTIMES)
def g27_a_balancer_that_keeps_connections_at_a_broken_backend_is_left(w: World) -> None:
    """Each old connection brings one failure at most, and each agent has at most one."""
    from colony_pool import RetryConfig

    statuses = (502, 503, 504, 520, 530)
    retry = RetryConfig(max_retries=2, base_delay=0.05, retry_on=frozenset(statuses))
    pool = w.fast(retry=retry, auth_token_retry=replace(retry, max_retries=6))
    agents = _warm(w, pool)
    for status in statuses:
        w.colony.behave("status", status=status, open_only=True)
        at = w.colony.now()
        for agent in agents:
            assert agent.get("/users/me").status == 200, status
            agent.invalidate()
            assert agent.token(), status
        failed = [r.connection for r in _since(w, at) if r.status == status]
        assert len(failed) == len(set(failed)), f"{status}: a connection failed twice: {failed}"
        assert len(failed) <= 2 * N
        assert pool.status().breaker.state == "closed"
        w.colony.behave("healthy")
        _warm(w, pool)


@scenario(*RUNTIMES)
def g27_g6_a_probe_leaves_on_a_new_connection(w: World) -> None:
    """The old gateway answers 502 on all the connections that it has, for ever, and the new one is well."""
    pool = w.fast()
    agents = _warm(w, pool)
    w.colony.behave("status", status=502, only="/auth/token", open_only=True)
    pool.breaker.open()
    at = w.colony.now()
    for agent in agents:
        agent.invalidate()
    for task in [w.spawn(agent.token) for agent in agents]:
        assert task.result()
    assert {r.status for r in _since(w, at)} == {200}
    assert pool.status().breaker.state == "closed"


@scenario(*RUNTIMES)
def g27_idle_connections_end_when_the_breaker_opens(w: World) -> None:
    pool = w.pool()
    agents = _warm(w, pool)
    assert w.colony.stats().open_connections >= N
    pool.breaker.open()
    w.until(lambda: w.colony.stats().open_connections == 0, "the end of all idle connections")
    assert agents[0].get("/users/me").status == 200, "its token is valid, and another connection is opened"


@scenario(*RUNTIMES)
def g27_of_silent_connections_two_calls_fail_at_most(w: World) -> None:
    """A NAT that has forgotten all of them: the first that gets no answer makes the older ones dead."""
    from colony_pool import Timeout

    pool = w.pool(timeout=Timeout(read=2.0, total=2.0))
    agents = _warm(w, pool)
    w.colony.behave("hang", open_only=True)
    failed = 0
    for agent in agents:
        error = w.spawn(agent.get, "/users/me").join().error
        assert error is None or "timeout" in str(error)
        failed += error is not None
    assert failed <= 2
    agents[0].invalidate()
    assert agents[0].token()
    assert pool.status().breaker.state == "closed"


@scenario(*RUNTIMES)
def g27_a_token_that_meets_silence_is_asked_for_on_a_new_connection(w: World) -> None:
    from colony_pool import RetryConfig, Timeout

    retry = RetryConfig(max_retries=6, base_delay=0.05, retry_network_errors=True)
    pool = w.pool(timeout=Timeout(read=1.0, total=1.0), auth_token_retry=retry)
    agents = _warm(w, pool)
    w.colony.behave("hang", open_only=True)
    for agent in agents:
        agent.invalidate()
        assert agent.token()
    assert pool.status().breaker.failures == 0


@scenario(*RUNTIMES)
def g27_what_may_not_be_repeated_never_meets_an_old_connection(w: World) -> None:
    """The server closes each connection at its second request: PATCH and DELETE do not notice."""
    pool = w.pool()
    agent = _warm(w, pool, 1)[0]
    w.colony.behave("close_reused")
    for _ in range(5):
        assert agent.patch("/echo", json={}).status == 200
        assert agent.delete("/echo").status == 200


@scenario(*RUNTIMES)
def g27_a_connection_is_kept_no_longer_than_its_ages(w: World) -> None:
    from colony_pool import ColonyPool
    from colony_pool.config import KeepAliveConfig

    for keep_alive in (KeepAliveConfig(max_age=0), KeepAliveConfig(max_idle=0)):
        pool = w.pool(keep_alive=keep_alive)
        agent = pool.agent(key("a"))
        at = w.colony.now()
        for _ in range(3):
            agent.get("/users/me")
        used = [r.connection for r in _since(w, at)]
        assert len(set(used)) == len(used) >= 3, used
    refused = error_of(lambda: ColonyPool(keep_alive=KeepAliveConfig(max_age=math.nan)))
    assert "KeepAliveConfig(max_age=nan): must be a number" in str(refused)


@scenario(*RUNTIMES)
def g27_an_overloaded_server_is_spared_handshakes(w: World) -> None:
    """500, 501 and 503 with Retry-After leave the connection to the next request, if it is another agent's."""
    from colony_pool import RetryConfig

    pool = w.pool(retry=RetryConfig(max_retries=0))
    agents = _warm(w, pool, 2)
    pool.breaker.open()  # ends the idle ones
    w.until(lambda: w.colony.stats().open_connections == 0)
    agents[1].get("/users/me")
    opened = w.colony.stats().connections
    for status, headers in ((500, {}), (501, {}), (503, {"Retry-After": "1"})):
        w.colony.behave("status", status=status, headers=headers)
        error_of(agents[0].get, "/users/me")
        w.colony.behave("healthy")
        assert agents[1].get("/users/me").status == 200
        assert agents[0].get("/users/me").status == 200, "that connection has had a success since"
    assert w.colony.stats().connections == opened


@scenario(*RUNTIMES)
def g27_an_attempt_after_any_failure_uses_another_connection(w: World) -> None:
    from colony_pool import RetryConfig

    pool = w.pool(retry=RetryConfig(max_retries=0))
    agent = _warm(w, pool, 1)[0]
    for status, options in ((500, {}), (502, {"html": True}), (503, {"headers": {"Retry-After": "1"}}), (504, {})):
        w.colony.behave("status", status=status, open_only=True, **options)
        error_of(agent.get, "/users/me")
        assert agent.get("/users/me").status == 200, status
        w.colony.behave("healthy")


@scenario("threads", "gevent", "asyncio")
def g27_a_nat_that_has_forgotten_costs_two_calls_at_most(w: World) -> None:
    from colony_pool import Timeout

    far = FarColony()
    try:
        pool = w.pool(far.base_url, allow_insecure=True, timeout=Timeout(connect=5.0, read=2.0, total=2.0))
        agents = [pool.agent(key(number)) for number in range(N)]
        far.wire(delay=0.02)  # so that all are at work at once
        for task in [w.spawn(agent.get, "/users/me") for agent in agents]:
            assert task.result().status == 200
        far.wire()
        far.forget()
        errors = [w.spawn(agent.get, "/users/me").join().error for agent in agents * 2]
        assert sum(error is not None for error in errors) <= 2, errors
        agents[0].invalidate()
        assert agents[0].token()
        assert pool.status().breaker.state == "closed"
    finally:
        far.close()


@scenario("threads", "gevent", "asyncio")
def g27_a_name_that_moves_is_followed(w: World) -> None:
    """The old address is gone, without a word to its connections, and the breaker does not open."""
    from colony_pool import Timeout

    require_ip()
    private_mounts()
    unshare(NEWNET)
    old, new = "10.78.0.1", "10.78.0.2"
    run("ip", "link", "set", "lo", "up")
    for address in (old, new):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    with tempfile.NamedTemporaryFile("w+") as hosts:
        hosts.write(f"{old} api.colony.test\n127.0.0.1 localhost\n")
        hosts.flush()
        run("mount", "--bind", hosts.name, "/etc/hosts")
        colony = w.other_colony(host="0.0.0.0")
        url = f"http://api.colony.test:{colony.port}/api/v1"
        pool = w.pool(url, allow_insecure=True, timeout=Timeout(connect=2.0, read=2.0, total=2.0))
        agents = [pool.agent(key(number)) for number in range(N)]
        for agent in agents:
            agent.token()
        _all_at_once(w, colony, pool, agents)
        hosts.seek(0)
        hosts.write(f"{new}")
        hosts.flush()
        run("ip", "address", "del", f"{old}/32", "dev", "lo")
        errors = [w.spawn(agent.get, "/users/me").join().error for agent in agents * 2]
        assert sum(error is not None for error in errors) <= 2, errors
        agents[0].invalidate()
        assert agents[0].token()
        assert pool.status().breaker.state == "closed"


@scenario("threads", "gevent", "gevent-unpatched", "asyncio")
def g27_idle_connections_are_kept_alive(w: World) -> None:
    """TCP asks the peer now and then, so that a NAT remembers them."""
    pool = w.pool()
    _warm(w, pool, 1)
    asked = []
    for sock in [each for each in gc.get_objects() if isinstance(each, socket.socket)]:
        with suppress(OSError):  # closed, or listening
            if sock.family == socket.AF_INET and sock.getpeername()[1] == w.colony.port:
                asked.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
    assert asked
    assert all(asked)
