"""An outage: one probe, parked waiters, forgiveness, patience, listeners."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.support.private import metrics_of

from . import World, error_of, scenario


def _trip(w: World, pool: Any, n: int = 40, **options: Any) -> list[Any]:
    """Open the breaker with ``n`` callers on keys of their own, and return their tasks."""
    w.colony.behave("status", status=502)
    tasks = [w.spawn(lambda k=f"col_{i}": pool.agent(k).token(max_wait=3600.0, **options)) for i in range(n)]
    w.until(lambda: pool.status().breaker.state != "closed", "the breaker opens")
    return tasks


@scenario()
def g1_one_probe_on_the_wire_whoever_waits(w: World) -> None:
    pool = w.fast()
    tasks = _trip(w, pool, 100)
    w.colony.latency(0.05)
    w.until(lambda: pool.status().in_flight <= 1)
    mark = w.colony.now()
    w.until(lambda: w.colony.count("/auth/token", since=mark) >= 4)
    w.colony.reset_stats()
    w.until(lambda: w.colony.count("/auth/token") >= 4)
    rows = sorted(w.token_requests(), key=lambda r: r.at)
    assert all(a.at + a.seconds <= b.at for a, b in pairwise(rows)), "two probes at once"
    w.colony.behave("healthy")
    assert all(task.result() for task in tasks)
    assert pool.breaker.current_state == "closed"


@scenario()
def g1_one_key_with_200_callers_makes_one_request_after_recovery(w: World) -> None:
    from colony_pool import BreakerConfig

    pool = w.fast(breaker=BreakerConfig(fail_max=1, open_delay=0.2, open_delay_max=0.3, min_failure_time=0.0))
    agent = pool.agent("col_one")
    w.colony.behave("status", status=502)
    tasks = [w.spawn(lambda: agent.token(max_wait=3600.0)) for _ in range(200)]
    w.until(lambda: pool.status().breaker.state == "open" and pool.status().waiters == 200)
    w.colony.behave("healthy")
    assert len({task.result() for task in tasks}) == 1
    assert w.colony.count("/auth/token", status=200) == 1


@scenario()
def g4_a_probe_without_an_answer_is_void_and_the_next_one_leaves(w: World) -> None:
    pool = w.fast(probe_timeout=0.1)
    tasks = _trip(w, pool)
    w.colony.behave("hang")
    w.until(
        lambda: (
            metrics_of(pool).counters.count("breaker_probes_total", "lost")
            + metrics_of(pool).counters.count("breaker_probes_total", "failure")
            >= 4
        )
    )
    assert w.colony.stats().in_flight <= 1, "the sockets of void probes are closed"
    w.colony.behave("healthy")
    assert all(task.result() for task in tasks)


@scenario()
def g4_a_slow_server_is_found_alive_by_doubled_leases(w: World) -> None:
    """It answers in 0.6 s and the first lease is 0.1 s: void, void, void, and then one that is long enough."""
    pool = w.fast(probe_timeout=0.1)
    tasks = _trip(w, pool)
    w.until(lambda: pool.status().in_flight == 0)
    mark = w.colony.now()
    w.colony.behave("latency", seconds=0.6)
    w.until(lambda: pool.status().breaker.state == "closed", "a probe gets its answer")
    void = [r.seconds for r in w.colony.requests(since=mark) if r.status == 0]
    assert len(void) >= 3, void
    for lease, seconds in zip((0.1, 0.2, 0.4), void, strict=False):
        assert lease * 0.5 < seconds < lease + 0.5, ("the socket is closed when the lease ends", void)
    w.colony.behave("healthy")
    assert all(task.result() for task in tasks)


@scenario("gevent", "gevent-unpatched", "asyncio")  # no ten thousand threads
def g1_ten_thousand_parked_callers_send_one_probe(w: World) -> None:
    from colony_pool import BreakerConfig

    breaker = BreakerConfig(fail_max=1, open_delay=0.3, open_delay_max=0.3, jitter=0.0, min_failure_time=0.0)
    pool = w.fast(breaker=breaker)
    w.colony.behave("status", status=502)
    w.colony.latency(0.1)
    tasks = [w.spawn(lambda k=f"col_{i}": pool.agent(k).token(max_wait=3600.0)) for i in range(10_000)]
    w.until(lambda: pool.status().waiters == 10_000 and pool.status().breaker.state == "open")
    w.colony.reset_stats()

    def three_probes() -> bool:
        late = pool.agent(f"col_late_{len(tasks)}")
        tasks.append(w.spawn(lambda: late.token(max_wait=3600.0)))  # somebody who comes while a probe is out
        return w.colony.count("/auth/token") >= 3

    w.until(three_probes)
    assert w.colony.stats().max_in_flight == 1, "two probes at once"
    assert len(tasks) > 10_020
    w.colony.behave("healthy")
    w.colony.latency(0.0)
    assert len({task.result() for task in tasks}) == len(tasks)
    assert w.colony.count("/auth/token", status=200) == len(tasks)


@scenario()
def g9_who_cannot_wait_for_the_next_probe_leaves_at_once(w: World) -> None:
    from colony_pool import BreakerConfig, CircuitOpenError

    pool = w.pool(breaker=BreakerConfig(fail_max=1, open_delay=30.0, min_failure_time=0.0))
    w.colony.behave("status", status=502)
    w.colony.latency(0.3)  # both are there when the first attempt fails: one alone keeps its schedule
    waiting = [w.spawn(pool.agent(f"col_patient_{number}").token) for number in range(2)]
    w.until(lambda: pool.status().breaker.state == "open" and pool.status().waiters == 2)
    error: Any = error_of(pool.agent("col_hasty").token, max_wait=5.0)
    assert type(error) is CircuitOpenError
    assert 20 < (error.retry_after or 0.0) <= 30
    assert error.state == "open"
    assert error.cause == "HTTP 502"
    assert error.waited < 5.0
    zero: Any = error_of(pool.agent("col_zero").token, max_wait=0)
    assert type(zero) is CircuitOpenError
    assert len(w.token_requests()) == 1
    pool.close()
    for task in waiting:
        task.join()


@scenario()
def max_retries_0_gives_one_attempt_and_no_waiting(w: World) -> None:
    from colony_pool import ColonyServerError, RetryConfig

    pool = w.pool(auth_token_retry=RetryConfig(max_retries=0))
    w.colony.behave("status", status=502)
    assert type(error_of(pool.agent("col_a").token)) is ColonyServerError
    assert len(w.token_requests()) == 1


@scenario()
def g18_a_valid_token_is_served_in_every_state(w: World) -> None:
    pool = w.fast()
    warm = pool.agent("col_warm")
    token = warm.token()
    tasks = _trip(w, pool)
    assert warm.token() == token
    w.colony.behave("healthy", only="/users/me")
    assert warm.get("/users/me").status == 200
    pool.breaker.open()
    assert warm.token() == token
    w.colony.behave("healthy")
    assert all(task.result() for task in tasks)


@scenario()
def g17_past_the_soft_point_one_refreshes_and_nobody_waits(w: World) -> None:
    pool = w.pool()
    w.colony.expires_in(4.0)
    agent = pool.agent("col_soft")
    first = agent.token()
    w.colony.latency(0.3)
    w.until(lambda: agent.token() != first, "the refresh")
    assert len(w.token_requests()) == 2
    assert metrics_of(pool).counters.histograms["call_duration_seconds"].counts[-1] == 0


@scenario()
def operators_steer_the_dispatcher_through_pybreaker(w: World) -> None:
    pool = w.fast(20.0)
    pool.breaker.open()
    assert pool.status().breaker.state == "open"
    task = w.spawn(pool.agent("col_a").token)
    assert task.result(), "a probe leaves after the open delay"
    w.until(lambda: pool.breaker.current_state == "closed")
    pool.breaker.open()
    pool.breaker.close()
    assert pool.status().breaker.state == "closed"
    assert pool.agent("col_b").token()
