"""The quadrant picture: where the customers and their money are (x = M, y = F, coloured by segment).

A binned map: one bubble is all customers of a segment with about the same M and F, its area their number.
The same picture for a shop of a thousand and of ten million customers, and nobody can be picked out of it.
"""

import altair as alt
import polars as pl

from rfm_pipeline.diagnose.schemas import SEGMENTS

_COLORS = {
    "champion": "#1a7f4b",
    "rising_vip": "#5ab4ac",
    "lapsing_regular": "#e08214",
    "active_regular": "#7b9acc",
    "silent_churner": "#b2182b",
    "vocal_churner": "#8073ac",
    "developing": "#bdbdbd",
}
FONTS = "'Noto Sans CJK SC','PingFang SC','Microsoft YaHei','Source Han Sans SC','Noto Sans SC',sans-serif"
_F_SHOWN = 12

BINS_SQL = f"""
-- customers of a week in cells of segment, F (up to {_F_SHOWN}) and M (eight cells a tenfold)
select
    segment,
    least(frequency, {_F_SHOWN}) as f,
    round(8 * log10(greatest(monetary, 1))) as m_cell,
    count(*) as customers,
    sum(monetary)::double as money
from customer_segments
where week = $week
group by all
order by all
"""


def quadrant_svg(
    cells: pl.DataFrame, *, frequency_high: int, monetary_high: float, currency: str, title: str
) -> str:
    """Draws the picture.

    Args:
        cells: segment, f, m_cell, customers, money: the rows of ``BINS_SQL``.
        frequency_high: Where high F begins.
        monetary_high: Where high M begins.
        currency: What the money axis is labelled with.
        title: The headline.

    Returns:
        An SVG document; its text uses the viewer's own Chinese font.
    """
    import vl_convert

    shown = cells.with_columns(
        money_each=(10 ** (pl.col("m_cell") / 8)),
        label=pl.col("segment").replace_strict(SEGMENTS, return_dtype=pl.String),
    )
    labels = list(SEGMENTS.values())
    # as plain values: Altair would need pandas or narwhals' backends for a frame
    data = alt.Data(values=shown.select("money_each", "f", "label", "customers", "money").to_dicts())
    x = alt.X("money_each:Q").scale(type="log", nice=False).title(f"累计金额 M（{currency}，对数）")
    y = alt.Y("f:Q").title(f"购买频次 F（{_F_SHOWN} 及以上合并）").axis(tickMinStep=1)
    bubbles = (
        alt.Chart(data)
        .mark_circle(opacity=0.75)
        .encode(
            x=x.axis(grid=False, tickCount=6),
            y=y,
            size=alt.Size("customers:Q").scale(range=[8, 900]).title("客户数"),
            color=alt.Color("label:N")
            .scale(domain=labels, range=[_COLORS[key] for key in SEGMENTS])
            .title("客群"),
        )
    )
    lines = _line("x", monetary_high) + _line("y", frequency_high - 0.5)
    chart = (
        (bubbles + lines)
        .properties(width=640, height=400, title=title)
        .configure(font=FONTS, background="white")
        .configure_view(stroke=None)
    )
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def _line(axis: str, value: float) -> alt.Chart:
    """A dashed line at a threshold."""
    channel = alt.X("at:Q") if axis == "x" else alt.Y("at:Q")
    return (
        alt.Chart(alt.Data(values=[{"at": value}]))
        .mark_rule(strokeDash=[5, 4], color="#555")
        .encode(**{axis: channel})
    )
