"""The week's recall list: who is on it, in which arm, with which messages.

A sealed week is read back from the ledger and never computed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from rfm_pipeline.contacts.messages import write_messages
from rfm_pipeline.contacts.reach import Reach
from rfm_pipeline.contacts.schemas import OUTREACH_LOG
from rfm_pipeline.ledger import ASSIGNMENT_SCHEMA, Ledger
from rfm_pipeline.recall.schemas import RECALL_LIST
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.columns import MONEY
from rfm_pipeline.warehouse.duckdb import Session, Warehouse
from rfm_pipeline.warehouse.sql import read_sql

LIST_COLUMNS = tuple(RECALL_LIST.schema.columns)


@dataclass(frozen=True)
class ListReport:
    """What :func:`write_recall_list` wrote.

    Attributes:
        rows: Customers on the list, by week.
        sealed: The weeks whose list came from the ledger.
        queued: Customers who would have been listed but for the weekly capacity, by week.
    """

    rows: dict[date, int]
    sealed: list[date]
    queued: dict[date, int]


def write_recall_list(
    warehouse: Warehouse, ledger: Ledger, shop: Shop, reach: Reach, weeks: Sequence[date]
) -> ListReport:
    """Writes ``recall_list`` for the weeks."""
    sealed = sorted(ledger.sealed_weeks() & set(weeks))
    open_weeks = [week for week in weeks if week not in sealed]
    listed = ledger.assignments(columns=("week", "customer_id", "silent_since", "arm"))
    with warehouse.transaction() as session:
        drawn, queued = _draw(session, shop, reach, listed, open_weeks)
        rows = pl.concat(
            [
                write_messages(shop, drawn, reach.closed).select(LIST_COLUMNS),
                sealed_rows(ledger, sealed).select(LIST_COLUMNS),
            ]
        )
        with session.frames(list_rows=rows):
            counts = session.replace_weeks(RECALL_LIST, weeks, "select * from list_rows")
    return ListReport(counts, sealed, queued)


def sealed_rows(ledger: Ledger, weeks: Sequence[date]) -> pl.DataFrame:
    """The sealed lists of some weeks, as the ledger holds them."""
    return ledger.assignments(weeks).with_columns(pl.col("monetary").cast(MONEY))


def ledger_rows(listed: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``recall_list`` in the shape the ledger keeps."""
    return listed.with_columns(pl.col("monetary").cast(pl.String)).select(*ASSIGNMENT_SCHEMA)


def queue_length(warehouse: Warehouse, ledger: Ledger, shop: Shop, reach: Reach, week: date) -> int:
    """How many customers could be on a sealed week's list, as things are now, and are not."""
    listed = ledger.assignments(columns=("week", "customer_id", "silent_since", "arm"))
    with warehouse.transaction() as session:
        _make_queue(session, shop, reach, listed, [week])
        with session.frames(listed=listed.filter(week=week)):
            queued = session.value(
                "select count(*) from recall_queue where customer_id not in (select customer_id from listed)"
            )
        return int(queued)


def _draw(
    session: Session, shop: Shop, reach: Reach, listed: pl.DataFrame, weeks: Sequence[date]
) -> tuple[pl.DataFrame, dict[date, int]]:
    """The rows of ``recall_list.sql`` for the weeks, and how many stay queued."""
    _make_queue(session, shop, reach, listed, weeks)
    drawn = session.read(
        f"{read_sql('rfm_pipeline.recall', 'recall_list')} order by week, priority",
        {
            "shop": shop.shop.name,
            "holdout_share": shop.recall.holdout_share,
            "weekly_capacity": shop.recall.weekly_capacity,
        },
    )
    everyone = session.read("select week, count(*) as customers from recall_queue group by week")
    on_list = dict(drawn.group_by("week").len().iter_rows())
    return drawn, {week: customers - on_list.get(week, 0) for week, customers in everyone.iter_rows()}


def _make_queue(
    session: Session, shop: Shop, reach: Reach, listed: pl.DataFrame, weeks: Sequence[date]
) -> None:
    """Makes ``recall_queue`` for the weeks, a table of this connection only."""
    session.target(weeks)
    # where no contact was ever logged there is no such table
    session.create(OUTREACH_LOG)
    nobody = pl.DataFrame(schema={"customer_id": pl.String})
    reachable = nobody if reach.reachable is None else reach.reachable
    with session.frames(listed=listed, unreachable=reach.unreachable, reachable=reachable):
        session.execute(
            f"create or replace temp table recall_queue as {read_sql('rfm_pipeline.recall', 'recall_queue')}",
            {"cooldown_days": shop.recall.cooldown_days, "contacts_known": reach.reachable is not None},
        )
