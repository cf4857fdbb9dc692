"""The one way in which ``colony-pool`` shows state: what to do, then a section for each record or pool.

Whatever reads state makes a ``Report`` of it; ``render`` draws that. On a terminal the sections are boxes, as many
side by side as fit. Everywhere else (a pipe, a dumb or narrow terminal) they are plain lines, one below the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_NARROW = 50  # columns that a box needs to be worth its lines
_COLOURS = {"closed": "green", "half_open": "yellow", "open": "red"}


@dataclass(frozen=True, slots=True)
class Section:
    """The state of one pool, or of all processes that share a record. Times in seconds.

    Attributes:
        title: whose state it is.
        state: of the breaker: closed, half_open, open, or gone when no process exports it any more.
        rate_limited_for: until the rate limit ends; ``None`` without one.
        waiting: calls that wait; ``None`` if that is not known.
        refused: API keys that the server refuses.
        rows: what a person reads, by topic.
    """

    title: str
    state: str
    rate_limited_for: float | None
    waiting: int | None
    refused: int
    rows: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Report:
    """What was read at one moment.

    Attributes:
        sections: the worst state first.
        problems: what could not be read, and why.
        hint: what to do about the problems.
        facts: the same for programs.
    """

    sections: list[Section]
    facts: dict[str, Any]
    problems: list[str] = field(default_factory=list)
    hint: str = ""


def render(report: Report, console: Console) -> RenderableType:
    """What a person reads: the advice, what could not be read, and the sections."""
    calm = not report.problems and all(section.state == "closed" for section in report.sections)
    boxed = console.is_terminal and not console.is_dumb_terminal and console.width >= _NARROW
    parts: list[RenderableType] = [Text(advice(report), style="green" if calm else "bold yellow")]
    parts += [Text(problem, style="red") for problem in report.problems]
    if boxed:
        parts.append(Columns([_box(section) for section in report.sections], equal=True))
    else:
        for section in report.sections:
            parts += [Text(""), Text(section.title), _table(section)]
    return Group(*parts)


def _box(section: Section) -> Panel:
    style = _COLOURS.get(section.state, "dim")
    return Panel(_table(section), title=Text(section.title, "bold"), border_style=style, title_align="left")


def _table(section: Section) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for topic, words in section.rows:
        table.add_row(Text(topic), Text(words, _COLOURS.get(section.state, "") if topic == "breaker" else ""))
    return table


def advice(report: Report) -> str:
    """One or two sentences: how things stand, and what to do."""
    sections = report.sections
    limits = [one.rate_limited_for for one in sections if one.rate_limited_for]
    if limits:
        return (
            f"The server limits the rate of requests for {span(max(limits))} more. That ends by itself; trying again "
            "and restarting prolong it."
        )
    down = [one for one in sections if one.state in ("open", "half_open")]
    if down:
        where = "" if len(sections) == 1 else f" for {len(down)} of {len(sections)} pools"
        waiting = sum(one.waiting or 0 for one in down)
        calls = (
            "" if any(one.waiting is None for one in down) else f" {counted(waiting, 'call waits', 'calls wait')}."
        )
        return (
            f"The endpoint does not answer{where}: tell its owner.{calls} Valid tokens are still served. Do not "
            "restart the agents: they would lose their place in the queue and their tokens."
        )
    if report.problems:
        return report.hint
    refused = sum(one.refused for one in sections)
    if refused:
        which = "it" if refused == 1 else "them"
        return f"{counted(refused, 'key is', 'keys are')} refused: correct {which}. No other agent is affected."
    return "All is well."


def counted(count: int, one: str, many: str) -> str:
    """``1 key``, ``2 keys``."""
    return f"{count:,} {one if count == 1 else many}"


def span(seconds: float | None) -> str:
    """``seconds`` in the largest units that matter: ``4.2 s``, ``3 min 20 s``, ``5 h 10 min``, ``2 d 3 h``."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    units = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
    for size, name, small, small_name in units:
        if seconds >= size:
            rest = int(seconds % size // small)
            return f"{int(seconds // size)} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{seconds:.0f} s"
