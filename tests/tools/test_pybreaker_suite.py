"""pybreaker's own tests pass with a pool's breaker, but for those that are listed with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .pybreaker_suite import DIFFERENT, SuiteUnavailableError, differences, download, run


@pytest.mark.slow
def test_pybreakers_own_tests_pass_but_for_those_that_are_listed() -> None:
    """They are in its repository alone; ``PYBREAKER_SUITE`` names the file where that cannot be reached."""
    file = os.environ.get("PYBREAKER_SUITE")
    try:
        content = Path(file).read_bytes() if file else download()
    except SuiteUnavailableError as error:
        pytest.skip(f"no source distribution of pybreaker has its tests, and its repository is out of reach: {error}")
    passed = run(content)
    assert [] == differences(passed)
    assert 81 == len(passed)


def test_each_difference_is_found() -> None:
    passed = dict.fromkeys(DIFFERENT, False)
    assert [] == differences(passed)
    name = next(iter(DIFFERENT))
    assert [f"{name}: passes, and is listed"] == differences({**passed, name: True})
    assert ["other: fails, and is not listed"] == differences({**passed, "other": False})
    del passed[name]
    assert [f"{name}: is listed, and is not there"] == differences(passed)


def test_other_tests_than_pybreakers_of_that_version_are_refused() -> None:
    with pytest.raises(ValueError, match="these are not the tests of pybreaker"):
        run(b"def test_nothing(): pass\n")
