"""FakeColony's behaviours: their options, and what each makes of the healthy answer.

A behaviour is a value, ``Rule``; ``shaped`` applies it to the healthy answer. The server decides which rule holds for
a request. Both sides use this table: the client to refuse a wrong name or option at once, and the server to act.
"""

from __future__ import annotations

import functools
import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ._tokens import subject, totp_code

__all__ = [
    "AT_CONNECT",
    "BEHAVIOURS",
    "HTML",
    "Answer",
    "Rule",
    "check",
    "error",
    "json_answer",
    "shaped",
    "subject",
    "totp_code",
]

HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1>nginx</body></html>"
GATEWAY = "status"  # the one behaviour that answers before the application sees the request
AT_CONNECT = ("reset_handshake", "silence")  # they act before any request, so they hold for all paths


@dataclass(frozen=True)
class Answer:
    """What goes onto the wire, and how."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    how: str = "plain"  # plain, hang, reset, drip_head, drip_body, drip_all, truncated, raw_close, raw_reset, ...
    bytes_per_s: float = 0.0
    delay: float | None = None  # seconds; None: the server's own latency
    idle: float | None = None  # the connection is closed after so many idle seconds


@dataclass(frozen=True)
class Rule:
    """A behaviour and its options."""

    name: str = "healthy"
    options: Mapping[str, Any] = field(default_factory=dict)
    last_connection: float = math.inf  # it holds for connections up to this number


@dataclass(frozen=True)
class _Option:
    allowed: str
    accepts: Callable[[Any], bool]


def _number(low: float, high: float, *, whole: bool = False) -> _Option:
    kinds = int if whole else (int, float)
    text = f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}"
    return _Option(text, lambda v: isinstance(v, kinds) and not isinstance(v, bool) and low <= v <= high)


def _is_latin(value: Any) -> bool:
    return isinstance(value, str) and max(value, default="") < "\u0100"


def _is_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_latin(text) for pair in value.items() for text in pair)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


_STATUS = _number(200, 599, whole=True)
_SIZE = _number(1, 2**30, whole=True)
_SECONDS = _number(0, 86_400)
_FLAG = _Option("True or False", lambda v: isinstance(v, bool))
_TEXT = _Option("a string without surrogates", _is_text)
_HEADERS = _Option("a dict of strings, of characters from U+0000 to U+00FF", _is_headers)
_LATIN = _Option("a string of characters from U+0000 to U+00FF", _is_latin)
_THEN = _Option("close, reset, hang or keep", lambda v: v in ("close", "reset", "hang", "keep"))


def json_answer(status: int, value: object) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def error(status: int, message: str, code: str | None = None) -> Answer:
    return json_answer(status, {"detail": {"message": message, "code": code} if code else message})


def _as_is(answer: Answer, options: Mapping[str, Any]) -> Answer:
    return answer


def _played(how: str) -> Callable[[Answer, Mapping[str, Any]], Answer]:
    return lambda answer, options: replace(answer, how=how)


def _scripted(answer: Answer, options: Mapping[str, Any]) -> Answer:
    html = options.get("html", False)
    default = HTML.decode() if html else '{"detail": "as told"}'
    kind = {"Content-Type": "text/html" if html else "application/json"}
    body = options.get("body", default).encode()
    return Answer(options.get("status", 502), body, {**kind, **options.get("headers", {})})


def _dripped(answer: Answer, options: Mapping[str, Any]) -> Answer:
    head, body = options.get("headers", True), options.get("body", True)
    how = "drip_all" if head and body else "drip_head" if head else "drip_body" if body else "plain"
    return replace(answer, how=how, bytes_per_s=float(options.get("bytes_per_s", 10.0)))


def _page(answer: Answer, options: Mapping[str, Any]) -> Answer:
    return Answer(200, HTML, {"Content-Type": "text/html"})


def _huge(answer: Answer, options: Mapping[str, Any]) -> Answer:
    return replace(answer, status=200, body=b'{"x": "' + b"x" * options.get("size", 10_000_000) + b'"}')


@functools.lru_cache(maxsize=4)
def _bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)  # 31: a gzip header
    piece, rest = divmod(size, 1 << 20)
    return b"".join([packer.compress(b" " * (1 << 20)) for _ in range(piece)] + [packer.compress(b" " * rest)]) + (
        packer.flush()
    )


def _gzip_bomb(answer: Answer, options: Mapping[str, Any]) -> Answer:
    body = _bomb(options.get("size", 50_000_000))
    return replace(answer, status=200, body=body, headers={**answer.headers, "Content-Encoding": "gzip"})


def _raw(answer: Answer, options: Mapping[str, Any]) -> Answer:
    return Answer(0, options.get("data", "").encode("latin-1"), how=f"raw_{options.get('then', 'close')}")


def _with_body(body: bytes) -> Callable[[Answer, Mapping[str, Any]], Answer]:
    return lambda answer, options: replace(answer, status=200, body=body)


def _redirect(answer: Answer, options: Mapping[str, Any]) -> Answer:
    return Answer(options.get("status", 302), b"", {"Location": options.get("location", "/elsewhere")})


def _late(answer: Answer, options: Mapping[str, Any]) -> Answer:
    return replace(answer, delay=float(options.get("seconds", 1.0)))


def _closing(answer: Answer, options: Mapping[str, Any]) -> Answer:
    return replace(answer, idle=float(options.get("seconds", 0.0)))


@dataclass(frozen=True)
class Behaviour:
    """The options of a behaviour, and the function that applies it to the healthy answer."""

    options: dict[str, _Option]
    shape: Callable[[Answer, Mapping[str, Any]], Answer]


BEHAVIOURS: dict[str, Behaviour] = {
    "healthy": Behaviour({}, _as_is),
    "status": Behaviour({"status": _STATUS, "headers": _HEADERS, "html": _FLAG, "body": _TEXT}, _scripted),
    "latency": Behaviour({"seconds": _SECONDS}, _late),
    "flaky": Behaviour({"ratio": _number(0, 1), "status": _STATUS}, _as_is),  # the server draws the random number
    "hang": Behaviour({}, _played("hang")),
    "reset": Behaviour({}, _played("reset")),
    "reset_handshake": Behaviour({}, _played("reset")),  # an older connection is reset at its next request
    "silence": Behaviour({}, _played("hang")),  # on an older connection, the request hangs
    "raw": Behaviour({"data": _LATIN, "then": _THEN}, _raw),
    "drip": Behaviour({"bytes_per_s": _number(0.001, 1e9), "headers": _FLAG, "body": _FLAG}, _dripped),
    "truncated": Behaviour({}, _played("truncated")),
    "html": Behaviour({}, _page),
    "huge": Behaviour({"size": _SIZE}, _huge),
    "gzip_bomb": Behaviour({"size": _SIZE}, _gzip_bomb),
    "not_json": Behaviour({}, _with_body(b'{"access_token": "abc')),
    "not_utf8": Behaviour({}, _with_body(b'{"access_token": "\xff\xfe"}')),
    "expired": Behaviour({}, _as_is),  # the server issues an expired token
    "no_token": Behaviour({}, _with_body(b'{"token_type": "bearer"}')),
    "redirect": Behaviour({"status": _number(300, 399, whole=True), "location": _LATIN}, _redirect),
    "close_idle": Behaviour({"seconds": _SECONDS}, _closing),
    "close_reused": Behaviour({}, _as_is),  # only the server knows whether a connection is reused
}


def check(name: str, options: Mapping[str, Any]) -> Rule:
    """Return the rule, or raise a ValueError that says what is allowed instead."""
    if not isinstance(name, str) or name not in BEHAVIOURS:
        raise ValueError(f"behaviour {name!r}: must be one of {', '.join(BEHAVIOURS)}")
    known = BEHAVIOURS[name].options
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"behaviour {name!r}: unknown option {option!r}; allowed: {', '.join(known) or 'none'}")
        if not known[option].accepts(value):
            raise ValueError(f"behaviour {name!r}: {option}={value!r}: must be {known[option].allowed}")
    return Rule(name, dict(options))


def shaped(rule: Rule, healthy: Answer) -> Answer:
    """Apply ``rule`` to the healthy answer."""
    return BEHAVIOURS[rule.name].shape(healthy, rule.options)
