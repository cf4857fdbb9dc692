"""The mutation run is honest: it is clean only if all was tried and the record is just what survived."""

from __future__ import annotations

import pytest

from tests.tools.mutation.survivors import SURVIVORS, Survivor
from tests.tools.mutation.verdict import Verdict, judge, lines

RECORD = (Survivor("a.py", "f", "x += 1", "x += 2", "told apart, not counted"),)


def described(mutant: str, module: str) -> Survivor:
    """A fake of mutmut: a mutant is named after what its line becomes."""
    return Survivor(module, "f", "x += 1", mutant)


def of(codes: dict[str, int | None], module: str = "a.py") -> Verdict:
    return judge({module: codes}, described, RECORD)


def test_a_run_in_which_each_survivor_is_explained_is_clean() -> None:
    verdict = of({"x += 2": 0, "x -= 1": 1, "x = 1": 3})
    assert verdict.is_clean
    assert {"killed": 2, "explained": 1} == dict(verdict.counts["a.py"])


@pytest.mark.parametrize("code", [0, 2, 5, 33, -24])
def test_whatever_is_not_killed_survives_and_an_unexplained_one_is_told(code: int) -> None:
    verdict = of({"x += 2": 0, "x -= 1": code, "x = 1": 1})
    assert not verdict.is_clean
    assert [(Survivor("a.py", "f", "x += 1", "x -= 1"), code)] == verdict.unexplained
    assert "\na.py: f" in "\n".join(lines(verdict))
    assert ("ended with" in "\n".join(lines(verdict))) == (code != 0)


def test_the_same_change_elsewhere_is_not_explained() -> None:
    assert [0] == [code for _, code in of({"x += 2": 0}, "b.py").unexplained]


def test_a_mutant_that_was_not_run_fails_the_run() -> None:
    verdict = of({"x += 2": 0, "x = 1": 1, "x -= 1": None})
    assert not verdict.is_clean
    assert ([], [], 1) == (verdict.unexplained, verdict.stale, verdict.totals["not run"])


@pytest.mark.parametrize("codes", [{"x += 2": 1}, {"x -= 1": 1}])
def test_a_reason_that_no_survivor_needs_is_stale(codes: dict[str, int | None]) -> None:
    verdict = of(codes)
    assert (list(RECORD), False) == (verdict.stale, verdict.is_clean)
    assert "explained, but killed or gone" in "\n".join(lines(verdict))


def test_no_reason_is_stale_before_its_module_was_tried() -> None:
    assert [] == of({"x += 2": None, "x -= 1": 1}).stale


def test_a_run_of_nothing_is_not_clean() -> None:
    assert [False, False] == [judge({}, described, ()).is_clean, judge({"a.py": {}}, described, ()).is_clean]


def test_every_survivor_on_record_has_its_reason_and_stands_there_once() -> None:
    assert all(survivor.reason for survivor in SURVIVORS)
    words = [(survivor.module, survivor.function, survivor.line, survivor.becomes) for survivor in SURVIVORS]
    assert len(set(words)) == len(words)
