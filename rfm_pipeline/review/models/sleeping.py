"""Writes ``sleeping_value`` and ``sleeping_totals``: what the silent of a week will bring, and how sure.

``value`` and ``bgnbd`` hold the method. Nothing here knows Dagster.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from rfm_pipeline.diagnose.schemas import SILENT_CHURNERS
from rfm_pipeline.review.inputs import PACKAGE
from rfm_pipeline.review.models.bgnbd import Histories, NoFitError, fit_bg_nbd, fit_gamma_gamma
from rfm_pipeline.review.models.value import (
    ANSWER_WEEKS,
    ASSUMED_SEASON,
    Forecast,
    Outcome,
    Window,
    answered_weeks,
    forecast,
    read_windows,
    recency_bands,
)
from rfm_pipeline.review.schemas import RECALL_OUTCOMES, SLEEPING_TOTALS, SLEEPING_VALUE, VALUE_DAYS
from rfm_pipeline.review.statistics import Interval, Sums, Z
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Session, Warehouse
from rfm_pipeline.warehouse.schema import Table
from rfm_pipeline.warehouse.snapshots import require_snapshots
from rfm_pipeline.warehouse.sql import read_sql
from rfm_pipeline.weeks import WEEK

SPENDING_SAMPLE = 20_000

_SILENT = """
select
    s.week, s.churn_class, b.recency_from, b.recency_to, count(*) as customers, sum(s.monetary) as monetary,
    sum(ln(s.recency_days)::decimal(18, 12))::double as log_days
from silent_churners s
join recency_bands b on s.recency_days >= b.lowest and s.recency_days < b.below
where s.week in (select week from target_weeks)
group by s.week, s.churn_class, b.recency_from, b.recency_to
order by all
"""
_CAMPAIGNS = """
select
    week, churn_class, sum(assigned)::bigint as assigned, sum(returned)::bigint as returned,
    sum(net_sales)::double as net_sales,
    sum(net_sales_squares order by campaign_week) as squares
from recall_outcomes
where week in (select week from target_weeks) and arm = 'recall' and is_final
group by week, churn_class
"""

Campaigns = Mapping[str, tuple[Sums, int]]
"""By class: what recalled customers spent in closed campaigns, and how many of them came back."""


def read_answers(session: Session, shop: Shop, weeks: Sequence[date]) -> dict[date, Window]:
    """What the silent of past weeks did; weeks without a snapshot are left out.

    Args:
        session: An open transaction; ``recency_bands`` is readable.
        shop: The settings.
        weeks: The weeks; their days must have passed.
    """
    known = sorted(set(weeks) & session.snapshot_weeks(SILENT_CHURNERS.name))
    if not known:
        return {}
    frame = pl.DataFrame({"week": known, "as_of": [week + WEEK for week in known]})
    with session.frames(window_weeks=frame):
        return read_windows(
            session.read(f"{read_sql(PACKAGE, 'silent_windows')} order by all", {"value_days": VALUE_DAYS})
        )


def write_sleeping_value(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> dict[date, int]:
    """Writes ``sleeping_value`` and ``sleeping_totals`` for the weeks, together.

    Returns:
        Each week's number of rows of ``sleeping_value``.

    Raises:
        MissingWeekError: If a week has no ``silent_churners``.
    """
    bands = recency_bands(shop.rules.dormant_after_days)
    past = sorted({past for week in weeks for past in answered_weeks(week)})
    cells: list[dict[str, Any]] = []
    totals: list[dict[str, Any]] = []
    with warehouse.transaction() as session, session.frames(recency_bands=bands):
        require_snapshots(session, shop, SILENT_CHURNERS, weeks)
        # without outcomes there is no campaign whose response could stand beside it
        session.create(RECALL_OUTCOMES)
        answers = read_answers(session, shop, past)
        first = min(session.snapshot_weeks(SILENT_CHURNERS.name))
        session.target(weeks)
        silent_of = _by_week(session.read(_SILENT))
        campaigns_of = _by_week(session.read(_CAMPAIGNS))
        second = _second_opinions(session, weeks)
        for week in weeks:
            silent = silent_of.get(week, [])
            campaigns: Campaigns = {
                row["churn_class"]: (
                    Sums(row["assigned"], row["net_sales"], row["squares"]),
                    row["returned"],
                )
                for row in campaigns_of.get(week, [])
            }
            counts = {
                (row["churn_class"], row["recency_from"]): Outcome(row["customers"], row.pop("log_days"))
                for row in silent
            }
            learnt = {past: answers[past] for past in answered_weeks(week) if past in answers}
            found = forecast(counts, learnt)
            cells += [row | _cell(row, found, campaigns) for row in silent]
            totals.append({"week": week} | _total(silent, found, campaigns, first) | second[week])
        with session.frames(
            cell_rows=table_frame(SLEEPING_VALUE, cells), total_rows=table_frame(SLEEPING_TOTALS, totals)
        ):
            session.replace_weeks(SLEEPING_TOTALS, weeks, "select * from total_rows")
            return session.replace_weeks(SLEEPING_VALUE, weeks, "select * from cell_rows")


def _by_week(frame: pl.DataFrame) -> dict[date, list[dict[str, Any]]]:
    found: dict[date, list[dict[str, Any]]] = {}
    for row in frame.iter_rows(named=True):
        found.setdefault(row["week"], []).append(row)
    return found


def table_frame(table: Table, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a frame of the table's columns; what a row doesn't name is null."""
    types = {name: column.dtype.type for name, column in table.schema.columns.items()}
    return pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=types, orient="row")


def _cell(row: Mapping[str, Any], found: Forecast, campaigns: Campaigns) -> dict[str, Any]:
    """What is said of a class and band."""
    cell = found.cells[row["churn_class"], row["recency_from"]]
    value = found.cell_interval((row["churn_class"], row["recency_from"]))
    said: dict[str, Any] = {
        "probability_from": "nothing",
        "learnt_customers": 0,
        "learnt_returned": 0,
        "sales_from": "nothing",
        "expected_returns": cell.expected_returns,
        **_columns("value", value),
    }
    if cell.probability is not None:
        p = cell.probability
        said |= {
            "return_probability": p.estimate,
            "return_probability_low": p.low,
            "return_probability_high": p.high,
            "probability_from": p.source,
            "learnt_customers": int(p.outcome.customers),
            "learnt_returned": int(p.outcome.returned),
        }
    if cell.sales is not None:
        said |= {"sales_after_return": cell.sales.estimate, "sales_from": cell.sales.source}
    return said | _campaign(row, campaigns)


def _campaign(row: Mapping[str, Any], campaigns: Campaigns) -> dict[str, Any]:
    """The same customers under the response that recalled customers of their class have shown."""
    if row["churn_class"] not in campaigns:
        return {"campaign_assigned": 0}
    sums, returned = campaigns[row["churn_class"]]
    return {
        "campaign_assigned": sums.n,
        "campaign_response_rate": returned / sums.n,
        **_columns("campaign_value", _as_if_recalled({row["churn_class"]: row["customers"]}, campaigns)),
    }


def _as_if_recalled(customers: Mapping[str, int], campaigns: Campaigns) -> Interval | None:
    """Customers × net sales per recalled customer, over the classes with a measured response."""
    known = [(count, campaigns[name][0]) for name, count in customers.items() if name in campaigns]
    if not known:
        return None
    value = sum(count * sums.mean for count, sums in known)
    if any(sums.n < 2 for _, sums in known):
        return Interval(value, math.nan, math.nan)
    # the mean's error weighs all customers, each customer's own luck only once
    variance = sum(count**2 * sums.variance / sums.n + count * sums.variance for count, sums in known)
    half = Z * math.sqrt(variance)
    return Interval(value, max(0.0, value - half), value + half)


def _total(
    silent: Sequence[Mapping[str, Any]], found: Forecast, campaigns: Campaigns, first: date
) -> dict[str, Any]:
    """What is said of all silent churners together."""
    of_class: dict[str, int] = {}
    for row in silent:
        of_class[row["churn_class"]] = of_class.get(row["churn_class"], 0) + row["customers"]
    status, reason = _status(silent, found, first)
    return {
        "customers": sum(of_class.values()),
        "monetary": sum((row["monetary"] for row in silent), Decimal(0)),
        "expected_returns": found.returns,
        **_columns("value", found.value),
        "windows": len(found.windows),
        "first_window": min(found.windows, default=None),
        "last_window": max(found.windows, default=None),
        "season_spread": found.season,
        **_columns("campaign_value", _as_if_recalled(of_class, campaigns)),
        "campaign_customers": sum(count for name, count in of_class.items() if name in campaigns),
        "status": status,
        "reason": reason,
    }


def _status(silent: Sequence[Mapping[str, Any]], found: Forecast, first: date) -> tuple[str, str]:
    if not silent:
        return "nobody", "no silent churner in this week"
    if found.value is None:
        ready = first + ANSWER_WEEKS * WEEK
        return "too_short", (
            f"nothing to learn from: no past week has enough silent churners whose {VALUE_DAYS} days have "
            f"passed; the first snapshot is of week {first}, its answer is known from week {ready} on"
        )
    if found.season is None:
        return "season_assumed", (
            f"learnt from {len(found.windows)} past weeks, too close together to tell how seasons differ: "
            f"a spread of {ASSUMED_SEASON:.0%} is assumed"
        )
    return "complete", (
        f"learnt from {len(found.windows)} past weeks, which differ by {found.season:.0%} beyond chance"
    )


def _columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    ends = {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {name: interval.estimate} | {key: None if math.isnan(end) else end for key, end in ends.items()}


def _second_opinions(session: Session, weeks: Sequence[date]) -> dict[date, dict[str, Any]]:
    """What BG/NBD and Gamma-Gamma say of the silent of each week."""
    found = {}
    for week in weeks:
        # one week at a time: histories of many weeks together would not fit into memory
        session.target([week])
        histories = session.read(f"{read_sql(PACKAGE, 'purchase_histories')} order by all")
        spending = session.read(read_sql(PACKAGE, "repeat_spending"), {"sample": SPENDING_SAMPLE})
        found[week] = second_opinion(histories, spending)
    session.target(weeks)
    return found


def second_opinion(histories: pl.DataFrame, spending: pl.DataFrame) -> dict[str, Any]:
    """Returns and sales of the silent by BG/NBD and Gamma-Gamma.

    Args:
        histories: Rows of ``purchase_histories.sql`` of one week.
        spending: Rows of ``repeat_spending.sql`` of the week.

    Returns:
        The columns ``second_opinion_*``. A purchase is a week with a paid order, so returns are purchases.
    """
    silent = histories.filter("is_silent")
    if silent.is_empty():
        return {"second_opinion_note": "no silent churner in this week"}
    # the models know one kind of customer: whether they are silent by the shop's rules makes no difference
    alike = histories.group_by("x", "t_x", "t", maintain_order=True).agg(pl.sum("customers"))
    try:
        often = fit_bg_nbd(_histories(alike))
        much = fit_gamma_gamma(*(spending[name].cast(pl.Float64).to_numpy() for name in ("x", "mean_sales")))
    except NoFitError as error:
        return {"second_opinion_note": f"not fitted: {error}"}
    data = _histories(silent)
    purchases = often.expected_purchases(data, VALUE_DAYS / 7)
    mean = silent["mean_sales"].to_numpy() / data.customers
    # linear in the mean, so that customers alike may be taken together
    amount = much.expected_amount(data.x, mean)
    returns = float(np.sum(data.customers * purchases))
    value = float(np.sum(data.customers * purchases * amount))
    if not (math.isfinite(returns) and math.isfinite(value)):
        return {"second_opinion_note": "not fitted: the model's sums are not finite"}
    return {
        "second_opinion_returns": returns,
        "second_opinion_value": value,
        "second_opinion_note": (
            f"BG/NBD r={often.r:.3f} alpha={often.alpha:.2f} a={often.a:.3f} b={often.b:.3f}; "
            f"Gamma-Gamma p={much.p:.2f} q={much.q:.2f} v={much.v:.1f}; purchases by week, before refunds"
        ),
    }


def _histories(frame: pl.DataFrame) -> Histories:
    return Histories(*(frame[name].cast(pl.Float64).to_numpy() for name in ("x", "t_x", "t", "customers")))
