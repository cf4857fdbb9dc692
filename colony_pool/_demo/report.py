"""The demo's report: one self-contained HTML page without scripts and links, light and dark."""

from __future__ import annotations

import math
from html import escape

from .agents import SCALE, Schedule, capacity
from .demo import DemoResult
from .processes import ALONE, SEPARATE, SHARED
from .table import notes, rows, title
from .timeline import Counts

_W, _H, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 250, 56, 10, 26, 30
_STEP = 0.25  # seconds to a bar
_TICKS = (10, 100, 500, 1000, 2000, 5000, 10_000, 20_000)
_STYLE = """
:root { color-scheme:light dark; --bg:#fff; --fg:#1c2330; --dim:#5b6577; --line:#d7dce5;
  --shared:#0e7c98; --separate:#4a5bd0; --alone:#b321bd; --healthy:#e4f5e9; --outage:#fde3e3; --recovery:#fdf2cc }
@media (prefers-color-scheme: dark) { :root { --bg:#0f1420; --fg:#e6e9f0; --dim:#9aa5b8; --line:#2b3446;
  --shared:#22d3ee; --separate:#93a4ff; --alone:#e879f9; --healthy:#14291f; --outage:#3a1d26;
  --recovery:#33301c } }
* { box-sizing:border-box }
body { background:var(--bg); color:var(--fg); font:16px/1.5 system-ui,sans-serif; max-width:960px; margin:0 auto;
  padding:2.2rem 1.2rem 3rem }
h1 { font-size:1.7rem; margin:0 0 .3rem } h2 { font-size:1.05rem; margin:1.8rem 0 .3rem }
p { max-width:46rem; margin:.4rem 0 }
h2 span { color:var(--dim); font-weight:normal } .dim { color:var(--dim); font-size:.9rem } .dim li { margin:.2rem 0 }
ul { padding-left:1.1rem } table { border-collapse:collapse; margin:1.3rem 0 0; width:100% }
td,th { padding:.42rem 0; border-bottom:1px solid var(--line); text-align:left }
td+td,th+th { text-align:right; font-variant-numeric:tabular-nums; font-weight:600 }
.shared { color:var(--shared) } .separate { color:var(--separate) } .alone { color:var(--alone) }
svg { width:100%; height:auto; display:block }
svg text { fill:var(--dim); font:12px system-ui,sans-serif }
.bars.shared { fill:var(--shared) } .bars.separate { fill:var(--separate) } .bars.alone { fill:var(--alone) }
"""


_WORDS = {
    SHARED: "one request at a time while the server is down, then at the pace that it can serve",
    SEPARATE: "each process probes for itself, and each finds the server's pace alone",
    ALONE: "seven attempts, then the agent dies, is restarted, and tries again",
}


def page(result: DemoResult) -> str:
    """The whole page."""
    schedule, contestants = result.schedule, result.results
    top = max(count for contestant in contestants for count in _per_step(contestant.counts, schedule)) / _STEP
    head = "".join(f"<th class={contestant.kind}>{escape(contestant.title)}" for contestant in contestants)
    body = "\n".join(
        f"<tr><td>{escape(what)}"
        + "".join(
            f"<td class={contestant.kind}>{escape(cell)}" for contestant, cell in zip(contestants, cells, strict=True)
        )
        for what, *cells in rows(result)
    )
    charts = "\n".join(
        f"<h2 class={contestant.kind}>{escape(contestant.title[:1].upper() + contestant.title[1:])} "
        f"<span>{_WORDS[contestant.kind]}</span></h2>\n{_chart(contestant.counts, schedule, top, contestant.kind)}"
        for contestant in contestants
    )
    remarks = "\n".join(f"<li>{escape(note)}" for note in notes(result))
    return f"""<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>colony_pool: {title(result)}</title>
<style>{_STYLE}</style>
<h1>{title(result)}</h1>
<p>Every agent exchanges its API key for a token at <code>/auth/token</code>. The endpoint answers 502 for
{schedule.outage:.0f} seconds, an hour with all schedules {SCALE:.0f} times as fast, while the tokens run out one by
one. Then it comes back with a capacity of {capacity(result.ours.counts.agents):,.0f} requests a second, and more
than that knock it over for a second.</p>
<table><tr><th>{head}
{body}
</table>
{charts}
<p class=dim>Requests a second over time, on one square-root scale, so that single probes can be seen.
Dashed: what the recovering server can serve.</p>
<ul class=dim>
{remarks}
<li>Made by <code>colony-pool demo --report</code>: real agents ({result.runtime}) and real servers, over loopback,
all contestants at the same time on one machine.
</ul>
</html>
"""


def _per_step(counts: Counts, schedule: Schedule) -> list[int]:
    steps = [0] * int((schedule.end) / _STEP)
    for at in counts.arrivals:
        if 0 <= (number := int(at / _STEP)) < len(steps):
            steps[number] += 1
    return steps


def _chart(counts: Counts, schedule: Schedule, top: float, style: str) -> str:
    scale = _Scale(schedule.end, top)
    parts = [
        f'<svg viewBox="0 0 {_W} {_H}" role="img" aria-label="requests a second over time">',
        *_background(scale, schedule),
        f'<g class="bars {style}">',
        *_bars(scale, _per_step(counts, schedule)),
        "</g>",
        *_capacity_line(scale, schedule, capacity(counts.agents)),
        "</svg>",
    ]
    return "\n".join(parts)


class _Scale:
    """From seconds and requests a second to the units of the SVG."""

    def __init__(self, end: float, top: float) -> None:
        self.end, self.top = end, top

    def x(self, at: float) -> float:
        return _LEFT + (_W - _LEFT - _RIGHT) * at / self.end

    def y(self, rate: float) -> float:
        return _TOP + (_H - _TOP - _BOTTOM) * (1.0 - math.sqrt(rate / self.top))


def _background(scale: _Scale, schedule: Schedule) -> list[str]:
    """The phases, the grid and the axes."""
    parts = []
    phases = (
        (0.0, "healthy", "healthy"),
        (schedule.down_at, "outage", "outage: 502"),
        (schedule.back_at, "recovery", "recovery"),
    )
    for (start, name, label), stop in zip(phases, (schedule.down_at, schedule.back_at, scale.end), strict=True):
        left, right = scale.x(start), scale.x(stop)
        parts.append(
            f'<rect x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{_H - _TOP - _BOTTOM}" '
            f'fill="var(--{name})"/><text x="{left + 4:.1f}" y="{_TOP - 8}">{label}</text>'
        )
    for rate in _ticks(scale):
        y = scale.y(rate)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{rate:,}/s</text>'
        )
    for at in range(0, int(scale.end) + 1, 5):
        parts.append(f'<text x="{scale.x(at):.1f}" y="{_H - 10}" text-anchor="middle">{at} s</text>')
    return parts


def _ticks(scale: _Scale) -> list[int]:
    """Round rates with room for their labels, from 0 up."""
    chosen = [0]
    for rate in _TICKS:
        if rate <= scale.top and scale.y(chosen[-1]) - scale.y(rate) >= 18:
            chosen.append(rate)
    return chosen


def _bars(scale: _Scale, counts: list[int]) -> list[str]:
    width = scale.x(_STEP) - scale.x(0.0) - 0.6
    floor = scale.y(0.0)
    parts = []
    for number, count in enumerate(counts):
        if count:
            at, rate = number * _STEP, count / _STEP
            y = scale.y(rate)
            parts.append(
                f'<rect x="{scale.x(at):.1f}" y="{y:.1f}" width="{width:.1f}" height="{floor - y:.1f}">'
                f"<title>{at:.2f} s: {rate:,.0f} requests/s</title></rect>"
            )
    return parts


def _capacity_line(scale: _Scale, schedule: Schedule, rate: float) -> list[str]:
    """A line where the recovering server's capacity ends."""
    if rate > scale.top:
        return []
    y = scale.y(rate)
    return [
        f'<line x1="{scale.x(schedule.back_at):.1f}" x2="{_W - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--fg)" '
        f'stroke-dasharray="4 3"><title>what the server can serve: {rate:,.0f} requests/s</title></line>'
    ]
