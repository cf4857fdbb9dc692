"""Alerting and recording rules: valid, tested, linked, and their tests fail when a rule is changed."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

import colony_pool as cp
from colony_pool.testing import FakeColony
from tests.support.private import BY_NAME, PREFIX

from .lint import anchors
from .reading import OF_THE_EXPORTER, load
from .tools import DASHBOARDS, need, run

RULES: dict[str, Any] = yaml.safe_load((DASHBOARDS / "rules.yml").read_text())
TESTS: dict[str, Any] = yaml.safe_load((DASHBOARDS / "rules_test.yml").read_text())
ALERTS = [rule["alert"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
_METRIC = re.compile(rf"(?<![:\w]){PREFIX}[a-z_]+")


def alert(rules: dict[str, Any], name: str) -> dict[str, Any]:
    return next(rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == name)


def promtool_test(folder: Path, rules: dict[str, Any], *, only: str = "") -> int:
    """Exit code of ``promtool test rules`` with ``rules``; of the tests that speak of ``only``."""
    tests = copy.deepcopy(TESTS)
    tests["tests"] = [test for test in tests["tests"] if only in str(test)]
    assert tests["tests"], only
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (folder / "rules_test.yml").write_text(yaml.safe_dump(tests))
    return run(need("promtool"), "test", "rules", folder / "rules_test.yml").returncode


def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    assert run(need("promtool"), "check", "rules", DASHBOARDS / "rules.yml").returncode == 0
    done = run(need("promtool"), "test", "rules", DASHBOARDS / "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    assert len(ALERTS) == 19
    text = (DASHBOARDS / "rules_test.yml").read_text()
    assert [name for name in ALERTS if f'alertname="{name}"' not in text] == []


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name in ALERTS for change in ("never", "always", "later", "sooner")
     if change != "sooner" or "for" in alert(RULES, name)],
)  # fmt: skip
def test_a_changed_alert_makes_its_tests_fail(name: str, change: str, tmp_path: Path) -> None:
    """Each alert with a condition that never holds, or always; and with three times its ``for``, or none."""
    rules = copy.deepcopy(RULES)
    rule = alert(rules, name)
    if change == "never":
        rule["expr"] = f"({rule['expr']}) and on () vector(1) == 2"
    elif change == "always":
        rule["expr"] = f"({rule['expr']}) or label_replace(vector(1), 'pool', 'good', '', '')"
    elif change == "later":
        rule["for"] = f"{3 * int(rule['for'][:-1])}m" if "for" in rule else "20m"
    else:
        rule.pop("for", None)
    assert promtool_test(tmp_path, rules, only=name) == 1


MISTAKES = {
    "ColonyPoolBreakerOpen": ('state!="closed"', 'state="open"'),
    "ColonyPoolBreakerFlapping": ('from_state="closed",', ""),
    "ColonyPoolProbeNotSingle": ("sum by (job, instance, pool) (colony_pool_breaker_state)", "1"),
    "ColonyPoolAgentsParked": ("probe|hold", "probe|hold|flight"),
    "ColonyPoolCallsFailing": ("14.4", "4.4"),
    "ColonyPoolRetryBudgetExhausted": ('reason="budget"', 'reason="outcome"'),
    "ColonyPoolTokensRunOut": ('{state!="closed"}', ""),
    "ColonyPoolNoValidToken": ('freshness!="expired"', 'freshness="fresh"'),
    "ColonyPoolRefreshFailing": ("> 2.5", "> 1"),
    "ColonyPoolStoreUnavailable": ('state="unavailable"', 'state!="working"'),
    "ColonyPoolEndpointSlow": ("0.95", "0.5"),
    "ColonyPoolConnectionsSaturated": ('{state="in_use"}', ""),
    "ColonyPoolListenerErrors": ("colony_pool_collect_errors_total", "colony_pool_listener_errors_total"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_likely_mistake_in_an_alert_makes_its_tests_fail(name: str, tmp_path: Path) -> None:
    rules = copy.deepcopy(RULES)
    rule, (old, new) = alert(rules, name), MISTAKES[name]
    assert old in rule["expr"]
    rule["expr"] = rule["expr"].replace(old, new)
    assert promtool_test(tmp_path, rules, only=name) == 1


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_leads_to_its_section_and_to_a_panel_that_shows_what_it_asks(name: str) -> None:
    rule = alert(RULES, name)
    notes = rule["annotations"]
    assert notes["runbook_url"] == f"runbook.md#{name.lower()}"
    assert name.lower() in anchors()
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert {"summary", "description"} <= set(notes)
    number = re.search(r"viewPanel=(\d+)", notes["panel"])
    assert number
    shown = next(panel for panel in load()["panels"] if panel["id"] == int(number[1]))
    asked = set(_METRIC.findall(str(rule["expr"]))) or {"colony_pool_calls_total", "colony_pool_breaker_state"}
    assert any(re.search(rf"\b{metric}\b", str(shown["targets"])) for metric in asked), shown["title"]


def test_every_metric_of_a_rule_and_of_a_rules_test_is_in_the_catalogue() -> None:
    known = set(OF_THE_EXPORTER) | {metric.full_name for metric in BY_NAME.values()}
    known |= {f"{metric.full_name}_bucket" for metric in BY_NAME.values() if metric.buckets}
    exprs = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    exprs += [series["series"] for test in TESTS["tests"] for series in test["input_series"]]
    assert {metric for expr in exprs for metric in _METRIC.findall(expr)} - known == set()


def test_the_runbook_has_the_four_parts_for_every_alert() -> None:
    text = (DASHBOARDS / "runbook.md").read_text()
    sections = dict(re.findall(r"^## (\w+)$\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == ALERTS
    for name, section in sections.items():
        parts = re.findall(r"^\*\*([^*]+)\*\*", section, re.MULTILINE)
        assert parts == ["Means.", "Look at.", "Do.", "Do not."], name
    titles = {panel["title"] for panel in load()["panels"]}
    named = {
        title.rstrip("?.")
        for title in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text.split("## ColonyPool", 1)[1])
    }
    assert [name for name in named if not any(title.startswith(name) for title in titles)] == []


def test_the_exposition_passes_promtools_metric_linter() -> None:
    registry = CollectorRegistry()
    with (
        FakeColony() as colony,
        cp.ColonyPool(colony.base_url, registry=registry, token_cache=None, name="p") as pool,
    ):
        pool.agent("col_a").token()
        text = generate_latest(registry).decode()
    done = run(need("promtool"), "check", "metrics", given=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    broken = text.replace("colony_pool_calls_total", "colony_pool_calls")
    assert run(need("promtool"), "check", "metrics", given=broken).returncode != 0
