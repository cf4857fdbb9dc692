"""FakeColony's control side: one JSON line in, one JSON line out, on a port of its own.

On its own port a command never waits behind the requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

from ._behaviour import Rule, check
from ._limits import Capacity, FakeRateLimit
from ._server import Server

_PAGE = 2000  # records in one answer


class Control:
    """The commands, each a ``do_...``."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._script: asyncio.Task[None] | None = None
        self._script_for = ""  # the end of the paths for which it runs

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while line := await reader.readline():
                    writer.write(json.dumps(await self._reply(json.loads(line))).encode() + b"\n")
                    await writer.drain()
        finally:
            writer.close()

    async def _reply(self, command: dict[str, Any]) -> dict[str, Any]:
        try:
            value = getattr(self, "do_" + command.pop("do"))(**command)
            return {"value": await value if asyncio.iscoroutine(value) else value}
        except Exception as error:  # noqa: BLE001 - the client raises it
            return {"error": f"{type(error).__name__}: {error}"}

    def do_behave(self, name: str, options: dict[str, Any], only: str | None, open_only: bool) -> None:
        rule = check(name, options)
        if open_only:
            rule = self._server.for_open_connections(rule)
        if only is None:
            self._end_script()
            self._server.set_rules({"": rule})
        else:
            if only == self._script_for:
                self._end_script()
            self._server.rules[only] = rule

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
        self._server.set_latency(seconds)

    def do_capacity(self, rate: float | None, burst: float | None, max_in_flight: int, knockout: float) -> None:
        self._server.set_capacity(None if rate is None else Capacity(rate, burst, max_in_flight, knockout))

    def do_rate_limit(self, limit: int | None, window: float) -> None:
        self._server.set_limit(None if limit is None else FakeRateLimit(limit, window))

    def do_expires_in(self, seconds: float | None, tell: bool) -> None:
        self._server.keys.set_life(seconds, tell=tell)

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
        self._server.reset_stats()


async def _parent_is_gone() -> None:
    """Return when standard input ends, or when the parent dies while a fork of it holds the pipe."""
    parent = os.getppid()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)
    while not ended.is_set() and os.getppid() == parent:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), 1.0)


@contextlib.asynccontextmanager
async def serve(options: dict[str, Any]) -> AsyncIterator[dict[str, int]]:
    """Run a server and its control side; the ports of both."""
    server = Server(options)
    side: asyncio.Server | None = None
    try:
        await server.listen(True)
        side = await asyncio.start_server(Control(server).converse, "127.0.0.1", 0, limit=2**31)
        yield {"port": server.port, "control": side.sockets[0].getsockname()[1]}
    finally:
        if side is not None:
            side.close()
        await server.close()


async def _serve_parent(options: dict[str, Any]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    async with serve(options) as ports:
        print(json.dumps(ports), flush=True)
        await _parent_is_gone()
        os._exit(0)  # at once: the clients have gone with the parent


def main() -> None:
    """Serve until the parent is gone; the options come as JSON in the last argument."""
    asyncio.run(_serve_parent(json.loads(sys.argv[-1])))
