"""One process whose pool shares a store: ``python -m tests.support.programs.store_user RUNTIME URL SHARED KEY...``.

It reads a line at a time. ``ask`` forgets all tokens and has every key ask for one; ``status`` asks nothing. Both are
answered by one JSON line: what the pool says of its store, which errors it met, and how often the store failed it.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from colony_pool import BreakerConfig, ColonyPool
from colony_pool.config import AUTH_TOKEN_RETRY
from tests.support.private import engine_of, spawner

INTERVAL = 0.25  # seconds between two probes
LEASE = 2.0  # seconds that a probe may take
# A process that has not opened its breaker yet may meet the silence with an attempt: by default that ends a call.
RETRY = replace(AUTH_TOKEN_RETRY, retry_network_errors=True)


def ask(pool: ColonyPool, runtime: Any, keys: list[str]) -> Counter[str]:
    """Have all keys get a new token; the errors that were met instead."""
    errors: Counter[str] = Counter()

    def one(key: str) -> None:
        try:
            pool.agent(key).token()
        except Exception as error:
            errors[f"{type(error).__name__}: {error}"] += 1

    for key in keys:
        pool.agent(key).invalidate()
    spawn = spawner(runtime)
    for join in [spawn(one, key) for key in keys]:
        join()
    return errors


def main(runtime: Any, url: str, shared: str, *keys: str) -> None:
    breaker = BreakerConfig(fail_max=4, min_failure_time=0.0, open_delay=INTERVAL, open_delay_max=INTERVAL)
    with ColonyPool(
        url, runtime=runtime, shared=shared, share_tokens=True, breaker=breaker, probe_timeout=LEASE, max_wait=600.0,
        registry=None, token_cache=None, auth_token_retry=RETRY,
    ) as pool:  # fmt: skip
        print("ready", flush=True)
        for line in sys.stdin:
            errors = ask(pool, runtime, list(keys)) if line.strip() == "ask" else Counter()
            store = engine_of(pool).store
            assert store is not None
            report = {
                "shared": pool.status().shared,
                "errors": errors,
                "failures": store.health.failures,
            }
            print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
