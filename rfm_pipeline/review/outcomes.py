"""What came of the sealed lists, as of a week. Nothing here knows Dagster."""

from collections.abc import Sequence
from datetime import date

from rfm_pipeline.ledger import Ledger
from rfm_pipeline.review.inputs import PACKAGE, campaigns
from rfm_pipeline.review.schemas import RECALL_OUTCOMES
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.sql import read_sql


def write_recall_outcomes(
    warehouse: Warehouse, ledger: Ledger, shop: Shop, weeks: Sequence[date]
) -> dict[date, int]:
    """Writes ``recall_outcomes`` for the weeks; returns each week's number of rows."""
    sql = read_sql(PACKAGE, RECALL_OUTCOMES.name)
    with warehouse.transaction() as session, campaigns(session, ledger, shop, weeks):
        return session.replace_weeks(
            RECALL_OUTCOMES, weeks, sql, {"response_days": shop.review.response_days}
        )
