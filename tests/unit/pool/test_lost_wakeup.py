"""G3: a call whose wake-up died with the task that was to send it finds its answer by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from colony_pool import ColonyPool
from colony_pool.testing import SimRuntime
from colony_pool.types import CancelToken, RawResponse
from tests.support.private import Driver
from tests.support.virtual import VirtualTransport

MAX_WAIT, STEP = 5.0, 2.0


class Healthy(VirtualTransport):
    def token(self, fields: dict[str, str], total: float, cancel: CancelToken) -> RawResponse:
        return RawResponse(200, {}, json.dumps({"access_token": "jwt-1", "expires_in": 86_400}).encode())


def test_g3_a_call_looks_for_itself_if_its_wake_up_got_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "_wake", lambda self, waiter: None)
    sim = SimRuntime(seed=1)
    transport: Any = Healthy()
    pool = ColonyPool("https://the.colony/api/v1", runtime=sim, transport=transport, token_cache=None, registry=None)
    answers: list[tuple[str, float]] = []

    def call() -> None:
        token = pool.agent("col_a").token(max_wait=MAX_WAIT)
        answers.append((token, sim.monotonic() - began))

    began = sim.monotonic()
    sim.task(call, "caller")
    sim.run(until=began + MAX_WAIT + STEP)
    assert [("jwt-1", MAX_WAIT + 1.0)] == answers
