"""The dashboard's file: up to date, clean by the linter's rules, of Grafana's own types; and broken on purpose."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import lint, types
from .reading import Board, load, panel, panels
from .tools import DASHBOARDS, ROOT, need_sdk, need_types


def build(*options: str | Path) -> subprocess.CompletedProcess[str]:
    need_sdk()
    command = [sys.executable, "-m", "dashboards.build", *map(str, options)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_the_file_is_what_the_table_says() -> None:
    done = build("--check")
    assert done.returncode == 0, done.stderr


def test_a_stale_file_is_found(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text((DASHBOARDS / "colony_pool.json").read_text().replace("Agents waiting", "Agents idling"))
    assert build("--check", "--file", old).returncode == 1
    assert build("--check", "--file", tmp_path / "none.json").returncode == 1
    assert build("--file", old).returncode == 0
    assert build("--check", "--file", old).returncode == 0


def test_a_copy_leads_to_your_own_runbook(tmp_path: Path) -> None:
    assert build("--runbook", "/wiki/pool", "--out", tmp_path).returncode == 0
    board = json.loads((tmp_path / "colony_pool.json").read_text())
    assert [v["query"] for v in board["templating"]["list"] if v["name"] == "runbook"] == ["/wiki/pool"]
    rules = (tmp_path / "rules.yml").read_text()
    ours = (DASHBOARDS / "rules.yml").read_text().count("runbook_url: runbook.md#")
    assert rules.count("runbook_url: /wiki/pool#") == ours > 0
    assert "runbook_url: runbook.md" not in rules


def test_nothing_is_lost_in_a_typed_round_trip() -> None:
    """A key that Grafana's model does not know would vanish."""
    need_sdk()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the classic model, on purpose
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.models.dashboard import Dashboard

        from dashboards.build import tidy

    def again(board: Board) -> Board:
        return tidy(json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder)))

    board = load()
    assert board == again(board)
    board["refreshh"] = "30s"
    assert board != again(board)


def test_the_classic_model_with_every_panel_explained() -> None:
    board = load()
    assert board["schemaVersion"] == 42
    assert [row["title"] for row in board["panels"] if row["type"] == "row"] == [
        "Is it up?", "Which breaker, and why?", "What do calls and retries do?", "Tokens", "Where does time go?",
        "Connections, and the library itself",
    ]  # fmt: skip
    assert [v["name"] for v in board["templating"]["list"]] == ["datasource", "job", "instance", "pool", "runbook"]
    assert "Breaker opened" in [note["name"] for note in board["annotations"]["list"]]
    assert any(found["type"] == "state-timeline" for found in panels(board))


def test_the_linters_rules_hold() -> None:
    assert lint.findings(load()) == []


def _expr(title: str, old: str, new: str) -> Callable[[Board], None]:
    def change(board: Board) -> None:
        target = panel(board, title)["targets"][0]
        assert old in target["expr"]
        target["expr"] = target["expr"].replace(old, new)

    return change


def _with(title: str, **changes: Any) -> Callable[[Board], None]:
    return lambda board: panel(board, title).update(changes)


LINT: dict[str, tuple[Callable[[Board], None], str]] = {
    "missing description": (_with("Breaker", description=""), "panel-title-description"),
    "fixed range": (_expr("Calls, by how they ended", "$__rate_interval", "5m"), "target-rate-interval"),
    "no rate": (_expr("Probes, by result", "increase(", "(("), "target-promql"),
    "bare counter": (_expr("Changes of state", "increase(", "max_over_time("), "counter-agg"),
    "no job": (_expr("Agents waiting", 'job=~"$job",', ""), "target-job"),
    "one instance": (_expr("Agents waiting", 'instance=~"$instance"', 'instance="a"'), "target-instance"),
    "another data source": (_with("Breaker", datasource={"type": "prometheus", "uid": "abc"}), "panel-datasource"),
    "no query": (_with("Breaker", targets=[]), "panel-no-targets"),
    "a stat that remembers": (
        lambda b: panel(b, "Open for")["targets"][0].update(instant=False),
        "stat of the whole",
    ),
    "no unit": (lambda b: panel(b, "Breaker")["fieldConfig"]["defaults"].pop("unit"), "panel-units"),
    "no thresholds": (lambda b: panel(b, "Breaker")["fieldConfig"]["defaults"].pop("thresholds"), "thresholds"),
    "a dead link": (_with("Breaker", links=[{"url": "${runbook}#nowhere"}]), "runbook link"),
    "no link": (_with("Breaker", links=[]), "runbook link"),
    "editable": (lambda b: b.update(editable=True), "uneditable"),
    "two of one id": (_with("Breaker", id=2), "ids"),
    "overlap": (_with("Breaker", gridPos={"h": 4, "w": 12, "x": 6, "y": 1}), "overlaps"),
    "job without all": (lambda b: b["templating"]["list"][1].update(allValue=""), "template-job"),
    "instances not reloaded": (lambda b: b["templating"]["list"][2].update(refresh=1), "template-instance"),
    "variable's query": (lambda b: b["templating"]["list"][3]["query"].update(query="label_values("), "promql: pool"),
    "no data source variable": (lambda b: b["templating"]["list"].pop(0), "template-datasource"),
}


@pytest.mark.parametrize("what", LINT)
def test_the_lint_finds(what: str) -> None:
    board = copy.deepcopy(load())
    change, rule = LINT[what]
    change(board)
    found = lint.findings(board)
    assert found
    assert all(rule in line for line in found if "overlaps" not in rule) or len(found) == 1, found


def test_grafanas_own_types_hold(tmp_path: Path) -> None:
    modules = need_types()
    assert types.complaints(load(), modules, tmp_path) == []


TYPES: dict[str, Callable[[Board], Any]] = {
    "mergeValuez": lambda b: panel(b, "State of the breakers")["options"].update(mergeValuez=True),
    "graphMod": lambda b: panel(b, "Breaker")["options"].update(graphMod="none"),
    "nonee": lambda b: panel(b, "Agents waiting")["options"].update(graphMode="nonee"),
    "lineWidht": lambda b: panel(b, "Connections")["fieldConfig"]["defaults"]["custom"].update(lineWidht=1),
    "noValu": lambda b: panel(b, "Open for")["fieldConfig"]["defaults"].update(noValu="closed"),
    "timezoen": lambda b: b.update(timezoen="utc"),
    "descripton": lambda b: panel(b, "Hold ends in").update(descripton="?"),
    "exprr": lambda b: panel(b, "Retry budget")["targets"][0].update(exprr="up"),
    "Type 'string' is not assignable to type 'number'": lambda b: panel(b, "Next probe in")["gridPos"].update(h="4"),
}


def test_the_types_find_every_misspelt_option(tmp_path: Path) -> None:
    """All at once, in different panels: each is one complaint that names it."""
    modules = need_types()
    board = copy.deepcopy(load())
    for change in TYPES.values():
        change(board)
    found = types.complaints(board, modules, tmp_path)
    assert [what for what in TYPES if not any(what in line for line in found)] == []
    assert len(found) == len(TYPES)
