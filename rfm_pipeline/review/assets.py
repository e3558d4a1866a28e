"""The review stage's assets: what came of the recall, and what the silent are worth."""

import base64
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from rfm_pipeline.ledger import Ledger
from rfm_pipeline.orchestration.asset_arguments import (
    SQL_KINDS,
    Results,
    Stage,
    TableAsset,
    WeeklyStep,
    one_connection,
    table_step,
)
from rfm_pipeline.orchestration.versions import version_of_run
from rfm_pipeline.review import checks
from rfm_pipeline.review.effect import write_recall_effect
from rfm_pipeline.review.inputs import tagged_customers
from rfm_pipeline.review.models.backtest import write_value_backtest
from rfm_pipeline.review.models.bgnbd import fit_bg_nbd
from rfm_pipeline.review.models.dormancy import write_dormancy_curve
from rfm_pipeline.review.models.returners import write_returner_value
from rfm_pipeline.review.models.sleeping import write_sleeping_value
from rfm_pipeline.review.models.value import forecast
from rfm_pipeline.review.outcomes import write_recall_outcomes
from rfm_pipeline.review.schemas import (
    BACKTEST_SUMMARY,
    DORMANCY_ADVICE,
    DORMANCY_CURVE,
    RECALL_EFFECT,
    RECALL_OUTCOMES,
    RETURNER_VALUE,
    SLEEPING_TOTALS,
    SLEEPING_VALUE,
    VALUE_BACKTEST,
    VALUE_DAYS,
)
from rfm_pipeline.review.statistics import wilson
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse

STAGE = Stage("review", settings=("shop", "rules", "review"))
_LEDGER_KINDS = SQL_KINDS | {"sqlite"}
_STATISTICS_KINDS = SQL_KINDS | {"python"}
_ANSWERS = "recall_answers.sql"

_LINES_LATER = [("order_lines", "amount"), ("order_lines", "refunded_amount"), ("order_lines", "order_at")]
_OUTCOMES_LINEAGE = {
    "assigned": [("recall_list", "arm")],
    "reached": [("customer_tags", "status"), ("outreach_log", "outcome"), ("outreach_log", "reached_at")],
    "returned": [("order_lines", "order_at"), ("order_lines", "amount")],
    "orders": [("order_lines", "order_id"), ("order_lines", "amount")],
    "net_sales": _LINES_LATER,
    "net_sales_squares": _LINES_LATER,
}
_EFFECT_LINEAGE = {
    "rate_lift": [("recall_outcomes", "returned"), ("recall_outcomes", "assigned")],
    "sales_lift": [("recall_outcomes", "net_sales"), ("recall_outcomes", "net_sales_squares")],
    "incremental_customers": [("recall_outcomes", "returned"), ("recall_outcomes", "assigned")],
    "incremental_sales": [("recall_outcomes", "net_sales"), ("recall_outcomes", "assigned")],
    "holdout_contaminated": [("recall_outcomes", "reached")],
    "verdict": [("recall_outcomes", "returned"), ("recall_outcomes", "assigned")],
}
_RETURNER_LINEAGE = {
    "returned": [("recall_list", "arm"), ("order_lines", "order_at")],
    "value_90d": [*_LINES_LATER, ("customer_activity", "last_order_at")],
}
_SLEEPING_LINEAGE = {
    "customers": [("silent_churners", "customer_id")],
    "return_probability": [("silent_churners", "recency_days"), ("order_lines", "order_at")],
    "sales_after_return": _LINES_LATER,
    "value": [("silent_churners", "customer_id"), *_LINES_LATER],
    "campaign_value": [("recall_outcomes", "net_sales"), ("recall_outcomes", "assigned")],
}
_BACKTEST_LINEAGE = {
    "predicted_value": [("silent_churners", "customer_id"), *_LINES_LATER],
    "actual_value": _LINES_LATER,
    "actual_returns": [("silent_churners", "customer_id"), ("order_lines", "order_at")],
}
_DORMANCY_LINEAGE = {
    "silences": [("customer_activity", "last_order_at"), ("customer_activity", "orders")],
    "came_back": [("customer_activity", "first_order_at")],
    "share_back": [("customer_activity", "first_order_at"), ("customer_activity", "last_order_at")],
}


def build_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The assets of the stage for one shop."""

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                RECALL_OUTCOMES,
                "Per campaign week, class and arm: how many were reached, how many came back in the response "
                "window and what they spent, growing week by week until the window closes, then fixed.",
                deps=["customer_tags", "outreach_log", "order_lines"],
                made_by=(_ANSWERS, "recall_outcomes.sql", tagged_customers),
                kinds=_LEDGER_KINDS,
                lineage=_OUTCOMES_LINEAGE,
            ),
            checks=checks.RECALL_OUTCOMES_CHECKS,
        )
    )
    @one_connection
    def recall_outcomes(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> Results:
        step = WeeklyStep(context, warehouse, shop, RECALL_OUTCOMES)
        write_recall_outcomes(warehouse, ledger, shop, step.weeks)
        yield from step.results(checks.RECALL_OUTCOMES_CHECKS, data_version=version_of_run(context))

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                RECALL_EFFECT,
                "Recall against hold-out, per campaign and pooled: difference in response rate (Newcombe) "
                "and in net sales per customer (Welch, bootstrap beside it), what is due to the recall, and "
                "a verdict. By assignment. As a picture: *effect* in the metadata, *Show Markdown*.",
                deps=["recall_outcomes", "outreach_log", "order_lines"],
                made_by=(_ANSWERS, "recall_outcomes.sql", write_recall_effect, wilson),
                kinds=_LEDGER_KINDS | {"python"},
                lineage=_EFFECT_LINEAGE,
            ),
            checks=checks.RECALL_EFFECT_CHECKS,
        )
    )
    @one_connection
    def recall_effect(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> Results:
        step = WeeklyStep(context, warehouse, shop, RECALL_EFFECT)
        write_recall_effect(warehouse, ledger, shop, step.weeks)
        yield from step.results(
            checks.RECALL_EFFECT_CHECKS,
            metadata=_effect_metadata(warehouse, shop, step.weeks[-1]),
            data_version=version_of_run(context),
        )

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                RETURNER_VALUE,
                f"What those who came back are worth over {VALUE_DAYS} days from their return: measured once "
                "those days have passed, foreseen from earlier returns before.",
                deps=["recall_outcomes", "customer_activity", "order_lines"],
                made_by=("returners.sql", "return_curve.sql", write_returner_value),
                kinds=_LEDGER_KINDS | {"python"},
                lineage=_RETURNER_LINEAGE,
            ),
            checks=checks.RETURNER_VALUE_CHECKS,
        )
    )
    @one_connection
    def returner_value(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> Results:
        step = WeeklyStep(context, warehouse, shop, RETURNER_VALUE)
        write_returner_value(warehouse, ledger, shop, step.weeks)
        yield from step.results(checks.RETURNER_VALUE_CHECKS, data_version=version_of_run(context))

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                SLEEPING_TOTALS,
                "The silent of the week together: what they will bring, with interval, and BG/NBD as a "
                "second opinion.",
                deps=["silent_churners", "recall_outcomes", "customer_activity", "order_lines"],
                made_by=(
                    "silent_windows.sql",
                    "purchase_histories.sql",
                    "repeat_spending.sql",
                    write_sleeping_value,
                    forecast,
                    fit_bg_nbd,
                ),
                kinds=_STATISTICS_KINDS,
            ),
            TableAsset(
                SLEEPING_VALUE,
                f"What the silent will bring over the next {VALUE_DAYS} days: chance to return × net sales "
                "then, learnt from past weeks, by class and length of silence; beside it the figure under "
                "the campaigns' own response. As a picture: *sleeping* in the metadata, *Show Markdown*.",
                # the weeks before are read, too, but named here they would all be made again with any of them
                deps=["silent_churners", "recall_outcomes", "order_lines"],
                made_by=("silent_windows.sql", write_sleeping_value, forecast),
                kinds=_STATISTICS_KINDS,
                lineage=_SLEEPING_LINEAGE,
            ),
            checks=checks.SLEEPING_VALUE_CHECKS,
        )
    )
    @one_connection
    def sleeping_value(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> Results:
        step = WeeklyStep(context, warehouse, shop, SLEEPING_VALUE, before=(SLEEPING_TOTALS,))
        write_sleeping_value(warehouse, shop, step.weeks)
        yield from step.results(
            checks.SLEEPING_VALUE_CHECKS, metadata=_sleeping_metadata(warehouse, shop, step.weeks[-1])
        )

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                VALUE_BACKTEST,
                "The value predicted at past weeks, from what was known then, against what happened. As "
                "pictures: *backtest* and *calibration* in the metadata, *Show Markdown*.",
                deps=["silent_churners", "order_lines"],
                made_by=("silent_windows.sql", write_value_backtest, forecast),
                kinds=_STATISTICS_KINDS,
                lineage=_BACKTEST_LINEAGE,
            ),
            TableAsset(
                BACKTEST_SUMMARY,
                "The error of the predictions of each past week and of all, and how often the interval held.",
                deps=["silent_churners", "order_lines"],
                made_by=("silent_windows.sql", write_value_backtest, forecast),
                kinds=_STATISTICS_KINDS,
            ),
            checks=checks.VALUE_BACKTEST_CHECKS,
        )
    )
    @one_connection
    def value_backtest(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> Results:
        step = WeeklyStep(context, warehouse, shop, VALUE_BACKTEST, after=(BACKTEST_SUMMARY,))
        write_value_backtest(warehouse, shop, step.weeks)
        yield from step.results(
            checks.VALUE_BACKTEST_CHECKS, metadata=_backtest_metadata(warehouse, shop, step.weeks[-1])
        )

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                DORMANCY_CURVE,
                f"For every length of silence, the share who still came back within {VALUE_DAYS} days, by "
                "number of orders. As a picture: *curve* in the metadata, *Show Markdown*.",
                deps=["customer_activity"],
                made_by=("silences.sql", write_dormancy_curve),
                kinds=_STATISTICS_KINDS,
                lineage=_DORMANCY_LINEAGE,
            ),
            TableAsset(
                DORMANCY_ADVICE,
                "The threshold of dormancy that the curve recommends, beside the one in force, with its "
                "reason.",
                deps=["dormancy_curve"],
                made_by=(write_dormancy_curve,),
                kinds=_STATISTICS_KINDS,
            ),
            checks=checks.DORMANCY_CURVE_CHECKS,
        )
    )
    @one_connection
    def dormancy_curve(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> Results:
        step = WeeklyStep(context, warehouse, shop, DORMANCY_CURVE, after=(DORMANCY_ADVICE,))
        write_dormancy_curve(warehouse, shop, step.weeks)
        yield from step.results(
            checks.DORMANCY_CURVE_CHECKS, metadata=_dormancy_metadata(warehouse, shop, step.weeks[-1])
        )

    return [recall_outcomes, recall_effect, returner_value, sleeping_value, value_backtest, dormancy_curve]


def _rows(warehouse: Warehouse, table: str, week: date) -> pl.DataFrame:
    return warehouse.read(f"select * from {table} where week = $week order by all", {"week": week})


def _one(warehouse: Warehouse, table: str, week: date) -> dict[str, Any]:
    """The only row of a week."""
    return _rows(warehouse, table, week).row(0, named=True)


def _picture(name: str, draw: Callable[[], str]) -> dg.MarkdownMetadataValue:
    encoded = base64.b64encode(draw().encode()).decode()
    return dg.MetadataValue.md(f"![{name}](data:image/svg+xml;base64,{encoded})")


def _figures(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Some figures of a row as metadata; those that aren't known are left out."""
    return {name: row[name] for name in names if row[name] is not None}


def _effect_metadata(warehouse: Warehouse, shop: Shop, week: date) -> dict[str, Any]:
    # drawing libraries are slow to load
    from rfm_pipeline.review.report.charts import effect_svg

    effects = _rows(warehouse, "recall_effect", week)
    pooled = effects.filter(pl.col("scope") == "pooled", pl.col("churn_class") == "all").to_dicts()
    if not pooled:
        return {"verdict": "no list was sealed yet"}
    names = ("campaigns", "verdict", "reason", "rate_lift", "incremental_customers", "incremental_sales")
    return {
        "effect": _picture("召回效果", lambda: effect_svg(effects)),
        **_figures(pooled[0], *names),
    }


def _sleeping_metadata(warehouse: Warehouse, shop: Shop, week: date) -> dict[str, Any]:
    from rfm_pipeline.review.report.charts import sleeping_svg

    totals = _one(warehouse, "sleeping_totals", week)
    cells = _rows(warehouse, "sleeping_value", week)
    names = (
        "customers",
        "value",
        "value_low",
        "value_high",
        "campaign_value",
        "second_opinion_value",
        "status",
        "reason",
    )
    picture = _picture("沉睡价值", lambda: sleeping_svg(cells, totals, currency=shop.shop.currency))
    return {"sleeping": picture, **_figures(totals, *names)}


def _backtest_metadata(warehouse: Warehouse, shop: Shop, week: date) -> dict[str, Any]:
    from rfm_pipeline.review.report.charts import backtest_svg, calibration_svg

    summary = _rows(warehouse, "backtest_summary", week)
    cells = _rows(warehouse, "value_backtest", week)
    [overall] = summary.filter(pl.col("predicted_week").is_null()).to_dicts()
    found = _figures(overall, "weeks_tested", "error", "covered", "status", "reason")
    if cells.is_empty():
        return found
    return {
        "backtest": _picture("回测", lambda: backtest_svg(summary, currency=shop.shop.currency)),
        "calibration": _picture("校准", lambda: calibration_svg(cells)),
        **found,
    }


def _dormancy_metadata(warehouse: Warehouse, shop: Shop, week: date) -> dict[str, Any]:
    from rfm_pipeline.review.report.charts import dormancy_svg

    advice = _one(warehouse, "dormancy_advice", week)
    curve = _rows(warehouse, "dormancy_curve", week)
    picture = _picture(
        "沉默曲线",
        lambda: dormancy_svg(
            curve,
            dormant_after_days=advice["dormant_after_days"],
            recommended_days=advice["recommended_days"],
        ),
    )
    names = ("dormant_after_days", "recommended_days", "status", "reason")
    return {"curve": picture, **_figures(advice, *names)}
