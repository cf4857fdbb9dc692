"""Renders the panel table as the dashboard that Grafana imports.

``python -m dashboards.build`` writes ``colony_pool.json``; ``--check`` only says whether it is up to date.
``--runbook URL --out DIR`` writes a copy of the dashboard and of the rules whose links lead to your own copy of
``runbook.md``.

The classic JSON model (``schemaVersion`` 42) is what Grafana 10 to 13 import. Needs grafana-foundation-sdk 0.0.21,
and so Python 3.11.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard as gd
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as gm

from .at_a_glance import IS_IT_UP, THE_BREAKER
from .in_depth import CALLS, CONNECTIONS, TIME, TOKENS
from .model import Panel, Section, expand, layout
from .render import SOURCE, panel_builder, query_builder

HERE = Path(__file__).parent
JSON_FILE, RULES_FILE = HERE / "colony_pool.json", HERE / "rules.yml"
RUNBOOK = "runbook.md"
SECTIONS = (IS_IT_UP, THE_BREAKER, CALLS, TOKENS, TIME, CONNECTIONS)
_ALWAYS = 2  # refresh a variable when the time range changes

ANNOTATIONS = (
    ("Breaker opened", "red",
     'sum by (pool, instance)(increase(@breaker_transitions_total{from_state="closed",to_state="open"}'
     "[$__rate_interval])) > 0"),
    ("Breaker closed", "green",
     'sum by (pool, instance)(increase(@breaker_transitions_total{to_state="closed"}[$__rate_interval])) > 0'),
    ("On hold", "yellow", "sum by (pool, instance)(increase(@holds_total[$__rate_interval])) > 0"),
)  # fmt: skip

# Each asks only for what stands before it, so that choosing a job narrows the instances, and so on.
VARIABLES = (
    ("job", "Job", "label_values(colony_pool_build_info, job)"),
    ("instance", "Instance", 'label_values(colony_pool_build_info{job=~"$job"}, instance)'),
    ("pool", "Pool", 'label_values(colony_pool_breaker_state{job=~"$job",instance=~"$instance"}, pool)'),
)


def dashboard(runbook: str = RUNBOOK) -> gm.Dashboard:
    """Return the dashboard as Grafana's model; ``runbook`` is where its links lead."""
    builder = (
        gd.Dashboard("colony_pool: tokens for The Colony")
        .uid("colony-pool")
        .description("Do agents have tokens, is the breaker open and since when, what answers, what to do.")
        .tags(["colony_pool", "circuit-breaker"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .readonly()
        .tooltip(gm.DashboardCursorSync.CROSSHAIR)
        .link(gd.DashboardLink("Runbook").type(gm.DashboardLinkType.LINK).icon("doc").url("${runbook}")
              .tooltip("What each alert means, what to do, what not to do").target_blank(True))
    )  # fmt: skip
    for variable in _variables(runbook):
        builder = builder.with_variable(variable)
    for name, colour, short in ANNOTATIONS:
        builder = builder.annotation(
            gd.AnnotationQuery().name(name).datasource(SOURCE).enable(True).hide(False).icon_color(colour)
            .target(query_builder(expand(short), "", "A")).expr(expand(short)).step("15s")
            .title_format(name).text_format("{{pool}} {{instance}}").tag_keys("pool,instance")
        )  # fmt: skip
    placed = list(layout(SECTIONS))
    for item, _, _ in placed:
        if isinstance(item, Section):
            builder = builder.with_row(gd.Row(item.question))
        else:
            builder = builder.with_panel(panel_builder(item))
    return _placed(builder.build(), placed)


def _placed(built: gm.Dashboard, placed: list[tuple[Section | Panel, int, int]]) -> gm.Dashboard:
    """Number and place what the builders leave at 0."""
    for number, (panel, (item, x, y)) in enumerate(zip(built.panels or [], placed, strict=True), 1):
        wide, high = (24, 1) if isinstance(item, Section) else (item.width, item.height)
        panel.id_val = number
        panel.grid_pos = gm.GridPos(h=high, w=wide, x=x, y=y)
    return built


def _variables(runbook: str) -> Iterator[Any]:
    yield gd.DatasourceVariable("datasource").label("Data source").type("prometheus")
    everything = gm.VariableOption(selected=True, text="All", value="$__all")
    for name, label, query in VARIABLES:
        yield (
            gd.QueryVariable(name).label(label).query({"query": query, "refId": f"{name}-variable"})
            .datasource(SOURCE).refresh(gm.VariableRefresh(_ALWAYS)).multi(True)
            .include_all(True).all_value(".+").current(everything).sort(gm.VariableSort.ALPHABETICAL_ASC)
        )  # fmt: skip
    yield gd.ConstantVariable("runbook").label("Runbook").value(runbook)


def tidy(board: dict[str, Any]) -> dict[str, Any]:
    """Take out what the SDK adds by default: what Grafana's types do not know, or what hides things in menus."""
    for variable in board["templating"]["list"]:
        for name in ("auto", "auto_min", "auto_count"):  # of an interval variable, given to all
            variable.pop(name, None)
    for note in board["annotations"]["list"]:
        note.pop("placement", None)
    for link in board["links"]:
        link.pop("placement", None)  # it would hide the link in a menu
    for panel in board["panels"]:
        for link in panel.get("links", []):
            link.pop("placement", None)
        if panel["type"] == "table":
            panel["options"].pop("footer", None)
    return board


def render(runbook: str = RUNBOOK) -> str:
    """The file's text."""
    board = tidy(json.loads(json.dumps(dashboard(runbook), cls=JSONEncoder)))
    return json.dumps(board, indent=1, ensure_ascii=False) + "\n"


def copy(runbook: str, out: Path) -> list[Path]:
    """Write dashboard and rules whose links lead to ``runbook`` into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    files = {"colony_pool.json": render(runbook)}
    files["rules.yml"] = RULES_FILE.read_text().replace(f"runbook_url: {RUNBOOK}#", f"runbook_url: {runbook}#")
    for name, text in files.items():
        (out / name).write_text(text)
    return [out / name for name in files]


def main(argv: list[str] | None = None) -> int:
    """Write, or check, the dashboard."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the JSON is out of date")
    parser.add_argument("--file", type=Path, default=JSON_FILE, help="the JSON to write or check")
    parser.add_argument("--runbook", default=RUNBOOK, help="address of your copy of runbook.md")
    parser.add_argument("--out", type=Path, help="with --runbook: write dashboard and rules there")
    args = parser.parse_args(argv)
    if args.out is not None:
        print(*copy(args.runbook, args.out), sep="\n")
        return 0
    text = render(args.runbook)
    if not args.check:
        args.file.write_text(text)
        print(f"{args.file}: {len(text):,} bytes")
        return 0
    if args.file.exists() and args.file.read_text() == text:
        return 0
    print(f"{args.file} is out of date: run python -m dashboards.build", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
