"""One attempt at ``POST /auth/token``: ask for a code, send, classify. Runs in a task of its own."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from .._core.account import Account
from .._core.flight import Permit
from .._core.outcome import LOCAL, NETWORK_ERROR, UNAVAILABLE, Outcome, bad_answer, classify
from .._core.passed_on import ends_a_task
from .._core.shared_state import HandledElsewhere
from .._fork import pid_reader
from .._http.cancel import CancelToken
from .._http.connection_health import is_failure
from .._http.failures import BUSY, EXHAUSTED, BadReply, NetworkFailure
from .._http.protocol import Transport
from .._http.scrub import without_secrets
from .._http.transport import HttpTransport
from .._log import AT_ONCE, Lines
from .._runtime.protocol import Runtime
from ..errors import ColonyAPIError
from .credential import CodeSpent, Credential


class Cancellable(Protocol):
    """An attempt that another task can end."""

    def cancel(self) -> None:
        """End it: its socket is shut."""


class AttemptRegistry:
    """What each of them waits for, and how to end it. Any task may ask."""

    def __init__(self) -> None:
        self._not_begun: set[Permit] = set()
        self._handles: dict[Permit, Cancellable] = {}

    def has_begun(self, permit: Permit) -> bool:
        """Whether it has what it needs of this host: a thread, a slot, an address."""
        return permit not in self._not_begun

    def waits(self, permit: Permit) -> None:
        """It waits for something of this host."""
        self._not_begun.add(permit)

    def begins(self, permit: Permit) -> None:
        """It waits for the endpoint from now on."""
        self._not_begun.discard(permit)

    def can_be_cancelled(self, permit: Permit, handle: Cancellable) -> None:
        """``handle`` ends it."""
        self._handles[permit] = handle

    def cancel(self, permit: Permit) -> None:
        """End it, if it is out."""
        handle = self._handles.get(permit)
        if handle is not None:
            handle.cancel()

    def ended(self, permit: Permit) -> None:
        """It is over, or was never made."""
        self._not_begun.discard(permit)
        self._handles.pop(permit, None)


MAX_TOKEN_ANSWER = 65_536
_HEADERS = {"Content-Type": "application/json"}
# A probe's lease ends at the dispatcher, which then doubles the next one. The transport's own end comes this much
# later, seconds, or a server slower than the first lease is never found alive.
_PROBE_GRACE = 1.0
_TRIES = 3  # times that an attempt is made again after an exception that nobody expects
_ABANDONED = Outcome(LOCAL, detail="the attempt was given up before it began")
_OTHER_CODE = Outcome(LOCAL, detail="another totp= has been given meanwhile", is_transient=True)


class Attempt:
    """Makes attempts. ``total`` bounds one, in seconds; a probe's permit may allow less.

    ``claim`` says whether this process may make it, or where to look for what came of another's.
    """

    def __init__(
        self, transport: Transport, runtime: Runtime, attempts: AttemptRegistry, path: str, total: float,
        claim: Callable[[Permit], HandledElsewhere | None] | None = None, lines: Lines = AT_ONCE,
    ) -> None:  # fmt: skip
        self._claim = claim
        self._transport = transport
        self._attempts = attempts
        self._runtime = runtime
        self._path = path
        self._total = total
        self._lines = lines
        self._read_pid = pid_reader(greenlets=runtime.name == "gevent")
        self._pid = os.getpid()

    def __call__(self, permit: Permit) -> Outcome:
        """Use ``permit`` once. Never raises for anything that the endpoint, the network or a callback did."""
        if self._claim is not None and permit.alive and (elsewhere := self._claim(permit)) is not None:
            return Outcome(LOCAL, detail="another process has asked for this key", handled_elsewhere=elsewhere)
        credential: Credential = permit.account.owner.credential
        if isinstance(self._transport, HttpTransport):  # a user's own transport does not say when it begins
            self._attempts.waits(permit)
        cancel = CancelToken(lambda: self._attempts.begins(permit), self._read_pid)
        self._attempts.can_be_cancelled(permit, cancel)
        if not permit.alive or self._read_pid() != self._pid:  # a greenlet that a fork has copied
            return _ABANDONED
        code = credential.take()
        if code is None and permit.account.totp:
            return _OTHER_CODE
        try:
            return self._send(permit, credential, code, cancel)
        except Exception as error:  # noqa: BLE001 - the task was killed with it, or this is a bug
            return self._failed(permit, error)
        finally:
            del code

    def ask_code(self, account: Account) -> Outcome | None:
        """Ask the key's callable for a one-time code and keep it for its next attempt; else say why there is none."""
        credential: Credential = account.owner.credential
        try:
            credential.ask(self._runtime.monotonic())
        except CodeSpent:
            return _spent(credential)
        except BaseException as error:  # noqa: BLE001 - the user's callable: its exception is the caller's to see
            if ends_a_task(error) and not isinstance(error, (SystemExit, KeyboardInterrupt)):
                return Outcome(LOCAL, detail="the task that called totp() was ended", is_transient=True)
            return Outcome(LOCAL, detail="totp() raised", local_error=error)
        return None

    def _send(self, permit: Permit, credential: Credential, code: str | None, cancel: CancelToken) -> Outcome:
        fields = {"api_key": credential.key} | ({"totp_code": code} if code is not None else {})
        body = json.dumps(fields).encode()
        if code is not None:
            # Spent before it is sent: a kill in between must not lead to the same code being sent twice.
            credential.consume(code, self._runtime.monotonic())
        consumed, last_failure = code is not None, permit.account.owner.last_failure
        try:
            reply = self._transport.send(
                "POST", self._path, headers=_HEADERS, body=body,
                total=min(permit.timeout + _PROBE_GRACE, self._total),
                max_body=MAX_TOKEN_ANSWER, cancel=cancel, priority=True, once=consumed,
                since=math.inf if consumed or permit.is_probe else last_failure.since,
            )  # fmt: skip
        except NetworkFailure as failure:
            last_failure.note(self._runtime.monotonic(), failed=is_failure(failure))
            return _unanswered(failure, consumed and failure.sent, is_probe=permit.is_probe)
        except BadReply as bad:
            last_failure.note(self._runtime.monotonic(), failed=True)
            outcome = bad_answer(bad.status, bad.reason)
        else:
            answer = _scrubbed(reply.body, credential.key, code) if reply.status >= 300 else reply.body
            headers = without_secrets(reply.headers, credential.key, code) if reply.status >= 300 else reply.headers
            outcome = classify(reply.status, headers, answer, self._runtime.now())
            is_foreign = outcome.kind == UNAVAILABLE and reply.status < 500  # a gateway's own page
            last_failure.note(self._runtime.monotonic(), failed=is_foreign or is_failure(reply))
        finally:
            del fields, body
        return replace(outcome, totp_consumed=True, code_again=not credential.single_use) if consumed else outcome

    def _failed(self, permit: Permit, error: Exception) -> Outcome:
        """The attempt's task was killed with ``error``, or this is a bug: it is made again, but not for ever."""
        self._lines.raised("an attempt was interrupted, or this is a bug: then please report it", error)
        if permit.flight.deferrals < _TRIES:
            return Outcome(LOCAL, detail="the attempt was interrupted", is_transient=True)
        return Outcome(LOCAL, local_error=ColonyAPIError("internal error in colony_pool; its log has the details"))


def _unanswered(failure: NetworkFailure, totp_consumed: bool, *, is_probe: bool) -> Outcome:
    detail = f"{failure.kind}: {failure.detail}"
    outcome = Outcome(NETWORK_ERROR, detail=detail, hint=failure.hint, totp_consumed=totp_consumed)
    if failure.kind not in (EXHAUSTED, BUSY):
        return outcome
    # That this host has no descriptor or connection left says nothing of the endpoint. Who probes goes on waiting.
    return replace(outcome, kind=LOCAL, is_transient=is_probe or failure.kind == BUSY)


def _spent(credential: Credential) -> Outcome:
    if not credential.single_use:
        return Outcome(
            LOCAL,
            detail="the one-time code is spent; the next window brings another. The API key is fine",
            wait_for_totp=True,
        )
    return Outcome(
        LOCAL,
        detail="the fixed totp= code was used for one attempt and cannot be used again; pass a callable that returns "
        "a fresh code. The API key is fine",
        code="AUTH_2FA_REQUIRED",
    )


def _scrubbed(body: bytes, key: str, code: str | None) -> bytes:
    """A server that echoes the request in its error must not put a secret into our exceptions."""
    for secret in (key, code):
        if secret:
            for form in (secret, json.dumps(secret)[1:-1]):
                body = body.replace(form.encode(), b"***")
    return body
