"""The two kinds of agents: those behind a pool, and those that each follow the SDK's schedule alone."""

from __future__ import annotations

import time

import urllib3

from .. import ColonyPool
from .._runtime.select import RuntimeName
from ..config import AUTH_TOKEN_RETRY, DispatcherConfig, RetryBudgetConfig, scaled
from ..prometheus import CollectorRegistry
from .agents import SCALE, Fetch, Maker

MAX_WAIT = 7200.0  # seconds of real time: an agent of the pool may wait two hours


def make_pool(base_url: str, *, shared: str | None, exports: bool, runtime: RuntimeName) -> ColonyPool:
    """A pool whose schedules are ``SCALE`` times as fast; the network and the shared record are not."""
    fast = scaled(DispatcherConfig(), SCALE)
    return ColonyPool(
        base_url,
        auth_token_retry=fast.retry,
        breaker=fast.breaker,
        # The budget counts by the real minute. A lone agent's retries of four hours fall into one, and a reserve of
        # 10 would stop it before its breaker opens.
        retry_budget=RetryBudgetConfig(reserve=20),
        policy=fast.policy,
        probe_timeout=1.0,
        max_wait=MAX_WAIT / SCALE,
        token_cache=None,
        registry=CollectorRegistry() if exports else None,
        runtime=runtime,
        name="demo",
        shared=shared,
    )


def maker_of(pool: ColonyPool) -> Maker:
    """How to make agents of ``pool``."""

    def make(key: str) -> tuple[Fetch, Fetch]:
        agent = pool.agent(key)
        return agent.token, agent.token

    return make


def alone(base_url: str) -> Maker:
    """Agents that each retry as the SDK does: 7 attempts, 2, 4, 8, 16, 32, 60 s apart (scaled), no jitter."""
    schedule = [AUTH_TOKEN_RETRY.delay(n) / SCALE for n in range(1, AUTH_TOKEN_RETRY.max_retries + 1)]
    manager = urllib3.PoolManager(maxsize=64, retries=False, timeout=urllib3.Timeout(connect=5, read=30))

    def fetch(key: str) -> object:
        for delay in (*schedule, None):
            reply = manager.request("POST", base_url + "/auth/token", json={"api_key": key})
            if reply.status == 200:
                return reply.json()["access_token"]
            if delay is None or reply.status not in AUTH_TOKEN_RETRY.retry_on:
                break
            time.sleep(delay)
        raise RuntimeError(f"HTTP {reply.status}")

    return lambda key: (lambda: fetch(key), lambda: fetch(key))
