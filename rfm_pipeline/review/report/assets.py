"""The review stage's documents as assets: the owner's weekly page and the playbook.

They read tables and write files; no table is made from them.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from rfm_pipeline.orchestration.asset_arguments import (
    Stage,
    asked_weeks,
    handout_arguments,
    one_connection,
)
from rfm_pipeline.review.report.page import read_figures, write_reports
from rfm_pipeline.review.report.playbook import write_playbook
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse

STAGE = Stage("review", settings=("shop", "rules", "review"))
_KINDS = frozenset({"html"})


def build_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The documents of one shop."""

    @dg.asset(
        **handout_arguments(
            shop,
            "weekly_report",
            STAGE,
            "The owner's page: where the money sleeps, what it is worth, what the recall brought and how "
            "sure that is. One self-contained HTML file a week in out/reports/; counts and sums only.",
            _KINDS,
        ),
        deps=[
            "customer_segments",
            "segment_thresholds",
            "new_silent_churners",
            "recall_list",
            "recall_effect",
            "returner_value",
            "sleeping_value",
            "sleeping_totals",
            "value_backtest",
            "backtest_summary",
            "dormancy_curve",
            "dormancy_advice",
        ],
    )
    @one_connection
    def weekly_report(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult:
        written = write_reports(warehouse, shop, asked_weeks(context))
        return dg.MaterializeResult(metadata=_report_metadata(warehouse, shop, written))

    @dg.asset(
        **handout_arguments(
            shop,
            "recall_playbook",
            STAGE,
            "The method as a document for operations: thresholds in force with counts, the SQL of every "
            "table, the words with an example, the weekly routine. Rewritten each time, in out/playbook/.",
            _KINDS,
            is_weekly=False,
        ),
        deps=["customer_segments", "segment_thresholds"],
    )
    @one_connection
    def recall_playbook(warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult:
        written = write_playbook(warehouse, shop)
        return dg.MaterializeResult(
            metadata={form: dg.MetadataValue.path(str(path)) for form, path in written.items()}
        )

    return [weekly_report, recall_playbook]


def _report_metadata(warehouse: Warehouse, shop: Shop, written: Mapping[date, Path]) -> dict[str, Any]:
    """The newest page's file and headline figures."""
    week, path = max(written.items())
    with warehouse.transaction() as session:
        figures = read_figures(session, shop, week)
    headlines = {
        "customers": figures.totals["customers"],
        "silent_churners": figures.totals["silent"],
        "new_silent_churners": figures.totals["new"],
        "sleeping_value": figures.sleeping["value"],
        "incremental_customers": (figures.pooled or {}).get("incremental_customers"),
    }
    return {
        "report": dg.MetadataValue.path(str(path)),
        "pages": len(written),
        "bytes": path.stat().st_size,
        **{name: value for name, value in headlines.items() if value is not None},
    }
