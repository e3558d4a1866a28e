"""The contract of the review stage's tables."""

import pandera.polars as pa
import polars as pl

from rfm_pipeline.warehouse.columns import MONEY, at_least, column, one_of
from rfm_pipeline.warehouse.schema import Table

RECALL_OUTCOMES = Table(
    name="recall_outcomes",
    schema=pa.DataFrameSchema(
        {
            "week": column(pl.Date, "the Monday of the week at which it is told"),
            "campaign_week": column(pl.Date, "the week whose list it is about"),
            "churn_class": column(pl.String, "the class on the list", one_of("ABC")),
            "arm": column(pl.String, "recall or holdout", one_of(["recall", "holdout"])),
            "assigned": column(pl.Int64, "customers on the list", at_least(1)),
            "returned": column(pl.Int64, "of them, those with a paid order in the window", at_least(0)),
            "response_rate": column(pl.Float64, "returned / assigned", at_least(0)),
            "orders": column(pl.Int64, "paid orders in the window", at_least(0)),
            "net_sales": column(MONEY, "their money, minus linked refunds known by then"),
            "is_final": column(pl.Boolean, "whether the window has closed; later refunds still count"),
        },
        strict=True,
    ),
    key=("week", "campaign_week", "churn_class", "arm"),
)
