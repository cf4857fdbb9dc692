"""The process behind FakeColony: a small HTTP/1.1 server, and a control port that speaks JSON lines.

Run by file path, so that it starts without the rest of the package. It ends when its standard input closes:
it cannot outlive the process that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import struct
import sys
import time
from pathlib import Path
from typing import Any

if __package__:
    from . import _behaviour as be
else:
    sys.path.insert(0, str(Path(__file__).parent))
    import _behaviour as be  # type: ignore[no-redef]

REASONS = {200: "OK", 401: "Unauthorized", 429: "Too Many Requests", 502: "Bad Gateway", 503: "Service Unavailable"}


class Server:
    """All of the fake's state."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.dice = random.Random(0)  # noqa: S311 - a fake
        self.keys = be.Keys()
        self.behaviour: dict[str, Any] = {"name": "healthy", "options": {}, "only": None}
        self.latency = 0.0
        self.capacity: be.Capacity | None = None
        self.limit: be.RateLimit | None = None
        self.records: list[tuple[Any, ...]] = []
        self.in_flight = self.max_in_flight = self.connections = self.knocks = 0
        self.listener: asyncio.Server | None = None
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self.writers: set[asyncio.StreamWriter] = set()

    def now(self) -> float:
        return time.monotonic() - self.start

    # -- HTTP -----------------------------------------------------------------------------------------

    async def listen(self) -> None:
        self.listener = await asyncio.start_server(
            self.connection, "127.0.0.1", self.port, ssl=self.tls, backlog=4096, reuse_address=True
        )
        self.port = self.listener.sockets[0].getsockname()[1]

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self.writers.add(writer)
        try:
            while await self.request(reader, writer, number):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *rows = head.decode("latin-1").split("\r\n")
        method, path, _ = line.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
        body = await reader.readexactly(int(headers.get("content-length") or 0))
        at = self.now()
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        status = 0
        who = ""
        try:
            answer, who = self.answer(method, path, headers, body, writer)
            delay = self.latency if answer.delay is None else answer.delay
            if delay:
                await asyncio.sleep(delay)
            status = answer.status
            return await self.send(reader, writer, answer, method)
        finally:
            self.in_flight -= 1
            bare = path.partition("?")[0]
            key = headers.get("idempotency-key")
            self.records.append((at, method, bare, status, number, who, key, self.now() - at))

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> tuple[be.Answer, str]:
        is_token = path.partition("?")[0].endswith("/auth/token")
        extra: dict[str, str] = {}
        only = self.behaviour["only"]
        concerned = only is None or path.partition("?")[0].endswith(only)
        name, options = (self.behaviour["name"], self.behaviour["options"]) if concerned else ("healthy", {})
        if name != "status" and self.capacity is not None and is_token:
            overrun = self.capacity.admit(self.in_flight)
            if overrun is not None:
                self.knocks += self.capacity.knocks
                self.capacity.knocks = 0
                return overrun, ""
        if self.limit is not None and is_token and name != "status":
            refusal, extra = self.limit.count(str(writer.get_extra_info("peername")[0]))
            if refusal is not None:
                refusal.headers |= extra
                return refusal, ""
        if not is_token:
            answer, who = self.keys.api(method, path, headers, body)
        elif name == "status":
            answer, who = be.Answer(), _who(body)
        else:
            answer, who = self.keys.exchange(body, expired=name == "expired")
        own = self.keys.settings.get(who, {}).get("behaviour") if is_token else None
        if own:
            name, options = own["name"], own["options"]
        answer = be.shaped(name, options, answer, self.dice)
        answer.headers = {**answer.headers, **extra}
        return answer, who

    async def send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: be.Answer, method: str
    ) -> bool:
        if answer.how == "hang":
            await reader.read()
            return False
        if answer.how == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        length = len(answer.body) * (2 if answer.how == "truncated" else 1)
        lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        body = b"" if method == "HEAD" else answer.body
        if answer.how == "drip":
            slow = head + body if answer.drip_headers else body
            if not answer.drip_headers:
                writer.write(head)
            for byte in slow:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(1.0 / answer.bytes_per_s)
            return True
        writer.write(head + body)
        await writer.drain()
        return answer.how != "truncated"

    # -- control --------------------------------------------------------------------------------------

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                command = json.loads(line)
                try:
                    value = getattr(self, "do_" + command.pop("do"))(**command)
                    if asyncio.iscoroutine(value):
                        value = await value
                    reply = {"value": value}
                except Exception as error:  # noqa: BLE001 - it is told to the client
                    reply = {"error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        writer.close()

    def do_behave(self, name: str, options: dict[str, Any], only: str | None) -> None:
        self.behaviour = {"name": name, "options": options, "only": only}

    def do_latency(self, seconds: float) -> None:
        self.latency = seconds

    def do_capacity(self, rate: float | None, max_in_flight: int, knockout: float) -> None:
        self.capacity = None if rate is None else be.Capacity(rate, max_in_flight, knockout)

    def do_rate_limit(self, limit: int | None, window: float) -> None:
        self.limit = None if limit is None else be.RateLimit(limit, window)

    def do_key(self, who: str, settings: dict[str, Any]) -> None:
        self.keys.settings.setdefault(who, {}).update(settings)

    def do_expires_in(self, seconds: float | None, tell: bool) -> None:
        self.keys.expires_in, self.keys.tell_expiry = seconds, tell

    def do_revoke(self) -> None:
        self.keys.tokens.clear()

    def do_stats(self) -> dict[str, Any]:
        return {
            "now": self.now(),
            "requests": len(self.records),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "connections": self.connections,
            "open_connections": len(self.writers),
            "knocks": self.knocks,
            "tokens_issued": self.keys.issued,
        }

    def do_requests(self, start: int) -> list[tuple[Any, ...]]:
        return self.records[start : start + 2000]

    def do_reset_stats(self) -> None:
        self.records.clear()
        self.max_in_flight = self.knocks = 0

    def do_close_idle(self) -> None:
        for writer in list(self.writers):
            writer.close()

    async def do_listen(self, on: bool) -> None:
        if on and self.listener is None:
            await self.listen()
        elif not on and self.listener is not None:
            self.listener.close()
            self.listener = None
            self.do_close_idle()


def _who(body: bytes) -> str:
    try:
        return be.subject(json.loads(body)["api_key"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""


async def serve(options: dict[str, Any]) -> None:
    server = Server()
    server.keys.expires_in = options["expires_in"]
    server.keys.tell_expiry = options["tell_expiry"]
    if options["tls"]:
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.load_cert_chain(*options["tls"])
    await server.listen()
    control = await asyncio.start_server(server.control, "127.0.0.1", 0, limit=2**24)
    print(json.dumps({"port": server.port, "control": control.sockets[0].getsockname()[1]}), flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(json.loads(sys.argv[1])))
