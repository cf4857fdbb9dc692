"""Tables: what the sections print, as text and as Markdown. The best of each column is marked, whoever it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
NOTHING = "-"
FAILED = "failed"  # a row with this key says why it has no figures
REFERENCE = "reference"  # a row with this key is what the others are measured by, and does not compete


def emit(**row: Any) -> None:
    """Print one row for whoever runs the section."""
    print(json.dumps(row), flush=True)


def rows_of(output: str) -> list[Row]:
    """Return the rows that a section printed."""
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the key of its values in a row, its head, how a value is written, and which one is the best."""

    key: str
    head: str
    form: str = "{}"
    best: Callable[[Iterable[float]], float] | None = None
    absent: str = NOTHING

    def cell(self, row: Row) -> str:
        value = row.get(self.key)
        if value is None:
            return NOTHING if FAILED in row else self.absent
        return self.form.format(value)


def lower(key: str, head: str, form: str = "{:,}", absent: str = NOTHING) -> Column:
    """A column in which less is better."""
    return Column(key, head, form, min, absent)


def higher(key: str, head: str, form: str = "{:,}") -> Column:
    """A column in which more is better."""
    return Column(key, head, form, max)


@dataclass(frozen=True, slots=True)
class Table:
    """What one section shows. ``group``: rows that agree in it compete with each other."""

    title: str
    columns: Sequence[Column]
    group: str | None = None
    note: str = ""

    def markdown(self, rows: Sequence[Row]) -> str:
        heads = [column.head for column in self.columns]
        lines = [heads, ["---"] * len(heads), *self._cells(rows, "**{}**")]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join(part for part in (f"**{self.title}**", self.note, table) if part)

    def text(self, rows: Sequence[Row]) -> str:
        lines = [[column.head for column in self.columns], *self._cells(rows, "{}*")]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        left = [column.best is None for column in self.columns]
        table = "\n".join(
            "  ".join(
                cell.ljust(width) if at_left else cell.rjust(width)
                for cell, width, at_left in zip(line, widths, left, strict=True)
            ).rstrip()
            for line in lines
        )
        return "\n".join(part for part in (self.title, self.note, table) if part)

    def _cells(self, rows: Sequence[Row], mark: str) -> list[list[str]]:
        return [self._line(row, rows, mark) for row in rows]

    def _line(self, row: Row, rows: Sequence[Row], mark: str) -> list[str]:
        group = [other for other in rows if self.group is None or other.get(self.group) == row.get(self.group)]
        rivals = [other for other in group if REFERENCE not in other]
        cells = [
            mark.format(column.cell(row)) if _is_best(column, row, rivals) else column.cell(row)
            for column in self.columns
        ]
        if FAILED in row:  # in place of the first figure
            first = next((i for i, column in enumerate(self.columns) if row.get(column.key) is None), 0)
            cells[first] = str(row[FAILED])
        return cells


def _is_best(column: Column, row: Row, rivals: Sequence[Row]) -> bool:
    """Say whether nobody does better, and somebody does worse (as far as it is printed)."""
    values = [rival[column.key] for rival in rivals if rival.get(column.key) is not None]
    if column.best is None or row.get(column.key) is None or row not in rivals:
        return False
    best = column.form.format(column.best(values))
    return column.cell(row) == best and any(column.cell(rival) != best for rival in rivals)
