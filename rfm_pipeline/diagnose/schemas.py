"""The contract of the diagnose stage's tables, from ``customer_activity`` to ``new_silent_churners``."""

import pandera.polars as pa
import polars as pl

from rfm_pipeline.shop import CHURN_CLASSES
from rfm_pipeline.warehouse.columns import MONEY, TIME, at_least, column, one_of, rows
from rfm_pipeline.warehouse.schema import Table

SEGMENTS = {
    "champion": "高价值常客",
    "rising_vip": "新锐VIP",
    "lapsing_regular": "需唤醒熟客",
    "active_regular": "活跃熟客",
    "silent_churner": "静默流失",
    "vocal_churner": "显性流失",
    "developing": "培育中新客",
}
RFM_CLASSES = tuple(
    f"{worth}{stage}" for worth in ("重要", "一般") for stage in ("价值", "发展", "保持", "挽留")
)
LIMIT = pl.Decimal(38, 10)

_WEEK = {"week": column(pl.Date, "the Monday of the week")}
_CUSTOMER = {"customer_id": column(pl.String, "the customer, as the shop's system names them")}
_SUMS = {
    "frequency": column(pl.Int64, "F: paid orders, minus those fully refunded", at_least(0)),
    "monetary": column(MONEY, "M: money paid, minus refunds and returns; may be negative"),
}
_RFM = {
    "recency_days": column(pl.Int64, "R: days from the last order's date to as_of", at_least(1)),
    **_SUMS,
}

CUSTOMER_ACTIVITY = Table(
    name="customer_activity",
    schema=pa.DataFrameSchema(
        {
            **_CUSTOMER,
            "week": column(pl.Date, "the Monday of the week in which it happened"),
            "orders": column(pl.Int64, "paid orders placed", at_least(0)),
            "refunded_orders": column(pl.Int64, "orders whose refunds reached their amount", at_least(0)),
            "sales": column(MONEY, "money paid", at_least(0)),
            "refunds": column(MONEY, "linked refunds and returns", at_least(0)),
            "first_order_at": column(TIME, "earliest paid order of the week", nullable=True),
            "last_order_at": column(TIME, "latest paid order of the week", nullable=True),
            "last_return_at": column(TIME, "latest refund or return of the week", nullable=True),
        },
        strict=True,
    ),
    key=("customer_id", "week"),
    weekly=False,
)

CUSTOMER_TOTALS = Table(
    name="customer_totals",
    schema=pa.DataFrameSchema(
        {
            "week": column(pl.Date, "the Monday of the week up to which all activity is added up"),
            **_CUSTOMER,
            **_SUMS,
            "first_order_at": column(TIME, "earliest paid order", nullable=True),
            "last_order_at": column(TIME, "latest paid order", nullable=True),
            "last_return_at": column(TIME, "latest refund or return", nullable=True),
        },
        strict=True,
    ),
    key=("customer_id", "week"),
    weekly=False,
)

CUSTOMER_RFM = Table(
    name="customer_rfm",
    schema=pa.DataFrameSchema(
        {
            **_WEEK,
            "as_of": column(pl.Date, "the Monday after: everything before it is known"),
            **_CUSTOMER,
            **_RFM,
            "first_order_at": column(TIME, "earliest paid order, refunded or not"),
            "last_order_at": column(TIME, "latest paid order, refunded or not"),
            "last_return_at": column(TIME, "latest refund or return", nullable=True),
        },
        checks=[
            rows(
                "first order is not after the last",
                lambda: pl.col("first_order_at") <= pl.col("last_order_at"),
            ),
            rows(
                "last order is before as_of",
                lambda: pl.col("last_order_at") < pl.col("as_of").cast(TIME),
            ),
        ],
        strict=True,
    ),
    key=("week", "customer_id"),
)

SEGMENT_THRESHOLDS = Table(
    name="segment_thresholds",
    schema=pa.DataFrameSchema(
        {
            **_WEEK,
            "customers": column(pl.Int64, "customers of the week", at_least(0)),
            "frequency_high": column(pl.Int32, "F is high from here"),
            "monetary_high": column(
                LIMIT, "M is high from here, or above it; null in a week without customers", nullable=True
            ),
            "monetary_high_quantile": column(
                pl.Float64, "the quantile it came from; null if it is a fixed amount", nullable=True
            ),
            "monetary_high_is_exclusive": column(
                pl.Boolean, "whether M is high only above monetary_high, because many customers share it"
            ),
            "dormant_after_days": column(pl.Int32, "dormant from so many days"),
            "lapsing_after_days": column(pl.Int32, "lapsing from so many days"),
        },
        strict=True,
    ),
    key=("week",),
)

CUSTOMER_SEGMENTS = Table(
    name="customer_segments",
    schema=pa.DataFrameSchema(
        {
            **_WEEK,
            **_CUSTOMER,
            "segment": column(pl.String, "one of the seven segments", one_of(list(SEGMENTS))),
            "rfm_class": column(pl.String, "one of the eight classes of Chinese retail", one_of(RFM_CLASSES)),
            **_RFM,
            "last_order_at": column(TIME, "latest paid order, refunded or not"),
        },
        strict=True,
    ),
    key=("week", "customer_id"),
)

BESTSELLERS = Table(
    name="bestsellers",
    schema=pa.DataFrameSchema(
        {
            **_WEEK,
            "position": column(pl.Int64, "rank, 1 is the best", at_least(1)),
            "sku": column(pl.String, "the article, trimmed and in upper case"),
            "product_name": column(pl.String, "its latest name", nullable=True),
            "orders": column(pl.Int64, "orders that hold it, in the window", at_least(1)),
            "revenue": column(MONEY, "money paid for it, in the window"),
        },
        strict=True,
    ),
    key=("week", "position"),
)

LOW_PRICES = Table(
    name="low_prices",
    schema=pa.DataFrameSchema(
        {
            **_WEEK,
            "product_lines": column(pl.Int64, "product lines in the window", at_least(0)),
            "low_price": column(LIMIT, "low-priced up to here; null without product lines", nullable=True),
        },
        strict=True,
    ),
    key=("week",),
)

_CHURNER = {
    **_WEEK,
    **_CUSTOMER,
    "churn_class": column(
        pl.String, "A bestseller, B clearance or cheap only, C neither", one_of(CHURN_CLASSES)
    ),
    "favourite_sku": column(pl.String, "the SKU most was spent on; for A among bestsellers", nullable=True),
    "favourite_product": column(pl.String, "its name as the customer bought it", nullable=True),
    "silent_since": column(TIME, "the last order: the silence is named by it"),
    **_RFM,
}

SILENT_CHURNERS = Table(
    name="silent_churners",
    schema=pa.DataFrameSchema(_CHURNER, strict=True),
    key=("week", "customer_id"),
)

NEW_SILENT_CHURNERS = Table(
    name="new_silent_churners",
    schema=pa.DataFrameSchema(
        {**_CHURNER, "is_backlog": column(pl.Boolean, "whether the grid begins with this week")},
        strict=True,
    ),
    key=("week", "customer_id"),
)

TABLES = (
    CUSTOMER_ACTIVITY,
    CUSTOMER_TOTALS,
    CUSTOMER_RFM,
    SEGMENT_THRESHOLDS,
    CUSTOMER_SEGMENTS,
    BESTSELLERS,
    LOW_PRICES,
    SILENT_CHURNERS,
    NEW_SILENT_CHURNERS,
)
"""All tables of the stage, in the order in which they are made."""
