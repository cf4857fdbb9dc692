"""Draws the dashboard without Grafana: the same JSON, the same queries, a static page of inline SVG.

``python -m dashboards.preview --prometheus http://127.0.0.1:9090 --out page.html`` asks a Prometheus and writes one
file without a script in it. It shows data and layout; how Grafana draws them is Grafana's business.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from .drawing import CSS, MUTED, Frame, panel_html

JSON_FILE = Path(__file__).with_name("colony_pool.json")
COLUMN, ROW_HEIGHT, GAP = 58, 34, 6
Ask = Callable[[str, dict[str, Any]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Range:
    """What is looked at: unix seconds, and how many between two points."""

    start: float
    end: float
    step: float = 15.0


def asker(url: str) -> Ask:
    """Asks the Prometheus at ``url``: ``ask(path, fields)`` gives the series."""
    http = urllib3.PoolManager(retries=False)

    def ask(path: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
        reply = http.request("GET", f"{url}/api/v1/{path}", fields={k: str(v) for k, v in fields.items()})
        answer = json.loads(reply.data)
        if answer["status"] != "success":
            raise ValueError(answer.get("error"))
        return list(answer["data"]["result"])

    return ask


def resolve(expr: str, span: Range, values: dict[str, str]) -> str:
    """Put in Grafana's variables."""
    known = {"$__rate_interval": f"{4 * span.step:.0f}s", "$__range": f"{span.end - span.start:.0f}s"}
    for name, value in {**known, **{f"${name}": value for name, value in values.items()}}.items():
        expr = expr.replace(name, value)
    return expr


def frames(panel: dict[str, Any], ask: Ask, span: Range, values: dict[str, str]) -> list[Frame]:
    """The answers to a panel's queries, with their legends."""
    found = []
    for target in panel.get("targets", []):
        expr = resolve(target["expr"], span, values)
        if target.get("instant"):
            series = ask("query", {"query": expr, "time": span.end})
        else:
            series = ask("query_range", {"query": expr, "start": span.start, "end": span.end, "step": span.step})
        for one in series:
            points = one.get("values") or [one["value"]]
            legend = _legend(target.get("legendFormat", ""), one["metric"]) or panel["title"]
            found.append(Frame(legend, [(float(at), float(value)) for at, value in points], one["metric"]))
    return found


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), form)


def page(
    board: dict[str, Any], ask: Ask, span: Range, values: dict[str, str] | None = None, rows: int = 10_000
) -> str:
    """The page; of panels that begin above grid row ``rows``."""
    values = values or {"job": ".+", "instance": ".+", "pool": ".+"}
    notes = _annotations(board, ask, span, values)
    boxes, bottom = [], 0
    for panel in board["panels"]:
        at = panel["gridPos"]
        if at["y"] >= rows:
            continue
        bottom = max(bottom, at["y"] + at["h"])
        style = (
            f"left:{at['x'] * COLUMN}px;top:{at['y'] * ROW_HEIGHT}px;"
            f"width:{at['w'] * COLUMN - GAP}px;height:{at['h'] * ROW_HEIGHT - GAP}px"
        )
        size = (at["w"] * COLUMN - GAP - 16, at["h"] * ROW_HEIGHT - GAP - 34)
        if panel["type"] == "row":
            boxes.append(f'<h2 style="{style}">{html.escape(panel["title"])}</h2>')
            continue
        inner = panel_html(panel, frames(panel, ask, span, values), notes, (span.start, span.end), size)
        boxes.append(
            f'<div class="p {panel["type"]}" style="{style}"><h3>{html.escape(panel["title"])}</h3>{inner}</div>'
        )
    return _document(board, span, "\n".join(boxes), bottom)


def _annotations(
    board: dict[str, Any], ask: Ask, span: Range, values: dict[str, str]
) -> list[tuple[float, str, str]]:
    """``(when, colour, name)``: the first moment of each run of answers."""
    found = []
    for note in board["annotations"]["list"]:
        expr = resolve(note["target"]["expr"], span, values)
        for series in ask("query_range", {"query": expr, "start": span.start, "end": span.end, "step": span.step}):
            last = 0.0
            for at, _ in series["values"]:
                if float(at) > last + 1.5 * span.step:
                    found.append((float(at), note["iconColor"], note["name"]))
                last = float(at)
    return found


def _document(board: dict[str, Any], span: Range, boxes: str, bottom: int) -> str:
    clock = " to ".join(time.strftime("%Y-%m-%d %H:%M", time.gmtime(at)) for at in (span.start, span.end))
    said = "drawn by the project itself from the dashboard's JSON and Prometheus' answers; no Grafana server drew it"
    return (
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(board["title"])}</title><style>{CSS}</style>'
        f'<body style="width:{24 * COLUMN + 12}px"><header><b>{html.escape(board["title"])}</b>'
        f'<span>{clock} UTC</span><i style="color:{MUTED}">{said}</i></header>'
        f'<main style="height:{bottom * ROW_HEIGHT}px">{boxes}</main>'
    )


def main(argv: list[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.preview", description=__doc__)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    parser.add_argument("--dashboard", type=Path, default=JSON_FILE, help="the JSON")
    parser.add_argument("--end", type=float, default=None, help="unix time; default: now")
    parser.add_argument("--minutes", type=float, default=60.0, help="how much to show")
    parser.add_argument("--step", type=float, default=15.0, help="the scrape interval, seconds")
    parser.add_argument("--out", type=Path, required=True, help="the HTML file to write")
    args = parser.parse_args(argv)
    end = time.time() if args.end is None else args.end
    span = Range(end - 60 * args.minutes, end, args.step)
    args.out.write_text(page(json.loads(args.dashboard.read_text()), asker(args.prometheus), span))
    print(args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
