"""The contract of the recall stage's tables."""

import pandera.polars as pa
import polars as pl

from rfm_pipeline.shop import ARMS, CHURN_CLASSES, RECALL
from rfm_pipeline.warehouse.columns import MONEY, TIME, at_least, column, one_of, rows
from rfm_pipeline.warehouse.schema import Table

ADD, REMOVE = "add", "remove"
STATUSES = ["pending", "done", "failed", "rejected", "unmatched"]

_WEEK = {"week": column(pl.Date, "the Monday of the week")}
_CUSTOMER = {"customer_id": column(pl.String, "the customer, as the shop's system names them")}
_CLASS = {
    "churn_class": column(
        pl.String, "A bestseller, B clearance or cheap only, C neither", one_of(CHURN_CLASSES)
    )
}
_WORDS = ("sms", "email_subject", "email_body", "wecom_text")


def _holdout_is_left_alone() -> pl.Expr:
    """A hold-out row holds nothing that could be sent."""
    sendable = pl.any_horizontal(pl.col(name).is_not_null() for name in (*_WORDS, "offer", "coupon_code"))
    return (pl.col("arm") == RECALL) | ~sendable


RECALL_LIST = Table(
    name="recall_list",
    schema=pa.DataFrameSchema(
        {
            **_WEEK,
            **_CUSTOMER,
            "silent_since": column(TIME, "the last order: the silence is named by it"),
            **_CLASS,
            "arm": column(pl.String, "recall or holdout", one_of(ARMS)),
            "priority": column(pl.Int64, "1 first: by M, then lower R, then customer_id", at_least(1)),
            "favourite_sku": column(pl.String, "what the messages speak of", nullable=True),
            "favourite_product": column(pl.String, "its name as the customer bought it", nullable=True),
            "recency_days": column(pl.Int64, "R: days from the last order's date to as_of", at_least(1)),
            "frequency": column(pl.Int64, "F: paid orders, minus those fully refunded", at_least(0)),
            "monetary": column(MONEY, "M: money paid, minus refunds and returns"),
            "offer": column(pl.String, "what the class is offered; null for the hold-out", nullable=True),
            "coupon_code": column(
                pl.String, "unique per customer and campaign; null for the hold-out", nullable=True
            ),
            "sms": column(pl.String, "text message; null where that channel is closed", nullable=True),
            "email_subject": column(pl.String, "e-mail subject", nullable=True),
            "email_body": column(pl.String, "e-mail body", nullable=True),
            "wecom_text": column(pl.String, "what the service staff write in WeCom", nullable=True),
        },
        checks=[rows("the hold-out is left alone", _holdout_is_left_alone)],
        strict=True,
    ),
    key=("week", "customer_id"),
)

_ACTION = {
    **_WEEK,
    **_CUSTOMER,
    "action": column(pl.String, "add or remove", one_of([ADD, REMOVE])),
    "tag": column(pl.String, "the tag's name"),
    **_CLASS,
    "reason": column(pl.String, "why: listed, not done yet, returned, suppressed or campaign over"),
}

TAG_PLAN = Table(
    name="tag_plan",
    schema=pa.DataFrameSchema(_ACTION, strict=True),
    key=("week", "customer_id", "tag"),
)

CUSTOMER_TAGS = Table(
    name="customer_tags",
    schema=pa.DataFrameSchema(
        {
            **_ACTION,
            "status": column(pl.String, "what came of it", one_of(STATUSES)),
            "sink": column(pl.String, "who carried it out"),
            "error": column(pl.String, "why it failed", nullable=True),
        },
        strict=True,
    ),
    key=("week", "customer_id", "tag"),
)
