"""What the server says about time, and an operator who knows better (G13)."""

from __future__ import annotations

import functools
import logging
import time
from email.utils import formatdate
from typing import Any

from . import World, error_of, scenario

_REFUSAL = '{"detail": {"message": "slow down", "code": "SLOW"}}'


def _all_get_the_same(w: World, pool: Any, seconds: float, within: float = 1.5) -> None:
    """The first error of a hold and the second say the same, and one request was made."""
    from colony_pool import ColonyRateLimitError

    before = len(w.token_requests())
    for key in ("col_first", "col_second"):
        error: Any = error_of(pool.agent(key).token, max_wait=0)
        assert type(error) is ColonyRateLimitError, error
        assert seconds - within <= (error.retry_after or 0.0) <= seconds
    assert before + 1 == len(w.token_requests())
    assert 0 == pool.status().denied


@scenario()
def g13_the_first_error_of_a_pause_says_what_the_second_says(w: World) -> None:
    now = time.time()
    for headers, seconds in (
        ({}, 60.0),
        ({"Retry-After": "soon"}, 60.0),
        ({"Retry-After": "999999999"}, 60.0),
        ({"Retry-After": "31536000"}, 86_400.0),
        ({"Retry-After": "40, 40"}, 40.0),
        ({"retry-after-ms": "40000"}, 40.0),
        ({"RateLimit": '"default";r=0;t=40'}, 40.0),
        ({"X-Rate-Limit-Reset": str(int((now + 600.0) * 1000.0))}, 601.0),
        ({"Retry-After": formatdate(now + 7240.0, usegmt=True), "Date": formatdate(now + 7200.0, usegmt=True)}, 40.0),
    ):
        w.colony.behave("status", status=429, headers=headers, only="/auth/token")
        _all_get_the_same(w, w.pool(), seconds, within=1.5 if len(headers) < 2 and seconds != 601.0 else 30.0)


@scenario()
def g13_a_refusal_that_says_when_to_come_back_is_a_rate_limit(w: World) -> None:
    for status in (400, 403):
        for headers in (
            {"Retry-After": "40"},
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "40"},
            {"RateLimit-Remaining": "0", "RateLimit-Reset": "40"},
        ):
            w.colony.behave("status", status=status, headers=headers, body=_REFUSAL, only="/auth/token")
            _all_get_the_same(w, w.pool(), 40.0)


@scenario()
def g13_a_header_that_comes_twice_counts_once(w: World) -> None:
    from colony_pool import RetryConfig

    head = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 40\r\nRetry-After: 40\r\nContent-Length: 0\r\n\r\n"
    w.colony.behave("raw", data=head, only="/auth/token")
    _all_get_the_same(w, w.pool(), 40.0)
    pool = w.pool(retry=RetryConfig(max_retries=0))
    w.colony.behave("healthy")
    assert pool.agent("col_warm").token()
    w.colony.behave("raw", data=head, only="/users/me")
    error: Any = error_of(pool.agent("col_warm").post, "/users/me", idempotency_key="once")
    assert 40.0 == error.retry_after


@scenario()
def g13_a_pause_that_ends_at_once_costs_one_request_a_second_and_fewer_and_fewer(w: World) -> None:
    for headers in ({"Retry-After": "0"}, {"X-RateLimit-Reset": str(int(time.time()) - 5)}):
        w.colony.behave("status", status=429, headers=headers, only="/auth/token")
        pool, before = w.pool(), len(w.token_requests())
        first: Any = error_of(pool.agent("col_1").token, max_wait=0)
        assert 1.0 == first.retry_after
        errors: list[Any] = [error_of(pool.agent(f"col_{i}").token, max_wait=0) for i in range(20)]
        assert all(0.0 < error.retry_after <= 1.0 for error in errors)
        assert before + 1 == len(w.token_requests())
        w.until(functools.partial(_is_free, pool))
        second: Any = error_of(pool.agent("col_2").token, max_wait=0)
        assert 2.0 == second.retry_after


@scenario()
def g13_an_operator_ends_a_pause_and_one_attempt_leaves_next(w: World) -> None:
    lines: list[Any] = []
    logging.getLogger("colony_pool").addFilter(lambda record: not lines.append(record))  # type: ignore[func-returns-value]
    pool = w.pool()
    assert 0.0 == pool.clear_rate_limit()
    w.colony.behave("status", status=429, headers={"Retry-After": "86400"}, only="/auth/token")
    error_of(pool.agent("col_first").token, max_wait=0)
    for verb in (pool.breaker.close, pool.breaker.half_open, pool.breaker.close):
        verb()
    assert pool.status().hold_for > 86_000.0
    assert 86_000.0 < pool.clear_rate_limit() <= 86_400.0
    assert 0.0 == pool.status().hold_for
    words = "an operator, in this process, has ended a hold 86"
    w.until(lambda: [words in line.getMessage() for line in lines].count(True) == 1, "one line in the log")
    error_of(pool.agent("col_first").token, max_wait=0)
    assert pool.status().hold_for > 86_000.0, "the server's next 429 holds again"
    w.colony.behave("healthy")
    w.colony.latency(0.1)
    pool.clear_rate_limit()
    tasks = [w.spawn(pool.agent(f"col_{i}").token) for i in range(20)]
    assert all(task.result() for task in tasks)
    rows = sorted((r for r in w.token_requests() if r.status == 200), key=lambda r: r.at)
    assert rows[0].at + rows[0].seconds <= rows[1].at, "the first attempt is alone"


@scenario()
def g13_a_pause_that_was_ended_is_ended_for_all_who_share_the_endpoint(w: World) -> None:
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.environ["COLONY_POOL_STATE_DIR"] = folder
        here, there = w.pool(shared="host"), w.pool(shared="host")
        w.colony.behave("status", status=429, headers={"Retry-After": "86400"}, only="/auth/token")
        error_of(here.agent("col_a").token, max_wait=0)
        w.until(lambda: _is_rate_limited(there, "col_b"), "the hold at the other pool")
        w.colony.behave("healthy")
        assert here.clear_rate_limit() > 86_000.0
        assert here.agent("col_a").token()
        w.until(lambda: _is_served(there, "col_b"), "the end of the hold at the other pool")
        assert 0.0 == here.status().hold_for == there.status().hold_for
        for pool in (here, there):
            pool.close()


def _is_free(pool: Any) -> bool:
    return not pool.status().hold_for


def _is_served(pool: Any, key: str) -> bool:
    from colony_pool import ColonyRateLimitError

    try:
        return bool(pool.agent(key).token(max_wait=0))
    except ColonyRateLimitError:
        return False


def _is_rate_limited(pool: Any, key: str) -> bool:
    error_of(pool.agent(key).token, max_wait=0)
    return bool(pool.status().hold_for > 86_000.0)


@scenario()
def g13_an_api_call_reads_the_headers_as_a_token_request_does(w: World) -> None:
    from colony_pool import ColonyAuthError, ColonyRateLimitError, RetryConfig

    agent = w.pool(retry=RetryConfig(max_retries=1, base_delay=0.01)).agent("col_a")
    agent.token()
    for status, headers, requests, after in (
        (429, {"RateLimit": '"default";r=0;t=3600'}, 1, 3600.0),
        (429, {"Retry-After": "3600, 3600"}, 1, 3600.0),
        (429, {"Retry-After": "0"}, 2, 0.0),
        (429, {"Retry-After": "nan"}, 2, None),
        (503, {"retry-after-ms": "3600000"}, 1, None),
        (503, {"Retry-After": "-1"}, 2, None),
    ):
        w.colony.behave("status", status=status, headers=headers, only="/users/me")
        mark = w.colony.now()
        error: Any = error_of(agent.get, "/users/me")
        assert after == getattr(error, "retry_after", None), headers
        assert requests == w.colony.count("/users/me", since=mark), headers
    assert type(error_of(agent.get, "/users/me")).__name__ == "ColonyServerError"
    w.colony.behave("status", status=403, headers={"Retry-After": "40"}, body=_REFUSAL, only="/users/me")
    refused: Any = error_of(agent.get, "/users/me")
    assert type(refused) is ColonyAuthError, "an API call's error keeps the class of its status"
    assert "the server asks to wait 40 s" in str(refused)
    assert not isinstance(refused, ColonyRateLimitError)
