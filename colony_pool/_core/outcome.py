"""One table classifies every answer of the token endpoint (G11).

=========  ==========================================================  ========  =====================
kind       what                                                        breaker   retried
=========  ==========================================================  ========  =====================
ok         2xx with a usable ``access_token``                          success   -
down       502-504, 520-530, 408, 421, 425, 1xx, 3xx, a 2xx that is    failure   if in ``retry_on``
           none, a 4xx that is not the API's
network    no HTTP answer: DNS, refused, reset, TLS, timeout           failure   only if asked for
fault      500, 501 and other 5xx                                      failure   no
throttled  429; 503 with ``Retry-After`` and no requests remaining;    neutral   never
           the API's own 400 or 403 with either of them
denied     the API's own 400, 401, 403, 404, 422 and other 4xx         success   never
local      ours: closed, cancelled, no code at hand                    none      -
=========  ==========================================================  ========  =====================

A 2xx that is not the JSON it should be, truncated, too big or already expired is *down*: a gateway's page
with status 200 must not end an outage. Nor must its page with a 4xx: only the API's JSON error (see ``answer``)
refuses a key. This comes before every other rule, but for 408 and 429, which a gateway says for the API.
Whatever is down without being 502, 503 or 504 counts as 502 for ``retry_on``: it, too, is a gateway talking in
the endpoint's place.

421 and 425 say that the request was not looked at: this connection leads to a server of other addresses (RFC 9110,
15.5.20), or the server takes none that could be a copy of another (RFC 8470, 5.2). The next attempt, on another
connection, may well succeed. So neither refuses a key, not even in the API's words. API calls are retried, too.

*Whose answer it is.* The API says an error as a JSON object with ``detail`` or ``error``. Anything else with an
error status was written by something between this host and the API: a gateway, a proxy, a firewall, a captive
portal, or the server of another address. It says nothing of any key, and nothing of the API but that it was not
reached."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .headers import LimitHeaders, http_date, read
from .shared_state import HandledElsewhere
from .token import seconds_left

# What every message says while no token has come from an address: a wrong one looks like an outage.
CHECK_BASE_URL = "if this address never gave a token, check base_url"

# By hand, not by urlsplit: what a browser takes for a user and a password stands in addresses that it does not split.
_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:(?=[/\\]))?(?://)?")
_HIDDEN = re.compile(r"[?#;]")
_BOM = b"\xef\xbb\xbf"
_NO_JSON = object()
_LONGEST_TARGET = 120
_LONGEST_TYPE = 40


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that ``body`` is; an empty one if it is none."""
    value = _json(body)
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
    declared = media_type(headers)
    kind = declared.lower()
    if "html" in kind or (not declared and body.removeprefix(_BOM).lstrip()[:1] == b"<"):
        return "an HTML page"
    if kind == "application/json" or kind.endswith("+json"):
        return "a body that is no JSON" if _json(body) is _NO_JSON else "JSON of another shape"
    return f"a body of type {declared}" if declared else "a body of unknown type"


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


def _json(body: bytes) -> Any:
    """The JSON value that ``body`` is; ``_NO_JSON`` if it is none. A mark of the byte order may stand before it."""
    try:
        return json.loads(body.removeprefix(_BOM).decode())
    except (ValueError, RecursionError):
        return _NO_JSON


# Kinds. Their values are label values of ``attempts_total``, too.
OK, UNAVAILABLE, NETWORK_ERROR, SERVER_ERROR = "ok", "down", "network", "fault"
RATE_LIMITED, REJECTED, LOCAL = "throttled", "denied", "local"
KINDS = (OK, UNAVAILABLE, NETWORK_ERROR, SERVER_ERROR, RATE_LIMITED, REJECTED, LOCAL)

MAX_TOKEN_CHARS = 16_384
GATEWAY_STATUS = 502  # what counts as a gateway's failure counts as this for ``retry_on``
NOT_LOOKED_AT = (421, 425)  # the server that answered has not looked at the request
_AGAIN = (408, *NOT_LOOKED_AT)  # a 4xx that says nothing of the key
_ASKS = (*_AGAIN, 503)  # whose Retry-After is for the request that met it, and not only for the next probe
_MAX_CODE = 100
_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt. Holds no key and no code; the token does not show in its repr."""

    kind: str
    status: int = 0
    detail: str = ""
    code: str | None = None
    response: Mapping[str, Any] = field(default_factory=dict, repr=False)
    retry_after: float | None = None
    exhausted_for: float | None = None  # the headers say: no request left for that many seconds
    remaining: tuple[int, float] | None = None  # the headers say: so many requests left, for so many seconds
    jwt: str = field(default="", repr=False)
    life: float | None = None  # seconds the token lives from now, None when nobody said
    life_cut: bool = False  # ``expires_in`` ends the token long before its own ``exp`` does
    totp_consumed: bool = False  # a TOTP code reached the socket
    code_again: bool = False  # the next TOTP window brings another code
    wait_for_totp: bool = False  # local: no unspent code before the next TOTP window
    handled_elsewhere: HandledElsewhere | None = None  # local: another process makes this attempt, or has made it
    is_transient: bool = False  # local: our own trouble, which passes; the attempt is made again
    local_error: BaseException | None = field(default=None, repr=False)
    hint: str = ""  # network: what to do about it, if there is more to say than to check the network

    @property
    def is_foreign(self) -> bool:
        """Whether it is an answer that the API does not give: a redirect, or a 4xx that is not its own."""
        return self.kind == UNAVAILABLE and self.status != 408 and 300 <= self.status < 500

    @property
    def postpones(self) -> float:
        """Seconds for which nothing is to be sent again: by a server that asks for it, or by a gateway's page."""
        return self.retry_after or 0.0 if self.status in _ASKS or self.is_foreign else 0.0

    @property
    def retry_status(self) -> int:
        """The status that ``retry_on`` is asked about."""
        return self.status if self.status in (502, 503, 504) else GATEWAY_STATUS


def classify(status: int, headers: Mapping[str, str], body: bytes, wall: float) -> Outcome:
    """Give one HTTP answer its class. ``headers`` have lower-case names; ``wall`` is unix time now."""
    limits = read(headers, wall)
    outcome = _by_status(status, headers, body, wall, limits)
    return outcome if limits.left is None or outcome.is_foreign else replace(outcome, remaining=limits.left)


def _by_status(status: int, headers: Mapping[str, str], body: bytes, wall: float, limits: LimitHeaders) -> Outcome:
    if 200 <= status < 300:
        return _token_answer(status, headers, body, wall, limits.exhausted_for)
    response, after = json_object(body), limits.asked
    detail, code = error_text(response)
    if 400 <= status < 500 and status not in (408, 429) and not is_api_error(response):
        return Outcome(UNAVAILABLE, status, described(status, headers, body), retry_after=after)
    if _is_rate_limited(status, limits):
        return Outcome(RATE_LIMITED, status, detail, code, response, limits.pause)
    if 400 <= status < 500 and status not in _AGAIN:
        return Outcome(
            REJECTED, status, detail, code, response, after, limits.exhausted_for if limits.exhausted else None
        )
    if status < 500 or status in (502, 503, 504) or 520 <= status <= 530:
        return Outcome(UNAVAILABLE, status, _by_whom(status, headers, body, response), code, response, after)
    return Outcome(SERVER_ERROR, status, _by_whom(status, headers, body, response), code, response, after)


def _by_whom(status: int, headers: Mapping[str, str], body: bytes, response: Mapping[str, Any]) -> str:
    """The status, and what came with it if it is not the API's: an operator sees by that who has spoken."""
    if status // 100 != 3 and (status // 100 == 1 or is_api_error(response) or not body.strip()):
        return f"HTTP {status}"
    return described(status, headers, body)


def _is_rate_limited(status: int, limits: LimitHeaders) -> bool:
    """Whether the API refused the request for its rate limit; 400 and 403 are GitHub's way."""
    if status in (400, 403):
        return limits.exhausted or limits.asked is not None
    return status == 429 or (status == 503 and limits.exhausted and limits.retry_after is not None)


def bad_answer(status: int, reason: str) -> Outcome:
    """An answer that broke off, grew too big or cannot be read."""
    return Outcome(UNAVAILABLE, status, f"HTTP {status}, but {reason}")


def _token_answer(
    status: int, headers: Mapping[str, str], body: bytes, wall: float, exhausted: float | None
) -> Outcome:
    response = json_object(body)
    jwt = response.get("access_token")
    if not isinstance(jwt, str) or not jwt:
        kind = media_type(headers) or "an unknown type"
        return bad_answer(status, f"the body ({kind}) holds no access_token")
    if not is_token(jwt):
        return bad_answer(status, "its access_token is no token")
    life, cut = seconds_left(response.get("expires_in"), jwt, http_date(headers.get("date")), wall)
    if life is not None and life <= 0:
        return bad_answer(status, "its token has expired already")
    return Outcome(OK, status, exhausted_for=exhausted, jwt=jwt, life=life, life_cut=cut)


def is_token(jwt: str) -> bool:
    """Whether ``jwt`` can be sent as a token."""
    return len(jwt) <= MAX_TOKEN_CHARS and _VISIBLE.fullmatch(jwt) is not None


def error_text(response: Mapping[str, Any]) -> tuple[str, str | None]:
    """``(message, code)`` of an API error body in any of its three shapes; fit for a line of a log."""
    detail = response.get("detail", response.get("error"))
    message, code = (detail.get("message"), detail.get("code")) if isinstance(detail, Mapping) else (detail, None)
    is_code = isinstance(code, str) and len(code) <= _MAX_CODE and code.isprintable()
    return (one_line(message) if isinstance(message, str) else ""), (code if is_code else None)
