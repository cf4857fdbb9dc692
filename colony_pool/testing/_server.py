"""The process behind FakeColony: it chooses the answer to each request, and keeps a record of each.

Started without the rest of the package (see ``_server_process``), so that it is up in a tenth of a second. It ends
when its standard input closes or its parent changes: it cannot outlive the process that started it.
"""

from __future__ import annotations

import asyncio
import random
import select
import socket
import ssl
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from ._behaviour import AT_CONNECT, GATEWAY, Answer, Rule, error, json_answer, shaped
from ._http import ReceivedRequest, RequestRecord, ServerConnection
from ._limits import Capacity, FakeRateLimit
from ._tokens import KeyRegistry, Refusal

API = "/api/v1/"
_TOKEN_PATH = API + "auth/token"
_SECRETS = {"authorization", "x-api-key"}  # /echo shows every header but these


class Server:
    """All of the fake's state."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.start = time.monotonic()
        self.dice = random.Random(options["seed"])  # noqa: S311 - a seeded fake
        self.keys = KeyRegistry()
        self.keys.set_life(options["expires_in"], tell=options["tell_expiry"])
        self.rules: dict[str, Rule] = {"": Rule()}  # by the end of the path; "" is all
        self.latency = 0.0
        self.capacity: Capacity | None = None
        self.limit: FakeRateLimit | None = None
        self.replies: dict[tuple[str, str], tuple[bytes, Answer]] = {}
        self.records: list[tuple[Any, ...]] = []
        self.answers: Counter[tuple[str, int]] = Counter()
        self.in_flight = self.max_in_flight = self.connections = self.knocks = 0
        self._serial = 0  # of connections; reset_stats leaves it alone
        self.open: set[ServerConnection] = set()
        self.at_work: set[ServerConnection] = set()  # those with a request that is being answered
        self.tls: ssl.SSLContext | None = None
        if options["tls"]:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*options["tls"])
        self._listener: asyncio.Server | None = None
        self._host = options["host"]
        # Bound, never listening: it keeps the port while connections are refused.
        self._place = _reusing(self._host, 0)
        self.port = int(self._place.getsockname()[1])

    def now(self) -> float:
        return time.monotonic() - self.start

    # -- for the control channel ----------------------------------------------------------------------

    def set_rules(self, rules: dict[str, Rule]) -> None:
        self.rules = rules

    def for_open_connections(self, rule: Rule) -> Rule:
        """``rule``, for the connections that are open now."""
        return replace(rule, last_connection=self._serial)

    def set_latency(self, seconds: float) -> None:
        self.latency = seconds

    def set_capacity(self, capacity: Capacity | None) -> None:
        self.capacity = capacity

    def set_limit(self, limit: FakeRateLimit | None) -> None:
        self.limit = limit

    def reset_stats(self) -> None:
        self.records.clear()
        self.answers.clear()
        self.max_in_flight = self.in_flight
        self.connections = self.knocks = 0
        self.keys.reset_stats()

    async def listen(self, on: bool) -> None:
        if on and self._listener is None:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(
                lambda: ServerConnection(self), sock=_reusing(self._host, self.port), ssl=self.tls, backlog=4096
            )
        elif not on and self._listener is not None:
            self._listener.close()
            self._listener = None
            for connection in list(self.open):
                connection.drop()

    async def close(self) -> None:
        """Close all sockets."""
        await self.listen(False)
        self._place.close()
        await asyncio.sleep(0)  # connections close in the loop's next turn

    # -- for connections ----------------------------------------------------------------------------

    def opened(self, connection: ServerConnection) -> int:
        self.connections += 1
        self._serial += 1
        self.open.add(connection)
        return self._serial

    def at_connect(self) -> str:
        name = self.rules[""].name
        return name if name in AT_CONNECT else ""

    def closed(self, connection: ServerConnection) -> None:
        self.open.discard(connection)

    def begin(self, request: ReceivedRequest, connection: int, *, reused: bool) -> RequestRecord:
        self.in_flight += 1
        if self.in_flight > self.max_in_flight:
            self.max_in_flight = max(self.max_in_flight, self.in_flight - self._hung_up())
        return RequestRecord(request, connection, self.now(), time.time(), reused)

    def _hung_up(self) -> int:
        """Count the requests whose client has closed: the end of a connection may be read after a newer request."""
        gone, poll = 0, select.poll()
        for connection in self.at_work:
            if (number := connection.fileno()) < 0:
                gone += 1
            else:
                poll.register(number, select.POLLRDHUP)
        return gone + len(poll.poll(0))

    def end(self, record: RequestRecord, status: int) -> None:
        self.in_flight -= 1
        request = record.request
        key = request.headers.get("idempotency-key")
        self.answers[request.path, status] += 1
        self.records.append(
            (
                record.at,
                request.method,
                request.path,
                status,
                record.connection,
                record.who,
                key,
                self.now() - record.at,
                record.wall,
            )
        )

    def answer(self, record: RequestRecord, address: str) -> Answer:
        """Choose the answer. A ``status`` rule plays a gateway: the application never sees the request."""
        request = record.request
        is_token = request.path == _TOKEN_PATH
        rule = self._rule(request.path)
        if record.connection > rule.last_connection:
            rule = Rule()
        if is_token:
            record.who = self.keys.key_of(request.body)
            rule = self.keys.settings.get(record.who, {}).get("rule") or rule
        else:
            record.who = self.keys.token_owner(request.headers.get("authorization", ""))
        if rule.name == "close_reused" and record.reused:
            return Answer(how="raw_close")
        extra: dict[str, str] = {}
        if is_token and rule.name != GATEWAY:
            refusal, extra = self._guarded(address)
            if refusal is not None:
                return self._finished(refusal, extra)
        if rule.name == "flaky":
            bad = self.dice.random() < rule.options.get("ratio", 0.5)
            rule = Rule(GATEWAY, {"status": rule.options.get("status", 502)}) if bad else Rule()
        healthy = Answer() if rule.name == GATEWAY else self._application(request, expired=rule.name == "expired")
        return self._finished(shaped(rule, healthy), extra)

    def _rule(self, path: str) -> Rule:
        return self.rules[max((end for end in self.rules if path.endswith(end)), key=len)]

    def _finished(self, answer: Answer, extra: dict[str, str]) -> Answer:
        delay = self.latency if answer.delay is None else answer.delay
        return replace(answer, headers={**answer.headers, **extra}, delay=delay)

    def _guarded(self, address: str) -> tuple[Answer | None, dict[str, str]]:
        if self.capacity is not None:
            knocks = self.capacity.knocks
            overrun = self.capacity.admit(self.in_flight)
            self.knocks += self.capacity.knocks - knocks
            if overrun is not None:
                return overrun, {}
        return self.limit.count(address) if self.limit is not None else (None, {})

    # -- the application ------------------------------------------------------------------------------

    def _application(self, request: ReceivedRequest, *, expired: bool) -> Answer:
        try:
            if not request.path.startswith(API):
                raise Refusal(404, "Not found.")
            if request.path != _TOKEN_PATH:
                return self._api(request, self.keys.authorized(request.headers.get("authorization", "")))
            if request.method != "POST":
                raise Refusal(405, "Method not allowed.")
            return json_answer(200, self.keys.exchange(request.body, expired=expired))
        except Refusal as refusal:
            return error(refusal.status, refusal.message, refusal.code)

    def _api(self, request: ReceivedRequest, who: str) -> Answer:
        """Answer an authorized call; a POST or PUT with an Idempotency-Key once."""
        key = request.headers.get("idempotency-key")
        if not key or request.method not in ("POST", "PUT"):
            return self._resource(request, who)
        body, first = self.replies.setdefault((who, key), (request.body, self._resource(request, who)))
        if body != request.body:
            raise Refusal(409, "This Idempotency-Key was used with another body.", "CONFLICT")
        return first

    def _resource(self, request: ReceivedRequest, who: str) -> Answer:
        name = request.path.rpartition("/")[2]
        if name == "echo":
            shown = {header: value for header, value in request.headers.items() if header not in _SECRETS}
            body = request.body.decode("latin-1")
            return json_answer(
                200, {"method": request.method, "path": request.target, "headers": shown, "body": body}
            )
        if "/status/" in request.path and name.isdecimal() and 200 <= int(name) <= 599:
            return error(int(name), "As you asked.", "AS_ASKED")
        return json_answer(200, {"id": who, "username": who, "agent": who, "path": request.path})


def _reusing(host: str, port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    return sock
