"""Inline SVG: token requests per second over time, bars by what the server answered, phases shaded."""

from __future__ import annotations

import math
from html import escape

from .plan import OUTAGE, RECOVERY
from .score import BUCKET, Score

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 920, 64, 12, 30, 40


def chart(score: Score, top: float, *, title: str, height: int, note: str = "") -> str:
    """One panel. ``top`` is the end of its y axis, requests per second; panels that are compared share it."""
    seconds = len(score.ok) * BUCKET
    plot_w, plot_h = _WIDTH - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    base = _TOP + plot_h

    def x(at: float) -> float:
        return _LEFT + at / seconds * plot_w

    def y(rate: float) -> float:
        return base - min(1.0, rate / top) * plot_h

    label = f"{title}: token requests per second over time"
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">']
    parts.append(
        f'<text class="t" x="{_LEFT}" y="16">{escape(title)}<tspan class="n" dx="10">{escape(note)}</tspan></text>'
    )
    parts += _phases(score, seconds, x, base)
    parts += _axes(seconds, top, x, y, base)
    parts.append(_bars(score.refused, [0] * len(score.ok), "bad", x, y))
    parts.append(_bars(score.ok, score.refused, "ok", x, y))
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}"/></svg>')
    return "\n".join(parts)


def nice_top(value: float) -> float:
    """The next round number at or above ``value``: a calm end for an axis."""
    if value <= 0:
        return 10.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * unit >= value - 1e-9)


def peak(score: Score) -> float:
    """The highest bar, requests per second."""
    return max((a + b) / BUCKET for a, b in zip(score.ok, score.refused, strict=True))


def _bars(counts: list[int], below: list[int], name: str, x, y) -> str:  # type: ignore[no-untyped-def]
    """All bars of one colour as one path: small, and crisp in print."""
    wide = (x(BUCKET) - x(0)) * 0.9
    pieces = []
    for step, (count, under) in enumerate(zip(counts, below, strict=True)):
        if count:
            low, high = y(under / BUCKET), y((under + count) / BUCKET)
            high = min(high, low - 1.0)  # a single request is still seen
            pieces.append(f"M{x(step * BUCKET):.1f} {low:.1f}h{wide:.2f}V{high:.1f}h-{wide:.2f}z")
    return f'<path class="{name}" d="{"".join(pieces)}"/>'


def _phases(score: Score, seconds: float, x, base: int) -> list[str]:  # type: ignore[no-untyped-def]
    outage, recovery = score.boundaries[OUTAGE], score.boundaries[RECOVERY]
    parts = []
    for name, start, end in (("healthy", 0.0, outage), ("outage", outage, recovery), ("recovery", recovery, seconds)):
        left, right = x(start), x(end)
        parts.append(
            f'<rect class="p-{name}" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{base - _TOP}"/>'
        )
        words = {"outage": "outage: /auth/token answers 502"}.get(name, name)
        parts.append(f'<text class="p" x="{left + 5:.1f}" y="{_TOP + 14}">{words}</text>')
    return parts


def _axes(seconds: float, top: float, x, y, base: int) -> list[str]:  # type: ignore[no-untyped-def]
    parts = []
    for n in range(5):
        rate = top * n / 4
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(rate):.1f}" y2="{y(rate):.1f}"/>'
        )
        parts.append(
            f'<text class="a" x="{_LEFT - 8}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate:,.4g}</text>'.replace(
                "e+03", ",000"
            )
        )
    for at in range(0, int(seconds) + 1, 5):
        parts.append(f'<line class="axis" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{base}" y2="{base + 5}"/>')
        parts.append(f'<text class="a" x="{x(at):.1f}" y="{base + 18}" text-anchor="middle">{at}</text>')
    middle = (_TOP + base) / 2
    parts.append(
        f'<text class="a" x="{x(seconds / 2):.0f}" y="{base + 34}" text-anchor="middle">seconds since the start</text>'
    )
    parts.append(
        f'<text class="a" transform="translate(13 {middle:.0f}) rotate(-90)" text-anchor="middle">requests per second</text>'
    )
    return parts
