"""What an export would be read as: its first rows, and its money by month.

Belongs here: adding up typed rows before anything is loaded. Reading them is ``ingest.files.reading``'s.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from rfm_pipeline.ingest.files.packed import one_a_row
from rfm_pipeline.ingest.files.reading import ACCEPTED, REJECTED, UNPAID, Rules, open_source, read_rows
from rfm_pipeline.ingest.presets import Preset
from rfm_pipeline.warehouse.columns import MONEY

ROWS_SHOWN = 10
SHOWN = (
    "order_id",
    "customer_id",
    "ordered_at",
    "product_name",
    "quantity",
    "amount",
    "refunded_amount",
    "disposition",
)
_KEPT = (
    "order_id",
    "customer_id",
    "ordered_at",
    "line_type",
    "amount",
    "order_amount",
    "refunded_amount",
    "order_refunded",
    "is_reckoned",
    "row_kind",
)
_CENTS = pl.Decimal(18, 2)


@dataclass
class Preview:
    """What some exports would be read as.

    Attributes:
        first: The first rows, with the columns of ``SHOWN``.
        rows: Rows by disposition (accepted, unpaid, rejected).
        rejected: Rejected rows by reason.
        months: A row a month: ``month``, ``orders``, ``customers``, ``paid``, ``returned``, ``net``; money in
            cents' precision.
        without_customer: Accepted rows without a customer.
    """

    first: pl.DataFrame
    rows: Counter[str]
    rejected: Counter[str]
    months: pl.DataFrame
    without_customer: int = 0

    @property
    def net(self) -> object:
        """All that was paid, less what was given back."""
        return self.months["net"].sum()


@dataclass
class _Found:
    """What was read so far."""

    rows: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    first: pl.DataFrame | None = None
    kept: list[pl.DataFrame] = field(default_factory=list)

    def take(self, frame: pl.DataFrame, file_no: int) -> None:
        """Counts a frame of typed rows and keeps what is added up."""
        self.rows.update(dict(one_a_row(frame).group_by("disposition").len().iter_rows()))
        reasons = frame.filter(pl.col("disposition") == REJECTED).group_by("reason").len()
        self.rejected.update(dict(reasons.iter_rows()))
        if self.first is None:
            money = pl.coalesce("order_amount", "amount").alias("amount")
            back = pl.coalesce("order_refunded", "refunded_amount").alias("refunded_amount")
            shown = frame.head(ROWS_SHOWN).with_columns(
                pl.when(pl.col("disposition") != REJECTED).then(money).alias("amount"), back
            )
            self.first = shown.select(SHOWN)
        accepted = frame.filter(pl.col("disposition") == ACCEPTED).select(_KEPT)
        self.kept.append(accepted.with_columns(pl.lit(file_no).alias("file_no")).with_row_index("nth"))


def preview(paths: Sequence[Path], preset: Preset, zone: str, rules: Rules) -> Preview:
    """Reads exports as a run would, and adds up.

    Of an order that several files hold, the rows of the last one count.

    Args:
        paths: The exports.
        preset: How they are read.
        zone: The shop's time zone.
        rules: What the settings say of reading.

    Raises:
        OrderFileError: If a file can't be read at all.
    """
    found = _Found()
    with TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            source = open_source(path, preset)
            for frame in read_rows(source, zone, Path(folder) / f"{number}", rules):
                found.take(frame, number)
    rows = pl.concat(found.kept) if found.kept else pl.DataFrame()
    first = found.first if found.first is not None else pl.DataFrame()
    counts = Counter({ACCEPTED: 0, UNPAID: 0, REJECTED: 0}) + found.rows
    without = int(rows["customer_id"].null_count()) if found.kept else 0
    return Preview(first, counts, found.rejected, _months(rows) if found.kept else rows, without)


def _months(rows: pl.DataFrame) -> pl.DataFrame:
    """The money by month of the order."""
    latest = rows.filter(pl.col("file_no") == pl.col("file_no").max().over("order_id"))
    listed = latest.filter(pl.col("row_kind") == "order").unique("order_id", keep="last", maintain_order=True)
    counted = pl.concat([latest.filter(pl.col("row_kind") != "order"), listed])
    is_sale = pl.col("line_type") == "sale"
    of_order = pl.col("order_amount").drop_nulls()
    own = pl.col("amount").filter(is_sale & ~(pl.col("is_reckoned") & pl.col("order_amount").is_not_null()))
    orders = counted.group_by("order_id").agg(
        pl.col("ordered_at").min(),
        pl.col("customer_id").drop_nulls().first(),
        pl.coalesce(pl.col("order_amount").filter(is_sale).drop_nulls().first(), of_order.first()).alias(
            "order_amount"
        ),
        is_sale.any().alias("has_sales"),
        pl.col("order_refunded").drop_nulls().first(),
        own.sum().alias("own"),
        pl.col("refunded_amount").filter(is_sale).sum().alias("back"),
        pl.col("amount").filter(~is_sale).sum().alias("returns"),
    )
    # as assembled_lines.sql: an order's amount is shared by the lines that have none of their own
    given = pl.coalesce("order_amount", "own")
    paid = pl.when("has_sales").then(pl.max_horizontal(given, "own")).otherwise(pl.lit(0, MONEY))
    returns = pl.when("has_sales").then("returns").otherwise(pl.coalesce("order_amount", "returns"))
    # min_horizontal alone would take an unknown refund for all of it
    of_order = pl.when(pl.col("order_refunded").is_not_null()).then(pl.min_horizontal("order_refunded", paid))
    back = pl.max_horizontal("back", of_order)
    return (
        orders.with_columns(paid.alias("paid"), (back + returns).alias("returned"))
        .group_by(pl.col("ordered_at").dt.strftime("%Y-%m").alias("month"))
        .agg(
            pl.len().alias("orders"),
            pl.col("customer_id").n_unique().alias("customers"),
            pl.col("paid").sum().cast(_CENTS),
            pl.col("returned").sum().cast(_CENTS),
        )
        .with_columns((pl.col("paid") - pl.col("returned")).alias("net"))
        .sort("month")
    )
