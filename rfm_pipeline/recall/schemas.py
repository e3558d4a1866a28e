"""The contract of the recall stage's tables."""

import pandera.polars as pa
import polars as pl

from rfm_pipeline.contacts.vocabulary import CONTACT_WORDS, NOT_REACHED, REACHED, REFUSED
from rfm_pipeline.warehouse.columns import MONEY, TIME, at_least, column, one_of, rows
from rfm_pipeline.warehouse.schema import Table

RECALL, HOLDOUT = "recall", "holdout"
ADD, REMOVE = "add", "remove"
STATUSES = ["pending", "done", "failed", "rejected", "unmatched"]

_WEEK = {"week": column(pl.Date, "the Monday of the week")}
_CUSTOMER = {"customer_id": column(pl.String, "the customer, as the shop's system names them")}
_CLASS = {
    "churn_class": column(pl.String, "A bestseller, B clearance or cheap only, C neither", one_of("ABC"))
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
            "arm": column(pl.String, "recall or holdout", one_of([RECALL, HOLDOUT])),
            "priority": column(pl.Int64, "1 first: by M, then lower R, then customer_id", at_least(1)),
            "favourite_sku": column(pl.String, "what the words speak of", nullable=True),
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

_CHANNELS = [*dict.fromkeys(CONTACT_WORDS.values())]

OUTREACH_LOG = Table(
    name="outreach_log",
    schema=pa.DataFrameSchema(
        {
            "week": column(pl.Date, "the week of the list that the contact belongs to"),
            **_CUSTOMER,
            "arm": column(pl.String, "as drawn; a contacted hold-out is an alarm", one_of([RECALL, HOLDOUT])),
            "channel": column(pl.String, "how: sms, email, wecom or phone", one_of(_CHANNELS)),
            "outcome": column(
                pl.String,
                "reached, not_reached, or refused: wants no messages any more",
                one_of([REACHED, NOT_REACHED, REFUSED]),
            ),
            "reached_at": column(TIME, "when, on the shop's clock; null if it wasn't said", nullable=True),
            "source_file": column(pl.String, "the first file that tells of it, below the home folder"),
        },
        strict=True,
    ),
    key=("week", "customer_id", "channel", "outcome", "reached_at"),
    weekly=False,
)

_TIME = "a date and time such as 2026-03-10 14:30"
FINDINGS: dict[str, tuple[str | None, str | None]] = {
    "holdout": ("customer_id", "nobody of the hold-out: who contacted them, and with which list?"),
    "unknown_week": ("week", "the Monday of a list that was sent, here or in the file's name"),
    "not_on_the_list": ("customer_id", "a customer on that week's list"),
    "outcome_not_understood": ("outcome", "已触达, 未接通 or 拒绝联系 (reached, not_reached, refused)"),
    "channel_not_understood": ("channel", "短信, 邮件, 企业微信 or 电话 (sms, email, wecom, phone)"),
    "time_not_understood": ("reached_at", _TIME),
    "before_the_list": ("reached_at", f"{_TIME}, not before the Monday on which the list is made"),
    "in_the_future": ("reached_at", f"{_TIME} that has passed"),
    "stops_the_recall": (None, None),
    "refusals_not_kept": (None, None),
}
"""What somebody must look at: the column, and what was expected there."""

OUTREACH_FINDINGS = Table(
    name="outreach_findings",
    schema=pa.DataFrameSchema(
        {
            "source_file": column(pl.String, "the file, below the home folder"),
            "sheet": column(pl.String, "the worksheet; empty for a CSV file"),
            "row_no": column(pl.Int64, "the row, 1 below the header; 0: the file as a whole", at_least(0)),
            "column_name": column(pl.String, "the column that isn't right", nullable=True),
            "reason": column(pl.String, "what is wrong", one_of([*FINDINGS])),
            "expected": column(pl.String, "what was expected there"),
            "week": column(pl.Date, "the week of the list it speaks of", nullable=True),
            "customer_id": column(pl.String, "the customer of that list", nullable=True),
        },
        strict=True,
    ),
    key=("source_file", "sheet", "row_no", "reason", "customer_id"),
    weekly=False,
)
