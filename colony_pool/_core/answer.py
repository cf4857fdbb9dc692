"""What came, in words: whether an answer is The Colony's own, and what else it is.

The API says an error as a JSON object with ``detail`` or ``error``. Anything else with an error status was written
by something between this host and the API: a gateway, a proxy, a firewall, a captive portal, or the server of another
address. It says nothing of any key, and nothing of the API but that it was not reached.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

# What every message says while no token has come from an address: a wrong one looks like an outage.
CHECK_BASE_URL = "if this address never gave a token, check base_url"

_LONGEST_TARGET = 120
_LONGEST_TYPE = 40


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that ``body`` is; an empty one if it is none."""
    try:
        value = json.loads(body.decode())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def is_api_error(response: Mapping[str, Any]) -> bool:
    """Say whether this JSON object is the API's way to tell an error."""
    return "detail" in response or "error" in response


def one_line(text: str) -> str:
    """``text`` without line ends, escape sequences and the like: a server must not write into our logs."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def media_type(headers: Mapping[str, str]) -> str:
    """The type of a body, such as ``text/html``; ``""`` if nobody said. ``headers`` have lower-case names."""
    return one_line(headers.get("content-type", "").split(";")[0].strip()[:_LONGEST_TYPE])


def what_came(headers: Mapping[str, str], body: bytes) -> str:
    """Name a body that is not the API's: ``an HTML page``, ``an empty body``, ``a body of type text/plain``."""
    if not body.strip():
        return "an empty body"
    told = media_type(headers)
    kind = told.lower()
    if "html" in kind or (not told and body.lstrip()[:1] == b"<"):
        return "an HTML page"
    if kind == "application/json" or kind.endswith("+json"):
        return "JSON of another shape" if _is_json(body) else "a body that is no JSON"
    return f"a body of type {told}" if told else "a body of unknown type"


def described(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """``HTTP 403, an HTML page, not The Colony's answer``; for a redirect, where it leads."""
    if status // 100 == 3:
        target = redirect_target(headers)
        where = f" to {target}" if target else ""
        return f"HTTP {status}{where} (a redirect is never followed)"
    return f"HTTP {status}, {what_came(headers, body)}, not The Colony's answer"


def redirect_target(headers: Mapping[str, str]) -> str:
    """Where a redirect leads, ``""`` if nowhere; without user, password, query and fragment: they may be secret."""
    try:
        url = urlsplit(one_line(headers.get("location", "")).strip())
        host = url.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that is none"
    scheme = f"{url.scheme}:" if url.scheme else ""
    target = f"{scheme}{'//' if host else ''}{host}{url.path}{'?...' if url.query else ''}"
    return target if len(target) <= _LONGEST_TARGET else target[:_LONGEST_TARGET] + "..."


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body.decode())
    except (ValueError, RecursionError):
        return False
    return True
