"""FakeColony's control side: one JSON line in, one JSON line out, on a port of its own.

On its own port a command never waits behind the requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._behaviour import Rule, check
from ._limits import Capacity, FakeRateLimit

if TYPE_CHECKING:
    from ._server import Server

_PAGE = 2000  # records in one answer


class Control:
    """The commands, each a ``do_...``."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._script: asyncio.Task[None] | None = None
        self._script_for = ""  # the end of the paths for which it runs

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                writer.write(json.dumps(await self._reply(json.loads(line))).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _reply(self, command: dict[str, Any]) -> dict[str, Any]:
        try:
            value = getattr(self, "do_" + command.pop("do"))(**command)
            return {"value": await value if asyncio.iscoroutine(value) else value}
        except Exception as error:  # noqa: BLE001 - the client raises it
            return {"error": f"{type(error).__name__}: {error}"}

    def do_behave(self, name: str, options: dict[str, Any], only: str | None) -> None:
        if only is None:
            self._end_script()
            self._server.rules = {"": check(name, options)}
        else:
            if only == self._script_for:
                self._end_script()
            self._server.rules[only] = check(name, options)

    def do_schedule(
        self, steps: list[tuple[float, str, dict[str, Any]]], every: float | None, only: str | None
    ) -> None:
        self._end_script()
        self._script_for = only or ""
        rules = [(at, check(name, options)) for at, name, options in steps]
        if rules and rules[0][0] == 0.0:
            self._server.rules[only or ""] = rules[0][1]  # in force when the command returns
        self._script = asyncio.get_running_loop().create_task(self._play(rules, every, only or ""))

    async def _play(self, rules: list[tuple[float, Rule]], every: float | None, only: str) -> None:
        start = self._server.now()
        rounds: Iterator[float] = itertools.count(start, every) if every else iter([start])
        for began in rounds:
            for at, rule in rules:
                await asyncio.sleep(max(0.0, began + at - self._server.now()))
                self._server.rules[only] = rule

    def _end_script(self) -> None:
        if self._script is not None:
            self._script.cancel()
            self._script = None

    def do_latency(self, seconds: float) -> None:
        self._server.latency = seconds

    def do_capacity(self, rate: float | None, burst: float | None, max_in_flight: int, knockout: float) -> None:
        self._server.capacity = None if rate is None else Capacity(rate, burst, max_in_flight, knockout)

    def do_rate_limit(self, limit: int | None, window: float) -> None:
        self._server.limit = None if limit is None else FakeRateLimit(limit, window)

    def do_expires_in(self, seconds: float | None, tell: bool) -> None:
        self._server.keys.expires_in, self._server.keys.tell_expiry = seconds, tell

    def do_key(self, who: str, settings: dict[str, Any]) -> None:
        self._server.keys.settings.setdefault(who, {}).update(settings)

    def do_key_rule(self, who: str, name: str, options: dict[str, Any]) -> None:
        rule = check(name, options)
        self.do_key(who, {"rule": None if rule.name == "healthy" else rule})

    def do_revoke(self, who: str | None) -> None:
        self._server.keys.revoke(who)

    async def do_listen(self, on: bool) -> None:
        await self._server.listen(on)

    def do_close_idle(self) -> None:
        for connection in list(self._server.open):
            connection.close_if_idle()

    def do_stats(self) -> dict[str, Any]:
        server, keys = self._server, self._server.keys
        return {
            "now": server.now(),
            "requests": len(server.records),
            "in_flight": server.in_flight,
            "max_in_flight": server.max_in_flight,
            "connections": server.connections,
            "open_connections": len(server.open),
            "knocks": server.knocks,
            "tokens_issued": keys.issued,
            "codes_seen": keys.codes_seen,
            "codes_refused": keys.codes_refused,
            "answers": [(path, status, n) for (path, status), n in server.answers.items()],
        }

    def do_requests(self, start: int, since: float) -> tuple[int, list[tuple[Any, ...]]]:
        page = self._server.records[start : start + _PAGE]
        return start + len(page), [row for row in page if row[0] >= since]

    def do_count(self, path: str | None, status: int | None, since: float) -> int:
        if since <= 0.0:
            return sum(
                n
                for (seen, answered), n in self._server.answers.items()
                if (path is None or seen.endswith(path)) and (status is None or answered == status)
            )
        return sum(
            row[0] >= since and (path is None or row[2].endswith(path)) and (status is None or row[3] == status)
            for row in self._server.records
        )

    def do_reset_stats(self) -> None:
        server, keys = self._server, self._server.keys
        server.records.clear()
        server.answers.clear()
        server.max_in_flight = server.in_flight
        server.connections = server.knocks = 0
        keys.issued = keys.codes_seen = keys.codes_refused = 0
