"""What the run of the SDK's own tests takes for a fault; the run itself is a step of ``.ci/run``."""

from __future__ import annotations

import pytest

from tests.tools.sdk_suite import FEWEST, KNOWN, judged

PASSED = {f"test_{number}": "passed" for number in range(FEWEST)}


def test_a_run_without_a_difference_has_no_fault() -> None:
    assert judged(PASSED, dict(PASSED), {}) == []


@pytest.mark.parametrize("now", ["failed", "skipped", None])
def test_a_test_that_ends_otherwise_is_one_unless_it_is_known_to(now: str | None) -> None:
    ours = {name: outcome for name, outcome in {**PASSED, "test_7": now}.items() if outcome is not None}
    (fault,) = judged(PASSED, ours, {})
    assert fault.startswith("differs: test_7 passed with the SDK's client")
    assert judged(PASSED, ours, {"test_7": "a reason"}) == []


def test_a_known_difference_that_is_none_any_more_is_one() -> None:
    assert judged(PASSED, dict(PASSED), {"test_7": "a reason"}) == ["does not differ any more: test_7"]
    assert judged(PASSED, dict(PASSED), {"test_x": "a reason"}) == ["does not differ any more: test_x"]


def test_more_than_five_known_differences_are_one() -> None:
    ours = {**PASSED, **{f"test_{number}": "failed" for number in range(6)}}
    known = {f"test_{number}": "a reason" for number in range(6)}
    assert judged(PASSED, ours, known) == ["6 differences are known: five at most"]
    assert len(KNOWN) <= 5


def test_a_run_of_few_tests_is_one() -> None:
    assert judged({"test_1": "passed"}, {"test_1": "passed"}, {}) == ["only 1 tests were run"]
