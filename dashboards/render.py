"""One panel of the table as a builder of Grafana's: the only place that knows how each kind is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as gd
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as gm
from grafana_foundation_sdk.models import heatmap as hm
from grafana_foundation_sdk.models import prometheus as pm
from grafana_foundation_sdk.models import text as tm

from .model import COLOURS, Panel, words

SOURCE = cm.DataSourceRef(type_val="prometheus", uid="$datasource")
_LAST = ["lastNotNull"]
# One number: asked for now. A range query would let a lazy metric, such as the end of a hold, stay on the screen with
# its last value of the whole period.
_OF_NOW = ("stat", "bargauge", "table")


def query_builder(expr: str, legend: str, ref: str, *, instant: bool = False, form: str = "time_series") -> Any:
    """A query of a panel or of an annotation."""
    query = prometheus.Dataquery().datasource(SOURCE).expr(expr).ref_id(ref).format(pm.PromQueryFormat(form))
    query = query.legend_format(legend) if legend else query
    return query.instant() if instant else query.range()


def panel_builder(panel: Panel) -> Any:
    """The builder of ``panel``, without its place."""
    builder = _KINDS[panel.kind](panel).title(panel.title).description(panel.says)
    builder = builder.links([_link(panel)])
    if panel.kind == "text":
        return builder.transparent(False)
    builder = builder.datasource(SOURCE).unit(panel.unit).thresholds(_thresholds(panel))
    form = panel.kind if panel.kind in ("table", "heatmap") else "time_series"
    for ref, query in zip("ABCDE", panel.queries, strict=False):
        instant = panel.kind in _OF_NOW
        builder = builder.with_target(query_builder(query.expr, query.legend, ref, instant=instant, form=form))
    if panel.maps:
        builder = builder.mappings([_mapping(panel, n) for n in range(len(panel.maps))])
    for name, given in (("no_value", panel.empty), ("decimals", panel.decimals), ("max", panel.most)):
        if given not in ("", None):
            builder = getattr(builder, name)(given)
    for word in sorted({word for query in panel.queries for word in words(query)}):
        colour = {"mode": "fixed", "fixedColor": COLOURS[word]}
        builder = builder.override_by_name(word, [gm.DynamicConfigValue(id_val="color", value=colour)])
    return builder


def _link(panel: Panel) -> Any:
    link = gd.DashboardLink(f"Runbook: {panel.runbook}").type(gm.DashboardLinkType.LINK)
    return link.url(f"${{runbook}}#{panel.runbook}").target_blank(True)


def _thresholds(panel: Panel) -> Any:
    steps = [gm.Threshold(value=None, color=panel.base)]
    steps += [gm.Threshold(value=step.value, color=step.colour) for step in panel.steps]
    return gd.ThresholdsConfig().mode(gm.ThresholdsMode.ABSOLUTE).steps(steps)


def _mapping(panel: Panel, n: int) -> gm.RangeMap:
    said = panel.maps[n]
    result = gm.ValueMappingResult(text=said.text, color=said.colour, index=n)
    return gm.RangeMap(gm.DashboardRangeMapOptions(from_val=said.low, to=said.high, result=result))


def _stat(panel: Panel) -> Any:
    builder = stat.Panel().graph_mode(cm.BigValueGraphMode.NONE).color_mode(cm.BigValueColorMode.BACKGROUND)
    builder = builder.text_mode(cm.BigValueTextMode.VALUE).justify_mode(cm.BigValueJustifyMode.CENTER)
    return builder.reduce_options(common.ReduceDataOptions().calcs(_LAST).values(False))


def _bars(panel: Panel) -> Any:
    builder = bargauge.Panel().orientation(cm.VizOrientation.HORIZONTAL).min(0)
    builder = builder.display_mode(cm.BarGaugeDisplayMode.BASIC).show_unfilled(True)
    return builder.reduce_options(common.ReduceDataOptions().calcs(_LAST).values(False))


def _series(panel: Panel) -> Any:
    legend = common.VizLegendOptions().display_mode(cm.LegendDisplayMode.LIST).placement(cm.LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING)
    builder = timeseries.Panel().legend(legend.show_legend(True).calcs([])).tooltip(tooltip.hide_zeros(True)).min(0)
    builder = builder.line_width(1).show_points(cm.VisibilityMode.NEVER).span_nulls(False)
    builder = builder.draw_style(cm.GraphDrawStyle.BARS if panel.bars else cm.GraphDrawStyle.LINE)
    builder = builder.fill_opacity(80 if panel.bars else 40 if panel.stack else 8)
    mode = cm.StackingMode.NORMAL if panel.stack else cm.StackingMode.NONE
    builder = builder.stacking(common.StackingConfig().mode(mode).group("A"))
    style = cm.GraphThresholdsStyleMode.DASHED if panel.line else cm.GraphThresholdsStyleMode.OFF
    return builder.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))


def _timeline(panel: Panel) -> Any:
    builder = statetimeline.Panel().merge_values(True).show_value(cm.VisibilityMode.AUTO).row_height(0.8)
    colour = gd.FieldColor().mode(gm.FieldColorModeId.THRESHOLDS)
    legend = common.VizLegendOptions().display_mode(cm.LegendDisplayMode.LIST).placement(cm.LegendPlacement.BOTTOM)
    return builder.fill_opacity(80).line_width(0).color_scheme(colour).legend(legend.show_legend(True).calcs([]))


def _heatmap(panel: Panel) -> Any:
    colours = heatmap.HeatmapColorOptions().mode(hm.HeatmapColorMode.SCHEME).scheme("Oranges").fill("dark-orange")
    colours = colours.scale(hm.HeatmapColorScale.EXPONENTIAL).exponent(0.5).steps(64).reverse(False)
    builder = heatmap.Panel().calculate(False).color(colours).cell_gap(1).show_legend()
    return builder.y_axis(heatmap.YAxisConfig().unit(panel.unit))


def _table(panel: Panel) -> Any:
    tidy = {"excludeByName": {"Time": True}, "renameByName": {"Value": "processes"}, "indexByName": {}}
    builder = table.Panel().with_transformation(gm.DataTransformerConfig(id_val="organize", options=tidy))
    return builder.show_header(True).cell_height(cm.TableCellHeight.SM)


def _text(panel: Panel) -> Any:
    return text.Panel().mode(tm.TextMode.MARKDOWN).content(panel.text)


_KINDS: dict[str, Callable[[Panel], Any]] = {
    "stat": _stat, "bargauge": _bars, "timeseries": _series, "state-timeline": _timeline, "heatmap": _heatmap,
    "table": _table, "text": _text,
}  # fmt: skip
