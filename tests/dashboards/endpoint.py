"""The token endpoint of the virtual hour: what it answers is a matter of the time of day.

It stands where the network would be (``ColonyPool(transport=...)``), so that everything above it is the real
library: agents, attempts, classification, dispatcher, runner, breaker, journal and collector.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from colony_pool.testing.sim import SimRuntime
from colony_pool.types import CancelToken, NetworkFailure, RawResponse
from tests.support.virtual import VirtualTransport

MINUTE = 60.0
LIFE = 25 * MINUTE  # of a token
LENGTH = 75 * MINUTE
AFTERNOON = 1_779_328_800.0  # 2026-05-21 02:00 UTC: the night of the incident
NOW = 60 * MINUTE  # when the pager goes off: fifteen minutes into the long outage

OUTAGES = ((20 * MINUTE, 23 * MINUTE), (45 * MINUTE, 65 * MINUTE))


@dataclass(frozen=True)
class Answer:
    """One answer of the token endpoint; status 0 is none at all."""

    status: int
    delay: float = 0.05
    headers: Mapping[str, str] | None = None
    detail: str = ""


def script(at: float, rand: Callable[[], float], key: str) -> Answer:
    """What the endpoint answers at second ``at``."""
    if any(start <= at < end for start, end in OUTAGES):
        return _outage(at, rand)
    if 10 * MINUTE <= at < 10.5 * MINUTE:
        return Answer(429, 0.02, {"retry-after": "45"}, "Too many requests")
    if at >= 14 * MINUTE and key in ("col_agent_3", "col_agent_4"):
        return Answer(401, 0.03, None, "Invalid API key")
    if 70 * MINUTE <= at < 70.5 * MINUTE:  # the server forgets everybody, and says that it is their fault
        return Answer(401, 0.03, None, "Invalid API key")
    if 31 * MINUTE <= at < 32 * MINUTE and rand() < 0.5:
        return Answer(502, 0.2)
    slow = 1.5 if 37 * MINUTE <= at < 40 * MINUTE else 0.08
    return Answer(200, slow * (0.6 + 0.8 * rand()))


def _outage(at: float, rand: Callable[[], float]) -> Answer:
    losses = rand()
    if 50 * MINUTE <= at < 52 * MINUTE:
        return Answer(-1)  # hangs for longer than any deadline
    if losses < 0.15:
        return Answer(0, 5.0, None, "timeout")
    return Answer(503 if losses < 0.3 else 502, 0.1 + 0.4 * rand())


class Endpoint(VirtualTransport):
    """A transport that answers by the script, in virtual time."""

    def __init__(self, sim: SimRuntime) -> None:
        super().__init__()
        self._sim = sim
        self._serial = 0
        self.revoked: set[str] = set()

    def call(self, jwt: str) -> RawResponse:
        self._sim.sleep(0.03)
        if jwt in self.revoked:
            return RawResponse(
                401, {"content-type": "application/json"}, b'{"detail": "Could not validate credentials"}'
            )
        return RawResponse(200, {}, b"{}")

    def token(self, fields: dict[str, str], total: float, cancel: CancelToken) -> RawResponse:
        answer = script(self._sim.monotonic(), self._sim.random, fields["api_key"])
        if answer.status < 0:
            self._sim.sleep(total + 5.0)  # a socket that does not even hear its own timeout
        else:
            self._sim.sleep(min(answer.delay, total))
        if answer.status <= 0:
            raise NetworkFailure("timeout", "no connection", sent=False)
        if answer.status == 200:
            self._serial += 1
            body = {"access_token": f"token-{self._serial}", "expires_in": LIFE}
        else:
            body = {"detail": answer.detail}
        return RawResponse(answer.status, answer.headers or {}, json.dumps(body).encode())
