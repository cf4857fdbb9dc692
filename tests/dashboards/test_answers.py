"""Every query of the dashboard is answered by a real Prometheus that has seen the real library's night."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from .history import History
from .prom import Prometheus, until
from .reading import Board, load, panel, panels, queries, resolved, unanswered, uncovered


def test_every_query_annotation_and_variable_is_answered(prometheus: Prometheus, history: History) -> None:
    board = load()
    assert len(list(panels(board))) > 40
    assert len(list(queries(board))) > 50
    assert unanswered(board, prometheus, history.start, history.end) == []


def test_every_metric_is_on_a_panel_and_every_panels_metric_exists() -> None:
    assert uncovered(load()) == []


def _rename(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        expr = found["targets"][0]["expr"]
        assert old in expr
        found["targets"][0]["expr"] = expr.replace(old, new)

    return change


BREAK = {
    "a metric's name": ("Agents waiting", _rename("colony_pool_waiters", "colony_pool_waiter")),
    "a label's value": ("Breaker", _rename('state!="closed"', 'state="opened"')),
    "a value in a regular expression": ("Calls that got a token, 15 min", _rename("ok|ok_retried", "okay")),
    "a function": ("Open for", _rename("min(", "minimum(")),
}


@pytest.mark.parametrize("what", BREAK)
def test_a_broken_query_is_found(what: str, prometheus: Prometheus, history: History) -> None:
    title, change = BREAK[what]
    board = copy.deepcopy(load())
    change(panel(board, title))
    found = unanswered(board, prometheus, history.start, history.end)
    assert [repr(title) in line for line in found] == [True]


def test_a_broken_annotation_and_a_broken_variable_are_found(prometheus: Prometheus, history: History) -> None:
    board = copy.deepcopy(load())
    note = board["annotations"]["list"][0]
    note["target"]["expr"] = note["target"]["expr"].replace('"open"', '"opened"')
    variable = board["templating"]["list"][3]
    variable["query"]["query"] = variable["query"]["query"].replace("breaker_state", "breaker_stat")
    found = unanswered(board, prometheus, history.start, history.end)
    assert found == [f"annotation {note['name']!r}: empty", "variable 'pool': empty"]


def test_a_metric_without_a_panel_and_a_panel_without_a_metric_are_found() -> None:
    board: Board = copy.deepcopy(load())
    change = BREAK["a metric's name"][1]
    for found in [panel(board, "Agents waiting"), panel(board, "Waiting now, by what for")]:
        change(found)
    assert uncovered(board) == ["on no panel: colony_pool_waiters", "in no catalogue: colony_pool_waiter"]


def test_the_first_screen_says_at_3_am_what_is_the_matter(prometheus: Prometheus, history: History) -> None:
    """Fifteen minutes into the outage; and that all was well before."""
    for title, calm, alarm in (("What to do now", {0}, {4, 5}), ("Breaker", {0}, {1})):
        expr = resolved(panel(load(), title)["targets"][0]["expr"])
        assert prometheus.number(expr, history.start + 13 * 60) in calm
        assert prometheus.number(expr, history.start + 3600) in alarm
    titles = ("Open for", "Next probe in", "First token runs out in", "Agents with a valid token")
    exprs = {title: resolved(panel(load(), title)["targets"][0]["expr"]) for title in titles}
    at = {title: prometheus.number(expr, history.start + 3600) for title, expr in exprs.items()}
    assert 13 * 60 < at["Open for"] < 15 * 60
    assert 0 <= at["Next probe in"] <= 60
    assert 0 < at["First token runs out in"] < 25 * 60
    assert 0.3 < at["Agents with a valid token"] < 1


def test_a_live_pool_is_scraped_over_http(prometheus: Prometheus) -> None:
    def found(expr: str) -> list[Any]:
        return [series["value"][1] for series in prometheus.ask("query", query=expr)["result"]]

    until(lambda: found('colony_pool_breaker_state{job="live",state="open"}') == ["1"], "the live pool's breaker")
    assert found('sum(colony_pool_attempts_total{job="live",outcome="down"})') == ["1"]
    assert found('sum(colony_pool_attempts_total{job="live",outcome="ok"})') == ["1"]
    assert found('sum(colony_pool_tokens{job="live",freshness="fresh"}) / sum(colony_pool_agents{job="live"})') == [
        "0.5"
    ]
    assert found('colony_pool_breaker_opened_timestamp_seconds{job="live"} < bool time()') == ["1"]


def test_many_processes_behind_one_sidecar_read_the_same(prometheus: Prometheus) -> None:
    """Three processes, one of them open: the same queries, and the state is a number of processes."""

    def said(title: str) -> list[float]:
        expr = resolved(panel(load(), title)["targets"][0]["expr"]).replace('job=~".+"', 'job="many"')
        return [float(series["value"][1]) for series in prometheus.ask("query", query=expr)["result"]]

    until(lambda: said("Breaker") == [1.0], "one open of three")
    assert [3.0] == [float(s["value"][1]) for s in prometheus.ask(
        "query", query='sum(colony_pool_breaker_state{job="many"})')["result"]]  # fmt: skip
    assert said("What to do now") == [4.0]
    assert said("Agents with a valid token") == [1.0]
    assert said("Hold ends in") == []
    assert said("State of the breakers") == [2.0]
    (open_for,) = said("Open for")
    assert open_for > 0
    assert [1.0] == said("Versions")


def test_all_rules_are_evaluated_without_an_error(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]

    until(lambda: all(rule["health"] == "ok" for rule in rules()), "every rule is evaluated")
    assert len(rules()) == 22
    assert not [rule["lastError"] for rule in rules() if rule.get("lastError")]


def test_alerts_of_the_night(prometheus: Prometheus, history: History) -> None:
    """What an alert would have seen: nothing in the calm, the right ones in the outage."""
    rules = [
        rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"] if rule["type"] == "alerting"
    ]

    def true(minute: float) -> set[str]:
        when = history.start + 60 * minute
        return {
            rule["name"] for rule in rules if "job_pool:" not in rule["query"] and prometheus.at(rule["query"], when)
        }

    assert true(5) == set()
    assert {"ColonyPoolBreakerOpen", "ColonyPoolAgentsParked", "ColonyPoolTokensRunOut"} <= true(60)
    assert "ColonyPoolOnHold" in true(10.5)
    assert "ColonyPoolServerRefusesEverybody" in true(71)
    assert "ColonyPoolProbeNotSingle" not in {name for minute in range(75) for name in true(minute)}
