"""Look-ups of a host name that cannot begin: all of gevent's threads for them are busy."""

from __future__ import annotations

from tests.support.private import metrics_of

from . import World, scenario


@scenario("gevent", "gevent-late")
def g4_g11_a_look_up_that_cannot_begin_is_no_evidence_and_loses_no_lease(w: World) -> None:
    import gevent
    from gevent.monkey import get_original

    from colony_pool import BreakerConfig

    pool = w.pool(
        f"http://localhost:{w.colony.port}/api/v1", probe_timeout=0.1, breaker=BreakerConfig(open_delay=0.05)
    )
    gate = get_original("_thread", "allocate_lock")()
    gate.acquire()
    threads = gevent.get_hub().threadpool
    jobs = [threads.spawn(lambda: (gate.acquire(), gate.release())) for _ in range(threads.maxsize)]
    try:
        pool.breaker.open()
        task = w.spawn(lambda: pool.agent("col_a").token(max_wait=60.0))
        w.until(
            lambda: metrics_of(pool).counters.count("breaker_probes_total", "cancelled") >= 3, "probes are given back"
        )
        assert pool.status().breaker.cause == "opened by an operator", "no probe has failed"
        assert metrics_of(pool).counters.count("attempts_total", "network") == 0
    finally:
        gate.release()  # before the server is asked for anything: the test's own look-ups need a thread, too
    for job in jobs:
        job.get()
    assert task.result()
    assert len(w.token_requests()) >= 1
    assert pool.status().breaker.state == "closed"
