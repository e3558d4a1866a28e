"""What those who came back are worth: measured once their days have passed, foreseen before.

Nothing here knows Dagster.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl

from rfm_pipeline.ledger import Ledger
from rfm_pipeline.review.inputs import PACKAGE
from rfm_pipeline.review.schemas import RETURNER_VALUE, VALUE_DAYS
from rfm_pipeline.review.statistics import Sums, Z
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.columns import MONEY
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.sql import read_sql

ENOUGH_RETURNS = 30
"""Fewer returns in the past are no ground to foresee anything from."""

Curve = Mapping[int, Sums]


def write_returner_value(
    warehouse: Warehouse, ledger: Ledger, shop: Shop, weeks: Sequence[date]
) -> dict[date, int]:
    """Writes ``returner_value`` for the weeks; returns each week's number of rows."""
    assignments = ledger.assignments(columns=("week", "customer_id", "arm"))
    params = {
        "response_days": shop.review.response_days,
        "value_days": VALUE_DAYS,
        "dormant_after_days": shop.rules.dormant_after_days,
    }
    with warehouse.transaction() as session:
        session.target(weeks)
        with session.frames(assignments=assignments):
            returners = session.read(f"{read_sql(PACKAGE, 'returners')} order by all", params)
        elapsed = returners.select("week", "elapsed_days").drop_nulls().unique().sort("week", "elapsed_days")
        with session.frames(elapsed=elapsed):
            curve = (
                session.read(f"{read_sql(PACKAGE, 'return_curve')} order by all", params)
                if elapsed.height
                else None
            )
        rows = foresee_returners(returners, curve)
        with session.frames(value_rows=rows):
            return session.replace_weeks(RETURNER_VALUE, weeks, "select * from value_rows")


def foresee_returners(returners: pl.DataFrame, curve: pl.DataFrame | None) -> pl.DataFrame:
    """The rows of ``returner_value``.

    Args:
        returners: Rows of ``returners.sql``.
        curve: Rows of ``return_curve.sql``; None if nobody's days are still open.
    """
    curves: dict[date, dict[int, Sums]] = {}
    for row in () if curve is None else curve.iter_rows(named=True):
        known = Sums(row["returns"], row["net_sales"], row["net_sales_squares"])
        curves.setdefault(row["week"], {})[row["elapsed_days"]] = known
    rows = [
        {"week": week, "campaign_week": campaign, "arm": arm} | _value_of(cells, curves.get(week, {}))
        for (week, campaign, arm), cells in returners.group_by(
            "week", "campaign_week", "arm", maintain_order=True
        )
    ]
    types = {name: column.dtype.type for name, column in RETURNER_VALUE.schema.columns.items()}
    return pl.DataFrame(rows, schema=types, orient="row").with_columns(pl.col("net_sales_so_far").cast(MONEY))


def _value_of(cells: pl.DataFrame, curve: Curve) -> dict[str, Any]:
    """One arm's figures, from its customers by the days since they came back."""
    returned = int(cells["customers"].sum())
    open_cells = cells.drop_nulls("elapsed_days")
    measured = returned - int(open_cells["customers"].sum())
    so_far = cells["net_sales"].sum()
    found = {
        "returned": returned,
        "measured_customers": measured,
        "net_sales_so_far": so_far,
        "learnt_from": 0,
    }
    if open_cells.is_empty():
        exact = dict.fromkeys(("value_90d", "value_90d_low", "value_90d_high"), float(so_far))
        return found | exact | {"status": "measured" if returned else "nobody"}
    learnt = [
        (count, curve[day]) for day, count in open_cells.select("elapsed_days", "customers").iter_rows()
    ]
    found["learnt_from"] = learnt[0][1].n
    if found["learnt_from"] < ENOUGH_RETURNS:
        return found | {"status": "too_short"}
    rest = sum(count * known.mean for count, known in learnt)
    # the means of all days come from the same customers: their errors add up, those of the future don't
    error = sum(count * math.sqrt(known.variance / known.n) for count, known in learnt)
    half = Z * math.sqrt(error**2 + sum(count * known.variance for count, known in learnt))
    value = float(so_far) + rest
    return found | {
        "value_90d": value,
        # what was bought is bought: only the rest is uncertain
        "value_90d_low": float(so_far) + max(0.0, rest - half),
        "value_90d_high": value + half,
        "status": "partly_measured" if measured else "predicted",
    }
