"""The review's pictures: the silent's value, the dormancy curve, the backtest, the recall's effect.

Plain functions from rows of the stage's tables to an SVG document, each for light and dark ground.

Belongs here: drawing. Where a picture is shown is the business of who asks for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt
import polars as pl

from rfm_pipeline.charts.style import FONTS, LIGHT, Theme, money_text, to_svg
from rfm_pipeline.review.schemas import ORDER_BANDS, VALUE_DAYS, VERDICTS
from rfm_pipeline.shop import ALL_CLASSES

_WIDTH: Final = 560
_GOLD, _BLUE, _GREEN, _RED, _GREY = "#d99a06", "#4f7fc4", "#1f9055", "#c8372d", "#8d8d8d"
_BAND_COLORS: Final = {"1": _GOLD, "2": _BLUE, "3+": _GREEN, "low_f": _GREY}
_CLASS_COLORS: Final = {"A": _GOLD, "B": _BLUE, "C": _GREY}
_CLASS_NAMES: Final = {"A": "A类 爆款客", "B": "B类 特惠客", "C": "C类 待唤醒"}
_VERDICT_COLORS: Final = {
    "works": _GREEN,
    "does_harm": _RED,
    "does_no_harm": _BLUE,
    "too_small": _GREY,
    "too_early": _GREY,
}
_PERCENT = ".1~%"


def sleeping_svg(
    cells: pl.DataFrame,
    totals: Mapping[str, Any],
    *,
    currency: str,
    title: str = "沉睡的价值，按沉默时长",
    theme: Theme = LIGHT,
) -> str:
    """What the silent will bring, by length of silence and class.

    Args:
        cells: Rows of ``sleeping_value`` of one week.
        totals: The row of ``sleeping_totals`` of that week.
        currency: What the money is labelled with.
        title: The headline.
        theme: The ground it stands on.

    Returns:
        An SVG document; without a value to show, one that says why in words.
    """
    if cells.is_empty() or totals["value"] is None:
        return _words(title, totals["reason"], theme)
    known = cells.drop_nulls("value").sort("recency_from")
    spans = [
        _span(low, high)
        for low, high in known.select("recency_from", "recency_to").unique(maintain_order=True).iter_rows()
    ]
    data = [
        {
            "band": _span(row["recency_from"], row["recency_to"]),
            "label": _CLASS_NAMES[row["churn_class"]],
            "value": row["value"],
            "customers": row["customers"],
        }
        for row in known.iter_rows(named=True)
    ]
    per_band = known.group_by("recency_from", "recency_to", maintain_order=True).agg(
        pl.sum("value", "customers")
    )
    sums = [
        {
            "band": _span(row["recency_from"], row["recency_to"]),
            "value": row["value"],
            "text": f"{row['customers']:,} 位 · {money_text(row['value'], currency)}",
        }
        for row in per_band.iter_rows(named=True)
    ]
    most = max(row["value"] for row in sums)
    x = (
        alt.X("value:Q", stack=True)
        .scale(domain=[0, (most or 1) * 1.35])
        .axis(format="~s", grid=True, tickCount=5)
        .title(f"未来 {VALUE_DAYS} 天预计净销售额")
    )
    y = alt.Y("band:N").sort(spans).axis(ticks=False).title("已沉默天数")
    bars = (
        alt.Chart(alt.Data(values=data))
        .mark_bar(size=22)
        .encode(x=x, y=y, color=_legend("label", _CLASS_NAMES, _CLASS_COLORS, ""))
    )
    words = (
        alt.Chart(alt.Data(values=sums))
        .mark_text(align="left", dx=6, fontSize=12, color=theme.ink)
        .encode(x="value:Q", y=y, text="text:N")
    )
    value, low, high = (money_text(totals[name], currency) for name in ("value", "value_low", "value_high"))
    subtitle = f"预计 {totals['expected_returns']:,.0f} 位自行回来，带来 {value}（95% 区间 {low} 至 {high}）"
    return _drawn(alt.layer(bars, words), title, subtitle, theme, height=44 * len(spans))


def newly_silent_svg(counts: pl.DataFrame, *, title: str = "每周新增静默客户", theme: Theme = LIGHT) -> str:
    """How many fell silent each week, by class.

    Args:
        counts: week, churn_class, customers; every week that is to be seen, also those with 0.
        title: The headline.
        theme: The ground it stands on.
    """
    data = [
        {
            "week": f"{row['week']:%m-%d}",
            "order": f"{row['week']:%Y-%m-%d}",
            "label": _CLASS_NAMES[row["churn_class"]],
            "customers": row["customers"],
        }
        for row in counts.iter_rows(named=True)
    ]
    weeks = [f"{week:%m-%d}" for week in counts["week"].unique().sort()]
    bars = (
        alt.Chart(alt.Data(values=data))
        .mark_bar()
        .encode(
            x=alt.X("week:O")
            .sort(weeks)
            .axis(labelAngle=-45, grid=False, labelOverlap=True)
            .title("周（周一日期）"),
            y=alt.Y("customers:Q", stack=True)
            .axis(format="~s", grid=True, tickCount=4, tickMinStep=1)
            .title("客户数"),
            color=_legend("label", _CLASS_NAMES, _CLASS_COLORS, ""),
        )
    )
    newest = counts.filter(pl.col("week") == counts["week"].max())["customers"].sum()
    return _drawn(bars, title, f"本周 {newest:,} 位", theme, height=200)


def dormancy_svg(
    curve: pl.DataFrame,
    *,
    dormant_after_days: int,
    recommended_days: int | None,
    title: str = "还会自己回来的可能，按已沉默的天数",
    theme: Theme = LIGHT,
) -> str:
    """The share who still come back, by length of silence and number of orders.

    Args:
        curve: Rows of ``dormancy_curve`` of one week.
        dormant_after_days: The shop's threshold.
        recommended_days: The recommended one, if any.
        title: The headline.
        theme: The ground it stands on.
    """
    known = curve.filter(pl.col("status") == "known", pl.col("order_band") != "low_f").sort("silent_days")
    if known.is_empty():
        return _words(title, "历史太短或人数太少，暂时画不出曲线", theme)
    names = {band: name for band, name in ORDER_BANDS.items() if band in set(known["order_band"])}
    data = alt.Data(
        values=[
            {
                "days": row["silent_days"],
                "share": row["share_back"],
                "low": row["share_back_low"],
                "high": row["share_back_high"],
                "label": ORDER_BANDS[row["order_band"]],
            }
            for row in known.iter_rows(named=True)
        ]
    )
    longest = 7 + max(*known["silent_days"].to_list(), dormant_after_days)
    x = (
        alt.X("days:Q")
        .scale(domain=[0, longest], nice=False)
        .axis(values=list(range(0, 400, 30)), grid=False)
        .title("已沉默天数 →")
    )
    y = (
        alt.Y("share:Q")
        .scale(domain=[0, max(known["share_back_high"].to_list())])
        .axis(format=_PERCENT, grid=True, tickCount=6)
        .title(f"此后 {VALUE_DAYS} 天内仍会回来的比例")
    )
    color = _legend("label", names, _BAND_COLORS, "到沉默开始时")
    ribbons = alt.Chart(data).mark_area(opacity=0.2).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=color)
    lines = alt.Chart(data).mark_line(strokeWidth=2.5).encode(x=x, y=y, color=color)
    rules = [_threshold(dormant_after_days, f"现行门槛 {dormant_after_days} 天", theme.ink, x, top=8)]
    if recommended_days is not None:
        words = f"建议 {recommended_days} 天"
        rules.append(_threshold(recommended_days, words, _RED, x, top=24))
    return _drawn(alt.layer(ribbons, lines, *(layer for pair in rules for layer in pair)), title, "", theme)


def backtest_svg(
    summary: pl.DataFrame, *, currency: str, title: str = "预测准不准", theme: Theme = LIGHT
) -> str:
    """What was predicted at past weeks, with its interval, and what came.

    Args:
        summary: Rows of ``backtest_summary`` of one week.
        currency: What the money is labelled with.
        title: The headline.
        theme: The ground it stands on.
    """
    [overall] = summary.filter(pl.col("predicted_week").is_null()).to_dicts()
    tested = summary.drop_nulls("predicted_week").sort("predicted_week")
    if tested.is_empty():
        return _words(title, overall["reason"], theme)
    names = {"predicted": "当时预测（95% 区间）", "actual": "实际发生"}
    colors = {"predicted": _GREY, "actual": _GOLD}
    weeks = [f"{week:%Y-%m-%d}" for week in tested["predicted_week"]]
    spans = [
        {
            "week": f"{row['predicted_week']:%Y-%m-%d}",
            "low": row["predicted_value_low"],
            "high": row["predicted_value_high"],
        }
        for row in tested.iter_rows(named=True)
    ]
    points = [
        {"week": f"{row['predicted_week']:%Y-%m-%d}", "value": row[f"{kind}_value"], "label": name}
        for row in tested.iter_rows(named=True)
        for kind, name in names.items()
    ]
    x = alt.X("week:O").sort(weeks).axis(labelAngle=-45, grid=False).title("预测的那一周")
    y = (
        alt.Y("value:Q")
        .axis(format="~s", grid=True, tickCount=5)
        .title(f"其后 {VALUE_DAYS} 天净销售额（{currency}）")
    )
    ranges = (
        alt.Chart(alt.Data(values=spans))
        .mark_rule(strokeWidth=5, color=_GREY, opacity=0.4)
        .encode(x=x, y=alt.Y("low:Q").title(""), y2="high:Q")
    )
    marks = (
        alt.Chart(alt.Data(values=points))
        .mark_circle(size=75, opacity=1)
        .encode(x=x, y=y, color=_legend("label", names, colors, ""))
    )
    error = "" if overall["error"] is None else f"平均误差 {overall['error']:.0%}，"
    subtitle = f"回测 {overall['weeks_tested']} 周：{error}{overall['covered']:.0%} 的周落在区间内"
    return _drawn(alt.layer(ranges, marks), title, subtitle, theme)


def calibration_svg(
    backtest: pl.DataFrame, *, title: str = "预测的回来可能准不准", theme: Theme = LIGHT
) -> str:
    """The share who returned against the predicted chance: on the diagonal if the chances are right.

    Args:
        backtest: Rows of ``value_backtest`` of one week.
        title: The headline.
        theme: The ground it stands on.
    """
    if backtest.is_empty():
        return _words(title, "历史太短，暂时无法回测", theme)
    groups = (
        backtest.group_by("churn_class", "recency_from", "recency_to")
        .agg(pl.sum("customers", "predicted_returns", "actual_returns"))
        .sort("churn_class", "recency_from")
    )
    spots = [
        {
            "predicted": row["predicted_returns"] / row["customers"],
            "actual": row["actual_returns"] / row["customers"],
            "customers": row["customers"],
            "label": _CLASS_NAMES[row["churn_class"]],
        }
        for row in groups.iter_rows(named=True)
    ]
    top = max(max(spot["predicted"], spot["actual"]) for spot in spots) * 1.1 or 1.0
    scale = alt.Scale(domain=[0, top], nice=False)
    x = (
        alt.X("predicted:Q")
        .scale(scale)
        .axis(format=_PERCENT, grid=True, tickCount=5)
        .title("预测的回流概率")
    )
    y = alt.Y("actual:Q").scale(scale).axis(format=_PERCENT, grid=True, tickCount=5).title("实际回流比例")
    ends = alt.Data(values=[{"predicted": 0, "actual": 0}, {"predicted": top, "actual": top}])
    diagonal = (
        alt.Chart(ends).mark_line(strokeDash=[5, 4], strokeWidth=1.5, color=theme.faint).encode(x=x, y=y)
    )
    bubbles = (
        alt.Chart(alt.Data(values=spots))
        .mark_circle(opacity=0.8)
        .encode(
            x=x,
            y=y,
            size=alt.Size("customers:Q").scale(range=[30, 700]).legend(None),
            color=_legend("label", _CLASS_NAMES, _CLASS_COLORS, ""),
        )
    )
    return _drawn(
        alt.layer(diagonal, bubbles),
        title,
        "一个圆是一类客户的一段沉默时长，越近虚线越准",
        theme,
        width=360,
        height=360,
    )


def effect_svg(
    effects: pl.DataFrame,
    *,
    title: str = "回流率的差别，逐期与合计",
    campaigns: int = 12,
    theme: Theme = LIGHT,
) -> str:
    """The difference in response rates with its interval: the newest campaigns, and all together.

    Args:
        effects: Rows of ``recall_effect`` of one week.
        title: The headline.
        campaigns: So many of the newest campaigns at most.
        theme: The ground it stands on.
    """
    known = effects.filter(pl.col("churn_class") == ALL_CLASSES).drop_nulls("rate_lift")
    if known.is_empty():
        return _words(title, "还没有可以比较的召回与对照", theme)
    single = (
        known.filter(pl.col("scope") == "campaign").sort("campaign_week", descending=True).head(campaigns)
    )
    rows = [
        {
            "name": "历期合计" if row["scope"] == "pooled" else f"{row['campaign_week']:%Y-%m-%d}",
            "lift": row["rate_lift"],
            "low": row["rate_lift_low"],
            "high": row["rate_lift_high"],
            "color": _VERDICT_COLORS[row["verdict"]],
            "text": VERDICTS[row["verdict"]],
        }
        for row in pl.concat([known.filter(pl.col("scope") == "pooled"), single]).iter_rows(named=True)
    ]
    order = [row["name"] for row in rows]
    reach = max(max(abs(row["low"]), abs(row["high"])) for row in rows) * 1.05
    data = alt.Data(values=rows)
    color = alt.Color("color:N").scale(None).legend(None)
    x = (
        alt.X("lift:Q")
        .scale(domain=[-reach, reach], nice=False)
        .axis(format="+.0~%", grid=True, tickCount=7)
        .title("召回组回流率 − 对照组回流率（95% 区间）")
    )
    y = alt.Y("name:N").sort(order).axis(ticks=False).title("召回周")
    zero = alt.Chart(alt.Data(values=[{"lift": 0}])).mark_rule(color=theme.ink, strokeWidth=1.5).encode(x=x)
    spans = alt.Chart(data).mark_rule(strokeWidth=3).encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=color)
    marks = alt.Chart(data).mark_circle(size=80, opacity=1).encode(x=x, y=y, color=color)
    words = (
        alt.Chart(data)
        .mark_text(align="left", dx=8, fontSize=12)
        .encode(x=alt.value(_WIDTH), y=y, text="text:N", color=color)
    )
    return _drawn(alt.layer(zero, spans, marks, words), title, "", theme, height=30 * len(rows) + 10)


def _legend(field: str, names: Mapping[str, str], colors: Mapping[str, str], title: str) -> alt.Color:
    shown = [name for name in names if name in colors]
    return (
        alt.Color(f"{field}:N")
        .scale(domain=[names[name] for name in shown], range=[colors[name] for name in shown])
        .legend(orient="top", symbolOpacity=1)
        .title(title or None)
    )


def _threshold(days: int, words: str, color: str, x: alt.X, *, top: int) -> Sequence[alt.Chart]:
    """An upright line at a length of silence, and what it says."""
    data = alt.Data(values=[{"days": days, "words": words}])
    chart = alt.Chart(data)
    return [
        chart.mark_rule(strokeDash=[5, 4], strokeWidth=1.5, color=color).encode(x=x),
        chart.mark_text(align="left", dx=5, fontSize=12, color=color).encode(
            x=x, y=alt.value(top), text="words:N"
        ),
    ]


def _span(low: int, high: int | None) -> str:
    return f"{low} 天以上" if high is None else f"{low}–{high} 天"


def _words(title: str, words: str, theme: Theme) -> str:
    """A picture that says why there is none."""
    chart = (
        alt.Chart(alt.Data(values=[{"words": words}]))
        .mark_text(fontSize=13, color=theme.faint, align="left", limit=_WIDTH)
        .encode(x=alt.value(0), y=alt.value(20), text="words:N")
    )
    return _drawn(chart, title, "", theme, height=40)


def _drawn(
    chart: Any, title: str, subtitle: str, theme: Theme, *, width: int = _WIDTH, height: int = 300
) -> str:
    styled = (
        chart.properties(
            width=width,
            height=height,
            padding={"left": 8, "right": 22, "top": 8, "bottom": 8},
            title=alt.TitleParams(
                title,
                subtitle=subtitle,
                anchor="start",
                fontSize=16,
                subtitleFontSize=13,
                color=theme.ink,
                subtitleColor=theme.faint,
                subtitlePadding=6,
                offset=12,
            ),
        )
        .configure(font=FONTS, background=theme.background, aria=False)
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            titleColor=theme.faint,
            labelColor=theme.ink,
            gridColor=theme.grid,
            domainColor=theme.faint,
            tickColor=theme.faint,
        )
        .configure_legend(
            labelFontSize=12,
            titleFontSize=12,
            titleColor=theme.faint,
            labelColor=theme.ink,
            titleFontWeight="normal",
        )
    )
    return to_svg(styled)
