"""The review stage's assets: ``recall_outcomes``."""

import dagster as dg

from rfm_pipeline.asset_kit import asked_weeks, asset_arguments, one_connection, weekly_result
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.review.checks import RECALL_OUTCOMES_CHECKS
from rfm_pipeline.review.outcomes import write_recall_outcomes
from rfm_pipeline.review.schemas import RECALL_OUTCOMES
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse

STAGE = "review"


def build_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The assets of the stage for one shop."""

    @dg.asset(
        deps=["customer_tags", "order_lines"],
        **asset_arguments(
            shop,
            RECALL_OUTCOMES,
            STAGE,
            "Per campaign week, class and arm: how many came back in the response window and what they "
            "spent, growing week by week until the window closes.",
            RECALL_OUTCOMES_CHECKS,
            kinds=frozenset({"duckdb", "sql", "sqlite"}),
        ),
    )
    @one_connection
    def recall_outcomes(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult:
        rows = write_recall_outcomes(warehouse, ledger, shop, asked_weeks(context))
        return weekly_result(context, warehouse, shop, RECALL_OUTCOMES, rows, RECALL_OUTCOMES_CHECKS)

    return [recall_outcomes]
