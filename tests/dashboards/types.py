"""The dashboard as TypeScript, for ``tsc`` to hold against Grafana's own types (``@grafana/schema``).

Each panel's options and field options are checked against the types of its own kind: an option that Grafana does not
know is an error with a suggestion, where a server would ignore it without a word.
"""

from __future__ import annotations

import json
from pathlib import Path

from .reading import Board
from .tools import need, run

# Literals in place of enums, everything optional: Grafana fills in what is not said.
_LOOSE = """
type Loose<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Loose<U>[] : T extends object ? { [K in keyof T]?: Loose<T[K]> | null } : T;
"""
# The package has no type of a Prometheus query: this is what Grafana's Prometheus data source reads.
_QUERY = """
type Query = { expr: string; refId: string; format: "time_series" | "table" | "heatmap"; legendFormat?: string;
  instant?: boolean; range?: boolean; datasource: Loose<g.DataSourceRef> };
type Note = Omit<Loose<g.AnnotationQuery>, "target"> & { target: Query; step?: string; titleFormat?: string;
  textFormat?: string; tagKeys?: string; expr?: string };
type Board = Omit<Loose<g.Dashboard>, "annotations"> & { annotations: { list: Note[] } };
type Panel = Omit<Loose<g.Panel>, "options" | "fieldConfig" | "targets"> & { targets?: Query[] };
"""
_KINDS = {"state-timeline": "statetimeline"}
_PLAIN = ("stat", "bargauge", "text")  # kinds without field options of their own


def source(board: Board, modules: Path) -> str:
    """One TypeScript file that holds the whole dashboard."""
    raw = modules / "@grafana/schema/dist/types/raw"
    kinds = sorted({panel["type"] for panel in board["panels"]} - {"row"})
    lines = [f"import type * as g from {json.dumps(str(modules / '@grafana/schema/dist/types/index'))};"]
    for kind in kinds:
        name = _KINDS.get(kind, kind)
        lines.append(f'import type * as {name} from "{raw}/composable/{name}/panelcfg/x/types.gen";')
    shell = {key: value for key, value in board.items() if key != "panels"}
    lines += [_LOOSE, _QUERY, f"export const board: Board = {json.dumps(shell)};"]
    for number, panel in enumerate(board["panels"]):
        if panel["type"] == "row":
            lines.append(f"export const p{number}: Loose<g.RowPanel> = {json.dumps(panel)};")
            continue
        name = _KINDS.get(panel["type"], panel["type"])
        custom = "{}" if panel["type"] in _PLAIN else f"Loose<{name}.FieldConfig>"
        lines.append(
            f"export const p{number}: Panel & {{"
            f" options?: Loose<{name}.Options>; fieldConfig?: {{ defaults: Omit<Loose<g.FieldConfig>, 'custom'> &"
            f" {{ custom?: {custom} }}; overrides: unknown[] }} }} = {json.dumps(panel)};"
        )
    return "\n".join(lines) + "\n"


def complaints(board: Board, modules: Path, folder: Path) -> list[str]:
    """What ``tsc`` says to it."""
    file = folder / "dashboard.ts"
    file.write_text(source(board, modules))
    done = run(
        need("node"), modules / "typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022",
        "--module", "es2022", "--moduleResolution", "bundler", file,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if "error TS" in line]
