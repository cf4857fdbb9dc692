"""Options: what passes the check works in every call, on every runtime; the rest is refused when it is built."""

from __future__ import annotations

import asyncio
import math
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import colony_pool as cp
from colony_pool.testing import FakeColony, SimRuntime

CONFIGS = (
    cp.RetryConfig, cp.BreakerConfig, cp.RetryBudgetConfig, cp.Timeout, cp.KeepAliveConfig, cp.PolicyConfig,
)  # fmt: skip
BAD = (
    math.inf, -math.inf, math.nan, 1e300, 1e12, 10**400, -(10**400), 10**5000, True, False, Decimal(1), Fraction(1),
    "1", b"1", None, 1j, [1],
)  # fmt: skip


class Float(float):
    """As numpy's float64 is one."""


def numbers(config: type) -> list[str]:
    return [item.name for item in fields(config) if item.type in ("float", "int")]


@pytest.mark.parametrize(("config", "name"), [(config, name) for config in CONFIGS for name in numbers(config)])
def test_a_number_that_would_break_later_is_refused(config: type, name: str) -> None:
    for value in BAD:
        with pytest.raises(ValueError, match=rf"{config.__name__}\({name}=.*: must be a (whole )?number of at least"):
            config(**{name: value})


@pytest.mark.parametrize("name", ["max_wait", "probe_timeout", "maxsize"])
def test_a_number_of_the_pool_that_would_break_later_is_refused(name: str) -> None:
    for value in BAD:
        if name == "max_wait" and value in (None, math.inf):
            continue
        with pytest.raises(ValueError, match=rf"ColonyPool\({name}=.*: must be a (whole )?number of at least"):
            cp.ColonyPool("http://127.0.0.1:1", registry=None, **dict[str, Any]({name: value}))


@pytest.mark.parametrize("name", ["timeout", "max_wait"])
def test_a_number_of_a_call_that_would_break_later_is_refused_before_anything_is_sent(name: str) -> None:
    with FakeColony() as colony, cp.ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        pool.agent("col_a").token()
        for value in BAD:
            if value is None or (name == "max_wait" and value == math.inf):
                continue
            options: dict[str, Any] = {name: value}
            with pytest.raises(ValueError, match=rf"{name}=.*: must be a (positive )?number"):
                pool.agent("col_a").get("/users/me", **options)
        assert 0 == colony.count("/users/me")


LARGEST: dict[str, Any] = {
    "timeout": cp.Timeout(connect=1e6, read=1e6, total=1e6),
    "probe_timeout": 1e6,
    "max_wait": math.inf,
    "breaker": cp.BreakerConfig(
        fail_max=10**9,
        open_delay=1e-3,
        open_delay_max=1e9,
        retry_after_max=1e9,
        reset_after=10**9,
        min_failure_time=1e9,
    ),
    "retry": cp.RetryConfig(max_retries=10**6, base_delay=1e9, max_delay=1e9, max_retry_after=1e9),
    "auth_token_retry": cp.RetryConfig(max_retries=10**6, base_delay=1e9, max_delay=1e9, max_retry_after=1e9),
    "retry_budget": cp.RetryBudgetConfig(ratio=1e9, reserve=10**9, window=1e9),
    "policy": cp.PolicyConfig(
        max_spacing=1e9,
        overload_spacing=1e9,
        recent_success=1e9,
        token_life=3e8,
        mandatory_margin=1e9,
        retry_refresh_min=1e9,
        retry_refresh_max=1e9,
        forced_refresh_interval=1e9,
        rejection_delay=1e9,
        rejection_delay_max=1e9,
        totp_window=1e9,
        server_fault_keys=10**9,
        server_fault_window=1e9,
        rate_limit_default=1e9,
        rate_limit_max=1e9,
    ),
}


def called(colony: FakeColony, runtime: Any, options: dict[str, Any], **of_the_call: Any) -> tuple[int, int]:
    """The status of a call whose agent was parked, and of one that had its token at hand."""
    colony.expires_in(86_400, tell=False)
    options = {"token_cache": None, "registry": None, **options}
    if runtime == "asyncio":

        async def main() -> tuple[int, int]:
            async with cp.AsyncColonyPool(colony.base_url, **options) as pool:
                await asyncio.to_thread(pool.breaker.open)
                agent = pool.agent("col_a")
                first, second = [await agent.get("/users/me", **of_the_call) for _ in range(2)]
                return first.status, second.status

        return asyncio.run(main())
    with cp.ColonyPool(colony.base_url, runtime=runtime, **options) as pool:
        pool.breaker.open()
        agent = pool.agent("col_a")
        first, second = [agent.get("/users/me", **of_the_call) for _ in range(2)]
        return first.status, second.status


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["threads", "gevent", "asyncio"])
@pytest.mark.parametrize("name", [*LARGEST, "all"])
def test_the_largest_that_passes_works(runtime: str, name: str) -> None:
    with FakeColony() as colony:
        assert (200, 200) == called(colony, runtime, LARGEST if name == "all" else {name: LARGEST[name]})


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["threads", "gevent", "asyncio"])
def test_the_largest_of_a_call_works(runtime: str) -> None:
    with FakeColony() as colony:
        assert (200, 200) == called(colony, runtime, {}, timeout=10**6, max_wait=math.inf)
        assert (200, 200) == called(colony, runtime, {"max_wait": Float(60)}, timeout=Float(30))


def test_the_patience_of_a_million_retries_is_counted_at_once() -> None:
    """Counted by lines that run, not by the clock."""
    lines = 0

    def trace(frame: Any, event: str, arg: object) -> Callable[..., Any]:
        nonlocal lines
        lines += event == "line"
        return trace

    config = cp.RetryConfig(max_retries=10**6, base_delay=2.0, max_delay=60.0)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        patience = config.patience
    finally:
        sys.settrace(before)
    assert math.fsum([2, 4, 8, 16, 32, *[60] * (10**6 - 5)]) == patience
    assert lines < 2000
    assert 122.0 == cp.RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0).patience
    assert 1e9 == cp.RetryConfig(max_retries=10**6, base_delay=1e9, max_delay=1e9).patience


@pytest.mark.slow
def test_no_limit_rides_out_an_outage_of_a_year() -> None:
    """G9 on virtual time."""
    sim = SimRuntime(1)
    with FakeColony() as colony:
        pool = cp.ColonyPool(colony.base_url, runtime=sim, token_cache=None, registry=None, max_wait=math.inf)
        colony.behave("status", status=502, only="/auth/token")
        tokens: list[str] = []
        sim.spawn(lambda: tokens.append(pool.agent("col_a").token()))
        sim.run(until=7 * 86_400.0)
        assert [] == tokens
        colony.behave("healthy")
        sim.run(until=7 * 86_400.0 + 61.0)
        assert 1 == len(tokens)
        assert re.fullmatch(r"[\w.-]+", tokens[0])
        pool.close()
