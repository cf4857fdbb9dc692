"""What a panel is: data, before any builder of Grafana's sees it.

Queries are written short: ``@waiters{kind="probe"}`` stands for the catalogue's metric with the selectors of all
variables, so that no panel can forget one. The catalogue decides which labels a metric has; a name that is not in
it is an error here, not an empty panel at 3 a.m.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.private import BY_NAME, HISTOGRAM, PREFIX

R = "[$__rate_interval]"
TARGET = 'job=~"$job",instance=~"$instance"'
OF_THE_EXPORTER = ("build_info", "collect_errors_total")  # the two metrics that are not of a pool
_SHORT = re.compile(r"@([a-z_]+)(?:\{([^}]*)\})?")
_PARTS = re.compile(r"_(?:bucket|sum|count)$")

GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE, GREY = "green", "yellow", "orange", "red", "blue", "purple", "#8e8e8e"

# A word has one colour wherever it stands.
COLOURS = {
    "ok": GREEN, "success": GREEN, "resumed": GREEN, "fresh": GREEN, "closed": GREEN, "flight": BLUE, "idle": GREEN,
    "ok_retried": "#73bf69", "coalesced": GREEN, "disk": PURPLE, "soft": BLUE,
    "down": RED, "failure": RED, "failed": RED, "open": RED, "error_retried": "#c4162a", "expired": RED,
    "error": RED, "network": ORANGE, "lost": PURPLE, "fault": PURPLE, "refused": ORANGE,
    "throttled": YELLOW, "exhausted": ORANGE, "half_open": YELLOW, "hold": YELLOW, "margin": YELLOW,
    "fast_fail": ORANGE, "denied": BLUE, "local": GREY, "cancelled": GREY, "probe": RED, "in_use": BLUE,
    "budget": ORANGE, "deadline": PURPLE, "outcome": BLUE, "key": BLUE, "code": PURPLE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """From ``value`` on, a number has this ``colour``."""

    value: float
    colour: str


@dataclass(frozen=True, slots=True)
class Say:
    """Numbers from ``low`` to ``high`` are shown as ``text``."""

    low: float
    high: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class Query:
    """A query in the short form, and the legend of its series."""

    short: str
    legend: str = ""

    @property
    def expr(self) -> str:
        """As Grafana gets it."""
        return expand(self.short)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        kind: a panel type of Grafana.
        says: what it shows, and how to read it.
        runbook: the section of ``runbook.md`` that it links to.
        steps: the thresholds; below the first it is ``base``.
        line: draw the thresholds as lines.
        stack, bars: how a time series is drawn.
        empty: what a lazy metric's absence means, in a word.
    """

    kind: str
    title: str
    says: str
    queries: tuple[Query, ...] = ()
    unit: str = "short"
    runbook: str = "colonypoolbreakeropen"
    width: int = 8
    height: int = 7
    base: str = GREEN
    steps: tuple[Step, ...] = ()
    maps: tuple[Say, ...] = ()
    empty: str = ""
    decimals: int | None = None
    most: float | None = None
    line: bool = False
    stack: bool = False
    bars: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One question of the operator, as a row of the dashboard."""

    question: str
    panels: tuple[Panel, ...]


def expand(short: str) -> str:
    """Replace each ``@name{labels}`` by the metric with the selectors of all variables."""
    return _SHORT.sub(lambda match: _selector(match[1], match[2] or ""), short)


def _selector(name: str, labels: str) -> str:
    if name in OF_THE_EXPORTER:
        matchers = TARGET
    elif name in BY_NAME or is_histogram(_PARTS.sub("", name)):
        matchers = f'{TARGET},pool=~"$pool"'
    else:
        raise ValueError(f"@{name}: no such metric in the catalogue")
    return f"{PREFIX}{name}{{{matchers}{',' if labels else ''}{labels}}}"


def is_histogram(name: str) -> bool:
    """Say whether the catalogue's ``name`` is a histogram."""
    return name in BY_NAME and BY_NAME[name].kind == HISTOGRAM


def words(query: Query) -> list[str]:
    """The closed values of the one label that the legend of ``query`` shows, if it shows one."""
    if (label := re.fullmatch(r"\{\{(\w+)\}\}", query.legend)) is None:
        return []
    metrics = [BY_NAME[name] for name, _ in _SHORT.findall(query.short) if name in BY_NAME]
    return sorted({
        value for metric in metrics for name, values in metric.labels if name == label[1]
        for value in values if value in COLOURS
    })  # fmt: skip


def layout(sections: tuple[Section, ...]) -> Iterator[tuple[Section | Panel, int, int]]:
    """Each row and each panel with its place ``(x, y)`` on the grid of 24 columns, from left to right."""
    y = 0
    for section in sections:
        yield section, 0, y
        y, x, tallest = y + 1, 0, 0
        for panel in section.panels:
            if x + panel.width > 24:
                x, y, tallest = 0, y + tallest, 0
            yield panel, x, y
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
