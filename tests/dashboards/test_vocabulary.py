"""Every label and every label value in dashboard, rules and their tests is one of the catalogue's."""

from __future__ import annotations

import copy

import pytest

from .reading import load, panel
from .test_rules import RULES, TESTS
from .vocabulary import misspelt, misspelt_in


def test_the_dashboard_uses_the_catalogues_words() -> None:
    assert misspelt_in(load()) == []


def test_the_rules_and_their_tests_use_the_catalogues_words() -> None:
    exprs = [rule["expr"] for group in RULES["groups"] for rule in group["rules"] if "job_pool:" not in rule["expr"]]
    exprs += [series["series"] for test in TESTS["tests"] for series in test["input_series"]]
    assert [(expr, found) for expr in exprs if (found := misspelt(expr))] == []


@pytest.mark.parametrize(
    ("title", "old", "new", "said"),
    [
        ("Breaker", 'state!="closed"', 'stat!="closed"', "no label stat"),
        ("Breaker", 'state!="closed"', 'state!="closd"', "no state 'closd'"),
        ("Calls that got a token, 15 min", "ok|ok_retried", "ok|okay", "no outcome 'okay'"),
        ("Changes of state", "by (from_state", "by (form_state", "by (form_state)"),
        ("Probes, by result", "by (result)", "by (pool)", "legend: result"),
        ("Duration of calls", "by (le)", "by (lee)", "by (lee)"),
    ],
)
def test_a_misspelt_word_is_found_even_where_numbers_come(title: str, old: str, new: str, said: str) -> None:
    board = copy.deepcopy(load())
    target = panel(board, title)["targets"][0]
    assert old in target["expr"]
    target["expr"] = target["expr"].replace(old, new)
    found = misspelt_in(board)
    assert found
    assert said in found[0]
