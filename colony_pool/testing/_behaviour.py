"""What FakeColony answers: behaviours, capacity, rate limit, tokens and one-time codes. Runs in its process."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import struct
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

BEHAVIOURS: dict[str, tuple[str, ...]] = {
    "healthy": (),
    "status": ("status", "headers", "html", "body"),
    "hang": (),
    "reset": (),
    "drip": ("bytes_per_s", "headers"),
    "truncated": (),
    "html": (),
    "huge": ("size",),
    "gzip_bomb": ("size",),
    "not_json": (),
    "not_utf8": (),
    "expired": (),
    "no_token": (),
    "redirect": ("status", "location"),
    "flaky": ("ratio", "status"),
}
HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1>nginx</body></html>"
_SECRET = b"fake colony"


@dataclass
class Answer:
    """What goes onto the wire, and how."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    how: str = "plain"  # plain, hang, reset, drip, truncated
    bytes_per_s: float = 0.0
    drip_headers: bool = False
    delay: float | None = None


def json_answer(status: int, value: object, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


def error(status: int, message: str, code: str | None = None) -> Answer:
    return json_answer(status, {"detail": {"message": message, "code": code} if code else message})


def subject(key: str) -> str:
    """A short name of a key that shows nothing of it."""
    return "agent-" + hashlib.sha256(key.encode()).hexdigest()[:12]


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_jwt(sub: str, life: float, serial: int) -> str:
    now = time.time()
    claims = {"sub": sub, "iat": now, "exp": now + life, "jti": serial}
    head = f"{_b64(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{_b64(json.dumps(claims).encode())}"
    return f"{head}.{_b64(hmac.new(_SECRET, head.encode(), 'sha256').digest())}"


def totp_code(secret: str, at: float | None = None) -> str:
    """The 6-digit code of a base32 ``secret`` at unix time ``at`` (default: now), as RFC 6238 has it."""
    key = base64.b32decode(secret.upper() + "=" * (-len(secret) % 8))
    window = int((time.time() if at is None else at) // 30)
    digest = hmac.new(key, struct.pack(">Q", window), "sha1").digest()
    start = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


class Capacity:
    """A server that can be overrun: a bucket of ``rate``, ``max_in_flight`` at once, and a knock-out."""

    def __init__(self, rate: float, max_in_flight: int, knockout: float) -> None:
        self.rate = rate
        self.max_in_flight = max_in_flight
        self.knockout = knockout
        self.depth = self.level = max(1.0, rate / 10)
        self.filled = time.monotonic()
        self.excess: deque[float] = deque()
        self.down_until = 0.0
        self.knocks = 0

    def admit(self, in_flight: int) -> Answer | None:
        now = time.monotonic()
        if now < self.down_until:
            return Answer(502, HTML, {"Content-Type": "text/html"})
        self.level = min(self.depth, self.level + (now - self.filled) * self.rate)
        self.filled = now
        if self.level >= 1.0 and in_flight <= self.max_in_flight:
            self.level -= 1.0
            return None
        self.excess.append(now)
        while self.excess[0] < now - 1.0:
            self.excess.popleft()
        if len(self.excess) >= self.rate and self.knockout > 0:
            self.excess.clear()
            self.down_until = now + self.knockout
            self.knocks += 1
        return Answer(503, b"overloaded", {"Content-Type": "text/plain"}, delay=0.005)


class RateLimit:
    """Per address, in fixed windows."""

    def __init__(self, limit: int, window: float) -> None:
        self.limit = limit
        self.window = window
        self.counts: dict[str, tuple[float, int]] = {}

    def count(self, address: str) -> tuple[Answer | None, dict[str, str]]:
        now = time.time()
        began, used = self.counts.get(address, (now, 0))
        if now >= began + self.window:
            began, used = now, 0
        self.counts[address] = (began, used + 1)
        ends = began + self.window
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - used - 1)),
            "X-RateLimit-Reset": str(int(ends + 0.999)),
        }
        if used < self.limit:
            return None, headers
        headers["Retry-After"] = str(max(1, int(ends - now + 0.999)))
        return error(429, "Too many token requests from this address.", "RATE_LIMIT_AUTH"), headers


class Keys:
    """Tokens, denials, second factors, idempotency."""

    def __init__(self) -> None:
        self.expires_in: float | None = 86_400.0
        self.tell_expiry = True
        self.settings: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, tuple[str, float]] = {}
        self.spent: set[tuple[str, str]] = set()
        self.replies: dict[tuple[str, str], tuple[bytes, Answer]] = {}
        self.issued = 0

    def exchange(self, body: bytes, *, expired: bool = False) -> tuple[Answer, str]:
        """Answer a token request: ``(answer, who asked)``."""
        try:
            request = json.loads(body)
            key = request["api_key"]
        except (ValueError, TypeError, KeyError):
            return error(422, "api_key is missing"), ""
        if not isinstance(key, str) or not key.startswith("col_"):
            return error(401, "Invalid API key.", "AUTH_INVALID_KEY"), ""
        who = subject(key)
        settings = self.settings.get(who, {})
        refusal = settings.get("deny")
        if refusal:
            return error(refusal["status"], "This key was refused.", refusal["code"]), who
        if secret := settings.get("totp_secret"):
            code = request.get("totp_code")
            if code is None:
                return error(401, "A one-time code is required.", "AUTH_2FA_REQUIRED"), who
            now = time.time()
            if code not in (totp_code(secret, now), totp_code(secret, now - 30)) or (who, code) in self.spent:
                return error(401, "Invalid 2FA code.", "AUTH_2FA_INVALID"), who
            self.spent.add((who, code))
        life = -60.0 if expired else 86_400.0 if self.expires_in is None else self.expires_in
        self.issued += 1
        jwt = make_jwt(who, life, self.issued)
        self.tokens[jwt] = (who, time.time() + life)
        answer = {"access_token": jwt, "token_type": "bearer"}
        if self.tell_expiry and not expired:
            return json_answer(200, {**answer, "expires_in": life}), who
        return json_answer(200, answer), who

    def api(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[Answer, str]:
        """Answer any other request."""
        scheme, _, jwt = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return error(403, "Use Authorization: Bearer.", "AUTH_FORBIDDEN"), ""
        who, ends = self.tokens.get(jwt, ("", 0.0))
        if not who or time.time() >= ends:
            return error(401, "The token is not valid.", "AUTH_INVALID_TOKEN"), who
        idempotency = headers.get("idempotency-key")
        if method in ("POST", "PUT") and idempotency:
            before = self.replies.get((who, idempotency))
            if before is not None:
                return (before[1] if before[0] == body else error(409, "Other body for this key.", "CONFLICT")), who
        answer = self._serve(method, path, headers, body, who)
        if method in ("POST", "PUT") and idempotency:
            self.replies[who, idempotency] = (body, answer)
        return answer, who

    @staticmethod
    def _serve(method: str, path: str, headers: dict[str, str], body: bytes, who: str) -> Answer:
        bare = path.partition("?")[0]
        if bare.endswith("/echo"):
            shown = {name: value for name, value in headers.items() if name != "authorization"}
            return json_answer(
                200, {"method": method, "path": path, "headers": shown, "body": body.decode("latin-1")}
            )
        if "/status/" in bare:
            return error(int(bare.rpartition("/")[2]), "As you asked.", "AS_ASKED")
        return json_answer(200, {"id": who, "username": who, "agent": who, "path": bare})


def shaped(name: str, options: dict[str, Any], healthy: Answer, dice: random.Random) -> Answer:
    """Turn the healthy answer into what behaviour ``name`` makes of it."""
    if name in ("hang", "reset", "truncated"):
        healthy.how = name
    elif name == "drip":
        healthy.how, healthy.bytes_per_s = "drip", float(options.get("bytes_per_s", 10.0))
        healthy.drip_headers = bool(options.get("headers", True))
    elif name == "status" or (name == "flaky" and dice.random() < options.get("ratio", 0.5)):
        body = str(options["body"]).encode() if "body" in options else b'{"detail": "as told"}'
        html = options.get("html", False)
        kind = {"Content-Type": "text/html" if html else "application/json"}
        return Answer(int(options.get("status", 502)), HTML if html else body, {**kind, **options.get("headers", {})})
    elif name == "html":
        return Answer(200, HTML, {"Content-Type": "text/html"})
    elif name == "huge":
        return Answer(200, b'{"x": "' + b"x" * int(options.get("size", 10_000_000)) + b'"}', dict(healthy.headers))
    elif name == "gzip_bomb":
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        body = packer.compress(b" " * int(options.get("size", 50_000_000))) + packer.flush()
        return Answer(200, body, {**healthy.headers, "Content-Encoding": "gzip"})
    elif name == "not_json":
        return Answer(200, b'{"access_token": "abc', dict(healthy.headers))
    elif name == "not_utf8":
        return Answer(200, b'{"access_token": "\xff\xfe"}', dict(healthy.headers))
    elif name == "no_token":
        return Answer(200, b'{"token_type": "bearer"}', dict(healthy.headers))
    elif name == "redirect":
        where = str(options.get("location", "/elsewhere"))
        return Answer(int(options.get("status", 302)), b"", {"Location": where})
    return healthy
