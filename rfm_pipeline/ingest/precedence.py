"""Which of two exports is the newer: by what is inside, by their names, by when they were written.

Exports that land in different runs stay in the order of arrival, which the ledger keeps. Those that land
together are put in order here, after their rows are read: a batch's number says its place. Belongs here, too:
the orders that a later export sets back, each by its number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from rfm_pipeline.ingest.files.names import NameKey, name_key, time_stamp
from rfm_pipeline.ingest.schemas import (
    ORDER_BATCHES,
    RAW_ORDERS,
    REJECTED_ROWS,
    SET_BACK_ORDERS,
    UNPAID_ORDERS,
)
from rfm_pipeline.warehouse.duckdb import Session
from rfm_pipeline.warehouse.sql import read_sql

BY_CONTENT, BY_NAME, BY_TIME, BY_TEXT = (
    "what is inside",
    "its name",
    "its modification time",
    "the alphabet",
)


@dataclass(frozen=True)
class Candidate:
    """An export whose place is open.

    Attributes:
        batch_id: Its number now.
        file_name: Below ``orders/``.
        newest_at: The newest time inside, or the time stamp of its name if that is later; None for an export
            without any.
        modified_ns: When the file was last written.
    """

    batch_id: int
    file_name: str
    newest_at: datetime | None
    modified_ns: int

    @property
    def key(self) -> tuple[datetime, NameKey, int, str]:
        """Orders exports, the newest last."""
        return (self.newest_at or datetime.min, name_key(self.file_name), self.modified_ns, self.file_name)


@dataclass(frozen=True)
class Place:
    """Where an export stands among those that landed with it.

    Attributes:
        file_name: Below ``orders/``.
        newest_at: As of :class:`Candidate`.
        by: What puts it behind the one before; None for the first.
    """

    file_name: str
    newest_at: datetime | None
    by: str | None


def newest_of(rows: pl.DataFrame) -> datetime | None:
    """The newest time that rows tell: an order, a payment, a refund, a cancellation, another change."""
    newest = rows.select(
        pl.max_horizontal(pl.col("ordered_at", "refunded_at", "cancelled_at", "updated_at", "paid_at").max())
    ).item()
    assert newest is None or isinstance(newest, datetime)
    return newest


def with_stamp(newest_at: datetime | None, file_name: str, zone: str) -> datetime | None:
    """The newest time inside, or the export's own stamp if that is later."""
    return max((at for at in (newest_at, time_stamp(file_name, zone)) if at is not None), default=None)


def put_in_order(session: Session, candidates: Iterable[Candidate]) -> list[Place]:
    """Numbers batches so that the newest has the highest number among them.

    Args:
        session: The caller's transaction; the orders of batches that move are touched.
        candidates: The batches; they share their numbers out among themselves.

    Returns:
        Their places, the newest last.
    """
    found = sorted(candidates, key=lambda one: one.key)
    numbers = sorted(one.batch_id for one in found)
    moved = [(one.batch_id, new) for one, new in zip(found, numbers, strict=True) if one.batch_id != new]
    if moved:
        frame = pl.DataFrame(moved, schema={"old": pl.Int64, "new": pl.Int64}, orient="row")
        with session.frames(renumbered=frame):
            for table in (RAW_ORDERS, UNPAID_ORDERS, REJECTED_ROWS, ORDER_BATCHES):
                session.execute(
                    f"update {table.name} set batch_id = r.new from renumbered r where batch_id = r.old"
                )
            session.execute(
                f"insert into touched_orders select distinct order_id from {RAW_ORDERS.name} "
                "where batch_id in (select new from renumbered)"
            )
    return [
        Place(one.file_name, one.newest_at, None if number == 0 else _reason(found[number - 1], one))
        for number, one in enumerate(found)
    ]


def _reason(before: Candidate, after: Candidate) -> str:
    reasons = (BY_CONTENT, BY_NAME, BY_TIME, BY_TEXT)
    return next(reason for reason, old, new in zip(reasons, before.key, after.key, strict=True) if old != new)


def note_set_back(session: Session) -> None:
    """Notes which of the touched orders the newest export sets back: see ``set_back_orders.sql``."""
    session.execute(
        f"delete from {SET_BACK_ORDERS.name} where order_id in (select order_id from touched_orders)"
    )
    if session.value(f"select count(*) from {ORDER_BATCHES.name}") > 1:
        sql = read_sql("rfm_pipeline.ingest", SET_BACK_ORDERS.name)
        session.execute(f"insert into {SET_BACK_ORDERS.name} by name {sql}")


def set_back(session: Session, batches: Sequence[int]) -> list[dict[str, Any]]:
    """The orders that some batches set back, by number."""
    return session.read(
        f"select * from {SET_BACK_ORDERS.name} where batch_id in (select unnest($batches::bigint[])) "
        "order by batch_id, order_id",
        {"batches": list(batches)},
    ).to_dicts()
