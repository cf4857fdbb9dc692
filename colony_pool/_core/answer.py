"""What came, in words: whether an answer is The Colony's own, and what else it is.

The API says an error as a JSON object with ``detail`` or ``error``. Anything else with an error status was written
by something between this host and the API: a gateway, a proxy, a firewall, a captive portal, or the server of another
address. It says nothing of any key, and nothing of the API but that it was not reached.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# What every message says while no token has come from an address: a wrong one looks like an outage.
CHECK_BASE_URL = "if this address never gave a token, check base_url"

# By hand, not by urlsplit: what a browser takes for a user and a password stands in addresses that it does not split.
_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:(?=[/\\]))?(?://)?")
_HIDDEN = re.compile(r"[?#;]")
_BOM = b"\xef\xbb\xbf"
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
    if "html" in kind or (not told and body.removeprefix(_BOM).lstrip()[:1] == b"<"):
        return "an HTML page"
    if kind == "application/json" or kind.endswith("+json"):
        return "JSON of another shape" if _is_json(body) else "a body that is no JSON"
    return f"a body of type {told}" if told else "a body of unknown type"


def described(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """``HTTP 403, an HTML page, not The Colony's answer (text/html)``; for a redirect, where it leads."""
    if status // 100 == 3:
        target = redirect_target(headers)
        where = f" to {target}" if target else ""
        return f"HTTP {status}{where} (a redirect is never followed)"
    what, kind, target = what_came(headers, body), media_type(headers), redirect_target(headers)
    whose = ", not The Colony's answer" if status // 100 == 4 else ""  # a server that fails may well be the API's own
    facts = [kind] if kind not in what else []
    if target:
        facts.append(f"Location: {target}")
    more = f" ({'; '.join(facts)})" if facts else ""
    return f"HTTP {status}, {what}{whose}{more}"


def redirect_target(headers: Mapping[str, str]) -> str:
    """Where a redirect leads, ``""`` if nowhere; without user, password, query and the like: they may be secret."""
    location = one_line(headers.get("location", "").strip())
    start = _SCHEME.match(location)
    scheme = start.group() if start is not None else ""
    rest = _HIDDEN.split(location[len(scheme) :], maxsplit=1)[0]
    more = "?..." if len(scheme) + len(rest) < len(location) else ""
    target = (scheme + rest.rpartition("@")[2]).replace(" ", "%20")
    return f"{target[:_LONGEST_TARGET]}..." if len(target) > _LONGEST_TARGET else target + more


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body.decode())
    except (ValueError, RecursionError):
        return False
    return True
