"""Our own slots and our users' callables: what is wrong with them is no evidence against the endpoint."""

from __future__ import annotations

import threading
from typing import Any

from tests.support.private import engine_of

from . import World, error_of, scenario


@scenario()
def g11_api_calls_that_hang_do_not_keep_the_pool_from_its_tokens(w: World) -> None:
    """One slot is the token endpoint's alone, whatever the API calls do; and the breaker hears nothing of it."""
    pool = w.pool(maxsize=2)
    holder = pool.agent("col_holder")
    holder.token()
    w.colony.behave("hang", only="/users/me")
    calls = [w.spawn(holder.get, "/users/me") for _ in range(5)]
    w.until(lambda: w.colony.stats().in_flight == 1)
    assert all(pool.agent(f"col_cold_{number}").token() for number in range(3))
    assert (pool.status().breaker.state, pool.status().breaker.failures) == ("closed", 0)
    pool.close()
    for call in calls:
        call.join()


@scenario()
def g11_a_probe_leaves_while_api_calls_hold_the_slots(w: World) -> None:
    pool = w.pool(maxsize=2)
    holder = pool.agent("col_holder")
    holder.token()
    w.colony.behave("hang", only="/users/me")
    calls = [w.spawn(holder.get, "/users/me") for _ in range(3)]
    w.until(lambda: w.colony.stats().in_flight == 1)
    pool.breaker.open()
    assert pool.agent("col_cold").token(max_wait=60)
    assert pool.status().breaker.state == "closed"
    pool.close()
    for call in calls:
        call.join()


@scenario()
def api_calls_take_turns_by_agent(w: World) -> None:
    """An agent with many calls makes another's wait for one round, not for all of them."""
    pool = w.pool(maxsize=2)
    greedy, quiet = pool.agent("col_greedy"), pool.agent("col_quiet")
    greedy.token()
    quiet.token()
    order: list[str] = []
    lock = threading.Lock()

    def call(agent: Any, name: str) -> None:
        agent.get("/users/me")
        with lock:
            order.append(name)

    w.colony.latency(0.02)
    tasks = [w.spawn(call, greedy, "greedy") for _ in range(30)]
    w.until(lambda: engine_of(pool).network.bulkhead.waiting >= 20)
    served = len(order)
    tasks.append(w.spawn(call, quiet, "quiet"))
    for task in tasks:
        task.result()
    assert order.index("quiet") - served <= 12, order


@scenario()
def g11_a_call_that_gets_no_slot_is_told_so(w: World) -> None:
    from colony_pool import ColonyNetworkError

    pool = w.pool(maxsize=2)
    agent = pool.agent("col_a")
    agent.token()
    w.colony.behave("hang", only="/users/me")
    hog = w.spawn(agent.get, "/users/me")
    w.until(lambda: w.colony.stats().in_flight == 1)
    error = error_of(agent.get, "/users/me", timeout=0.2)
    assert type(error) is ColonyNetworkError
    assert "all 2 connections were busy" in str(error)
    assert "maxsize" in str(error)
    assert pool.status().breaker.failures == 0
    pool.close()
    hog.join()


@scenario("threads", "gevent", "gevent-late", "gevent-unpatched")
def g15_a_callable_that_hangs_is_asked_once_and_holds_nobody_up(w: World) -> None:
    """Its key waits and is told what it waits for; others are served, at a window of one; no probe is lost to it."""
    from colony_pool import ColonyTwoFactorRequiredError

    pool = w.pool()
    asked: list[int] = []
    release = w.event()

    def totp() -> str:
        asked.append(1)
        release.wait(60)
        return "123456"

    agent = pool.agent("col_2fa", totp=totp)
    for _ in range(2):
        error = error_of(agent.token, max_wait=0.1)
        assert type(error) is ColonyTwoFactorRequiredError
        assert "totp() was called" in str(error)
    assert pool.agent("col_bystander").token()
    patient = w.spawn(agent.token)
    pool.breaker.open()
    assert pool.agent("col_prober").token(max_wait=60), "the probe does not wait for that code"
    assert [1] == asked, "one call of a key at a time"
    assert pool.status().breaker.failures == 0
    release.set()
    assert patient.result(), "a code that comes late is used"
    assert [1] == asked


@scenario()
def g15_a_callable_may_wait_for_another_keys_token(w: World) -> None:
    """The seed of its codes lies behind an API call of another agent, which is cold as well."""
    pool = w.pool()

    def totp() -> str:
        assert pool.agent("col_vault").get("/users/me").status == 200
        return "123456"

    assert pool.agent("col_2fa", totp=totp).token()
