"""The properties: each takes bytes, and raises if what came out of them is not what was promised.

``answer`` hands the bytes to the real transport as what a server sends, on a real socket, then closes. The others
go straight to what parses them.
"""

from __future__ import annotations

import base64
import math
import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from colony_pool.config import PolicyConfig, Timeout
from colony_pool.errors import ColonyAPIError
from tests.support.private import (
    KINDS,
    MAX_LIFE,
    MAX_TOKEN_CHARS,
    OK,
    BadReply,
    Connection,
    HttpTransport,
    Instant,
    NetworkFailure,
    Outcome,
    RawResponse,
    ThreadRuntime,
    TokenCache,
    bad_answer,
    claims_expiry,
    classify,
    from_outcome,
    http_date,
    issue,
)
from tests.support.private import read_headers as read

WALL = 1_790_000_000.0
NOW = 5_000.0
KEY = "col_secret_of_the_fuzzer"
LIMIT = 65_536  # bytes of a token answer
DECADE = 10 * 365 * 86_400.0


def check_outcome(outcome: Outcome) -> None:
    """G11, G17: its class is one of the table's, its numbers are sane, and what is raised for it is documented."""
    assert outcome.kind in KINDS, outcome
    assert (outcome.kind == OK) == bool(outcome.jwt), outcome
    for seconds in (outcome.retry_after, outcome.exhausted_for):
        assert seconds is None or 0.0 <= seconds <= DECADE, outcome
    if outcome.kind == OK:
        check_token(outcome.jwt, outcome.life)
    else:
        check_error(from_outcome(outcome, 1).exception())


def check_error(error: BaseException) -> None:
    """One documented error; its message is one line of bounded length that no terminal or log stumbles over."""
    assert isinstance(error, ColonyAPIError), error
    answer = str(error)
    assert answer.isprintable(), ascii(answer)
    assert len(answer) < 600, len(answer)
    assert KEY not in f"{error!r} {vars(error)}"
    code = error.code
    assert code is None or (code.isprintable() and len(code) <= 100), ascii(code)


def check_token(jwt: str, life: float | None) -> None:
    """No header can be split with it, and its ages are in order and finite."""
    assert 0 < len(jwt) <= MAX_TOKEN_CHARS
    assert all("!" <= letter <= "~" for letter in jwt)
    assert life is None or 0.0 < life <= MAX_LIFE, life
    token = issue(jwt, 86_400.0 if life is None else life, 0.0, 0.5, Instant(NOW, WALL), PolicyConfig())
    assert NOW <= token.refresh_at <= token.mandatory_at <= token.ends < math.inf
    assert token.is_valid(Instant(NOW, WALL)) or (life is not None and life < 1e-6)
    assert not token.is_valid(Instant(token.ends, WALL))


def token_answer(data: bytes) -> None:
    """The body of a 200, and, by its first byte, of any other status."""
    check_outcome(classify(200, {}, data, WALL))
    if data:
        check_outcome(classify(100 + 2 * data[0], {"content-type": "application/json"}, data[1:], WALL))


def header_values(data: bytes) -> None:
    """Four header lines: ``Retry-After``, ``X-RateLimit-Remaining``, ``X-RateLimit-Reset``, ``Date``."""
    names = ("retry-after", "x-ratelimit-remaining", "x-ratelimit-reset", "date")
    headers = dict(zip(names, data.decode("latin-1").split("\n"), strict=False))
    answer = read(headers, WALL)
    for seconds in (
        answer.retry_after,
        answer.pause,
        answer.exhausted_for,
        *(limit.reset for limit in answer.limits),
    ):
        assert seconds is None or 0.0 <= seconds <= DECADE, headers
    moment = http_date(headers.get("date"))
    assert moment is None or math.isfinite(moment)
    for status in (200, 401, 429, 503):
        check_outcome(classify(status, headers, b'{"access_token": "a.b.c"}', WALL))


def jwt(data: bytes) -> None:
    """Any text as a token, and a token whose claims are any bytes."""
    claims = b"e30." + base64.urlsafe_b64encode(data).rstrip(b"=") + b".sig"
    moment = claims_expiry(claims.decode())
    assert moment is None or math.isfinite(moment)
    check_outcome(classify(200, {}, b'{"access_token": "' + claims + b'"}', WALL))
    text = data.decode("latin-1")
    expiry = claims_expiry(text)
    assert expiry is None or math.isfinite(expiry)
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        check_outcome(classify(200, {}, b'{"access_token": "' + data + b'"}', WALL))


def cache_file(data: bytes) -> None:
    """G21: whatever a file of the token cache holds is a token with more than a minute to live, or a miss."""
    cache = TokenCache("https://example.org/api")
    path = cache._path(KEY)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    found = cache.load(KEY, WALL)
    if found is not None:
        token, expiry = found
        assert WALL + 60.0 < expiry
        check_token(token, expiry - WALL)
    cache.remove(KEY, "another.jwt.entirely")


def own_cache() -> None:
    """Give ``cache_file`` a directory of its own; it goes with the process."""
    folder = tempfile.mkdtemp(prefix="fuzz-cache-")
    os.environ["COLONY_SDK_TOKEN_CACHE_DIR"] = folder
    assert Path(folder).is_dir()


class _Loaded(Connection):
    """A connection whose server has said everything already."""

    said = b""
    _theirs: socket.socket | None = None

    def _new_conn(self) -> Any:
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.sendall(self.said)
        theirs.shutdown(socket.SHUT_WR)
        self._theirs = theirs  # not closed yet: what we send to it must not be refused
        return ours

    def close(self) -> None:
        super().close()
        theirs, self._theirs = self._theirs, None
        if theirs is not None:
            theirs.close()


def _transport() -> HttpTransport:
    timeout = Timeout(connect=5.0, read=5.0, total=5.0)
    transport = HttpTransport("http://127.0.0.1:9/api", runtime=ThreadRuntime(), maxsize=1, timeout=timeout)
    transport._pools.at(None).ConnectionCls = _Loaded
    return transport


_TRANSPORT = _transport()


def answer(data: bytes) -> None:
    """What a server sends from the first byte of its status line, for a token request and for an API call."""
    _Loaded.said = data[:500_000]
    for method, limit in (("POST", LIMIT), ("GET", 1 << 20)):
        reply = _ask(method, limit)
        if isinstance(reply, RawResponse):
            assert 100 <= reply.status <= 999, reply
            assert len(reply.body) <= min(limit, len(data))
            check_headers(reply.headers)
            check_outcome(classify(reply.status, reply.headers, reply.body, WALL))
        elif isinstance(reply, BadReply):
            check_outcome(bad_answer(reply.status, reply.reason))
        else:
            assert reply.kind == "reset", reply
            assert reply.sent
    assert _TRANSPORT.connections()[0] == 0, "a slot was lost"


def check_headers(headers: Mapping[str, str]) -> None:
    assert len(headers) <= 100
    assert all(isinstance(value, str) and name == name.lower() for name, value in headers.items())


def _ask(method: str, limit: int) -> RawResponse | BadReply | NetworkFailure:
    try:
        return _TRANSPORT.send(method, "/auth/token", headers={}, body=b"{}", max_body=limit, since=math.inf)
    except (BadReply, NetworkFailure) as failure:
        return failure.with_traceback(None)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "answer": answer,
    "token_answer": token_answer,
    "header_values": header_values,
    "jwt": jwt,
    "cache_file": cache_file,
}
