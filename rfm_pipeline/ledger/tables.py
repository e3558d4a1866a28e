"""The ledger's tables, and the frames they are read into.

Belongs here: what a row is, its keys, the words for a status. How rows are written is ``store``'s; how a
ledger of an older version becomes one of this version is ``migrations``'.
"""

from typing import Any

import polars as pl
import sqlalchemy as sa

PENDING, DONE, FAILED = "pending", "done", "failed"
REJECTED, UNMATCHED = "rejected", "unmatched"
"""Neither is tried again for the same list: the sink refused it for good, or knows no such contact."""
FORGOTTEN = "forgotten:"
"""What the customer_id of a forgotten customer begins with; the beginning of their digest follows."""
LEFT_OPEN = "the customer was forgotten before the outcome was known"

METADATA = sa.MetaData()

CAMPAIGNS = sa.Table(
    "campaigns",
    METADATA,
    sa.Column("week", sa.Date, primary_key=True),
    sa.Column("listed", sa.Integer, nullable=False),
    sa.Column("sealed_at", sa.DateTime, nullable=False),
)

LANDINGS = sa.Table(
    "landings",
    METADATA,
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("content_hash", sa.String, nullable=False),
    sa.Column("file_name", sa.String, nullable=False),
)

ASSIGNMENTS = sa.Table(
    "assignments",
    METADATA,
    sa.Column("week", sa.Date, sa.ForeignKey("campaigns.week"), primary_key=True),
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("silent_since", sa.DateTime, nullable=False),
    sa.Column("churn_class", sa.String, nullable=False),
    sa.Column("arm", sa.String, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("favourite_sku", sa.String),
    sa.Column("favourite_product", sa.String),
    sa.Column("recency_days", sa.Integer, nullable=False),
    sa.Column("frequency", sa.Integer, nullable=False),
    # money as text: SQLite knows no decimal
    sa.Column("monetary", sa.String, nullable=False),
    sa.Column("offer", sa.String),
    sa.Column("coupon_code", sa.String, unique=True),
    sa.Column("sms", sa.String),
    sa.Column("email_subject", sa.String),
    sa.Column("email_body", sa.String),
    sa.Column("wecom_text", sa.String),
    sa.UniqueConstraint("customer_id", "silent_since", name="one_list_a_silence"),
)

TAG_ACTIONS = sa.Table(
    "tag_actions",
    METADATA,
    sa.Column("week", sa.Date, sa.ForeignKey("campaigns.week"), primary_key=True),
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("tag", sa.String, primary_key=True),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("churn_class", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("sink", sa.String, nullable=False),
    sa.Column("error", sa.String),
    sa.Column("requested_at", sa.DateTime, nullable=False),
    sa.Column("finished_at", sa.DateTime),
)

TAG_CALLS = sa.Table(
    "tag_calls",
    METADATA,
    sa.Column("week", sa.Date, sa.ForeignKey("campaigns.week"), primary_key=True),
    sa.Column("userid", sa.String, primary_key=True),
    sa.Column("external_userid", sa.String, primary_key=True),
    sa.Column("tag", sa.String, primary_key=True),
    sa.Column("action", sa.String, primary_key=True),
    sa.Column("customer_id", sa.String, nullable=False, index=True),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error", sa.String),
    sa.Column("requested_at", sa.DateTime, nullable=False),
    sa.Column("finished_at", sa.DateTime),
)

MESSAGES = sa.Table(
    "messages",
    METADATA,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("error", sa.String),
    sa.Column("requested_at", sa.DateTime, nullable=False),
    sa.Column("finished_at", sa.DateTime),
)

TOMBSTONES = sa.Table(
    "tombstones",
    METADATA,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("forgotten_at", sa.DateTime, nullable=False),
)

LEDGER_SETTINGS = sa.Table(
    "ledger_settings",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)

SPEAKING = (
    "favourite_sku",
    "favourite_product",
    "offer",
    "coupon_code",
    "sms",
    "email_subject",
    "email_body",
    "wecom_text",
)

ASSIGNMENT_SCHEMA: dict[str, Any] = {
    "week": pl.Date,
    "customer_id": pl.String,
    "silent_since": pl.Datetime("us"),
    "churn_class": pl.String,
    "arm": pl.String,
    "priority": pl.Int64,
    "favourite_sku": pl.String,
    "favourite_product": pl.String,
    "recency_days": pl.Int64,
    "frequency": pl.Int64,
    "monetary": pl.String,
    "offer": pl.String,
    "coupon_code": pl.String,
    "sms": pl.String,
    "email_subject": pl.String,
    "email_body": pl.String,
    "wecom_text": pl.String,
}
TAG_ACTION_SCHEMA: dict[str, Any] = {
    "week": pl.Date,
    "customer_id": pl.String,
    "tag": pl.String,
    "action": pl.String,
    "churn_class": pl.String,
    "reason": pl.String,
    "status": pl.String,
    "sink": pl.String,
    "error": pl.String,
}
TAG_CALL_SCHEMA: dict[str, Any] = {
    "week": pl.Date,
    "customer_id": pl.String,
    "userid": pl.String,
    "external_userid": pl.String,
    "tag": pl.String,
    "action": pl.String,
    "status": pl.String,
    "attempts": pl.Int64,
    "error": pl.String,
}
MESSAGE_SCHEMA: dict[str, Any] = {
    "kind": pl.String,
    "name": pl.String,
    "status": pl.String,
    "error": pl.String,
    "requested_at": pl.Datetime("us"),
    "finished_at": pl.Datetime("us"),
}
