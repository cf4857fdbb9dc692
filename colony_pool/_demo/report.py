"""The demo's report: one self-contained page, no scripts, light and dark."""

from __future__ import annotations

from html import escape

from .live import rows
from .run import SCALE, Outcome, Plan

_W, _H, _LEFT, _TOP, _BOTTOM = 900, 250, 56, 14, 34
_STEP = 0.25
_STYLE = """
:root { --bg:#fff; --fg:#1c2330; --dim:#667085; --line:#d7dce5; --pool:#0891b2; --alone:#c026d3; --bad:#fee2e2; --good:#fef3c7 }
@media (prefers-color-scheme: dark) {
  :root { --bg:#0f1420; --fg:#e6e9f0; --dim:#98a2b3; --line:#2b3446; --pool:#22d3ee; --alone:#e879f9; --bad:#43202a; --good:#3b3420 }
}
body { background:var(--bg); color:var(--fg); font:16px/1.5 system-ui,sans-serif; max-width:940px; margin:2.5rem auto; padding:0 1rem }
h1 { font-size:1.6rem; margin-bottom:.2rem } h2 { font-size:1.05rem; margin:1.6rem 0 .2rem } p { max-width:44rem }
.dim { color:var(--dim) } table { border-collapse:collapse; margin:1.2rem 0 } td,th { padding:.4rem 1.1rem .4rem 0;
border-bottom:1px solid var(--line); text-align:left } td:not(:first-child),th:not(:first-child) { text-align:right;
font-variant-numeric:tabular-nums } .pool { color:var(--pool) } .alone { color:var(--alone) } svg { width:100%; height:auto }
svg text { fill:var(--dim); font:12px system-ui,sans-serif }
"""


def page(ours: Outcome, alone: Outcome, plan: Plan) -> str:
    """The whole page."""
    end = max([plan.back_at + 2.0, *ours.arrivals[-1:], *alone.arrivals[-1:]])
    top = max(_counts(ours, end) + _counts(alone, end)) / _STEP
    body = "".join(
        f"<tr><td>{escape(what)}</td><td class=pool>{escape(a)}</td><td class=alone>{escape(b)}</td></tr>"
        for what, a, b in rows(ours, alone)
    )
    return f"""<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>colony_pool: an outage, twice</title><style>{_STYLE}</style>
<h1>{ours.agents} agents, one outage, twice</h1>
<p>Every agent turns its API key into a token. The endpoint answers 502 for {ours.outage_s:.0f} seconds (an hour, with all
schedules divided by {SCALE:.0f}), while the tokens run out one by one; then it comes back with a capacity of
{max(20.0, ours.agents / 4):.0f} requests a second, and a herd can knock it over for a second.</p>
<table><tr><th>counted by the server</th><th class=pool>one colony_pool</th><th class=alone>each agent alone</th></tr>{body}</table>
<h2 class=pool>One colony_pool: a single probe at a time, then the pace that the server bears</h2>
{_chart(ours, plan, end, top, "pool")}
<h2 class=alone>Each agent alone: the SDK's schedule of 7 attempts, restarted by a supervisor after a minute</h2>
{_chart(alone, plan, end, top, "alone")}
<p class=dim>Requests per second at <code>/auth/token</code> over time in seconds; both charts have the same scale (square root, so
that single probes can be seen). Made by <code>colony-pool demo --report</code>; both runs were real, over loopback HTTP, at the
same time on one machine.</p></html>
"""


def _counts(outcome: Outcome, end: float) -> list[int]:
    counts = [0] * (int(end / _STEP) + 1)
    for at in outcome.arrivals:
        if 0 <= at <= end:
            counts[int(at / _STEP)] += 1
    return counts


def _chart(outcome: Outcome, plan: Plan, end: float, top: float, style: str) -> str:
    def x(at: float) -> float:
        return _LEFT + (_W - _LEFT - 10) * at / end

    def y(rate: float) -> float:
        return _TOP + (_H - _TOP - _BOTTOM) * (1.0 - (rate / top) ** 0.5)

    floor = y(0.0)
    parts = [f'<svg viewBox="0 0 {_W} {_H}" role="img" aria-label="requests per second over time">']
    for begin, stop, fill, label in (
        (plan.down_at, plan.back_at, "var(--bad)", "outage: 502"),
        (plan.back_at, end, "var(--good)", "limited capacity"),
    ):
        parts.append(
            f'<rect x="{x(begin):.1f}" y="{_TOP}" width="{x(stop) - x(begin):.1f}" height="{floor - _TOP:.1f}" fill="{fill}"/>'
            f'<text x="{x(begin) + 6:.1f}" y="{_TOP + 15}">{label}</text>'
        )
    for share in (1.0, 0.25, 0.04):
        rate = top * share
        parts.append(
            f'<line x1="{_LEFT}" x2="{_W - 10}" y1="{y(rate):.1f}" y2="{y(rate):.1f}" stroke="var(--line)"/>'
            f'<text x="{_LEFT - 6}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate:,.0f}/s</text>'
        )
    width = max(1.0, x(_STEP) - x(0.0) - 0.6)
    for number, count in enumerate(_counts(outcome, end)):
        if count:
            high = y(count / _STEP)
            parts.append(
                f'<rect x="{x(number * _STEP):.1f}" y="{high:.1f}" width="{width:.1f}" height="{floor - high:.1f}" '
                f'fill="var(--{style})"><title>{number * _STEP:.2f} s: {count / _STEP:.0f} requests/s</title></rect>'
            )
    for at in range(0, int(end) + 1, 5):
        parts.append(f'<text x="{x(at):.1f}" y="{_H - 12}" text-anchor="middle">{at} s</text>')
    parts.append(f'<line x1="{_LEFT}" x2="{_W - 10}" y1="{floor:.1f}" y2="{floor:.1f}" stroke="var(--dim)"/></svg>')
    return "".join(parts)
