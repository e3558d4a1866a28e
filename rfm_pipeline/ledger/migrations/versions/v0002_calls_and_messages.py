"""Version 2: calls to WeCom, and messages to the team.

Ledgers of a program between the versions may hold these tables, so what is there stays.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the tables, and finds a customer's calls by an index."""
    op.create_table(
        "tag_calls",
        sa.Column("week", sa.Date, sa.ForeignKey("campaigns.week"), primary_key=True),
        sa.Column("userid", sa.String, primary_key=True),
        sa.Column("external_userid", sa.String, primary_key=True),
        sa.Column("tag", sa.String, primary_key=True),
        sa.Column("action", sa.String, primary_key=True),
        sa.Column("customer_id", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.String),
        sa.Column("requested_at", sa.DateTime, nullable=False),
        sa.Column("finished_at", sa.DateTime),
        if_not_exists=True,
    )
    op.create_index("ix_tag_calls_customer_id", "tag_calls", ["customer_id"], if_not_exists=True)
    op.create_table(
        "messages",
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("error", sa.String),
        sa.Column("requested_at", sa.DateTime, nullable=False),
        sa.Column("finished_at", sa.DateTime),
        if_not_exists=True,
    )
