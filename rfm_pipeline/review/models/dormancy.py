"""When is silent silent: how many still come back after every length of silence, and what threshold follows.

A silence begins with a day of orders and lasts until the next order. At a week, a length of so many days is
answered by the silences that lasted so long and whose following ``VALUE_DAYS`` had passed by then. Nothing
here knows Dagster.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rfm_pipeline.review.inputs import PACKAGE
from rfm_pipeline.review.models.sleeping import table_frame
from rfm_pipeline.review.schemas import DORMANCY_ADVICE, DORMANCY_CURVE, ORDER_BANDS, VALUE_DAYS
from rfm_pipeline.review.statistics import wilson
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.sql import read_sql
from rfm_pipeline.weeks import as_of

LONGEST = 364
FEWEST = 30
"""Fewer silences make no point of the curve."""
ENOUGH = 100
"""Fewer silences make no recommendation."""
LOW_F = "low_f"

Ints = NDArray[np.int64]


def lengths(dormant_after_days: int) -> list[int]:
    """The lengths of silence in the curve: whole weeks up to a year, and the shop's own threshold."""
    return sorted({*range(7, LONGEST + 1, 7), dormant_after_days})


def write_dormancy_curve(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> dict[date, int]:
    """Writes ``dormancy_curve`` and ``dormancy_advice`` for the weeks, together.

    Returns:
        Each week's number of rows of ``dormancy_curve``.
    """
    dormant = shop.rules.dormant_after_days
    with warehouse.transaction() as session:
        session.target(weeks)
        silences = session.read(read_sql(PACKAGE, "silences"), {"frequency_high": shop.rules.frequency_high})
        curve = draw_curve(silences, weeks, lengths(dormant))
        advice = [
            {"week": week} | advise(points, dormant, float(shop.review.dormant_share))
            for week, points in low_f_points(curve, weeks).items()
        ]
        frames = {
            "curve_rows": table_frame(DORMANCY_CURVE, curve),
            "advice_rows": table_frame(DORMANCY_ADVICE, advice),
        }
        with session.frames(**frames):
            session.replace_weeks(DORMANCY_ADVICE, weeks, "select * from advice_rows")
            return session.replace_weeks(DORMANCY_CURVE, weeks, "select * from curve_rows")


def low_f_points(curve: Sequence[dict[str, Any]], weeks: Sequence[date]) -> dict[date, list[dict[str, Any]]]:
    """The points of the low-F curve, by week."""
    points: dict[date, list[dict[str, Any]]] = {week: [] for week in weeks}
    for row in curve:
        if row["order_band"] == LOW_F:
            points[row["week"]].append(row)
    return points


def draw_curve(
    silences: pl.DataFrame, weeks: Sequence[date], silent_days: Sequence[int]
) -> list[dict[str, Any]]:
    """The rows of ``dormancy_curve``.

    Args:
        silences: Rows of ``silences.sql``.
        weeks: The weeks to compute it at.
        silent_days: The lengths of silence.
    """
    rows = []
    for band in ORDER_BANDS:
        mine = pl.col("is_low_f") if band == LOW_F else pl.col("order_band") == band
        counted = _Silences(silences.filter(mine))
        for days in silent_days:
            for week, lasted, back in counted.known(days, weeks):
                row = {
                    "week": week,
                    "order_band": band,
                    "silent_days": days,
                    "silences": lasted,
                    "came_back": back,
                    "status": counted.status(lasted, days, week),
                }
                if row["status"] == "known":
                    share = wilson(back, lasted)
                    row |= {
                        "share_back": share.estimate,
                        "share_back_low": share.low,
                        "share_back_high": share.high,
                    }
                rows.append(row)
    return rows


class _Silences:
    """The silences of one band of customers, by the day they began on."""

    def __init__(self, frame: pl.DataFrame) -> None:
        began = frame["began_on"]
        self._first: date | None = None if frame.is_empty() else began.min()  # type: ignore[assignment]
        self._day: Ints = (
            np.zeros(0, np.int64)
            if self._first is None
            else (began - self._first).dt.total_days().to_numpy().astype(np.int64)
        )
        # without an end, longer than any length
        self._days: Ints = frame["days"].fill_null(1_000_000).to_numpy().astype(np.int64)
        self._count = frame["silences"].to_numpy().astype(np.float64)

    def known(self, days: int, weeks: Sequence[date]) -> list[tuple[date, int, int]]:
        """(week, silences that lasted so long, those of them that then ended in time), where answered."""
        if self._first is None:
            return [(week, 0, 0) for week in weeks]
        lasted = self._days >= days
        ended = lasted & (self._days < days + VALUE_DAYS)
        sums = [self._running(picked) for picked in (lasted, ended)]
        return [(week, self._up_to(sums[0], days, week), self._up_to(sums[1], days, week)) for week in weeks]

    def _running(self, picked: NDArray[np.bool_]) -> Ints:
        """The silences so far, by the day they began on."""
        counts: Ints = np.cumsum(np.bincount(self._day[picked], self._count[picked])).astype(np.int64)
        return counts

    def _up_to(self, sums: Ints, days: int, week: date) -> int:
        """The silences that began early enough for their answer to be known at the week."""
        assert self._first is not None
        last = (as_of(week) - self._first).days - days - VALUE_DAYS
        return 0 if last < 0 or not len(sums) else int(sums[min(last, len(sums) - 1)])

    def status(self, silences: int, days: int, week: date) -> str:
        """Whether a point is known, or why not."""
        if self._first is None or self._first >= as_of(week):
            return "nobody"
        if silences >= FEWEST:
            return "known"
        answered = (as_of(week) - self._first).days >= days + VALUE_DAYS
        return "too_few" if answered else "too_short"


def advise(points: Sequence[Mapping[str, Any]], dormant: int, dormant_share: float) -> dict[str, Any]:
    """The recommended threshold and why: a row of ``dormancy_advice`` without its week.

    Recommended is the first length from which on the share of low-F customers who still come back stays at or
    below ``dormant_share`` of what it is after the shortest silence.

    Args:
        points: The low-F curve of one week, by length.
        dormant: The shop's threshold, one of the lengths.
        dormant_share: See above.
    """
    known = [point for point in points if point["status"] == "known" and point["silences"] >= ENOUGH]
    at = {point["silent_days"]: point["share_back"] for point in known}
    said: dict[str, Any] = {"dormant_after_days": dormant, "share_back_at_threshold": at.get(dormant)}
    if len(known) < 2:
        statuses = {point["status"] for point in points}
        if statuses <= {"too_short", "nobody"}:
            why = f"no silence of low-F customers has had its {VALUE_DAYS} days yet"
            return said | {"status": "too_short", "reason": why}
        why = f"fewer than {ENOUGH} silences of low-F customers are answered"
        return said | {"status": "too_few", "reason": why}
    shortest, longest = min(at), max(at)
    start = at[shortest]
    limit = dormant_share * start
    said["share_back_at_start"] = start
    begins = (
        f"of low-F customers {start:.1%} come back within {VALUE_DAYS} days after {shortest} days of silence"
    )
    above = [days for days, share in at.items() if share > limit]
    quiet = [days for days in at if days > max(above, default=0)]
    # the shop's own threshold is a point of the curve, but only whole weeks are recommended
    whole = [days for days in quiet if days % 7 == 0]
    if not whole or start == 0:
        why = (
            f"{begins}, and after {longest} days, as far as is known, still {at[longest]:.1%}: more than "
            f"{dormant_share:.0%} of it (review.dormant_share)"
        )
        return said | {"status": "no_length_found", "reason": why}
    days = min(whole)
    here = f"; at the shop's {dormant} days {at[dormant]:.1%}" if dormant in at else ""
    why = (
        f"{begins}; from {days} days on at most {dormant_share:.0%} of that (review.dormant_share), here "
        f"{at[days]:.1%}{here}"
    )
    return said | {
        "recommended_days": days,
        "share_back_at_recommended": at[days],
        "status": "recommended",
        "reason": why,
    }
