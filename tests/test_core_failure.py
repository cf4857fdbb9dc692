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
    DENIED,
    DOWN,
    LOCAL,
    NETWORK,
    THROTTLED,
    Failure,
    Outcome,
    circuit_open,
    closed,
    from_outcome,
    from_status,
    held,
    no_code,
    overdue,
)

BODY = {"detail": "no"}


def status(number: int, detail: str = "no", code: str | None = None, after: float | None = None) -> Failure:
    return from_status(number, detail, code, BODY, after, "POST /posts")


MALFORMED = "the request was refused as malformed"
REQUIRED = "this account has 2FA: pass totp= a callable that returns a fresh code. The key is fine"
INVALID = "the one-time code was refused or is spent; the next one may work. The API key is fine"


@pytest.mark.parametrize(
    ("number", "code", "error", "hint"),
    [
        (400, None, ColonyValidationError, MALFORMED),
        (401, None, ColonyAuthError, "the API key was refused: check that it is the current one of this agent"),
        (401, "AUTH_2FA_REQUIRED", ColonyTwoFactorRequiredError, REQUIRED),
        (403, "AUTH_2FA_INVALID", ColonyTwoFactorInvalidError, INVALID),
        (400, "AUTH_2FA_INVALID", ColonyValidationError, INVALID),
        (403, "OTHER", ColonyAuthError, "the account is not allowed to do this"),
        (404, None, ColonyNotFoundError, "there is nothing at this address: check base_url"),
        (409, None, ColonyConflictError, "it collides with what is there already"),
        (410, None, ColonyAPIError, "not retried"),
        (422, None, ColonyValidationError, MALFORMED),
        (499, None, ColonyAPIError, "not retried"),
        (500, None, ColonyServerError, "the server's fault; try again later"),
        (503, None, ColonyServerError, "the server's fault; try again later"),
    ],
)
def test_g11_every_status_has_its_error_and_says_what_to_do(
    number: int, code: str | None, error: type[ColonyAPIError], hint: str
) -> None:
    failure = status(number, code=code)
    assert (error, f"POST /posts: HTTP {number}: no ({hint})") == (failure.error, failure.message)
    assert (number, BODY, code, {}) == (failure.status, failure.response, failure.code, failure.extra)


@pytest.mark.parametrize(("after", "when"), [(None, ""), (7.4, "; try again in 7 s")])
def test_g13_a_429_says_when_to_come_back(after: float | None, when: str) -> None:
    failure = status(429, code="RATE", after=after)
    words = f"POST /posts: HTTP 429: no (the server counts: do not try again before retry_after{when})"
    assert (ColonyRateLimitError, words, 429) == (failure.error, failure.message, failure.status)
    assert (BODY, "RATE", {"retry_after": after}) == (failure.response, failure.code, failure.extra)


@pytest.mark.parametrize(("detail", "said"), [("", ""), ("HTTP 404", ""), ("x" * 400, ": " + "x" * 300)])
def test_a_servers_words_are_quoted_within_reason(detail: str, said: str) -> None:
    assert f"POST /posts: HTTP 404{said} (there is nothing" in status(404, detail).message


def test_a_failure_makes_a_fresh_exception_with_all_that_is_known() -> None:
    failure = status(429, code="RATE", after=7.0)
    first, second = failure.exception(), failure.exception()
    assert first is not second
    assert isinstance(first, ColonyRateLimitError)
    assert (failure.message, 429, BODY, "RATE", 7.0) == (
        str(first), first.status, first.response, first.code, first.retry_after,
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


@pytest.mark.parametrize(
    "mine", [RuntimeError("mine"), OSError(13, "denied", "/dev/token"), _Wordy("here"), _Own("x"), KeyError("seed")]
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


@pytest.mark.parametrize("mine", [_Stubborn("there"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_g2_what_cannot_be_copied_or_ends_a_task_is_the_cause_of_what_is_raised(mine: BaseException) -> None:
    failure = from_outcome(Outcome(LOCAL, local_error=mine), 1)
    told = failure.exception()
    assert (ColonyAPIError, f"totp() raised {type(mine).__name__}") == (type(told), str(told))
    assert told.__cause__ is mine


def told(outcome: Outcome, tried: int = 1) -> tuple[Any, ...]:
    failure = from_outcome(outcome, tried)
    return failure.error, failure.message, failure.status, failure.response, failure.code


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (
            Outcome(LOCAL, detail="no code at hand", code="AUTH_2FA_REQUIRED"),
            (ColonyTwoFactorRequiredError, "/auth/token: no code at hand", 401, {}, "AUTH_2FA_REQUIRED"),
        ),
        (
            Outcome(NETWORK, detail="refused"),
            (
                ColonyNetworkError,
                "/auth/token: no answer (refused); check the network, or wait: no key or token is at fault",
                0, {}, None,
            ),
        ),
        (
            Outcome(DENIED, 404, "gone", "C", BODY),
            (ColonyNotFoundError, "/auth/token: HTTP 404: gone (there is nothing at this address: check base_url)",
             404, BODY, "C"),
        ),
        (
            Outcome(THROTTLED, 503, "busy", "C", BODY, 7.0),
            (
                ColonyRateLimitError,
                "/auth/token: HTTP 503: busy (the server counts: do not try again before retry_after; "
                "try again in 7 s)",
                429, BODY, "C",
            ),
        ),
        (
            Outcome(DOWN, 502, "HTTP 502", "C", BODY),
            (ColonyServerError, "/auth/token: HTTP 502 (the server's fault: try again later; the API key is fine)",
             502, BODY, "C"),
        ),
    ],
)  # fmt: skip
def test_g11_what_the_waiters_are_told_of_an_outcome(outcome: Outcome, expected: tuple[Any, ...]) -> None:
    assert expected == told(outcome)


@pytest.mark.parametrize(("tried", "words"), [(0, ""), (1, ""), (2, " in 2 attempts")])
def test_g11_the_attempts_are_counted_when_there_were_several(tried: int, words: str) -> None:
    message = f"/auth/token: HTTP 502{words} (the server's fault: try again later; the API key is fine)"
    assert message == told(Outcome(DOWN, 502, "HTTP 502"), tried)[1]


def test_one_attempt_is_what_it_takes_unless_it_is_said() -> None:
    assert from_outcome(Outcome(DOWN, 502, "HTTP 502"), 1) == from_outcome(Outcome(DOWN, 502, "HTTP 502"))


def test_the_address_is_the_callers() -> None:
    assert from_outcome(Outcome(DENIED, 404, "gone"), 1, "GET /x").message.startswith("GET /x: HTTP 404: gone")


@pytest.mark.parametrize(("status", "shown"), [(502, 502), (0, 503)])
def test_g9_an_open_breaker_says_for_how_long_and_when_to_come_back(status: int, shown: int) -> None:
    failure = circuit_open("half_open", "HTTP 502", status, 61.4, 29.6, 3.0, 1e9)
    assert failure.error is CircuitOpenError
    assert failure.message == (
        "/auth/token has been down for 61 s (last: HTTP 502); waited 3 s, next probe in 30 s. "
        "Try again then, or pass a larger max_wait; the API key is fine"
    )
    assert shown == failure.status
    assert failure.extra == {
        "state": "half-open", "cause": "HTTP 502", "opened_for": 61.4, "retry_after": 29.6, "waited": 3.0,
        "token_valid_until": 1e9,
    }  # fmt: skip


def test_g13_a_hold_says_why_and_when_it_ends() -> None:
    failure = held(29.6, "HTTP 429")
    assert (ColonyRateLimitError, 429, {"retry_after": 29.6}) == (failure.error, failure.status, failure.extra)
    assert failure.message == (
        "/auth/token is on hold for 30 s (HTTP 429): the server is counting, and trying would prolong it. "
        "The API key is fine"
    )


def test_g15_a_spent_code_says_when_the_next_one_comes() -> None:
    failure = no_code(12.4)
    assert (ColonyTwoFactorRequiredError, 401, "AUTH_2FA_REQUIRED") == (failure.error, failure.status, failure.code)
    assert failure.message == (
        "/auth/token: the one-time code was sent before; the next one comes in 12 s. "
        "Try again then, or pass a larger max_wait; the API key is fine"
    )


def test_g9_who_waited_in_vain_hears_of_the_last_failure_if_there_was_one() -> None:
    nobody = overdue(3.4, None, 0)
    words = "/auth/token: waited 3 s for a turn and got none; try again, or pass a larger max_wait"
    assert (ColonyServerError, words, 503) == (nobody.error, nobody.message, nobody.status)
    last = Outcome(DOWN, 502, "HTTP 502")
    assert from_outcome(last, 3) == overdue(3.4, last, 3)


def test_g26_a_closed_pool_says_so() -> None:
    assert (PoolClosedError, "this ColonyPool is closed; make a new one") == (closed().error, closed().message)
