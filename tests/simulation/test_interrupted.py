"""G3: an exception from outside at any line of any decision loses no permit, no call and no key."""

from __future__ import annotations

import pytest

from .interrupted import PLAYS, strike


@pytest.mark.slow  # at some lines: tests/unit/core/test_dispatcher_interrupted.py
@pytest.mark.parametrize("name", PLAYS)
def test_g3_an_exception_at_any_line_of_a_decision_loses_nothing(name: str) -> None:
    strikes, wrong = strike(name, every=1)
    assert [] == wrong
    assert strikes > 1000, "there are so many lines"
