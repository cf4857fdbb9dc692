"""The simulated endpoint: it stands where the network would be (``ColonyPool(transport=...)``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Protocol

from tests.support.private import BadReply, CancelToken, NetworkFailure, RawResponse
from tests.support.virtual import VirtualTransport

from .answers import (
    DENIED,
    DOWN,
    FAULT,
    NETWORK,
    SILENCE,
    THROTTLED,
    Answer,
    Wish,
    broken,
    refusal,
    retry_after,
    token,
)
from .capacity import Capacity, Limit
from .scenario import WALL, Scenario, Weather
from .tasks import GreenSim

KEY = "col_sim_"
_TOTAL = 30.0  # that an attempt may take
_CODE_KNOWN = 90.0  # seconds for which the server refuses a code that it has seen


class Observer(Protocol):
    """Who is told of each request: the witness of the process that makes it."""

    def sending(self, key: int, code: str) -> Any:
        """A request for a token goes out; returns what ``heard`` wants."""

    def heard(self, sending: Any, answer: Answer, /) -> None:
        """This is what it is answered, now."""


class Server:
    """The endpoint, the same for all processes of a scenario."""

    def __init__(self, sim: GreenSim, scenario: Scenario) -> None:
        self.sim = sim
        self.scenario = scenario
        self.dice = Random(f"server {scenario.seed}")
        self.revoked: set[str] = set()
        self.issued: dict[str, int] = {}  # tokens, and whose they are
        self.inside = 0
        self.capacity = Capacity(scenario.capacity) if scenario.capacity else None
        self._limit = Limit(3, 20.0)
        self._codes: dict[tuple[int, str], float] = {}

    def limit(self, allowed: int, width: float) -> None:
        """Allow so many requests in each window of ``width`` seconds, while the weather is ``limit``."""
        self._limit = Limit(allowed, width)

    @property
    def wall(self) -> float:
        """The server's own clock: ours may be stepped, this one is not."""
        return WALL + self.sim.monotonic() + self.scenario.clocked

    def answer(self, key: int, code: str) -> Answer:
        """What the endpoint says to a request that arrives now."""
        weather = self.scenario.weather_at(self.sim.monotonic())
        answer = _WEATHER.get(weather.kind, Server._good)(self, weather, key, code)
        if answer.sent and code:
            self._codes[key, code] = self.sim.monotonic()
        return answer

    # -- the weather ----------------------------------------------------------------------------------

    def _good(self, weather: Weather, key: int, code: str) -> Answer:
        now, plan, latency = self.sim.monotonic(), self.scenario.keys[key], self.scenario.latency
        if self.capacity is not None and (status := self.capacity.refuse(now, self.inside)):
            return Answer(DOWN, status, delay=0.005)
        if plan.refused and plan.since <= now < plan.heals:
            return refusal(plan.refused, latency)
        if plan.totp and not code:
            return refusal(401, latency, "AUTH_2FA_REQUIRED")
        if code and self._codes.get((key, code), -math.inf) > now - _CODE_KNOWN:
            return refusal(401, latency, "AUTH_2FA_INVALID")
        serial = len(self.issued) + 1
        good = token(key, serial, self.scenario.life, self.scenario.expiry, self.wall, latency)
        self.issued[good.jwt] = key
        return good

    def _bad(self, weather: Weather, key: int, code: str) -> Answer:
        headers, wish = retry_after(weather.shape, self.dice, self.wall)
        return Answer(DOWN, weather.status, headers, b"<html>", weather.delay, wish)

    def _flapping(self, weather: Weather, key: int, code: str) -> Answer:
        good = (self.sim.monotonic() - weather.at) % 10.0 < 5.0
        return (self._good if good else self._bad)(weather, key, code)

    def _lossy(self, weather: Weather, key: int, code: str) -> Answer:
        return (self._bad if self._hits(weather) else self._good)(weather, key, code)

    def _slow(self, weather: Weather, key: int, code: str) -> Answer:
        good = self._good(weather, key, code)
        # The slowest of all hears neither a cancel nor its own timeout.
        deaf = weather.delay > _TOTAL
        return replace(good, delay=weather.delay, deaf=deaf) if self._hits(weather) else good

    def _silent(self, weather: Weather, key: int, code: str) -> Answer:
        deaf = weather.delay > _TOTAL
        return Answer(NETWORK, delay=weather.delay, deaf=deaf, sent=weather.delay > 5.0)

    def _counting(self, weather: Weather, key: int, code: str) -> Answer:
        if not self._hits(weather):
            return self._good(weather, key, code)
        headers, wish = retry_after(weather.shape, self.dice, self.wall)
        if wish == Wish():
            wish = Wish(60.0 if weather.left < 0 else float(weather.reset))
        return Answer(THROTTLED, 429, headers | _left(weather.left, weather.reset), b"{}", weather.delay, wish)

    def _shedding(self, weather: Weather, key: int, code: str) -> Answer:
        if not self._hits(weather):
            return self._good(weather, key, code)
        headers, wish = retry_after(weather.shape, self.dice, self.wall)
        means = THROTTLED if weather.left == 0 and wish != Wish() else DOWN
        return Answer(means, 503, headers | _left(weather.left, weather.reset), b"{}", weather.delay, wish)

    def _limited(self, weather: Weather, key: int, code: str) -> Answer:
        served, left, until = self._limit.take(self.sim.monotonic())
        limit_headers = _left(left, math.ceil(until))
        if not served:
            headers, wish = retry_after(weather.shape, self.dice, self.wall)
            wish = wish if wish != Wish() else Wish(float(limit_headers["x-ratelimit-reset"]))
            return Answer(THROTTLED, 429, headers | limit_headers, b"{}", weather.delay, wish)
        good = self._good(weather, key, code)
        if good.means == DENIED:  # with a limit that is used up it would be one that counts
            return good
        used_up = float(limit_headers["x-ratelimit-reset"]) if left == 0 and good.means != DOWN else None
        return replace(good, headers=good.headers | limit_headers, used_up_for=used_up)

    def _refusing(self, weather: Weather, key: int, code: str) -> Answer:
        hit = self._hits(weather)
        return refusal(weather.status, weather.delay) if hit else self._good(weather, key, code)

    def _fault(self, weather: Weather, key: int, code: str) -> Answer:
        hit = self._hits(weather)
        return Answer(FAULT, weather.status, delay=weather.delay) if hit else self._good(weather, key, code)

    def _broken(self, weather: Weather, key: int, code: str) -> Answer:
        return broken(self.dice, weather.delay) if self._hits(weather) else self._good(weather, key, code)

    def _hits(self, weather: Weather) -> bool:
        return weather.ratio >= 1.0 or self.dice.random() < weather.ratio


_WEATHER: dict[str, Callable[[Server, Weather, int, str], Answer]] = {
    "down": Server._bad, "silent": Server._silent, "flapping": Server._flapping, "lossy": Server._lossy,
    "slow": Server._slow, "counting": Server._counting, "shedding": Server._shedding, "limit": Server._limited,
    "refusing": Server._refusing, "fault": Server._fault, "broken": Server._broken,
}  # fmt: skip


def _left(left: int, reset: int) -> dict[str, str]:
    return {} if left < 0 else {"x-ratelimit-remaining": str(left), "x-ratelimit-reset": str(reset)}


class Wire(VirtualTransport):
    """The transport of one process: requests to the server and their answers, in virtual time."""

    def __init__(self, server: Server, observer: Observer) -> None:
        super().__init__()
        self._server = server
        self._sim = server.sim
        self._observer = observer

    def token(self, fields: dict[str, str], total: float, cancel: CancelToken) -> RawResponse:
        key, code = int(fields["api_key"].removeprefix(KEY)), fields.get("totp_code", "")
        sending = self._observer.sending(key, code)
        answer = self._server.answer(key, code)
        event = self._sim.event()
        if not answer.deaf:
            cancel.watch(event.set)
        self._server.inside += 1
        try:
            event.wait(answer.delay if answer.deaf else min(answer.delay, total))
        finally:
            self._server.inside -= 1
        cancelled = cancel.cancelled and not answer.deaf
        if cancelled or answer.status == 0 or (answer.delay > total and not answer.deaf):
            self._observer.heard(sending, SILENCE)
            kind = "aborted" if cancelled else "timeout"
            raise NetworkFailure(kind, "no answer", sent=answer.sent)
        self._observer.heard(sending, answer)
        if answer.breaks:
            raise BadReply(answer.status, "the body broke off")
        return RawResponse(answer.status, answer.headers, answer.body)

    def call(self, jwt: str) -> RawResponse:
        self._sim.sleep(0.02)
        known = jwt in self._server.issued and jwt not in self._server.revoked
        return RawResponse(200, {}, b"{}") if known else RawResponse(401, {}, b'{"detail": "unknown token"}')
