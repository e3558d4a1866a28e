"""Version 1: lists, tag changes, arrivals and tombstones, as they were before versions were kept.

Ledgers from that time hold some or all of these tables, so what is there stays.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables that are missing."""
    op.create_table(
        "campaigns",
        sa.Column("week", sa.Date, primary_key=True),
        sa.Column("listed", sa.Integer, nullable=False),
        sa.Column("sealed_at", sa.DateTime, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "landings",
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("content_hash", sa.String, nullable=False),
        sa.Column("file_name", sa.String, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "assignments",
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
        sa.Column("monetary", sa.String, nullable=False),
        sa.Column("offer", sa.String),
        sa.Column("coupon_code", sa.String, unique=True),
        sa.Column("sms", sa.String),
        sa.Column("email_subject", sa.String),
        sa.Column("email_body", sa.String),
        sa.Column("wecom_text", sa.String),
        sa.UniqueConstraint("customer_id", "silent_since", name="one_list_a_silence"),
        if_not_exists=True,
    )
    op.create_table(
        "tag_actions",
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
        if_not_exists=True,
    )
    op.create_table(
        "tombstones",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("forgotten_at", sa.DateTime, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "ledger_settings",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
        if_not_exists=True,
    )
