"""The rules of Grafana's dashboard-linter that concern Prometheus, and a few of our own, in Python.

The linter itself is a Go program. Each function yields what is wrong; ``findings`` runs them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser as pp

from .reading import Board, panels, queries
from .tools import DASHBOARDS

_MARK = "98765s"  # stands for $__rate_interval; the parser's own limit forbids a larger one
_TARGETLESS = ("text",)
_WITH_UNIT = ("stat", "timeseries", "gauge", "bargauge", "heatmap", "table", "state-timeline")


def anchors() -> set[str]:
    """What a link into the runbook may name."""
    titles = re.findall(r"^#+ (.+)$", (DASHBOARDS / "runbook.md").read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


def findings(board: Board) -> list[str]:
    """All that is wrong with ``board``."""
    found = [*_variables(board), *_board(board)]
    for panel in panels(board):
        found += [f"panel {panel['title']!r}: {what}" for what in _panel(panel)]
    for where, expr in queries(board):
        found += [f"{where}: {what}" for what in _query(expr)]
    return found


def _variables(board: Board) -> Iterator[str]:
    by_name = {variable["name"]: variable for variable in board["templating"]["list"]}
    source = by_name.get("datasource", {})
    if (source.get("type"), source.get("query"), source.get("label")) != ("datasource", "prometheus", "Data source"):
        yield "template-datasource"
    for name in ("job", "instance", "pool"):
        variable = by_name.get(name, {})
        wanted = {"type": "query", "label": name.title(), "multi": True, "includeAll": True, "allValue": ".+",
                  "refresh": 2, "datasource": {"type": "prometheus", "uid": "$datasource"}}  # fmt: skip
        yield from (f"template-{name}: {key}" for key, value in wanted.items() if variable.get(key) != value)
        expr = re.fullmatch(r"label_values\((.+), *\w+\)", variable.get("query", {}).get("query", ""))
        if expr is None or parsed(expr[1]) is None:
            yield f"template-label-promql: {name}"


def _board(board: Board) -> Iterator[str]:
    if board.get("editable", True):
        yield "uneditable"
    ids = [panel["id"] for panel in board["panels"]]
    if len(set(ids)) < len(ids) or 0 in ids:
        yield "panel ids are not unique"
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        if taken & cells or at["x"] + at["w"] > 24:
            yield f"panel {panel['title']!r}: overlaps"
        taken |= cells


def _panel(panel: dict[str, Any]) -> Iterator[str]:
    if not panel.get("title") or not panel.get("description"):
        yield "panel-title-description"
    links = [link["url"] for link in panel.get("links", [])]
    if not links or any(link.split("#")[0] != "${runbook}" or link.split("#")[1] not in anchors() for link in links):
        yield f"runbook link: {links}"
    if panel["type"] in _TARGETLESS:
        return
    if panel.get("datasource", {}).get("uid") != "$datasource":
        yield "panel-datasource"
    if not panel.get("targets"):
        yield "panel-no-targets"
    if panel["type"] == "stat" and not all(target.get("instant") for target in panel.get("targets", [])):
        yield "stat of the whole period: a metric that is gone would stay"
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    if panel["type"] in _WITH_UNIT and not defaults.get("unit"):
        yield "panel-units"
    if len(defaults.get("thresholds", {}).get("steps", [])) < 2:
        yield "thresholds"


def parsed(expr: str) -> Any:
    """The syntax tree of ``expr`` with Grafana's variables put in; ``None`` when it is no PromQL."""
    for name, value in (("$__rate_interval", _MARK), ("$__range", "1h"), ("$__interval", "15s")):
        expr = expr.replace(name, value)
    try:
        return pp.parse(expr)
    except ValueError:
        return None


def _query(expr: str) -> Iterator[str]:
    tree = parsed(expr)
    if tree is None:
        yield "target-promql"
        return
    yield from _walk(tree, "")


def _walk(node: Any, within: str) -> Iterator[str]:
    """Look at ``node`` inside the function ``within``."""
    if isinstance(node, pp.VectorSelector):
        yield from _selector(node, within)
    elif isinstance(node, pp.MatrixSelector):
        marked = node.range.total_seconds() == float(_MARK[:-1])
        if within in ("rate", "irate") and not marked:
            yield f"target-rate-interval: {within}(...[{node.range}])"
        yield from _walk(node.vector_selector, within)
    elif isinstance(node, pp.Call):
        for arg in node.args:
            yield from _walk(arg, node.func.name)
    elif isinstance(node, pp.BinaryExpr):
        yield from _walk(node.lhs, "")
        yield from _walk(node.rhs, "")
    elif hasattr(node, "expr"):
        yield from _walk(node.expr, within if isinstance(node, pp.ParenExpr) else "")


def _selector(node: Any, within: str) -> Iterator[str]:
    has = {matcher.name: (str(matcher.op), matcher.value) for matcher in node.matchers.matchers}
    for name in ("job", "instance"):
        op, value = has.get(name, ("", ""))
        if value != f"${name}" or not op.endswith("Re"):
            yield f"target-{name}: {node.name}"
    if node.name.endswith("_total") and within not in ("rate", "irate", "increase"):
        yield f"counter-agg: {node.name}"
