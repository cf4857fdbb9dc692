"""Reads the dashboard as Grafana would: its queries with the variables put in, and what Prometheus says to them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from tests.support.private import METRICS, PREFIX

from .prom import Prometheus
from .tools import DASHBOARDS

Board = dict[str, Any]
_LABEL_VALUES = re.compile(r"^label_values\((.+), *(\w+)\)$")
_METRIC = re.compile(rf"\b({PREFIX}[a-z_]+?)(?:_bucket|_sum|_count)?\b(?=\{{)")
OF_THE_EXPORTER = {f"{PREFIX}build_info", f"{PREFIX}collect_errors_total"}


def load() -> Board:
    """The checked-in dashboard."""
    board: Board = json.loads((DASHBOARDS / "colony_pool.json").read_text())
    return board


def panels(board: Board) -> Iterator[dict[str, Any]]:
    """All panels but rows."""
    return (panel for panel in board["panels"] if panel["type"] != "row")


def panel(board: Board, title: str) -> dict[str, Any]:
    """The panel of that title."""
    return next(found for found in panels(board) if found["title"] == title)


def queries(board: Board) -> Iterator[tuple[str, str]]:
    """``(where, expression)`` of each panel query and each annotation."""
    for found in panels(board):
        for target in found.get("targets", []):
            yield f"panel {found['title']!r} {target['refId']}", target["expr"]
    for note in board["annotations"]["list"]:
        yield f"annotation {note['name']!r}", note["target"]["expr"]


def resolved(expr: str, span: str = "75m") -> str:
    """``expr`` with every variable at All, scraped each 15 s."""
    for name, value in (("$__rate_interval", "1m"), ("$__range", span), ("$job", ".+"), ("$instance", ".+"),
                        ("$pool", ".+")):  # fmt: skip
        expr = expr.replace(name, value)
    return expr


def unanswered(board: Board, prometheus: Prometheus, start: float, end: float) -> list[str]:
    """Every query, annotation and variable to which Prometheus has nothing to say but NaN, or an error."""
    found = []
    for where, expr in queries(board):
        try:
            answer = prometheus.over(resolved(expr), start, end)
        except ValueError as error:
            found.append(f"{where}: {error}")
            continue
        values = [float(value) for series in answer for _, value in series["values"]]
        if not values or all(math.isnan(value) for value in values):
            found.append(f"{where}: empty")
    for variable in board["templating"]["list"]:
        if variable["type"] == "query" and not _values(variable, prometheus, start, end):
            found.append(f"variable {variable['name']!r}: empty")
    return found


def _values(variable: dict[str, Any], prometheus: Prometheus, start: float, end: float) -> list[str]:
    match = _LABEL_VALUES.match(variable["query"]["query"])
    assert match, variable
    given: dict[str, str | float] = {"match[]": resolved(match[1]), "start": start, "end": end}
    return list(prometheus.ask(f"label/{match[2]}/values", **given))


def metrics_of(board: Board) -> set[str]:
    """Full names of all metrics that a panel shows."""
    return {name for where, expr in queries(board) if where.startswith("panel") for name in _METRIC.findall(expr)}


def uncovered(board: Board) -> list[str]:
    """Metrics without a panel, and panels' metrics that are not in the catalogue."""
    known = {metric.full_name for metric in METRICS} | OF_THE_EXPORTER
    shown = metrics_of(board)
    return [f"on no panel: {name}" for name in sorted(known - shown)] + [
        f"in no catalogue: {name}" for name in sorted(shown - known)
    ]
