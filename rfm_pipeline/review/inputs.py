"""What the review's tables are made from: earlier weeks' snapshots and the ledger's facts as frames.

Belongs here: fetching. What is computed from it is in the modules named after the tables.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import polars as pl

from rfm_pipeline.contacts.schemas import OUTREACH_LOG
from rfm_pipeline.ledger import DONE, Ledger
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Session
from rfm_pipeline.warehouse.sql import read_sql

PACKAGE = "rfm_pipeline.review"


def tagged_customers(ledger: Ledger) -> pl.DataFrame:
    """Who of each campaign was tagged.

    Returns:
        week (of the campaign) and customer_id, each pair once.
    """
    actions = ledger.tag_actions()
    tagged = actions.filter(pl.col("action") == "add", pl.col("status") == DONE).sort("week")
    lists = ledger.assignments(columns=("week", "customer_id")).sort("week")
    # a tag that a later week's run put on is still that of the list before
    found = tagged.select("customer_id", tagged_in="week").join_asof(
        lists,
        left_on="tagged_in",
        right_on="week",
        by="customer_id",
        coalesce=False,
        check_sortedness=False,
    )
    return found.select("week", "customer_id").drop_nulls().unique()


@contextmanager
def campaigns(session: Session, ledger: Ledger, shop: Shop, weeks: Sequence[date]) -> Iterator[None]:
    """Lets SQL read ``assignments``, ``tagged``, ``outreach_log``, and ``recall_answers`` as of each week."""
    assignments = ledger.assignments(columns=("week", "customer_id", "churn_class", "arm"))
    # where no contact was ever logged there is no such table
    session.create(OUTREACH_LOG)
    with session.frames(assignments=assignments, tagged=tagged_customers(ledger)):
        session.target(weeks)
        session.execute(
            f"create or replace temp table recall_answers as {read_sql(PACKAGE, 'recall_answers')}",
            {"response_days": shop.review.response_days},
        )
        try:
            yield
        finally:
            session.execute("drop table if exists recall_answers")
