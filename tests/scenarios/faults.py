"""Answers that are none, and networks that are none."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.support.private import metrics_of

from . import World, error_of, scenario
from ._after import counted

BAD: dict[str, dict[str, Any]] = {
    "status": {"status": 503},
    "html": {},
    "truncated": {},
    "huge": {"size": 200_000},
    "gzip_bomb": {"size": 5_000_000},
    "not_json": {},
    "not_utf8": {},
    "expired": {},
    "no_token": {},
    "redirect": {"location": "http://127.0.0.1:9/steal"},
}


@scenario()
def g11_g22_whatever_is_no_answer_counts_as_down(w: World) -> None:
    from colony_pool import ColonyServerError, RetryConfig

    pool = w.pool(auth_token_retry=RetryConfig(max_retries=0, retry_on=frozenset({502, 503, 504})))
    for name, options in BAD.items():
        w.colony.behave(name, **options)
        before = metrics_of(pool).counters.count("attempts_total", "down")
        error: Any = error_of(pool.agent(f"col_{name}").token)
        assert type(error) is ColonyServerError, (name, error)
        w.until(partial(counted, pool, "down", before + 1), name)
    w.colony.behave("healthy")
    assert pool.agent("col_html").token()


@scenario()
def network_errors_of_a_first_attempt_are_raised_at_once(w: World) -> None:
    from colony_pool import ColonyNetworkError, RetryConfig

    pool = w.pool()
    w.colony.stop_listening()
    error: Any = error_of(pool.agent("col_a").token)
    assert type(error) is ColonyNetworkError
    assert "refused" in str(error)
    assert error.status == 0
    w.colony.start_listening()
    w.colony.behave("reset")
    assert "reset" in str(error_of(pool.agent("col_a").token))
    w.colony.behave("healthy")
    assert pool.agent("col_a").token()
    retrying = w.fast(
        auth_token_retry=RetryConfig(
            base_delay=0.05, max_delay=0.1, max_retries=50, retry_network_errors=True, retry_on=frozenset({502})
        )
    )
    w.colony.stop_listening()
    task = w.spawn(retrying.agent("col_b").token)
    w.until(lambda: metrics_of(retrying).counters.count("attempts_total", "network") >= 2)
    w.colony.start_listening()
    assert task.result()
