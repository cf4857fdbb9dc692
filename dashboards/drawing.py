"""How each kind of panel looks on the static page: text and boxes here, everything with a time axis in ``charts``."""

from __future__ import annotations

import html
import math
import re
from typing import Any

from .charts import Chart, Frame, Notes, colour, heat, lines, number, timeline

__all__ = ["CSS", "MUTED", "Frame", "panel_html"]

MUTED = "#8e8f98"
CSS = f"""
*{{box-sizing:border-box}} body{{margin:0;padding:10px 0 0 12px;background:#111217;color:#d5d5e0;
font:13px/1.35 Inter,"DejaVu Sans",Helvetica,Arial,sans-serif}}
header{{height:30px;display:flex;gap:18px;align-items:baseline}} header b{{font-size:16px}} header i{{font-size:12px}}
main{{position:relative}} .p,h2{{position:absolute}} .p{{background:#181b1f;border:1px solid #2a2c33;
border-radius:3px;padding:5px 8px;overflow:hidden}} h2{{margin:0;font-size:15px;font-weight:600;padding-top:6px}}
h3{{margin:0 0 3px;font-size:12.5px;font-weight:600;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}}
.stat{{padding:0}} .stat h3{{position:absolute;left:8px;top:5px;z-index:1;text-shadow:0 0 2px #0006;color:#fff}}
.big{{height:100%;display:flex;align-items:center;justify-content:center;font-weight:600;color:#fff;padding-top:14px}}
.bar{{display:flex;align-items:center;gap:8px;font-size:12px}} .bar b{{width:74px;font-weight:400}}
.bar div{{flex:1;background:#22252b}} .bar div i{{display:block}}
.bar span{{width:30px;text-align:right;font-weight:600}}
.legend{{font-size:11px;color:#b8b9c4;display:flex;flex-wrap:wrap;gap:0 11px;height:15px;overflow:hidden}}
.legend i{{display:inline-block;width:11px;height:4px;margin-right:5px;vertical-align:middle;border-radius:2px}}
table{{border-collapse:collapse;font-size:12px;width:100%}} td,th{{border-bottom:1px solid #2a2c33;padding:3px 6px;
text-align:left;vertical-align:top}} th{{color:{MUTED};font-weight:600}} code{{background:#22252b;padding:0 3px}}
svg{{display:block}} svg text{{font-size:10.5px;fill:{MUTED}}} p{{margin:5px 0 0}} a{{color:#6e9fff}}
"""


def panel_html(
    panel: dict[str, Any], frames: list[Frame], notes: Notes, span: tuple[float, float], size: tuple[int, int]
) -> str:
    """The inside of a panel; ``size`` is what is left of it below its title, in pixels."""
    kind = panel["type"]
    if kind == "stat":
        return _stat(panel, frames, size)
    if kind == "bargauge":
        return _bars(panel, frames, size)
    if kind == "table":
        return _table(frames)
    if kind == "text":
        return _markdown(panel["options"]["content"])
    chart = Chart(panel, frames, notes, span, size)
    return {"state-timeline": timeline, "heatmap": heat}.get(kind, lines)(chart)


def _last(frames: list[Frame]) -> float | None:
    """The last number, as Grafana's ``lastNotNull``; a lazy metric that is gone has none."""
    values = [value for frame in frames for _, value in frame.points[-1:] if not math.isnan(value)]
    return values[-1] if values else None


def _stat(panel: dict[str, Any], frames: list[Frame], size: tuple[int, int]) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    value = _last(frames)
    said, paint = _mapped(defaults, value)
    text = said or (defaults.get("noValue", "-") if value is None else number(value, defaults))
    fits = min(0.5 * size[1], 1.6 * size[0] / max(len(text), 4))
    return (
        f'<div class="big" style="background:{paint or colour(defaults, value)};font-size:{min(fits, 46):.0f}px">'
        f"{html.escape(text)}</div>"
    )


def _mapped(defaults: dict[str, Any], value: float | None) -> tuple[str, str]:
    for mapping in defaults.get("mappings", []):
        options = mapping["options"]
        if value is not None and options["from"] <= value <= options["to"]:
            return options["result"]["text"], colour(defaults, None, options["result"]["color"])
    return "", ""


def _bars(panel: dict[str, Any], frames: list[Frame], size: tuple[int, int]) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    most = max([frame.points[-1][1] for frame in frames] + [1e-9])
    high = size[1] / max(len(frames), 1) - 6
    rows = []
    for frame in sorted(frames, key=lambda found: -found.points[-1][1]):
        value = frame.points[-1][1]
        style = f"width:{100 * value / most:.1f}%;height:{high:.0f}px;background:{frame.colour(panel, 0)}"
        rows.append(
            f'<div class="bar" style="margin-top:5px"><b>{html.escape(frame.legend)}</b>'
            f'<div><i style="{style}"></i></div><span>{number(value, defaults)}</span></div>'
        )
    return "".join(rows)


def _table(frames: list[Frame]) -> str:
    names = sorted({name for frame in frames for name in frame.labels})
    head = "".join(f"<th>{html.escape(name)}</th>" for name in [*names, "processes"])
    rows = [
        "".join(f"<td>{html.escape(frame.labels.get(name, ''))}</td>" for name in names)
        + f"<td>{frame.points[-1][1]:g}</td>"
        for frame in frames
    ]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _markdown(text: str) -> str:
    """As much of Markdown as the text panel uses: a table, bold, code, links."""
    rows: list[str] = []
    rest: list[str] = []
    for line in text.splitlines():
        if line.startswith("| ---") or not line:
            continue
        if not line.startswith("|"):
            rest.append(f"<p>{_inline(line)}</p>")
            continue
        tag = "td" if rows else "th"
        cells = "".join(f"<{tag}>{_inline(cell.strip())}</{tag}>" for cell in line.strip("|").split("|"))
        rows.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>{''.join(rest)}"


def _inline(text: str) -> str:
    text = html.escape(text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"`(.+?)`", r"<code>\1</code>", text)
    return re.sub(r"\[(.+?)\]\(.+?\)", r"<a>\1</a>", text)
