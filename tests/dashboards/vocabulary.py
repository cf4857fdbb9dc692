"""Labels and their values in a query, held against the catalogue.

An answer alone does not tell: ``state!="closd"`` matches everything, and ``sum by (form_state)`` groups by nothing.
Both give numbers, and wrong ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser as pp

from tests.support.private import BY_NAME, PREFIX, Metric

from .lint import parsed
from .reading import Board, panels, queries

_TARGET = {"job", "instance", "pool"}
_INFO = {"version", "python"}


def misspelt(expr: str, legend: str = "") -> list[str]:
    """Every label and label value of ``expr`` that its metrics do not have, and every label of ``legend``."""
    tree = parsed(expr)
    if tree is None:
        return ["no PromQL"]
    found = list(_walk(tree))
    shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
    return found + [f"legend: {label}" for label in sorted(shown - _grouped(tree))]


def misspelt_in(board: Board) -> list[str]:
    """All of a dashboard."""
    legends = [
        (panel["title"], target["expr"], target.get("legendFormat", ""))
        for panel in panels(board)
        for target in panel.get("targets", [])
    ]
    rest = [(where, expr, "") for where, expr in queries(board) if where.startswith("annotation")]
    return [f"{where}: {what}" for where, expr, legend in legends + rest for what in misspelt(expr, legend)]


def _walk(node: Any) -> Iterator[str]:
    if isinstance(node, pp.VectorSelector):
        yield from _selector(node)
    elif isinstance(node, pp.AggregateExpr) and node.modifier is not None:
        known = set().union(*(_labels(selector) for selector in _selectors(node)))
        yield from (f"by ({label})" for label in node.modifier.labels if label not in known)
    for child in _children(node):
        yield from _walk(child)


def _children(node: Any) -> list[Any]:
    if isinstance(node, pp.Call):
        return list(node.args)
    if isinstance(node, pp.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, pp.MatrixSelector):
        return [node.vector_selector]
    return [node.expr] if hasattr(node, "expr") else []


def _selectors(node: Any) -> Iterator[Any]:
    if isinstance(node, pp.VectorSelector):
        yield node
    for child in _children(node):
        yield from _selectors(child)


def _grouped(node: Any) -> set[str]:
    """The labels that series of ``node`` have left."""
    if isinstance(node, pp.AggregateExpr):
        return set(node.modifier.labels) if node.modifier is not None else set()
    if isinstance(node, pp.VectorSelector):
        return _labels(node)
    return set().union(*(_grouped(child) for child in _children(node)))


def _metric(selector: Any) -> Metric | None:
    name = selector.name.removeprefix(PREFIX)
    return BY_NAME.get(name) or BY_NAME.get(re.sub(r"_(bucket|sum|count)$", "", name))


def _labels(selector: Any) -> set[str]:
    metric = _metric(selector)
    own = set(metric.label_names) if metric is not None else _INFO if selector.name.endswith("_info") else set()
    return _TARGET | own | ({"le"} if selector.name.endswith("_bucket") else set())


def _selector(selector: Any) -> Iterator[str]:
    metric = _metric(selector)
    values = dict(metric.labels) if metric is not None else {}
    for matcher in selector.matchers.matchers:
        if matcher.name not in _labels(selector):
            yield f"{selector.name}: no label {matcher.name}"
        elif matcher.name in values:
            wrong = set(matcher.value.split("|")) - set(values[matcher.name])
            yield from (f"{selector.name}: no {matcher.name} {word!r}" for word in sorted(wrong))
