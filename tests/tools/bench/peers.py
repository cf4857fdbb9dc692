"""The clients that play the outage: colony_pool, and what people use today, each as its documentation shows it.

All have the same schedule, six retries from 2 to 60 s (``scale`` divides every delay), at most 64 requests at once
(but colony-sdk, which opens a connection for each request), and where there is a breaker, five failures open it for a
minute. A breaker alone does not retry, so those stand inside tenacity's retries.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.support.private import Fetch, Maker

RETRIES, FIRST, LONGEST = 6, 2.0, 60.0
THRESHOLD, RESET = 5, 60.0
MAXSIZE = 64
DOWN = (502, 503, 504)

Post = Callable[[str], str]
Guard = Callable[[Post, float], Post]  # (one bare attempt, the scale) -> what an agent calls
Close = Callable[[], object]


class Refused(Exception):
    """The endpoint answered, and not with a token."""


def colony_pool(base_url: str, scale: float, patience: float | None = None) -> tuple[Maker, Close]:
    """The pool; without ``patience`` its calls wait as long as its schedule says: 122 s, scaled."""
    from colony_pool import ColonyPool
    from colony_pool.config import DispatcherConfig, scaled

    fast = scaled(DispatcherConfig(), scale)
    pool = ColonyPool(
        base_url, auth_token_retry=fast.retry, breaker=fast.breaker, retry_budget=fast.retry_budget,
        policy=fast.policy, probe_timeout=1.0, max_wait=patience, maxsize=MAXSIZE,
        token_cache=None, registry=None,
    )  # fmt: skip

    def make(key: str) -> tuple[Fetch, Fetch]:
        agent = pool.agent(key)
        return agent.token, agent.token

    return make, pool.close


def colony_sdk(base_url: str, scale: float) -> Maker:
    from colony_sdk import ColonyClient, RetryConfig

    schedule = RetryConfig(
        max_retries=RETRIES, base_delay=FIRST / scale, max_delay=LONGEST / scale, retry_on=frozenset(DOWN)
    )

    def make(key: str) -> tuple[Fetch, Fetch]:
        client = ColonyClient(key, base_url=base_url, cache_token=False)
        client.auth_token_retry = schedule

        def again() -> object:
            client.refresh_token()
            return client.get_auth_token()

        return client.get_auth_token, again

    return make


def urllib3_retry(base_url: str, scale: float) -> Maker:
    """urllib3's own ``Retry``: its first retry is immediate, and the others wait 4, 8, 16, 32 and 60 s."""
    import urllib3

    retry = urllib3.Retry(
        total=RETRIES, backoff_factor=FIRST / scale, backoff_max=LONGEST / scale, status_forcelist=DOWN,
        allowed_methods=None,
    )  # fmt: skip
    return _same(_bare(base_url, retry))


def tenacity(post: Post, scale: float) -> Post:
    import tenacity

    return tenacity.retry(
        stop=tenacity.stop_after_attempt(RETRIES + 1),
        wait=tenacity.wait_exponential(multiplier=FIRST / scale, max=LONGEST / scale),
        reraise=True,
    )(post)


def stamina(post: Post, scale: float) -> Post:
    """With its default jitter of a second, scaled, and without a log line for each retry."""
    import stamina

    logging.getLogger("stamina").setLevel(logging.ERROR)
    return stamina.retry(
        on=Exception, attempts=RETRIES + 1, timeout=None, wait_initial=FIRST / scale, wait_max=LONGEST / scale,
        wait_jitter=1.0 / scale,
    )(post)  # fmt: skip


def pybreaker_call(post: Post, scale: float) -> Post:
    import pybreaker

    breaker = pybreaker.CircuitBreaker(fail_max=THRESHOLD, reset_timeout=RESET / scale)
    return tenacity(lambda key: str(breaker.call(post, key)), scale)


def pybreaker_calling(post: Post, scale: float) -> Post:
    import pybreaker

    breaker = pybreaker.CircuitBreaker(fail_max=THRESHOLD, reset_timeout=RESET / scale)

    def guarded(key: str) -> str:
        with breaker.calling():
            return post(key)

    return tenacity(guarded, scale)


def circuitbreaker(post: Post, scale: float) -> Post:
    from circuitbreaker import CircuitBreaker  # type: ignore[import-untyped]

    return tenacity(CircuitBreaker(THRESHOLD, RESET / scale, name="token")(post), scale)


def purgatory(post: Post, scale: float) -> Post:
    from purgatory import SyncCircuitBreakerFactory

    breakers = SyncCircuitBreakerFactory(default_threshold=THRESHOLD, default_ttl=RESET / scale)
    return tenacity(breakers("token")(post), scale)


def budget_alone(post: Post, scale: float) -> Post:
    """A retry budget as Finagle has it: each call pays in a fifth of a retry, and ten are free in a minute.

    No Python library has one. A retry that the budget refuses is not made, and its call fails.
    """
    budget = _Budget(ratio=0.2, reserve=10, window=60.0 / scale)

    def fetch(key: str) -> str:
        budget.deposit()
        for retry in range(RETRIES):
            try:
                return post(key)
            except Exception:
                if not budget.withdraw():
                    raise
            time.sleep(min(FIRST * 2.0**retry, LONGEST) / scale)
        return post(key)

    return fetch


class _Budget:
    """Retries <= ``ratio`` x calls + ``reserve`` within ``window`` seconds."""

    def __init__(self, ratio: float, reserve: int, window: float) -> None:
        self._ratio, self._reserve, self._window = ratio, reserve, window
        self._calls: deque[float] = deque()
        self._retries: deque[float] = deque()
        self._lock = threading.Lock()  # guards both

    def deposit(self) -> None:
        with self._lock:
            self._calls.append(time.monotonic())

    def withdraw(self) -> bool:
        now = time.monotonic()
        with self._lock:
            for times in (self._calls, self._retries):
                while times and times[0] <= now - self._window:
                    times.popleft()
            if len(self._retries) + 1 > self._ratio * len(self._calls) + self._reserve:
                return False
            self._retries.append(now)
            return True


def _bare(base_url: str, retries: Any = False) -> Post:
    """One request for a token, no more than ``MAXSIZE`` at a time; anything but a token raises."""
    import urllib3

    manager = urllib3.PoolManager(maxsize=MAXSIZE, block=True)

    def post(key: str) -> str:
        reply = manager.request(
            "POST", base_url + "/auth/token", json={"api_key": key}, retries=retries, timeout=urllib3.Timeout(5, 30)
        )
        if reply.status != 200:
            raise Refused(f"HTTP {reply.status}")
        return str(reply.json()["access_token"])

    return post


def _same(fetch: Post) -> Maker:
    """A client that asks alike for an agent's first token and for the next one."""

    def make(key: str) -> tuple[Fetch, Fetch]:
        def ask() -> object:
            return fetch(key)

        return ask, ask

    return make


WHOLE: dict[str, Callable[[str, float], Maker]] = {"colony-sdk": colony_sdk, "urllib3.Retry": urllib3_retry}
GUARDS: dict[str, Guard] = {
    "tenacity": tenacity,
    "stamina": stamina,
    "retry budget alone": budget_alone,
    "pybreaker, call": pybreaker_call,
    "pybreaker, calling": pybreaker_calling,
    "circuitbreaker": circuitbreaker,
    "purgatory": purgatory,
}
NAMES = ("colony_pool", *WHOLE, *GUARDS)


def client(name: str, base_url: str, scale: float, patience: float | None = None) -> tuple[Maker, Close]:
    """``make(key) -> (first fetch, fetch after the token has run out)``, and what ends it."""
    if name == "colony_pool":
        return colony_pool(base_url, scale, patience)
    make = WHOLE[name](base_url, scale) if name in WHOLE else _same(GUARDS[name](_bare(base_url), scale))
    return make, lambda: None
