"""A fleet in virtual time: real pools on one model of the server (``tests.tools.law_world``), and one store."""

from __future__ import annotations

import base64
import json
from typing import Any

from colony_pool import ColonyPool
from colony_pool.testing import SimRuntime
from tests.simulation.capacity import Capacity
from tests.support.private import CancelToken, RawResponse, listen
from tests.support.private import events as ev
from tests.support.virtual import VirtualTransport

from .store import FaultyStore

LIFE = 86_400.0


class Endpoint:
    """What all processes call. ``status(now)`` answers in the place of the server; 0 lets it serve."""

    def __init__(self, sim: SimRuntime, latency: float) -> None:
        self.sim = sim
        self.latency = latency
        self.capacity: Capacity | None = None
        self.loss = 0.0
        self.down: list[tuple[float, float]] = []  # from, until
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}  # of one key
        self.arrivals: list[tuple[float, str, int]] = []  # when, key, by which process
        self.served: dict[str, int] = {}
        self.inside = 0

    def during(self, since: float, until: float) -> list[tuple[float, str, int]]:
        return [arrival for arrival in self.arrivals if since <= arrival[0] < until]

    def serve(self, key: str, process: int, total: float, abort: CancelToken) -> RawResponse:
        now = self.sim.monotonic()
        self.arrivals.append((now, key, process))
        status, headers = self.answers.get(key, (200, {}))
        seconds = self.latency
        if any(since <= now < until for since, until in self.down):
            status = 502
        elif status == 200 and self.capacity is not None and (refused := self.capacity.refuse(now, self.inside)):
            status, seconds = refused, 0.005
        elif status == 200 and self.sim.random() < self.loss:
            status = 502
        self.inside += 1
        self.sim.sleep(seconds)
        self.inside -= 1
        if status != 200:
            return RawResponse(status, headers, b'{"detail": "no"}')
        self.served[key] = self.served.get(key, 0) + 1
        return RawResponse(
            200, headers, json.dumps({"access_token": _jwt(key, self.served[key]), "expires_in": LIFE}).encode()
        )


def _jwt(key: str, serial: int) -> str:
    return base64.urlsafe_b64encode(f"{key} {serial}".encode()).decode().rstrip("=")


class _Wire(VirtualTransport):
    def __init__(self, endpoint: Endpoint, process: int) -> None:
        super().__init__()
        self._endpoint, self._process = endpoint, process

    def token(self, fields: dict[str, str], total: float, abort: CancelToken) -> RawResponse:
        return self._endpoint.serve(fields["api_key"], self._process, total, abort)


class Call:
    """One ``agent.token()``."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.ended = float("inf")
        self.token = ""
        self.error: Exception | None = None


class FleetWorld:
    """``processes`` pools with one store, or each alone with ``share=False``.

    ``cut``: so many of them have a wire of their own to it, ``far``. ``fallback``: there is another store, at no
    distance, to fall back on.
    """

    def __init__(
        self, processes: int, *, seed: int = 0, latency: float = 0.02, store_latency: float = 0.001,
        share: bool = True, fallback: bool = False, cut: int = 0, **options: Any,
    ) -> None:  # fmt: skip
        self.sim = SimRuntime(seed)
        self.endpoint = Endpoint(self.sim, latency)
        self.store = FaultyStore(self.sim.monotonic, self.sim.sleep, store_latency)
        self.fallback = FaultyStore(self.sim.monotonic, self.sim.sleep, 0.0)
        self.store.fallback = self.fallback if fallback else None
        self.far = self.store.twin()
        self.calls: list[Call] = []
        self.events: list[tuple[float, int, ev.Event]] = []
        self._options = options
        stores = [self.far if process < cut else self.store for process in range(processes)]
        self.pools = [self.pool(process, store if share else None) for process, store in enumerate(stores)]

    def pool(self, process: int, store: FaultyStore | None) -> ColonyPool:
        pool = ColonyPool(
            "https://fleet.example/api/v1", name=f"p{process}", registry=None, runtime=self.sim, token_cache=None,
            transport=_Wire(self.endpoint, process), shared=store, **self._options,
        )  # fmt: skip
        listen(pool, lambda event: self.events.append((self.sim.monotonic(), process, event)))
        return pool

    def ask(self, process: int, key: str, at: float = 0.0, max_wait: float | None = None) -> Call:
        """Have a caller in ``process`` ask for the token of ``key`` at ``at``."""
        call = Call(at)
        self.calls.append(call)

        def run() -> None:
            try:
                call.token = self.pools[process].agent(f"col_{key}").token(max_wait=max_wait)
            except Exception as error:
                call.error = error
            call.ended = self.sim.monotonic()

        self.sim.call_later(at - self.sim.monotonic(), run)
        return call

    def add_agents(self, agents: int, over: float, max_wait: float, at: float = 0.0) -> None:
        """``agents`` in each process, one by one within ``over`` seconds."""
        for process in range(len(self.pools)):
            for agent in range(agents):
                self.ask(process, f"{process}_{agent}", at + self.sim.random() * over, max_wait)

    @property
    def lost(self) -> int:
        return sum(not call.token for call in self.calls)

    def moves(self, new: str, process: int | None = None) -> list[float]:
        """When breakers moved to ``new``."""
        return [
            at
            for at, who, event in self.events
            if isinstance(event, ev.StateChanged) and event.new == new and process in (None, who)
        ]
