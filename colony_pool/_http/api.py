"""Authenticated API calls: bearer token, one refresh on 401, retries that cannot repeat a deed (G19, G25)."""

from __future__ import annotations

import json as _json
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypedDict
from urllib.parse import urlencode

from .._check import LONGEST_TIMEOUT, is_number, patience, shown
from .._core.backoff import jittered
from .._core.failure import CODES_OF_2FA, Failure, closed, from_status, from_stranger, unreadable
from .._core.headers import read
from .._core.outcome import (
    GATEWAY_STATUS,
    NOT_LOOKED_AT,
    described,
    error_text,
    is_api_error,
    json_object,
    media_type,
)
from .._fork import known_pid, pid_reader
from .._runtime.protocol import Event, Runtime
from ..config import RetryConfig
from ..errors import ColonyAPIError, ColonyAuthError, ColonyNetworkError, ColonyNotFoundError, ColonyServerError
from .connection_health import LastFailure, is_failure
from .failures import BUSY, FORKED, BadReply, NetworkFailure, RawResponse, forked
from .protocol import Transport
from .scrub import without_secrets

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_REPEATABLE = ("GET", "HEAD")
_KEYED = ("POST", "PUT")
# Names of headers are the same however they are written; these are of ours, and a caller's takes its place.
_OURS = ("Accept", "Accept-Encoding", "Content-Type", "Idempotency-Key", "User-Agent")
_WRITTEN = {name.lower(): name for name in _OURS}
_UNAUTHORIZED = 401
_REFUSED = (
    "The token was refused, not the API key: a token that has worked is replaced at once, one that never did once a "
    "minute; agent.invalidate() has the next call ask for another"
)
_NOT_OF_A_PATH = re.compile(r"[^!-~]|#")
MAX_BODY = 64 * 1024 * 1024
Sent = RawResponse | NetworkFailure | BadReply


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to an API call that succeeded. ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ``ColonyServerError`` when it is none."""
        try:
            return _json.loads(self.content)
        except (ValueError, RecursionError):
            message = f"HTTP {self.status}, but the body ({len(self.content)} bytes) is not JSON"
            raise ColonyServerError(message, self.status) from None


class RequestOptions(TypedDict, total=False):
    """The options of ``Agent.request``, and of ``get``, ``post`` and so on. Meanings and defaults are there alone."""

    json: Any
    params: Mapping[str, Any] | None
    headers: Mapping[str, str] | None
    idempotency_key: str | None
    timeout: float | None
    max_wait: float | None


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One API call, checked and encoded."""

    method: str
    path: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    timeout: float | None
    max_wait: float | None
    pid: int = field(default_factory=known_pid, repr=False)  # the process that makes it, and none of its children

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice is harmless: a read, or a write that the server recognises."""
        return self.method in _REPEATABLE or (self.method in _KEYED and "Idempotency-Key" in self.headers)


def prepare(
    method: str,
    path: str,
    *,
    json: Any = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    timeout: float | None = None,
    max_wait: float | None = None,
) -> ApiRequest:
    """Check and encode a call; ``ValueError`` names what is wrong."""
    verb = method.upper() if isinstance(method, str) else ""
    if verb not in METHODS:
        raise ValueError(f"method={method!r}: must be one of {', '.join(METHODS)}")
    _check_path(path)
    if timeout is not None and not (is_number(timeout, 0.0, LONGEST_TIMEOUT) and timeout > 0):
        raise ValueError(
            f"timeout={shown(timeout)}: must be a positive number of seconds, at most {LONGEST_TIMEOUT:,}"
        )
    if max_wait is not None:
        patience(max_wait)
    given = {name: value for name, value in dict(params or {}).items() if value is not None}
    query = urlencode(given, doseq=True) if given else ""
    target = f"{path}{'&' if '?' in path else '?'}{query}" if query else path
    sent = {"Accept": "application/json"}
    body = None
    if json is not None:
        body = _json.dumps(json, allow_nan=False).encode()
        sent["Content-Type"] = "application/json"
    sent |= _checked(headers or {})
    if idempotency_key is not None and not isinstance(idempotency_key, str):
        raise ValueError("idempotency_key: must be a string")
    if verb in _KEYED:
        sent["Idempotency-Key"] = idempotency_key or sent.get("Idempotency-Key") or uuid.uuid4().hex
    elif idempotency_key is not None:
        raise ValueError(f"idempotency_key: is for {' and '.join(_KEYED)}, not for {verb}")
    return ApiRequest(verb, path, target, sent, body, timeout, timeout if max_wait is None else max_wait)


def _check_path(path: object) -> None:
    if not isinstance(path, str) or not path.startswith("/") or path.startswith("//") or "\\" in path:
        raise ValueError("path: must start with one '/' (it is taken relative to base_url; no other host is asked)")
    if _NOT_OF_A_PATH.search(path):
        raise ValueError("path: must be ASCII without spaces, '#' or control characters; percent-encode the rest")
    if any(part in (".", "..") for part in path.partition("?")[0].replace("%2e", ".").replace("%2E", ".").split("/")):
        raise ValueError("path: must have no '.' or '..' segments")


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValueError(f"headers: {name!r} and its value must be strings")
        if name.lower() in ("authorization", "host", "content-length", "transfer-encoding"):
            raise ValueError(f"headers: {name} is set by the pool")
    return {_WRITTEN.get(name.lower(), name): value for name, value in headers.items()}


def is_refused(call: ApiRequest, reply: Sent) -> bool:
    """Whether the API refused the token: a gateway's own 401 says nothing of it."""
    return isinstance(reply, RawResponse) and token_refused(reply.status, reply.headers, reply.body, call.method)


def token_refused(status: int, headers: Mapping[str, str], body: bytes, method: str) -> bool:
    """The same for any answer to a request with a token. ``headers`` have lower-case names.

    The answer to HEAD has no body: its content type must do.
    """
    if status != _UNAUTHORIZED:
        return False
    if method == "HEAD":
        kind = media_type(headers).lower()
        return not kind or "json" in kind
    return is_api_error(json_object(body))


def asked_to_wait(reply: RawResponse, wall: float) -> float | None:
    """Seconds for which the server asks to be left alone, ``None`` if it does not; ``wall`` is unix time."""
    limits = read(reply.headers, wall)
    return limits.pause if reply.status == 429 else limits.asked


def scrubbed(reply: RawResponse, jwt: str) -> RawResponse:
    """A server that echoes the request in its error must not put a secret into our exceptions."""
    if reply.status < 300:
        return reply
    headers = without_secrets(reply.headers, jwt)
    return replace(reply, headers=headers, body=reply.body.replace(jwt.encode(), b"***"))


class ReplayPolicy(Protocol):
    """Says whether a call whose token was refused is made again."""

    def worked(self, jwt: str) -> None:
        """The call has worked with ``jwt``."""

    def pause(self, jwt: str) -> float | None:
        """Seconds until the call is made again; ``None``: its 401 stands."""


class ApiClient:
    """Makes API calls for agents."""

    def __init__(
        self, transport: Transport, runtime: Runtime, base_path: str, retry: RetryConfig, closing: Event
    ) -> None:
        self._transport = transport
        self._runtime = runtime
        self._base_path = base_path
        self._retry = retry
        self._closing = closing
        self._read_pid = pid_reader(greenlets=runtime.name == "gevent")

    def perform(
        self, token: Callable[..., str], call: ApiRequest, replays: ReplayPolicy, last_failure: LastFailure
    ) -> Response:
        """Make ``call``; ``token(max_wait=...)`` returns the token for it, ``replays`` says what a 401 means."""
        tried = 0
        while True:
            jwt = token(max_wait=call.max_wait)
            try:
                reply = self.send(call, jwt, last_failure)
                if is_refused(call, reply) and (pause := replays.pause(jwt)) is not None:
                    if pause and self._closing.wait(pause):
                        raise closed().exception()
                    continue
                answer = self.judge(call, reply, tried)
                if isinstance(answer, Response):
                    replays.worked(jwt)
            finally:
                jwt = ""  # no traceback of ours holds a token
            if isinstance(answer, Response):
                return answer
            tried += 1
            if self._closing.wait(answer):
                raise closed().exception()

    def judge(self, call: ApiRequest, reply: Sent, tried: int) -> Response | float:
        """The answer to the caller, or seconds until ``call`` is sent again; raises what is neither."""
        if isinstance(reply, NetworkFailure):
            return self._after_network(call, reply, tried)
        if isinstance(reply, BadReply):
            words = f"HTTP {reply.status}, but {reply.reason}"
            raise unreadable(reply.status, words, f"{call.method} {call.path}").exception()
        if 200 <= reply.status < 300:
            return Response(reply.status, reply.headers, reply.body)
        return self._after_status(call, reply, tried)

    def send(self, call: ApiRequest, jwt: str, last_failure: LastFailure) -> Sent:
        """Send ``call`` once. A failure is returned, so that no exception has it, and its frames, as context."""
        headers = {**call.headers, "Authorization": f"Bearer {jwt}"}
        try:
            if self._read_pid() != call.pid:
                raise forked(sent=True)
            reply = self._transport.send(
                call.method, self._base_path + call.target, headers=headers, body=call.body, total=call.timeout,
                max_body=MAX_BODY, cancel=None, priority=False, once=not call.repeatable,
                since=last_failure.since if call.repeatable else math.inf,
            )  # fmt: skip
            last_failure.note(self._runtime.monotonic(), failed=is_failure(reply))
            return scrubbed(reply, jwt)
        except (NetworkFailure, BadReply) as problem:
            last_failure.note(self._runtime.monotonic(), failed=is_failure(problem))
            return problem.with_traceback(None)
        finally:
            del headers, jwt

    def _after_network(self, call: ApiRequest, failure: NetworkFailure, tried: int) -> float:
        """Seconds until the call is sent again; raises when it is not."""
        retry = self._retry
        if failure.kind == FORKED:
            words = f"{call.method} {call.path}: {failure.detail}"
            hint = "This process has sent nothing: call again if it is to do so, too"
            raise ColonyNetworkError(words, hint=hint)
        if self._closing.is_set() and not failure.sent:
            raise closed().exception()
        if retry.retry_network_errors and tried < retry.max_retries and (call.repeatable or not failure.sent):
            return jittered(retry.delay(tried + 1), retry.jitter, self._runtime.random())
        if failure.kind == BUSY:
            words = f"{call.method} {call.path}: not sent ({failure.detail})"
            raise ColonyNetworkError(words, 0, hint="Make fewer calls at once, or raise the pool's maxsize")
        words = f"{call.method} {call.path}: no answer ({failure.kind}: {failure.detail})"
        raise ColonyNetworkError(words, 0, hint=failure.hint or "Check the network: no key or token is at fault")

    def _after_status(self, call: ApiRequest, reply: RawResponse, tried: int) -> float:
        retry = self._retry
        after = asked_to_wait(reply, self._runtime.now())
        status = GATEWAY_STATUS if reply.status in NOT_LOOKED_AT else reply.status
        may = status in retry.retry_on and tried < retry.max_retries and call.repeatable
        if may and (after is None or after <= retry.max_retry_after):
            delay = jittered(retry.delay(tried + 1), retry.jitter, self._runtime.random())
            return after or delay  # "now" is no delay to hammer a server with that counts
        raise _error(call, reply, after).exception()


def _error(call: ApiRequest, reply: RawResponse, after: float | None) -> Failure:
    response = json_object(reply.body)
    where = f"{call.method} {call.path}"
    if 300 <= reply.status < 400:
        return Failure(ColonyAPIError, f"{where}: {described(reply.status, reply.headers, reply.body)}", reply.status)
    if call.method != "HEAD" and not is_api_error(response):  # an answer to HEAD has no body
        return from_stranger(reply.status, reply.headers, reply.body, after, where)
    detail, code = error_text(response)
    if reply.status == 404:  # at the token endpoint it is base_url, here it is rather what was asked for
        said = f": {detail[:300]}" if detail else ""
        words, hint = f"{where}: HTTP 404{said}", "There is no such thing: check the path, or base_url"
        return Failure(ColonyNotFoundError, words, 404, response, code, hint=hint)
    if reply.status == 401 and code not in CODES_OF_2FA:
        said = f": {detail[:300]}" if detail else ""
        return Failure(ColonyAuthError, f"{where}: HTTP 401{said}", 401, response, code, hint=_REFUSED)
    return from_status(reply.status, detail, code, response, after, where)
