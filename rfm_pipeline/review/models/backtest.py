"""Writes ``value_backtest`` and ``backtest_summary``: what was predicted at past weeks, against what came.

Every past week is predicted again from what was known then, by the code that predicts the present one.
Nothing here knows Dagster.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from rfm_pipeline.diagnose.schemas import SILENT_CHURNERS
from rfm_pipeline.review.models.sleeping import read_answers, table_frame
from rfm_pipeline.review.models.value import (
    ANSWER_WEEKS,
    Cell,
    Forecast,
    Outcome,
    Window,
    answered_weeks,
    forecast,
    recency_bands,
)
from rfm_pipeline.review.schemas import BACKTEST_SUMMARY, VALUE_BACKTEST, VALUE_DAYS
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.snapshots import require_snapshots
from rfm_pipeline.weeks import WEEK

Answers = Mapping[date, Window]


def write_value_backtest(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> dict[date, int]:
    """Writes ``value_backtest`` and ``backtest_summary`` for the weeks, together.

    Returns:
        Each week's number of rows of ``value_backtest``.

    Raises:
        MissingWeekError: If a week has no ``silent_churners``.
    """
    bands = recency_bands(shop.rules.dormant_after_days)
    band_ends = dict(bands.select("recency_from", "recency_to").iter_rows())
    tested = {past for week in weeks for past in answered_weeks(week)}
    learnt = {past for week in tested for past in answered_weeks(week)}
    cells: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    with warehouse.transaction() as session, session.frames(recency_bands=bands):
        require_snapshots(session, shop, SILENT_CHURNERS, weeks)
        answers = read_answers(session, shop, sorted(tested | learnt))
        first = min(session.snapshot_weeks(SILENT_CHURNERS.name))
        forecasts = {week: found for week in sorted(tested) if (found := predict_again(week, answers))}
        for week in weeks:
            known = {past: forecasts[past] for past in sorted(answered_weeks(week)) if past in forecasts}
            for past, found in known.items():
                place = {"week": week, "predicted_week": past}
                cells += [place | row for row in _cells(found, answers[past].cells, band_ends)]
            summary += [{"week": week} | row for row in summarise(known, answers, first)]
        session.target(weeks)
        frames = {
            "cell_rows": table_frame(VALUE_BACKTEST, cells),
            "summary_rows": table_frame(BACKTEST_SUMMARY, summary),
        }
        with session.frames(**frames):
            session.replace_weeks(BACKTEST_SUMMARY, weeks, "select * from summary_rows")
            return session.replace_weeks(VALUE_BACKTEST, weeks, "select * from cell_rows")


def predict_again(week: date, answers: Answers) -> Forecast | None:
    """What would have been predicted at a past week; None if nobody was silent or nothing was known then."""
    if week not in answers:
        return None
    found = forecast(
        answers[week].cells, {past: answers[past] for past in answered_weeks(week) if past in answers}
    )
    return None if found.value is None else found


def _cells(
    found: Forecast, actual: Mapping[Cell, Outcome], band_ends: Mapping[int, int | None]
) -> list[dict[str, Any]]:
    rows = []
    for (churn_class, band), cell in found.cells.items():
        assert cell.probability is not None
        came = actual[churn_class, band]
        rows.append(
            {
                "churn_class": churn_class,
                "recency_from": band,
                "recency_to": band_ends[band],
                "customers": cell.customers,
                "predicted_probability": cell.probability.estimate,
                "predicted_returns": cell.expected_returns,
                "actual_returns": int(came.returned),
                "predicted_value": cell.value,
                "actual_value": Decimal(f"{came.net_sales:.4f}"),
            }
        )
    return rows


def summarise(forecasts: Mapping[date, Forecast], answers: Answers, first: date) -> list[dict[str, Any]]:
    """The rows of ``backtest_summary`` of a week: one a tested week, and one for all together.

    Args:
        forecasts: What was predicted, by past week.
        answers: What happened.
        first: The first week with a snapshot.
    """
    rows: list[dict[str, Any]] = []
    for week, found in forecasts.items():
        assert found.value is not None
        came = answers[week].total
        error = found.value.estimate / came.net_sales - 1 if came.net_sales > 0 else None
        covered = found.value.low <= came.net_sales <= found.value.high
        rows.append(
            {
                "predicted_week": week,
                "weeks_tested": 1,
                "predicted_returns": found.returns,
                "actual_returns": came.returned,
                "predicted_value": found.value.estimate,
                "predicted_value_low": found.value.low,
                "predicted_value_high": found.value.high,
                "actual_value": came.net_sales,
                "error": error,
                "covered": float(covered),
                "status": "tested",
                "reason": f"learnt from {len(found.windows)} weeks before it",
            }
        )
    if not rows:
        ready = first + 2 * ANSWER_WEEKS * WEEK
        short = (
            f"history is too short: a test needs a week whose {VALUE_DAYS} days have passed, and before it "
            f"another one; with the first snapshot in week {first}, that is from week {ready} on"
        )
        return [{"weeks_tested": 0, "status": "too_short", "reason": short}]
    errors = [abs(row["error"]) for row in rows if row["error"] is not None]
    sums = {
        name: sum(row[name] for row in rows)
        for name in ("predicted_returns", "actual_returns", "predicted_value", "actual_value")
    }
    mean_error = sum(errors) / len(errors) if errors else None
    overall = {
        **sums,
        "weeks_tested": len(rows),
        "error": mean_error,
        "covered": sum(row["covered"] for row in rows) / len(rows),
        "status": "tested",
        "reason": (
            f"{len(rows)} past weeks, "
            + ("nobody brought anything" if mean_error is None else f"off by {mean_error:.0%} on average")
            + f"; the interval held what came in {sum(row['covered'] for row in rows):.0f} of them"
        ),
    }
    return [*rows, overall]
