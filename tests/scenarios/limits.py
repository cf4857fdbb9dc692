"""Holds, refused keys, one-time codes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import World, error_of, scenario

SECRET = "JBSWY3DPEHPK3PXP"


@scenario()
def g13_a_429_holds_everybody_and_is_never_retried(w: World) -> None:
    from colony_pool import ColonyRateLimitError

    pool = w.pool()
    warm = pool.agent("col_warm")
    token = warm.token()
    w.colony.behave("status", status=429, headers={"Retry-After": "3600"})
    first: Any = error_of(pool.agent("col_a").token)
    assert type(first) is ColonyRateLimitError
    assert first.retry_after == 3600
    second: Any = error_of(pool.agent("col_b").token, max_wait=36_000.0)
    assert type(second) is ColonyRateLimitError, "a hold beyond max_retry_after is not slept"
    assert 3590 < (second.retry_after or 0) <= 3600
    assert w.colony.count("/auth/token", status=429) == 1
    assert warm.token() == token
    assert pool.status().breaker.state == "closed"


@scenario()
def g13_the_headers_start_the_pause_before_the_first_429(w: World) -> None:
    from colony_pool import ColonyRateLimitError

    w.colony.rate_limit(3, 3600.0)
    pool = w.pool()
    for i in range(3):
        pool.agent(f"col_{i}").token()
    error: Any = error_of(pool.agent("col_3").token)
    assert type(error) is ColonyRateLimitError
    assert 3500 < (error.retry_after or 0) <= 3601
    assert w.colony.count("/auth/token", status=429) == 0, "no 429 was provoked"


@scenario()
def g13_a_short_pause_ends_with_one_attempt(w: World) -> None:
    w.colony.behave("status", status=429, headers={"Retry-After": "1"})
    pool = w.pool()
    error_of(pool.agent("col_first").token)
    w.colony.behave("healthy")
    w.colony.latency(0.1)
    tasks = [w.spawn(pool.agent(f"col_{i}").token) for i in range(20)]
    assert all(task.result() for task in tasks)
    rows = sorted((r for r in w.token_requests() if r.status == 200), key=lambda r: r.at)
    assert rows[0].at + rows[0].seconds <= rows[1].at, "the first attempt is alone"


@scenario()
def g14_a_refused_key_fails_at_once_and_nobody_else_notices(w: World) -> None:
    from colony_pool import ColonyAuthError

    pool = w.pool()
    w.colony.deny("col_bad")
    bad = pool.agent("col_bad")
    for _ in range(10):
        assert type(error_of(bad.token)) is ColonyAuthError
    assert len(w.token_requests()) == 1, "remembered"
    assert pool.agent("col_good").token()
    assert pool.status().breaker.failures == 0
    assert pool.status().denied == 1
    w.colony.allow("col_bad")
    bad.invalidate()
    assert bad.token()


@scenario()
def g14_a_server_that_refuses_everybody_is_at_fault_itself(w: World) -> None:
    from colony_pool import ColonyServerError

    pool = w.pool()
    agents = [pool.agent(f"col_{i}") for i in range(12)]
    for agent in agents:
        agent.token()
        agent.invalidate()
    w.colony.behave("status", status=401)
    errors: list[Any] = [error_of(agent.token) for agent in agents]
    assert type(errors[-1]) is ColonyServerError
    assert "key" in str(errors[-1])
    assert pool.status().denied == 0, "the keys are innocent"


@scenario()
def g15_no_code_is_sent_twice(w: World) -> None:
    """The callable gives the same code until the next window; the pool's own windows are short here."""
    from colony_pool import PolicyConfig
    from colony_pool.testing import totp_code

    w.colony.key("col_2fa", totp_secret=SECRET)
    if time.time() % 30.0 > 27.0:
        w.pause(3.2)  # the codes below must belong to the same two windows throughout
    spent, fresh = totp_code(SECRET, time.time() - 30.0), totp_code(SECRET)  # the server takes the last one, too
    asked: list[str] = []

    def code() -> str:
        asked.append(spent if len(asked) < 3 else fresh)
        return asked[-1]

    agent = w.pool(policy=PolicyConfig(totp_window=0.3)).agent("col_2fa", totp=code)
    first = agent.token()
    assert asked == [spent]
    agent.invalidate()
    assert agent.token(max_wait=20.0) != first
    assert asked == [spent, spent, spent, fresh], "asked once per attempt, again in each window"
    stats = w.colony.stats()
    assert (stats.codes_seen, stats.codes_refused, stats.requests) == (2, 0, 2)
    agent.invalidate()
    error: Any = error_of(agent.token, max_wait=0.7)
    assert "key is fine" in str(error)
    assert w.colony.stats().requests == 2, "the spent code was not sent again"


@scenario()
def g15_a_code_stays_spent_whoever_gives_it(w: World) -> None:
    """``pool.agent(key, totp=lambda: ...)`` at each call is a new callable each time."""
    from colony_pool import ColonyTwoFactorInvalidError, PolicyConfig

    w.colony.key("col_2fa", totp_secret=SECRET)
    pool = w.pool(policy=PolicyConfig(totp_window=0.3))
    for _ in range(3):
        error_of(pool.agent("col_2fa", totp=lambda: "000000").token, max_wait=0.7)
    assert w.colony.stats().codes_seen == 1
    assert type(error_of(pool.agent("col_2fa", totp="111111").token)) is ColonyTwoFactorInvalidError
    assert w.colony.stats().codes_seen == 2, "another one is tried at once"


@scenario()
def g14_a_refused_key_is_not_asked_for_again_for_each_new_callable(w: World) -> None:
    from colony_pool import ColonyAuthError

    pool = w.pool()
    w.colony.deny("col_bad")
    for i in range(5):
        error = error_of(pool.agent("col_bad", totp=lambda i=i: f"{i:06d}").token)
        assert type(error) is ColonyAuthError
    assert len(w.token_requests()) == 1


@scenario()
def g15_a_missing_or_a_fixed_code_that_is_spent(w: World) -> None:
    from colony_pool import ColonyTwoFactorInvalidError, ColonyTwoFactorRequiredError, PolicyConfig

    w.colony.key("col_2fa", totp_secret=SECRET)
    pool = w.pool(policy=PolicyConfig(totp_window=0.3))
    missing: Any = error_of(pool.agent("col_2fa").token)
    assert type(missing) is ColonyTwoFactorRequiredError
    fixed = pool.agent("col_2fa", totp="000000")
    assert type(error_of(fixed.token)) is ColonyTwoFactorInvalidError
    fixed.invalidate()
    spent: Any = error_of(fixed.token, max_wait=40.0)
    assert type(spent) is ColonyTwoFactorRequiredError
    assert "callable" in str(spent)
    assert w.colony.stats().codes_seen == 1


@scenario()
def g15_a_code_that_may_have_arrived_is_not_sent_again_when_the_connection_breaks(w: World) -> None:
    """An idle connection that turns out to be dead makes other requests go out once more; never one with a code."""
    from colony_pool import ColonyNetworkError

    pool = w.pool()
    pool.agent("col_warm").get("/users/me")
    asked: list[int] = []

    def code() -> str:
        asked.append(1)
        return f"{len(asked):06d}"

    w.colony.behave("reset", only="/auth/token")
    assert type(error_of(pool.agent("col_2fa", totp=code).token)) is ColonyNetworkError
    assert len(asked) == 1
    assert w.colony.count("/auth/token", status=0) == 1
    error_of(pool.agent("col_plain").token)
    assert w.colony.count("/auth/token", status=0) >= 2


@scenario()
def g15_what_the_users_callable_raises_is_the_callers_to_see(w: World) -> None:
    class Locked(Exception):
        pass

    def locked() -> str:
        raise Locked

    pool = w.pool()
    assert type(error_of(pool.agent("col_a", totp=locked).token)) is Locked
    assert w.token_requests() == []
    assert pool.agent("col_b").token()
    status = pool.status()
    assert (status.waiters, status.in_flight, status.breaker.failures) == (0, 0, 0)


@contextmanager
def _no_threads(w: World) -> Iterator[None]:
    """The system grants the pool none, and those that it had have ended."""

    def mine() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("colony_pool")]

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("colony_pool"):
            raise RuntimeError("can't start new thread")
        really(thread)

    really = threading.Thread.start
    threading.Thread.start = start  # type: ignore[assignment, method-assign]
    try:
        w.until(lambda: not mine(), "no thread is left")
        yield
    finally:
        threading.Thread.start = really  # type: ignore[method-assign]


# gevent needs no thread for an attempt.
@scenario("threads", "asyncio")
def without_a_thread_a_call_is_told_so_and_the_endpoint_is_not_to_blame(w: World) -> None:
    """Whoever calls: the main thread, another one, a task of a loop; and who has to give a one-time code first."""
    pool = w.pool()
    warm = pool.agent("col_warm")
    token = warm.token()
    w.colony.close_idle()
    asked = len(w.token_requests())
    with _no_threads(w):
        began = time.monotonic()
        here: Any = error_of(pool.agent("col_here").token, max_wait=5.0)
        there: Any = w.spawn(pool.agent("col_there").token).join().error
        for error in (here, there):
            assert "no thread" in str(error), repr(error)
        coded: Any = error_of(pool.agent("col_2fa", totp=lambda: "123456").token)
        assert "no thread for totp()" in str(coded), repr(coded)
        assert time.monotonic() - began < 5.0, "at once"
        assert warm.token() == token, "what there is, is served"
        status = pool.status()
        assert (status.waiters, status.in_flight) == (0, 0)
        assert (status.breaker.state, status.breaker.failures, status.denied) == ("closed", 0, 0)
    assert len(w.token_requests()) == asked
    assert pool.agent("col_here").token()
    assert pool.agent("col_there").token()
    assert pool.agent("col_2fa", totp=lambda: "123456").token()
