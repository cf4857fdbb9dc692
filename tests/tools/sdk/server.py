"""An API for comparing clients of it: answers as the path asks, and keeps every request as it came."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "/auth/token"
GATEWAYS = [("text/html", b"<html>sign in</html>"), ("text/plain", b""), ("application/json", b'{"message": "no"}')]
KEPT = ("authorization", "content-type", "idempotency-key", "user-agent")
_STATUS = re.compile(r"0000-0000-0000-0000000([0-9]{3})00")


def asked(status: int) -> str:
    """An id at which the server answers ``status``."""
    return f"00000000-0000-0000-0000-0000000{status}00"


@dataclass(frozen=True)
class Request:
    """What came, as far as it matters: random boundaries and tokens are replaced by fixed words."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int = field(compare=False)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ApiServer

    def _serve(self) -> None:
        body = self._body()
        path = self.path.removeprefix("/api/v1")
        self.server.keep(self, path, body)
        status, headers, answer = self.server.answer(self, path)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def log_message(self, *args: object) -> None:
        """Nothing."""


class ApiServer(ThreadingHTTPServer):
    """The API on loopback, in threads of this process."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server_address[1]}/api/v1"
        self.requests: list[Request] = []
        self.revoked: set[str] = set()
        self.bad_tokens = False  # no token is good
        self.gateway: tuple[str, bytes] | None = None  # type and body of the 401 of something in front of the API
        self.unknown_for = 0  # so many requests with a new token are refused
        self._asked: Counter[str] = Counter()
        self._connections: dict[Any, int] = {}
        self._tokens: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()
        self.server_close()

    def keep(self, handler: Handler, path: str, body: bytes) -> None:
        number = self._connections.setdefault(handler.client_address, len(self._connections))
        headers = {name.lower(): value for name, value in handler.headers.items() if name.lower() in KEPT}
        if "authorization" in headers:
            headers["authorization"] = re.sub(r"jwt-\S+", "jwt", headers["authorization"])
        if "content-type" in headers:
            kind, mark, boundary = headers["content-type"].partition("boundary=")
            headers["content-type"] = kind + mark
            body = body.replace(boundary.encode(), b"boundary") if boundary else body
        body = re.sub(rb"jwt-[^&\"]+", b"jwt", body)
        self.requests.append(Request(handler.command, path, tuple(sorted(headers.items())), body, number))

    def answer(self, handler: Handler, path: str) -> tuple[int, dict[str, str], Any]:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        limits = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59", "X-RateLimit-Reset": "1800000000"}
        if parts.path == TOKEN:
            self._tokens["all"] += 1
            return 200, {}, {"access_token": f"jwt-{self._tokens['all']}", "token_type": "bearer"}
        if parts.path == "/oauth/token":
            return 200, {}, {"id_token": "id", "access_token": "access"}
        if self.gateway is not None:
            return 401, {"Content-Type": self.gateway[0]}, self.gateway[1]
        bearer = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        self._asked[bearer] += 1
        if self.bad_tokens or bearer in self.revoked or self._asked[bearer] <= self.unknown_for:
            return 401, {}, {"detail": {"message": "Token refused.", "code": "AUTH_INVALID_TOKEN"}}
        if found := _STATUS.search(parts.path):
            return self._failure(int(found[1]), path)
        return 200, limits, self._good(handler.command, parts.path, query)

    def _failure(self, status: int, path: str) -> tuple[int, dict[str, str], Any]:
        self._seen[path] += 1
        if status in (503, 504) and self._seen[path] % 2 == 0:
            return 200, {}, {"id": path, "after": "one retry"}
        if status == 502:
            return 502, {"Content-Type": "text/html"}, b"<html>Bad Gateway</html>"
        # Not for what is retried: the oldest SDK sleeps it to the end.
        headers = {"Retry-After": "3600"} if status == 429 and path.endswith("/avatar") else {}
        return status, headers, {"detail": {"message": f"Here is your {status}.", "code": f"CODE_{status}"}}

    def _good(self, method: str, path: str, query: dict[str, str]) -> Any:
        if path == "/auth/rotate-key":
            return {"api_key": "col_rotated"}
        if path == "/auth/recover-key/confirm":
            return {"api_key": "col_recovered"}
        if path.endswith(("/avatar", "/full", "/thumb")) and method == "GET":
            return bytes(range(256))
        offset = int(query.get("offset") or 20 * (int(query.get("page") or 1) - 1))
        count = int(query.get("limit") or 20)
        rows = [
            {"id": f"row-{n}", "name": f"name-{n}", "title": f"title {n}", "username": f"user-{n}", "body": "b"}
            for n in range(offset, min(offset + count, 45))
        ]
        if path in ("/colonies", "/notifications", "/webhooks", "/messages/conversations"):
            return rows
        more = offset + count < 45
        return {"id": path, "method": method, "query": query, "username": "me", "karma": 3, "title": "t", "body": "b",
                "items": rows, "total": 45, "has_more": more}  # fmt: skip
