"""The quadrant picture: where the customers and their money are (x = M, y = F, coloured by segment).

A binned map: one bubble is all customers of a segment with about the same M and F, its area their number.
The same picture for a shop of a thousand and of ten million customers, and a few kilobytes for both.

Belongs here: drawing. What a segment is, is ``customer_segments.sql``; where the picture is shown is the
business of who asks for it.
"""

import math
from collections.abc import Mapping
from typing import Final

import altair as alt
import polars as pl

from rfm_pipeline.charts.style import FONTS, LIGHT, money_text, to_svg

_COLORS: Final = {
    "champion": "#1a7f4b",
    "rising_vip": "#2a9d9d",
    "lapsing_regular": "#c8372d",
    "active_regular": "#6f95cf",
    "silent_churner": "#d99a06",
    "vocal_churner": "#8073ac",
    "developing": "#a9a9a9",
}
_TINTS: Final = {
    "top left": "#fdf0ee",
    "top right": "#edf7f0",
    "bottom left": "#fdf6e0",
    "bottom right": "#ebf6f6",
}
_INK, _FAINT = LIGHT.ink, LIGHT.faint

_CELLS_A_TENFOLD = 8
_ROWS_OF_HIGH_F = 6
_WIDTH, _HEIGHT, _NAME_STRIP = 560, 440, 46
# segments of the same quadrant lie on the same spots: they are drawn beside each other, in rows of F
_BESIDE: Final = {
    "silent_churner": -0.24,
    "vocal_churner": 0.05,
    "developing": 0.28,
    "lapsing_regular": -0.22,
    "active_regular": 0.22,
}

BINS_SQL = f"""
-- customers of a week in cells of segment, F and M; M in {_CELLS_A_TENFOLD} cells a tenfold, counted from
-- where high M begins, so that no cell lies on both sides; what lies further out is in the outermost cells
select
    segment,
    least(frequency, frequency_high + {_ROWS_OF_HIGH_F - 1}) as f,
    greatest(
        -2 * {_CELLS_A_TENFOLD},
        least(
            2 * {_CELLS_A_TENFOLD} - 1,
            floor({_CELLS_A_TENFOLD} * log10(greatest(monetary, 0.01) / greatest(monetary_high, 1)))
        )
    )::integer as m_cell,
    count(*) as customers,
    sum(monetary)::double as money
from customer_segments
join segment_thresholds using (week)
where week = $week
group by all
order by all
"""


def quadrant_svg(
    cells: pl.DataFrame,
    *,
    frequency_high: int,
    monetary_high: float,
    currency: str,
    names: Mapping[str, str],
    title: str = "客户都在哪里",
) -> str:
    """Draws the picture.

    Args:
        cells: segment, f, m_cell, customers, money: the rows of ``BINS_SQL``, at least one.
        frequency_high: Where high F begins.
        monetary_high: Where high M begins.
        currency: What the money is labelled with.
        names: What each segment is labelled with.
        title: The headline.

    Returns:
        An SVG document about 750 pixels wide; its text uses the viewer's own Chinese font.
    """
    frame = _Frame(cells, frequency_high, max(monetary_high, 1.0))
    totals = {
        row["segment"]: (row["customers"], row["money"])
        for row in cells.group_by("segment").agg(pl.sum("customers"), pl.sum("money")).to_dicts()
    }
    sleeping, worth = totals.get("silent_churner", (0, 0.0))
    chart = (
        alt.layer(
            frame.quadrants(),
            frame.bubbles(cells, totals, names),
            *frame.threshold("x", f"M ≥ {money_text(frame.monetary_high, currency)} 为高"),
            *frame.threshold("y", f"F ≥ {frequency_high} 为高"),
            *frame.names(totals, currency),
        )
        .resolve_scale(color="independent")
        .properties(
            width=_WIDTH,
            height=_HEIGHT,
            padding={"left": 8, "right": 22, "top": 8, "bottom": 8},
            title=alt.TitleParams(
                title,
                subtitle=f"{sleeping:,} 位客户静默流失，他们一共花过 {money_text(worth, currency)}",
                anchor="start",
                fontSize=17,
                subtitleFontSize=13,
                subtitleColor=_FAINT,
                subtitlePadding=6,
                offset=12,
            ),
        )
        .configure(font=FONTS, background="white", aria=False)
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", titleColor=_FAINT)
        .configure_legend(labelFontSize=12, titleFontSize=12, titleColor=_FAINT, titleFontWeight="normal")
    )
    return to_svg(chart)


class _Frame:
    """The four quadrants: the same height above and below, as wide as the money reaches."""

    def __init__(self, cells: pl.DataFrame, frequency_high: int, monetary_high: float) -> None:
        self.monetary_high = monetary_high
        self._frequency_high = frequency_high
        self._top = max(max(cells["f"].to_list()), frequency_high + 2)
        # at least a tenfold on both sides, or a small shop would have no quadrant there
        lowest = min(min(cells["m_cell"].to_list()), -_CELLS_A_TENFOLD)
        highest = max(max(cells["m_cell"].to_list()) + 1, _CELLS_A_TENFOLD)
        self._left, self._right = self._money_at(lowest), self._money_at(highest)
        # the largest bubbles of neighbouring cells just touch
        self._largest = math.pi * (min(_WIDTH / (highest - lowest), 28) * 0.55) ** 2

    def _money_at(self, cell: float) -> float:
        return float(self.monetary_high * 10 ** (cell / _CELLS_A_TENFOLD))

    def _x(self, field: str = "x") -> alt.X:
        ticks = _money_ticks(self._left, self._right)
        return (
            alt.X(f"{field}:Q")
            .scale(type="log", domain=[self._left, self._right], nice=False)
            .axis(values=ticks, format=",~f", grid=False, labelOverlap=True)
            .title("累计金额 M（对数刻度，两端合并）→")
        )

    def _y(self, field: str = "y") -> alt.Y:
        # low F is few rows and most customers: it gets as much room as high F, and each half has a strip
        # above its rows for the names
        edge = self._frequency_high - 0.5
        merged = self._frequency_high + _ROWS_OF_HIGH_F - 1
        return (
            alt.Y(f"{field}:Q")
            .scale(
                domain=[-0.5, edge - 0.001, edge, self._top + 0.5, self._top + 1],
                range=[_HEIGHT, _HEIGHT / 2 + _NAME_STRIP, _HEIGHT / 2, _NAME_STRIP, 0],
            )
            .axis(
                values=list(range(self._top + 1)),
                grid=False,
                labelExpr=f"datum.value == {merged} ? datum.label + '+' : datum.label",
                format="d",
            )
            .title("购买频次 F →")
        )

    def quadrants(self) -> alt.Chart:
        """The tinted grounds."""
        edge, top = self._frequency_high - 0.5, self._top + 1
        spans = {
            "top left": (self._left, self.monetary_high, edge, top),
            "top right": (self.monetary_high, self._right, edge, top),
            "bottom left": (self._left, self.monetary_high, -0.5, edge),
            "bottom right": (self.monetary_high, self._right, -0.5, edge),
        }
        grounds = [
            {"x": x, "x2": x2, "y": y, "y2": y2, "tint": _TINTS[place]}
            for place, (x, x2, y, y2) in spans.items()
        ]
        return (
            alt.Chart(alt.Data(values=grounds))
            .mark_rect()
            .encode(
                x=self._x(),
                x2="x2:Q",
                y=self._y(),
                y2="y2:Q",
                color=alt.Color("tint:N").scale(None).legend(None),
            )
        )

    def bubbles(
        self, cells: pl.DataFrame, totals: dict[str, tuple[int, float]], names: Mapping[str, str]
    ) -> alt.Chart:
        """One bubble a cell, the largest drawn first."""
        labels = {segment: f"{name} {totals.get(segment, (0, 0.0))[0]:,}" for segment, name in names.items()}
        most = max(cells["customers"].to_list())
        spots = [
            {
                "x": self._money_at(row["m_cell"] + 0.5),
                "y": row["f"] + _BESIDE.get(row["segment"], 0.0),
                "label": labels[row["segment"]],
                "customers": row["customers"],
            }
            for row in cells.sort("customers", descending=True).iter_rows(named=True)
        ]
        return (
            alt.Chart(alt.Data(values=spots))
            .mark_circle(opacity=1)
            .encode(
                x=self._x(),
                y=self._y(),
                size=alt.Size("customers:Q")
                .scale(domain=[0, most], range=[5, self._largest])
                .legend(
                    values=_sizes(most),
                    format=",d",
                    symbolFillColor="#999999",
                    symbolStrokeWidth=0,
                    orient="none",
                    legendX=_WIDTH + 16,
                    legendY=158,
                )
                .title("一个圆的客户数"),
                color=alt.Color("label:N")
                .scale(domain=list(labels.values()), range=[_COLORS[key] for key in labels])
                .legend(
                    symbolOpacity=1,
                    symbolSize=110,
                    orient="none",
                    legendX=_WIDTH + 16,
                    legendY=0,
                    rowPadding=5,
                )
                .title("客群与人数"),
            )
        )

    def threshold(self, axis: str, label: str) -> list[alt.Chart]:
        """A dashed line where high begins, and what it says."""
        edge = self._frequency_high - 0.5
        upright = axis == "x"
        at = {"x": self.monetary_high, "y": -0.5} if upright else {"x": self._left, "y": edge}
        data = alt.Data(values=[{**at, "label": label}])
        line = alt.Chart(data).mark_rule(strokeDash=[5, 4], color=_INK)
        words = alt.Chart(data).mark_text(
            color=_FAINT, fontSize=11, align="left", dx=5 if upright else 9, dy=-9
        )
        return [
            line.encode(x=self._x()) if upright else line.encode(y=self._y()),
            words.encode(x=self._x(), y=self._y(), text="label:N"),
        ]

    def names(self, totals: dict[str, tuple[int, float]], currency: str) -> list[alt.Chart]:
        """The quadrants' names, what to do about them, and their figures."""

        def figures(*segments: str) -> str:
            customers = sum(totals.get(segment, (0, 0.0))[0] for segment in segments)
            money = sum(totals.get(segment, (0, 0.0))[1] for segment in segments)
            return f"{customers:,} 位 · {money_text(money, currency)}"

        top, middle = self._top + 1.0, self._frequency_high - 0.5
        regulars = ("lapsing_regular", "active_regular")
        texts = [
            (self._left, top, "熟客 · 预警", figures(*regulars), _COLORS["lapsing_regular"]),
            (self.monetary_high, top, "高价值常客 · 照看", figures("champion"), _COLORS["champion"]),
            (self._left, middle, "静默流失 · 沉睡的金矿", figures("silent_churner"), "#a87400"),
            (self.monetary_high, middle, "新锐VIP · 培养", figures("rising_vip"), "#1c7a7a"),
        ]
        data = alt.Data(
            values=[
                {"x": x, "y": y, "name": name, "figures": detail, "ink": ink}
                for x, y, name, detail, ink in texts
            ]
        )
        places = alt.Chart(data).encode(
            x=self._x(), y=self._y(), color=alt.Color("ink:N").scale(None).legend(None)
        )
        return [
            places.mark_text(align="left", baseline="top", dx=9, dy=8, fontSize=15, fontWeight="bold").encode(
                text="name:N"
            ),
            places.mark_text(align="left", baseline="top", dx=9, dy=27, fontSize=12).encode(text="figures:N"),
        ]


def _money_ticks(low: float, high: float) -> list[float]:
    """Round amounts between two: 1, 2 and 5 times the powers of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(step * 10.0**power) for power in powers for step in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _sizes(most: int) -> list[int]:
    """Up to three round numbers of customers for the legend."""

    def rounded(number: float) -> int:
        power = 10 ** math.floor(math.log10(number))
        return int(max(step * power for step in (1, 2, 5) if step * power <= number))

    return sorted({1, rounded(max(1, most / 5)), rounded(most)})
