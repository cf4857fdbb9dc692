"""What a caller is told, to the letter: what happened, what to do next, and who is not to blame (G11, G14)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from colony_pool.errors import (
    CircuitOpenError,
    ColonyAPIError,
    ColonyAuthError,
    ColonyConflictError,
    ColonyNetworkError,
    ColonyNotFoundError,
    ColonyRateLimitError,
    ColonyServerError,
    ColonyTwoFactorInvalidError,
    ColonyTwoFactorRequiredError,
    ColonyValidationError,
    PoolClosedError,
)
from tests.support.private import (
    LOCAL,
    NETWORK_ERROR,
    RATE_LIMITED,
    REJECTED,
    UNAVAILABLE,
    Failure,
    Outcome,
    circuit_open,
    closed,
    from_outcome,
    from_status,
    from_stranger,
    held,
    no_code,
    overdue,
    renewed_lately,
    totp_hangs,
)

BODY = {"detail": "no"}


def status(number: int, detail: str = "no", code: str | None = None, after: float | None = None) -> Failure:
    return from_status(number, detail, code, BODY, after, "POST /posts")


MALFORMED = "The request was refused as malformed"
REQUIRED = "This account has 2FA: pass totp= a callable that returns a fresh code. The API key is fine"
INVALID = "The one-time code was refused or is spent; the next one may work. The API key is fine"
WRONG_KEY = "The API key was refused: check that it is the current one of this agent"
NOTHING_THERE = "There is nothing at this address: check base_url"
MISDIRECTED = "The server has not looked at the request: another connection may lead to one that does"
TOO_EARLY = "The server has not looked at the request: try again"
BLAMED = "The server is at fault: try again later"
LATER = "Try again then, or pass a larger max_wait; the API key is fine"


@pytest.mark.parametrize(
    ("number", "code", "error", "hint"),
    [
        (400, None, ColonyValidationError, MALFORMED),
        (401, None, ColonyAuthError, WRONG_KEY),
        (401, "AUTH_2FA_REQUIRED", ColonyTwoFactorRequiredError, REQUIRED),
        (403, "AUTH_2FA_INVALID", ColonyTwoFactorInvalidError, INVALID),
        (400, "AUTH_2FA_INVALID", ColonyValidationError, INVALID),
        (403, "OTHER", ColonyAuthError, "The account is not allowed to do this"),
        (404, None, ColonyNotFoundError, NOTHING_THERE),
        (409, None, ColonyConflictError, "The request conflicts with what already exists"),
        (410, None, ColonyAPIError, "The request is not retried"),
        (421, None, ColonyAPIError, MISDIRECTED),
        (422, None, ColonyValidationError, MALFORMED),
        (425, None, ColonyAPIError, TOO_EARLY),
        (499, None, ColonyAPIError, "The request is not retried"),
        (500, None, ColonyServerError, BLAMED),
        (503, None, ColonyServerError, BLAMED),
    ],
)
def test_g11_every_status_has_its_error_and_says_what_to_do(
    number: int, code: str | None, error: type[ColonyAPIError], hint: str
) -> None:
    failure = status(number, code=code)
    assert (error, f"POST /posts: HTTP {number}: no", hint) == (failure.error, failure.message, failure.hint)
    assert (number, BODY, code, {}) == (failure.status, failure.response, failure.code, failure.extra)


@pytest.mark.parametrize(
    ("number", "error", "hint"),
    [
        (401, ColonyAuthError, "A gateway, a proxy or a firewall may have sent this"),
        (404, ColonyNotFoundError, "Check the path, or base_url"),
        (421, ColonyAPIError, MISDIRECTED),
        (425, ColonyAPIError, TOO_EARLY),
        (502, ColonyServerError, "A gateway, a proxy or a firewall may have sent this"),
    ],
)
def test_g11_what_a_stranger_says_of_an_api_call_keeps_its_class(
    number: int, error: type[ColonyAPIError], hint: str
) -> None:
    failure = from_stranger(number, {}, b"", None, "GET /me")
    assert (error, number, f"{hint}; no key or token is at fault") == (failure.error, failure.status, failure.hint)
    assert failure.message.startswith(f"GET /me: HTTP {number}, an empty body")


@pytest.mark.parametrize(("after", "when"), [(None, "later"), (7.4, "in 7 s, not sooner")])
def test_g13_a_429_says_when_to_come_back(after: float | None, when: str) -> None:
    failure = status(429, code="RATE", after=after)
    words = "POST /posts: HTTP 429: no"
    assert (ColonyRateLimitError, words, 429) == (failure.error, failure.message, failure.status)
    assert f"The server limits the rate of requests: try again {when}; the API key is fine" == failure.hint
    assert (BODY, "RATE", {"retry_after": after}) == (failure.response, failure.code, failure.extra)


def test_g13_a_servers_429_that_says_nothing_else_is_said_once() -> None:
    assert status(429, "HTTP 429").message == "POST /posts: HTTP 429"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (302, 302),
        (400, 502),
        (401, 502),
        (409, 502),
        (426, 502),
        (430, 502),
        (499, 502),
        (408, 408),
        (421, 421),
        (422, 502),
        (425, 425),
        (429, 429),
        (500, 500),
        (503, 503),
    ],
)
def test_g11_a_gateways_4xx_is_shown_as_a_502_so_that_nobody_replaces_a_healthy_key(number: int, shown: int) -> None:
    assert shown == from_outcome(Outcome(UNAVAILABLE, number, "down")).status


@pytest.mark.parametrize(("tried", "words"), [(1, ""), (3, ", in 3 attempts")])
def test_g11_a_strangers_answer_is_told_as_such(tried: int, words: str) -> None:
    failure = from_outcome(Outcome(UNAVAILABLE, 403, "HTTP 403, an HTML page"), tried)
    assert f"/auth/token: HTTP 403, an HTML page{words}" == failure.message
    assert failure.hint == "A gateway or another address answered: try again later; the API key is fine"


def test_g17_whose_last_token_came_too_lately_is_told_so() -> None:
    failure = renewed_lately(4.4, 3.0)
    words = "was to live for 3 s only, and has ended; the next one is asked for in 4 s"
    assert f"/auth/token: the last token of this key {words}" == failure.message
    assert (ColonyServerError, 503, LATER) == (failure.error, failure.status, failure.hint)


@pytest.mark.parametrize(("detail", "said"), [("", ""), ("HTTP 404", ""), ("x" * 400, ": " + "x" * 300)])
def test_a_servers_words_are_quoted_within_reason(detail: str, said: str) -> None:
    assert f"POST /posts: HTTP 404{said}" == status(404, detail).message


def test_what_a_server_asks_for_is_told() -> None:
    failure = status(503, after=7.4)
    assert ("POST /posts: HTTP 503: no; the server asks to wait 7 s", BLAMED) == (failure.message, failure.hint)


def test_a_failure_makes_a_fresh_exception_with_all_that_is_known() -> None:
    failure = status(429, code="RATE", after=7.0)
    first, second = failure.exception(), failure.exception()
    assert first is not second
    assert isinstance(first, ColonyRateLimitError)
    assert (failure.message, failure.hint, 429, BODY, "RATE", 7.0) == (
        first.message, first.hint, first.status, first.response, first.code, first.retry_after,
    )  # fmt: skip


class _Wordy(Exception):
    """Takes other arguments than it passes on."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the vault at {where} is sealed")
        self.where = where


class _Stubborn(Exception):
    """Cannot be copied."""

    def __new__(cls, *args: Any) -> Any:
        assert args
        return super().__new__(cls, *args)

    def __init__(self, where: str) -> None:
        super().__init__()


class _Own(BaseException):
    """A user's own, no ``Exception``."""


class _Exacting(Exception):
    """Cannot be copied, and is made of what it was made of."""

    def __new__(cls, *args: Any) -> Any:
        assert args
        return super().__new__(cls, *args)

    def __copy__(self) -> Any:
        raise TypeError


class _Only(Exception):
    """There is one of it."""

    def __new__(cls, *args: Any) -> Any:
        raise TypeError

    @classmethod
    def one(cls) -> _Only:
        return Exception.__new__(cls, "there is one")

    def __copy__(self) -> _Only:
        return self


class _Counted(Exception):
    """Says something else each time that it is made."""

    made = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.__dict__["number"] = type(self).made

    def __copy__(self) -> _Counted:
        raise TypeError

    def __str__(self) -> str:
        type(self).made += 1
        return f"number {self.made}"


class _Killed(BaseException):
    """What ends a task, wherever its library defines it."""

    __module__ = "gevent.of.some.module"


@pytest.mark.parametrize(
    "mine",
    [
        RuntimeError("mine"),
        OSError(13, "denied", "/dev/token"),
        _Wordy("here"),
        _Own("x"),
        _Exacting("so"),
        KeyError("seed"),
    ],
    ids=lambda mine: type(mine).__name__,
)
def test_g2_a_callers_own_exception_is_raised_afresh_for_each_call(mine: BaseException) -> None:
    try:
        raise mine from ZeroDivisionError()
    except BaseException as error:
        raised = error
    failure = from_outcome(Outcome(LOCAL, local_error=raised), 1)
    assert (ColonyAPIError, "") == (failure.error, failure.message)
    first, second = failure.exception(), failure.exception()
    assert len({id(first), id(second), id(mine)}) == 3
    for copy in (first, second):
        assert (type(mine), mine.args, str(mine), vars(mine)) == (type(copy), copy.args, str(copy), vars(copy))
        assert copy.__cause__ is mine.__cause__
        assert copy.__traceback__ is mine.__traceback__, "it shows where it was raised"


@pytest.mark.parametrize(
    "mine",
    [
        _Stubborn("there"),
        _Only.one(),
        _Counted(),
        _Killed(),
        SystemExit(3),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
    ],
    ids=lambda mine: type(mine).__name__,
)
def test_g2_what_cannot_be_copied_or_ends_a_task_is_the_cause_of_what_is_raised(mine: BaseException) -> None:
    failure = from_outcome(Outcome(LOCAL, local_error=mine), 1)
    reported = failure.exception()
    assert (ColonyAPIError, f"totp() raised {type(mine).__name__}") == (type(reported), str(reported))
    assert reported.__cause__ is mine


def reported(outcome: Outcome, tried: int = 1) -> tuple[Any, ...]:
    failure = from_outcome(outcome, tried)
    return failure.error, failure.message, failure.status, failure.response, failure.code, failure.hint


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (
            Outcome(LOCAL, detail="no code at hand", code="AUTH_2FA_REQUIRED"),
            (ColonyTwoFactorRequiredError, "/auth/token: no code at hand", 401, {}, "AUTH_2FA_REQUIRED", ""),
        ),
        (
            Outcome(LOCAL, detail="no thread"),
            (ColonyNetworkError, "/auth/token: nothing was sent (no thread)", 0, {}, None,
             "The problem is on this host; no key or token is at fault"),
        ),
        (
            Outcome(NETWORK_ERROR, detail="refused"),
            (ColonyNetworkError, "/auth/token: no answer (refused)", 0, {}, None,
             "Check the network, or wait; no key or token is at fault"),
        ),
        (
            Outcome(REJECTED, 404, "gone", "C", BODY),
            (ColonyNotFoundError, "/auth/token: HTTP 404: gone", 404, BODY, "C", NOTHING_THERE),
        ),
        (
            Outcome(RATE_LIMITED, 503, "busy", "C", BODY, 7.0),
            (ColonyRateLimitError, "/auth/token: HTTP 503: busy", 429, BODY, "C",
             "The server limits the rate of requests: try again in 7 s, not sooner; the API key is fine"),
        ),
        (
            Outcome(UNAVAILABLE, 502, "HTTP 502", "C", BODY),
            (ColonyServerError, "/auth/token: HTTP 502", 502, BODY, "C", f"{BLAMED}; the API key is fine"),
        ),
    ],
)  # fmt: skip
def test_g11_what_the_waiters_are_told_of_an_outcome(outcome: Outcome, expected: tuple[Any, ...]) -> None:
    assert expected == reported(outcome)


@pytest.mark.parametrize(("tried", "words"), [(0, ""), (1, ""), (2, " in 2 attempts")])
def test_g11_the_attempts_are_counted_when_there_were_several(tried: int, words: str) -> None:
    assert f"/auth/token: HTTP 502{words}" == reported(Outcome(UNAVAILABLE, 502, "HTTP 502"), tried)[1]


@pytest.mark.parametrize("kind", [UNAVAILABLE, NETWORK_ERROR])
def test_while_an_address_never_gave_a_token_it_may_be_wrong(kind: str) -> None:
    outcome = Outcome(kind, 502 if kind == UNAVAILABLE else 0, "HTTP 502")
    known, unknown = (from_outcome(outcome, known_good=good) for good in (True, False))
    assert f"{known.hint}; if this address never gave a token, check base_url" == unknown.hint
    assert known.message == unknown.message


def test_one_attempt_is_what_it_takes_unless_it_is_said() -> None:
    assert from_outcome(Outcome(UNAVAILABLE, 502, "HTTP 502"), 1) == from_outcome(
        Outcome(UNAVAILABLE, 502, "HTTP 502")
    )


def test_the_address_is_the_callers() -> None:
    assert from_outcome(Outcome(REJECTED, 404, "gone"), 1, "GET /x").message.startswith("GET /x: HTTP 404: gone")


@pytest.mark.parametrize(("status", "shown"), [(502, 502), (0, 503)])
def test_g9_an_open_breaker_says_for_how_long_and_when_to_come_back(status: int, shown: int) -> None:
    failure = circuit_open("half_open", "HTTP 502", status, 61.4, 29.6, 3.0, 1e9)
    assert failure.error is CircuitOpenError
    assert failure.message == ("/auth/token has been down for 61 s (last: HTTP 502); waited 3 s, next probe in 30 s")
    assert LATER == failure.hint
    assert shown == failure.status
    assert failure.extra == {
        "state": "half-open", "cause": "HTTP 502", "opened_for": 61.4, "retry_after": 29.6, "waited": 3.0,
        "token_valid_until": 1e9,
    }  # fmt: skip


def test_g13_a_pause_says_why_and_when_it_ends() -> None:
    failure = held(29.6, "HTTP 429")
    assert (ColonyRateLimitError, 429, {"retry_after": 29.6}) == (failure.error, failure.status, failure.extra)
    assert "/auth/token is rate limited for 30 s (HTTP 429)" == failure.message
    assert "Do not try again sooner: that prolongs the rate limit; the API key is fine" == failure.hint


def test_g15_a_spent_code_says_when_the_next_one_comes() -> None:
    failure = no_code(12.4)
    assert (ColonyTwoFactorRequiredError, 401, "AUTH_2FA_REQUIRED") == (failure.error, failure.status, failure.code)
    assert "/auth/token: the one-time code was sent before; the next one comes in 12 s" == failure.message
    assert LATER == failure.hint


def test_g15_a_refused_code_says_what_the_server_said_and_when_the_next_one_is_sent() -> None:
    refusal = status(401, code="AUTH_2FA_INVALID")
    failure = no_code(12.4, refusal)
    assert "POST /posts: HTTP 401: no; the next code is sent in 12 s" == failure.message
    assert f"{INVALID}. To wait for it, pass a larger max_wait" == failure.hint


def test_g15_a_callable_that_hangs_is_named() -> None:
    failure = totp_hangs(12.4)
    assert (ColonyTwoFactorRequiredError, 401, "AUTH_2FA_REQUIRED") == (failure.error, failure.status, failure.code)
    assert "/auth/token: totp() was called 12 s ago and has not returned; nothing was sent" == failure.message
    assert "Find out what totp() waits for, or pass a larger max_wait; the API key is fine" == failure.hint


def test_g9_who_waited_in_vain_hears_of_the_last_failure_if_there_was_one() -> None:
    nobody = overdue(3.4, None, 0)
    words = "/auth/token: waited 3 s for a turn and got none"
    assert (ColonyServerError, words, 503) == (nobody.error, nobody.message, nobody.status)
    assert "Try again, or pass a larger max_wait" == nobody.hint
    last = Outcome(UNAVAILABLE, 502, "HTTP 502")
    assert from_outcome(last, 3) == overdue(3.4, last, 3)


def test_g26_a_closed_pool_says_so() -> None:
    failure = closed()
    assert (PoolClosedError, "this ColonyPool is closed") == (failure.error, failure.message)
    assert "Make a new one" == failure.hint
