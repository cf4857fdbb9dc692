"""Every public error keeps what it says, however it travels: pickled, copied, rebuilt from ``args``, through JSON."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from colony_pool import CircuitOpenError, ColonyAPIError, ColonyPool, ColonyRateLimitError, errors
from colony_pool.testing import FakeColony

CLASSES = [getattr(errors, name) for name in errors.__all__]


def twins(error: ColonyAPIError) -> list[ColonyAPIError]:
    cls: Any = type(error)
    by_json = cls(*json.loads(json.dumps(error.args)))
    return [pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error), cls(*error.args), by_json]


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("status", [None, 0, 418])
def test_an_error_rebuilt_from_its_args_is_the_same(cls: Any, status: int | None) -> None:
    more: dict[str, Any] = {}
    if cls is ColonyRateLimitError:
        more = {"retry_after": 7.5}
    elif cls is CircuitOpenError:
        more = {"state": "half-open", "cause": "HTTP 502", "opened_for": 3.0, "retry_after": 7.5, "waited": 1.0}
        more["token_valid_until"] = 9.0
    error = cls("what happened", status, {"detail": {"message": "m"}}, "CODE", **more, hint="What to do")
    text = "what happened. What to do"
    assert (text, f"{cls.__name__}({text!r})") == (str(error), repr(error))
    for twin in twins(error):
        assert (type(error), text, vars(error)) == (type(twin), str(twin), vars(twin))
        assert ("what happened", "What to do") == (twin.message, twin.hint)


@pytest.mark.parametrize(
    ("message", "hint", "text"),
    [
        ("it broke", "", "it broke"),
        ("it broke", "Wait", "it broke. Wait"),
        ("He said no.", "Wait", "He said no. Wait"),
        ("", "Wait", "Wait"),
    ],
)
def test_an_error_reads_as_its_message_and_then_its_hint(message: str, hint: str, text: str) -> None:
    assert text == str(ColonyAPIError(message, hint=hint))


def test_a_users_own_error_that_passes_nothing_on_reads_as_nothing() -> None:
    class Mine(ColonyAPIError):
        def __init__(self) -> None:
            pass

    assert ("", "") == (str(Mine()), Mine().hint)


@pytest.mark.parametrize("cls", CLASSES)
def test_what_was_not_told_is_none_and_never_0(cls: Any) -> None:
    error = cls("words alone")
    assert (None, {}, "") == (error.code, error.response, error.hint)
    assert error.status in (None, 429, 503)
    assert None is getattr(error, "retry_after", None)


def test_the_errors_of_a_pool_survive_a_task_queue_that_speaks_json() -> None:
    found = []
    with FakeColony() as colony, ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
        colony.deny("col_denied")
        colony.key("col_limited", behaviour="status", status=429, headers={"Retry-After": "3600"})
        for key in ("col_denied", "col_limited", "col_held"):
            with pytest.raises(ColonyAPIError) as caught:
                pool.agent(key).token(max_wait=0)
            found.append(caught.value)
        pool.clear_rate_limit()
        pool.breaker.open()
        with pytest.raises(CircuitOpenError) as opened:
            pool.agent("col_hasty").token(max_wait=0)
        found.append(opened.value)
    assert [401, 429, 429, 503] == [error.status for error in found]
    assert "AUTH_INVALID_KEY" == found[0].code
    assert all(error.hint and error.hint not in error.message for error in found)
    for error in found:
        for twin in twins(error):
            assert (type(error), str(error), vars(error)) == (type(twin), str(twin), vars(twin))
