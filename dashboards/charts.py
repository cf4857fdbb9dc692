"""Panels with a time axis, as inline SVG: series, state timelines, heat maps."""

from __future__ import annotations

import html
import math
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Notes = list[tuple[float, str, str]]
Points = list[tuple[float, float]]

_NAMED = {
    "green": "#56a64b", "yellow": "#e0b400", "orange": "#ff780a", "red": "#e02f44", "blue": "#3274d9",
    "purple": "#a352cc",
}  # fmt: skip
_PALETTE = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffcb7d")
_WARM = "#ff9830"
_LEFT, _BOTTOM, _LEGEND = 46, 16, 17


@dataclass(frozen=True)
class Frame:
    """One series of an answer."""

    legend: str
    points: Points
    labels: dict[str, str] = field(default_factory=dict)

    def colour(self, panel: dict[str, Any], number: int) -> str:
        """The colour that the panel gives to its name, else one of the palette."""
        for override in panel["fieldConfig"].get("overrides", []):
            if override["matcher"]["options"] == self.legend:
                return _named(override["properties"][0]["value"]["fixedColor"])
        return _PALETTE[number % len(_PALETTE)]


def _named(name: str) -> str:
    return _NAMED.get(name, name)


def colour(defaults: dict[str, Any], value: float | None, given: str = "") -> str:
    """``given`` by its name, else what the thresholds say of ``value``; their base for none."""
    if given:
        return _named(given)
    found = "green"
    for step in defaults.get("thresholds", {}).get("steps", []):
        if step.get("value") is None or (value is not None and value >= step["value"]):
            found = step["color"]
    return _named(found)


def number(value: float, defaults: dict[str, Any]) -> str:
    """``value`` in the panel's unit."""
    unit, digits = defaults.get("unit", ""), defaults.get("decimals")
    if unit == "dthms":
        seconds = int(value)
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if unit == "percentunit":
        return f"{100 * value:.{0 if digits is None else digits:.0f}f} %"
    if unit == "s":
        return (
            f"{value / 60:.2g} min" if value >= 120 else f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
        )
    text = f"{value:.{digits:.0f}f}" if digits is not None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    return text + {"cpm": "/min", "rpm": "/min"}.get(unit, "")


@dataclass(frozen=True)
class Chart:
    """One panel, its answers, and where things are on it."""

    panel: dict[str, Any]
    frames: list[Frame]
    notes: Notes
    span: tuple[float, float]
    size: tuple[int, int]

    @property
    def defaults(self) -> dict[str, Any]:
        """Of the panel's fields."""
        found: dict[str, Any] = self.panel["fieldConfig"]["defaults"]
        return found

    @property
    def high(self) -> float:
        """Pixels of the plot."""
        return self.size[1] - _BOTTOM - _LEGEND

    def x(self, at: float) -> float:
        """Where ``at`` is."""
        start, end = self.span
        return _LEFT + (at - start) / (end - start) * (self.size[0] - _LEFT - 4)

    def frame(self, inner: str, legend: list[tuple[str, str]]) -> str:
        """The SVG with time axis and annotations, and the legend below it."""
        ticks = []
        at = math.ceil(self.span[0] / 600) * 600
        while at <= self.span[1]:
            x, text = self.x(at), time.strftime("%H:%M", time.gmtime(at))
            ticks.append(f'<path d="M{x:.1f} 0V{self.high:.1f}" stroke="#24262d"/>')
            x = min(x, self.size[0] - 15)
            ticks.append(f'<text x="{x:.1f}" y="{self.high + 13:.1f}" text-anchor="middle">{text}</text>')
            at += 600
        marks = "".join(
            f'<path d="M{self.x(when):.1f} 0V{self.high:.1f}" stroke="{_named(paint)}" stroke-dasharray="3 3"/>'
            for when, paint, _ in self.notes
        )
        words = "".join(
            f'<span><i style="background:{paint}"></i>{html.escape(name)}</span>' for name, paint in legend
        )
        wide, high = self.size[0], self.size[1] - _LEGEND
        small = 11 if sum(len(name) + 3 for name, _ in legend) < 70 else 9
        return (
            f'<svg width="{wide}" height="{high}" viewBox="0 0 {wide} {high}">{"".join(ticks)}{inner}{marks}</svg>'
            f'<div class="legend" style="font-size:{small}px">{words}</div>'
        )


def _rect(x: float, y: float, wide: float, high: float, paint: str, opacity: float = 1.0) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"'
    return f'<rect {place} fill="{paint}" fill-opacity="{opacity:.2f}"/>'


def _ceiling(most: float) -> float:
    """A round number above ``most``."""
    if most <= 0:
        return 1.0
    unit = 10 ** math.floor(math.log10(most))
    return float(next(step * unit for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * unit >= most * 0.999))


def lines(chart: Chart) -> str:
    """Lines, bars or stacked areas."""
    custom = chart.defaults.get("custom", {})
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    shown = [(frame, frame.colour(chart.panel, n)) for n, frame in enumerate(chart.frames)]
    shown = [(frame, paint) for frame, paint in shown if any(value > 0 for _, value in frame.points)]
    below: dict[float, float] = {}
    layers = []
    for frame, paint in shown:
        bottom = [below.get(at, 0.0) if stacked else 0.0 for at, _ in frame.points]
        clean = [(at, 0.0 if math.isnan(value) else value) for at, value in frame.points]
        points = [(at, value + low) for (at, value), low in zip(clean, bottom, strict=True)]
        below.update(points)
        layers.append((points, bottom, paint))
    most = _ceiling(max([y for points, _, _ in layers for _, y in points] + [0.0]))
    most = chart.defaults.get("max", most)
    drawn = [_layer(chart, points, bottom, paint, most) for points, bottom, paint in layers]
    grid = _grid(chart, most) + _limits(chart, most)
    return chart.frame(grid + "".join(drawn), [(frame.legend, paint) for frame, paint in shown])


def _layer(chart: Chart, points: Points, bottom: list[float], paint: str, most: float) -> str:
    custom = chart.defaults.get("custom", {})

    def y(value: float) -> float:
        return chart.high * (1 - min(value, most * 1.05) / most)

    if custom.get("drawStyle") == "bars":
        return "".join(
            _rect(chart.x(at) - 1, y(top), 2.4, y(low) - y(top), paint)
            for (at, top), low in zip(points, bottom, strict=True) if top > low
        )  # fmt: skip
    pieces: list[list[int]] = []
    for n, (at, _) in enumerate(points):
        if n == 0 or at - points[n - 1][0] > 1.5 * _step(points):
            pieces.append([])
        pieces[-1].append(n)
    drawn = []
    for piece in pieces:
        top = " ".join(f"{chart.x(points[n][0]):.1f},{y(points[n][1]):.1f}" for n in piece)
        low = " ".join(f"{chart.x(points[n][0]):.1f},{y(bottom[n]):.1f}" for n in reversed(piece))
        opacity = custom.get("fillOpacity", 0) / 100
        drawn.append(f'<polygon points="{top} {low}" fill="{paint}" fill-opacity="{opacity}"/>')
        drawn.append(f'<polyline points="{top}" fill="none" stroke="{paint}" stroke-width="1.3"/>')
    return "".join(drawn)


def _step(points: Points) -> float:
    return min((later[0] - at[0] for at, later in pairwise(points)), default=15.0)


def _grid(chart: Chart, most: float) -> str:
    rows = []
    for n in range(3):
        y = chart.high * (1 - n / 2)
        rows.append(f'<path d="M{_LEFT} {y:.1f}H{chart.size[0]}" stroke="#24262d"/>')
        text = number(most * n / 2, {**chart.defaults, "decimals": None})
        rows.append(f'<text x="{_LEFT - 5}" y="{max(y + 3.5, 9):.1f}" text-anchor="end">{text}</text>')
    return "".join(rows)


def _limits(chart: Chart, most: float) -> str:
    if chart.defaults.get("custom", {}).get("thresholdsStyle", {}).get("mode", "off") == "off":
        return ""
    return "".join(
        f'<path d="M{_LEFT} {chart.high * (1 - step["value"] / most):.1f}H{chart.size[0]}"'
        f' stroke="{_named(step["color"])}" stroke-dasharray="6 4"/>'
        for step in chart.defaults["thresholds"]["steps"]
        if step.get("value") is not None and step["value"] <= most
    )


def timeline(chart: Chart) -> str:
    """One band per series, in the colours and words of the value mappings."""
    words = {m["options"]["from"]: m["options"]["result"] for m in chart.defaults["mappings"]}
    high = min(54.0, (chart.high - 6) / max(len(chart.frames), 1) - 22)
    drawn = []
    for row, frame in enumerate(chart.frames):
        y = 20 + row * (high + 24)
        drawn.append(f'<text x="{_LEFT}" y="{y - 6:.1f}" style="fill:#d5d5e0">{html.escape(frame.legend)}</text>')
        runs: list[tuple[float, float, float]] = []
        step = _step(frame.points)
        for at, value in frame.points:
            if runs and runs[-1][2] == value:
                runs[-1] = (runs[-1][0], at + step, value)
            else:
                runs.append((at, at + step, value))
        for start, end, value in runs:
            x, wide = chart.x(start), chart.x(min(end, chart.span[1])) - chart.x(start)
            said = words[value]
            drawn.append(_rect(x, y, wide, high, _named(said["color"])))
            if wide > 50:
                drawn.append(
                    f'<text x="{x + 6:.1f}" y="{y + high / 2 + 4:.1f}" style="fill:#fff;font-size:12px">'
                    f"{said['text']}</text>"
                )
    return chart.frame("".join(drawn), [(said["text"], _named(said["color"])) for said in words.values()])


def heat(chart: Chart) -> str:
    """Columns of buckets; the darker, the more."""
    frames = sorted(chart.frames, key=lambda frame: float(frame.legend))
    below: dict[float, float] = {}
    cells = []
    for row, frame in enumerate(frames):
        for at, value in frame.points:
            cells.append((row, at, max(0.0, value - below.get(at, 0.0))))
        below.update(frame.points)
    most = max([count for _, _, count in cells] + [1e-9])
    high = chart.high / max(len(frames), 1)
    wide = chart.x(chart.span[0] + 15.0) - chart.x(chart.span[0]) + 0.3
    drawn = [
        _rect(chart.x(at), chart.high - (row + 1) * high, wide, high - 1, _WARM, 0.1 + 0.9 * math.sqrt(count / most))
        for row, at, count in cells if count > 0.01
    ]  # fmt: skip
    drawn += [
        f'<text x="{_LEFT - 5}" y="{chart.high - row * high - 2:.1f}" text-anchor="end">'
        f"{'more' if math.isinf(float(frame.legend)) else number(float(frame.legend), chart.defaults)}</text>"
        for row, frame in enumerate(frames)
    ]
    return chart.frame("".join(drawn), [("attempts", _named("orange"))])
