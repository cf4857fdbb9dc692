"""Rate-limit headers of every kind, hostile ones too, through a pool in virtual time (G13)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colony_pool import ColonyAPIError, ColonyPool, ColonyRateLimitError
from colony_pool.config import PolicyConfig
from colony_pool.testing import SimRuntime
from tests.support.private import CancelToken, RawResponse
from tests.support.virtual import VirtualTransport
from tests.unit.core.test_headers import DATE, IN_30, VALUES, WALL

NAMES = [
    "date", "retry-after", "retry-after-ms", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit",
    "ratelimit-policy", "ratelimit-remaining", "ratelimit-reset", "x-rate-limit-remaining", "x-rate-limit-reset",
]  # fmt: skip
GOOD = {"access_token": "a.b.c", "expires_in": 86_400}
REFUSAL = {"detail": {"message": "slow down", "code": "SLOW"}}


class Server(VirtualTransport):
    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.answers, self.asked = (status, dict(headers)), 0

    def token(self, fields: dict[str, str], total: float, cancel: CancelToken) -> RawResponse:
        self.asked += 1
        status, headers = self.answers
        return RawResponse(status, headers, json.dumps(GOOD if status == 200 else REFUSAL).encode())


class Caller:
    """Calls of a pool in virtual time, and what each was told."""

    def __init__(self, status: int, headers: Mapping[str, str], **options: Any) -> None:
        self.sim = SimRuntime(seed=1, wall=WALL)
        self.server = Server(status, headers)
        transport: Any = self.server
        self.pool = ColonyPool(
            "https://api.example/v1",
            runtime=self.sim,
            transport=transport,
            token_cache=None,
            registry=None,
            **options,
        )

    def call(self, key: str) -> Any:
        results: list[Any] = []

        def ask() -> None:
            try:
                results.append(self.pool.agent(key).token(max_wait=0))
            except ColonyAPIError as error:
                results.append(error)

        self.sim.task(ask)
        self.sim.run(until=self.sim.monotonic() + 0.1)
        return results[0]


@pytest.mark.parametrize("status", [429, 403, 400, 503])
@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "30", "x-ratelimit-remaining": "0"},
        {"retry-after": "30, 30", "ratelimit-remaining": "0"},
        {"retry-after": IN_30, "date": DATE, "ratelimit": '"a";r=0;t=30'},
        {"retry-after": str(int(WALL) + 30), "date": DATE, "ratelimit": "limit=9, remaining=0, reset=30"},
        {"retry-after-ms": str(int(WALL) * 1000 + 30_000), "date": DATE, "x-rate-limit-remaining": "0"},
        {"retry-after": "30", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "600"},
    ],
)
def test_g13_the_first_error_and_all_others_say_how_long_the_pause_lasts(
    status: int, headers: dict[str, str]
) -> None:
    caller = Caller(status, headers)
    first, second = caller.call("col_first"), caller.call("col_second")
    assert (ColonyRateLimitError, ColonyRateLimitError) == (type(first), type(second))
    assert first.retry_after == pytest.approx(30.0, abs=1e-6)
    assert 29.0 < second.retry_after <= 30.0
    assert 1 == caller.server.asked
    assert f"HTTP {status}" in str(first)
    assert (429, 0) == (first.status, caller.pool.status().denied)


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"},
        {"ratelimit-remaining": "0", "ratelimit-policy": "100;w=30"},
        {"ratelimit": '"minute";r=0;t=30, "day";r=50;t=80000'},
        {"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(int(WALL) * 1000 + 30_000), "date": DATE},
    ],
)
def test_g13_every_form_of_the_headers_starts_the_pause_before_the_first_429(
    status: int, headers: dict[str, str]
) -> None:
    caller = Caller(status, headers)
    caller.call("col_first")
    assert 29.0 < caller.call("col_second").retry_after <= 30.0
    assert 1 == caller.server.asked


@pytest.mark.parametrize("status", [200, 403, 401])
def test_g13_middleware_that_sends_retry_after_with_each_answer_holds_nobody(status: int) -> None:
    usual = {"retry-after": "3540", "x-ratelimit-remaining": "25", "x-ratelimit-reset": str(int(WALL) + 3541)}
    caller = Caller(status, {**usual, "date": DATE})
    caller.call("col_first")
    assert 0.0 == caller.pool.status().hold_for
    caller.call("col_second")
    assert 2 == caller.server.asked


@pytest.mark.parametrize("status", [408, 421, 425])
def test_g11_too_slow_misdirected_and_too_early_refuse_no_key(status: int) -> None:
    caller = Caller(status, {"retry-after": "30"})
    assert "ColonyServerError" == type(caller.call("col_first")).__name__
    assert (0, 0.0) == (caller.pool.status().denied, caller.pool.status().hold_for)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([200, 400, 401, 403, 408, 421, 425, 429, 502, 503]),
    st.dictionaries(st.sampled_from(NAMES), VALUES),
)
def test_g13_no_header_breaks_a_call_or_holds_beyond_the_bound(status: int, headers: dict[str, str]) -> None:
    caller = Caller(status, headers, policy=PolicyConfig(rate_limit_max=500.0))
    for key in ("col_first", "col_second"):
        result = caller.call(key)
        assert isinstance(result, (str, ColonyAPIError))
        assert "internal error" not in str(result)
        assert 0.0 <= caller.pool.status().hold_for <= 500.0
        if isinstance(result, ColonyRateLimitError):
            assert result.retry_after is not None
            assert 0.0 < result.retry_after <= 500.0
