"""One attempt: what it sends, and when it sends nothing."""

from __future__ import annotations

import json
from typing import Any, cast

from colony_pool.testing.sim import SimRuntime
from tests.support.private import AgentState, Attempt, AttemptRegistry, Credential, Flight, Permit, RawResponse


def test_g15_a_wall_clock_set_forward_makes_no_spent_code_forgotten() -> None:
    credential = Credential("col_a", lambda: "123456")
    sim = SimRuntime(1)
    sent = []

    class Wire:
        def send(self, method: str, path: str, **options: Any) -> RawResponse:
            sent.append(json.loads(options["body"])["totp_code"])
            return RawResponse(401, {}, b"{}")

    attempt = Attempt(cast(Any, Wire()), sim, AttemptRegistry(), "/auth/token", 30.0)
    account = AgentState(credential, None).account
    assert attempt.ask_code(account) is None
    attempt(Permit(Flight(account, 0.0), 0.0, 30.0))
    sim.step_wall(3600.0)
    missing = attempt.ask_code(account)
    assert missing is not None
    assert missing.wait_for_totp
    assert ["123456"] == sent
