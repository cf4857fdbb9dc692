"""The public API as users write it; mypy --strict reads it, nobody runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pybreaker
from prometheus_client import CollectorRegistry

from colony_pool import (
    Agent,
    AsyncAgent,
    AsyncColonyPool,
    BreakerConfig,
    CircuitOpenError,
    ColonyAPIError,
    ColonyPool,
    PoolStatus,
    Response,
    RetryBudgetConfig,
    RetryConfig,
    Timeout,
)
from colony_pool.testing import FakeColony, SimEvent, SimLock, SimRuntime, SimTimer
from colony_pool.types import AsyncTotp, Event, Lock, Runtime, Timer, Totp


def everything(key: str) -> None:
    pool = ColonyPool(
        "https://thecolony.ai/api/v1",
        retry=RetryConfig(max_retries=1),
        auth_token_retry=RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0),
        breaker=BreakerConfig(fail_max=8),
        retry_budget=RetryBudgetConfig(ratio=1.0),
        max_wait=3600,
        timeout=Timeout(connect=5, read=30, total=30),
        registry=CollectorRegistry(),
        runtime="gevent",
        proxy="environment",
        ca_certs=Path("/etc/ssl/private-ca.pem"),
        client_cert=("agent.pem", "agent.key"),
    )
    ColonyPool(proxy="http://proxy.example:3128", client_cert=("agent.pem", "agent.key", "password")).close()
    ColonyPool(proxy=None, ca_certs="/etc/ssl/private-ca.pem", client_cert="both.pem").close()
    ColonyPool(client_cert=("agent.pem", b"agent.key"))  # type: ignore[arg-type] # no path
    agent: Agent = pool.agent(key, totp=lambda: "123456")
    token: str = agent.token(max_wait=5)
    body: Any = agent.post("/posts", json={"title": "x"}, idempotency_key="k").json()
    status: PoolStatus = pool.status()
    state: str = status.breaker.state
    port: int = pool.start_metrics_server(0)
    breaker: pybreaker.CircuitBreaker = pool.breaker
    breaker.open()
    agent.get("/users/me", parms={"page": 2})  # type: ignore[call-arg] # no such option
    agent.get("/users/me", timeout="3")  # type: ignore[arg-type] # not seconds
    try:
        answer: Response = agent.get("/users/me", params={"page": 2}, timeout=3.0)
        print(answer.status)
    except CircuitOpenError as error:
        after: float | None = error.retry_after
        print(after)
    except ColonyAPIError as error:
        code: str | None = error.code
        print(code)
    agent.invalidate()
    pool.close()
    print(token, body, state, port)


async def on_asyncio(key: str) -> None:
    pool = AsyncColonyPool(
        "https://thecolony.ai/api/v1",
        retry=RetryConfig(max_retries=1),
        max_wait=3600,
        timeout=Timeout(connect=5, read=30, total=30),
        registry=CollectorRegistry(),
        shared="host",
    )

    async def code() -> str:
        return "123456"

    agent: AsyncAgent = pool.agent(key, totp=code)
    token: str = await agent.token(max_wait=5)
    body: Any = (await agent.post("/posts", json={"title": "x"}, idempotency_key="k")).json()
    status: PoolStatus = pool.status()
    breaker: pybreaker.CircuitBreaker = pool.breaker
    behind: ColonyPool = pool.pool
    async with AsyncColonyPool(pool=behind) as guest:
        pool.agent(key, totp="123456")
        await guest.agent(key, totp=lambda: "123456").invalidate()
    await pool.aclose()
    AsyncColonyPool(max_wiat=5)  # type: ignore[call-arg] # no such option
    AsyncColonyPool(max_wait="5")  # type: ignore[arg-type] # not seconds
    print(token, body, status, breaker)


def in_tests() -> None:
    with FakeColony(expires_in=60.0) as colony, ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        colony.behave("status", status=502, only="/auth/token")
        colony.deny("col_x")
        pool.agent("col_x")
    sim = SimRuntime(seed=1)
    ColonyPool("http://127.0.0.1/api/v1", runtime=sim)
    event: SimEvent = sim.event()
    lock: SimLock = sim.lock()
    timer: SimTimer = sim.call_later(1.0, event.set)
    timer.cancel()
    print(lock.acquire(blocking=False))


def named_types(runtime: Runtime, totp: Totp, key: str) -> None:
    pool = ColonyPool("http://127.0.0.1/api/v1", runtime=runtime)
    pool.agent(key, totp=totp)
    event: Event = runtime.event()
    lock: Lock = runtime.lock()
    timer: Timer = runtime.call_later(1.0, event.set)
    timer.cancel()
    simulated: Runtime = SimRuntime()
    asynchronous: AsyncTotp = totp
    AsyncColonyPool().agent(key, totp=asynchronous)
    print(lock, simulated)


def advised(error: ColonyAPIError) -> None:
    message: str = error.message
    hint: str = error.hint
    print(message, hint)
