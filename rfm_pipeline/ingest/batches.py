"""One batch: the rows of an export, or of a read of the database, on their way into the warehouse.

Belongs here: the stream from typed rows to ``raw_orders``, ``rejected_rows``, ``unpaid_orders`` and the
counts in ``order_batches``, all inside the caller's transaction. Which batches are due is for
``ingest.loading`` to say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from rfm_pipeline.ingest.files.packed import one_a_row
from rfm_pipeline.ingest.files.reading import (
    ACCEPTED,
    EXTRA_COLUMNS,
    KEY_DAMAGED,
    KEY_MASKED,
    OTHER_CURRENCY,
    REJECTED,
    UNPAID,
    Rules,
    Source,
    read_rows,
)
from rfm_pipeline.ingest.precedence import newest_of, with_stamp
from rfm_pipeline.ingest.presets import CANONICAL
from rfm_pipeline.ingest.schemas import ORDER_BATCHES, RAW_ORDERS, REJECTED_ROWS, UNPAID_ORDERS
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.warehouse.duckdb import Session

DATABASE = "database:"
"""What the name of a batch begins with that came from a database, not from a file."""

# line_no is left out: where the export has none, the row's number stands there
_HASHED = [
    name for name in (*CANONICAL, *EXTRA_COLUMNS) if name not in ("line_no", "row_kind", "is_reckoned")
]
_FORGOTTEN = "(of a person who asked to be forgotten)"
_PERSONAL = ("customer_id", "phone", "email", "name", "accepts_marketing")


@dataclass(frozen=True)
class Batch:
    """What is known of a batch before its rows are read.

    Attributes:
        file_name: The export, below ``orders/``.
        content_hash: SHA-256 of the file.
        read_as: Hash of the settings it is read with.
        watermark: Of a database: the newest change that was read.
    """

    file_name: str
    content_hash: str
    read_as: str
    watermark: str | None = None


@dataclass
class _Counts:
    """What became of the rows, added up while they pass."""

    read: int = 0
    accepted: int = 0
    unpaid: int = 0
    rejected: int = 0
    without_customer: int = 0
    masked: int = 0
    damaged: int = 0
    from_fallback: int = 0
    unnamed: tuple[str, ...] = ()
    aside: list[Path] = field(default_factory=list)
    hashes: list[pl.Series] = field(default_factory=list)
    newest_at: datetime | None = None
    other_currency: int = 0
    currency: str | None = None
    made_gross: int = 0
    waiting: list[pl.DataFrame] = field(default_factory=list)

    @property
    def identical(self) -> int:
        """How many accepted rows are equal to an earlier one."""
        return self.accepted - pl.concat(self.hashes).n_unique() if self.hashes else 0


class _Forgotten:
    """Those who asked to be forgotten: their orders stay, as orders of nobody."""

    def __init__(self, ledger: Ledger | None) -> None:
        self._salt, self._digests = ("", set()) if ledger is None else ledger.tombstones()

    def without(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows without what tells of such a person."""
        if not self._digests:
            return frame
        known = frame["customer_id"].unique().drop_nulls().to_list()
        theirs = [name for name in known if self._digest(name) in self._digests]
        if not theirs:
            return frame
        is_theirs = pl.col("customer_id").is_in(theirs).fill_null(False)
        return frame.with_columns(
            pl.when(is_theirs & pl.col("row_text").is_not_null())
            .then(pl.lit(_FORGOTTEN))
            .otherwise("row_text")
            .alias("row_text"),
            *(pl.when(~is_theirs).then(name).alias(name) for name in _PERSONAL),
        )

    def _digest(self, customer: str) -> str:
        return sha256(f"{self._salt}:{customer}".encode()).hexdigest()


def insert_batch(
    session: Session,
    batch: Batch,
    source: Source,
    zone: str,
    folder: Path,
    ledger: Ledger | None = None,
    rules: Rules | None = None,
) -> dict[str, Any]:
    """Reads a source and writes its rows, streaming.

    Args:
        session: The caller's transaction.
        batch: What is known of it.
        source: The opened file.
        zone: The shop's time zone.
        folder: For files on the way; emptied by the caller.
        ledger: Knows who asked to be forgotten.
        rules: What the settings say of reading.

    Returns:
        The batch's row of ``order_batches``.

    Raises:
        OrderFileError: If the file as a whole can't be read.
        ValidationError: If a row breaks the contract of ``raw_orders``.
    """
    batch_id = session.value("select coalesce(max(batch_id), 0) + 1 from order_batches")
    counts = _Counts()
    rows = _accepted(read_rows(source, zone, folder, rules), counts, folder, _Forgotten(ledger), batch_id)
    # the order list knows who bought
    counts.unnamed = tuple(
        part.preset.row
        for part in source.parts
        if part.preset.joins_orders and "customer_id" not in part.mapping
    )
    session.append(RAW_ORDERS, rows, f"raw_orders, {batch.file_name}")
    # reads of a database follow each other; what they hold is not compared
    is_read = batch.file_name.startswith(DATABASE)
    params: dict[str, Any] = {
        "batch_id": batch_id,
        "file_name": batch.file_name,
        "content_hash": batch.content_hash,
        "preset": source.preset.name,
        "read_as": batch.read_as,
        "watermark": batch.watermark,
        "rows_read": counts.read,
        "rows_accepted": counts.accepted,
        "rows_unpaid": counts.unpaid,
        "rows_rejected": counts.rejected,
        "rows_identical": counts.identical,
        "rows_without_customer": counts.without_customer,
        "keys_masked": counts.masked,
        "keys_damaged": counts.damaged,
        "keys_from_fallback": counts.from_fallback,
        "newest_at": None if is_read else with_stamp(counts.newest_at, batch.file_name, zone),
        "rows_other_currency": counts.other_currency,
        "currency": counts.currency,
        "amounts_made_gross": counts.made_gross,
        **unpaid_delivered(counts.waiting),
        "aside": [str(path) for path in counts.aside],
    }
    if counts.aside:
        session.execute(_REJECTED_SQL, params)
        session.execute(_UNPAID_SQL, params)
    session.execute(_TOUCHED_SQL, params)
    session.execute(_BATCH_SQL, params)
    written = session.read("select * from order_batches where batch_id = $batch_id", params)
    return written.row(0, named=True)


def waiting_orders(rows: pl.DataFrame) -> pl.DataFrame:
    """The orders among some rows that were delivered and never paid: number, money, payment method."""
    money = pl.coalesce("order_amount", "amount", pl.lit(0))
    return rows.filter("is_unpaid_delivered").select(
        "order_id", money.alias("money"), pl.col("order_amount").is_null().alias("is_line"), "payment_method"
    )


def unpaid_delivered(waiting: Sequence[pl.DataFrame]) -> dict[str, Any]:
    """How many orders of a file were delivered and never paid, their money, and how they were to be paid.

    Args:
        waiting: Frames of :func:`waiting_orders`.
    """
    if not waiting:
        return {
            "unpaid_delivered_orders": 0,
            "unpaid_delivered_amount": 0,
            "unpaid_delivered_methods": None,
        }
    orders = (
        pl.concat(waiting)
        .group_by("order_id")
        .agg(
            pl.when(pl.col("is_line").all()).then(pl.col("money").sum()).otherwise(pl.col("money").first()),
            pl.col("payment_method").drop_nulls().first(),
        )
    )
    counted = orders["payment_method"].drop_nulls().value_counts()
    # ties in the same order every time
    methods = counted.sort("count", "payment_method", descending=[True, False])["payment_method"].to_list()
    return {
        "unpaid_delivered_orders": orders.height,
        "unpaid_delivered_amount": orders["money"].sum(),
        "unpaid_delivered_methods": ", ".join(f'"{method}"' for method in methods[:3]) or None,
    }


def _accepted(
    frames: Iterator[pl.DataFrame], counts: _Counts, folder: Path, forgotten: _Forgotten, batch_id: int
) -> Iterator[pl.DataFrame]:
    """The accepted rows as they go into ``raw_orders``; the others are counted and put aside in files."""
    number = pl.lit(batch_id, pl.Int64).alias("batch_id")
    for frame in frames:
        rows = forgotten.without(frame)
        counts.read += one_a_row(rows).height
        counts.other_currency += int((rows["reason"].str.starts_with(OTHER_CURRENCY)).sum())
        if rows["is_unpaid_delivered"].any():
            counts.waiting.append(waiting_orders(rows))
        newest = newest_of(rows.filter(pl.col("disposition") != REJECTED))
        counts.newest_at = max((at for at in (counts.newest_at, newest) if at is not None), default=None)
        others = rows.filter(pl.col("disposition") != ACCEPTED)
        if not others.is_empty():
            rows = rows.filter(pl.col("disposition") == ACCEPTED)
            counts.unpaid += others.filter(pl.col("disposition") == UNPAID).height
            counts.rejected += others.filter(pl.col("disposition") == REJECTED).height
            path = folder / f"aside-{len(counts.aside)}.parquet"
            others.select(
                "row_no", "order_id", "row_kind", "disposition", "reason", "row_text"
            ).write_parquet(path)
            counts.aside.append(path)
        of_file = one_a_row(rows)
        counts.accepted += of_file.height
        counts.made_gross += int(of_file["was_net"].sum())
        if counts.currency is None and rows["currency"].count():
            counts.currency = str(rows["currency"].drop_nulls()[0])
        nameless = pl.col("row_kind").is_in(counts.unnamed)
        counts.without_customer += of_file.filter(~nameless)["customer_id"].null_count()
        counts.masked += int((of_file["key_state"] == KEY_MASKED).sum())
        counts.damaged += int((of_file["key_state"] == KEY_DAMAGED).sum())
        counts.from_fallback += int(of_file["key_is_fallback"].sum())
        if not rows.is_empty():
            counts.hashes.append(_row_hashes(rows, of_file.height))
            yield rows.select(number, "row_no", *CANONICAL, *EXTRA_COLUMNS)


def _row_hashes(lines: pl.DataFrame, rows: int) -> pl.Series:
    """A hash of each row of the file; of a row that packs several lines, of all of them in their order."""
    hashes = lines.select(_HASHED).hash_rows().alias("hash")
    if lines.height == rows:
        return hashes
    numbered = lines.select("row_no", pl.int_range(pl.len()).over("row_no").alias("part"), hashes)
    mixed = numbered.select("row_no", pl.struct("part", "hash").hash().alias("hash"))
    return mixed.group_by("row_no", maintain_order=True).agg(pl.col("hash").bitwise_xor())["hash"]


_REJECTED_SQL = f"""
insert into {REJECTED_ROWS.name} by name
select $batch_id::bigint as batch_id, $file_name as file_name, row_no, reason, row_text
from read_parquet($aside) where disposition = '{REJECTED}'
"""
_UNPAID_SQL = f"""
insert into {UNPAID_ORDERS.name} by name
select distinct $batch_id::bigint as batch_id, order_id, row_kind
from read_parquet($aside) where disposition = '{UNPAID}' and order_id is not null
"""
_TOUCHED_SQL = f"""
insert into touched_orders
select order_id from {RAW_ORDERS.name} where batch_id = $batch_id
union
select order_id from {UNPAID_ORDERS.name} where batch_id = $batch_id
"""
_BATCH_SQL = f"""
insert into {ORDER_BATCHES.name} by name
select
    $batch_id::bigint as batch_id,
    $file_name as file_name,
    $content_hash as content_hash,
    $preset as preset,
    $read_as as read_as,
    $watermark as watermark,
    $rows_read as rows_read,
    $rows_accepted as rows_accepted,
    $rows_unpaid as rows_unpaid,
    $rows_rejected as rows_rejected,
    $rows_other_currency as rows_other_currency,
    cast($currency as varchar) as currency,
    $amounts_made_gross as amounts_made_gross,
    $unpaid_delivered_orders as unpaid_delivered_orders,
    cast($unpaid_delivered_amount as decimal(18, 4)) as unpaid_delivered_amount,
    cast($unpaid_delivered_methods as varchar) as unpaid_delivered_methods,
    $rows_identical as rows_identical,
    $rows_without_customer as rows_without_customer,
    $keys_masked as keys_masked,
    $keys_damaged as keys_damaged,
    $keys_from_fallback as keys_from_fallback,
    count(distinct order_id) as orders,
    min(ordered_at) as first_ordered_at,
    max(ordered_at) as last_ordered_at,
    cast($newest_at as timestamp) as newest_at,
from {RAW_ORDERS.name}
where batch_id = $batch_id
"""
