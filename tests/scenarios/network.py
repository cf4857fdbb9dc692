"""A network that loses packets, delivers them late and out of order, or not at all."""

from __future__ import annotations

from typing import Any

from tests.support.netns import FarColony

from . import World, scenario
from ._after import assert_documented, assert_recovered, key


def _each_gets_its_own(w: World, pool: Any, names: list[str]) -> None:
    from colony_pool.testing import subject

    calls = [w.spawn(pool.agent(name).get, "/users/me") for name in names]
    for name, call in zip(names, calls, strict=True):
        assert call.result().json()["id"] == subject(name), "somebody else's answer"


@scenario("threads", "gevent", "asyncio")
def lost_and_late_packets_cost_time_and_a_cut_wire_costs_a_documented_error(w: World) -> None:
    """TCP repairs what it can; what it cannot repair in time is a timeout, and who is parked rides it out."""
    from colony_pool import BreakerConfig, ColonyNetworkError, RetryConfig, Timeout

    far = FarColony(seed=7)
    try:
        long = Timeout(connect=20.0, read=20.0, total=60.0)  # a lost SYN costs 1, 3, 7, 15 seconds
        pool = w.pool(far.base_url, allow_insecure=True, timeout=long)
        far.wire(delay=0.01)
        _each_gets_its_own(w, pool, [key(f"late_{i}") for i in range(20)])
        before = far.wire(loss=0.05, delay=0.005)
        _each_gets_its_own(w, pool, [key(f"lossy_{i}") for i in range(40)])
        assert far.wire(loss=1.0) > before, "packets were lost indeed"

        brief = Timeout(connect=0.3, read=1.0, total=1.5)
        for call in [w.spawn(lambda n=i: pool.agent(key(f"lossy_{n}")).get("/x", timeout=0.3)) for i in range(5)]:
            assert_documented(call.join().error, ColonyNetworkError, words="timeout: ")
        retry = RetryConfig(
            max_retries=99, base_delay=0.1, max_delay=0.2, retry_on=frozenset({502}), retry_network_errors=True
        )
        breaker = BreakerConfig(fail_max=3, open_delay=0.1, open_delay_max=0.2, min_failure_time=0.0)
        options: dict[str, Any] = {"auth_token_retry": retry, "breaker": breaker, "timeout": brief}
        parking = w.pool(far.base_url, allow_insecure=True, max_wait=3600.0, **options)
        parked = [w.spawn(parking.agent(key(f"parked_{i}")).token) for i in range(10)]
        w.until(lambda: parking.status().breaker.state != "closed", "the breaker opens")
        far.wire()
        assert all(task.result() for task in parked)
        for each in (pool, parking):
            assert_recovered(w, each)
    finally:
        far.close()
