"""One order export as typed rows, streaming: every row ends up accepted, unpaid or rejected with a reason.

Belongs here: opening a file, checking its header, typing its values in Polars. Doesn't belong here: the
warehouse (``ingest.loading``).
"""

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import polars as pl

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.presets import Preset

SUFFIXES = (".csv", ".csv.gz", ".parquet")
MONEY = pl.Decimal(18, 4)
QUANTITY = pl.Decimal(18, 3)
TIME = pl.Datetime("us")
ACCEPTED, UNPAID, REJECTED = "accepted", "unpaid", "rejected"
_OVERFLOW = "__more_fields_than_header__"
_ROW = "row_no"
_LINE_TYPES = {"sale": ["sale"], "return": ["return"]}
_BOOLEANS = {True: ["true", "1", "yes"], False: ["false", "0", "no"]}
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_FIRST_TIME = datetime(1000, 1, 1)  # %Y reads 24-01-31 as the year 24
_OFFSET_FORMAT = "%Y-%m-%d %H:%M:%S%.f%#z"


@dataclass(frozen=True)
class Source:
    """An order export whose header fits the preset.

    Attributes:
        path: The file.
        preset: How it is read.
        header: Its column names as they stand in the file.
        mapping: Canonical column to the name in the header.
    """

    path: Path
    preset: Preset
    header: tuple[str, ...]
    mapping: dict[str, str]


def is_order_file(path: Path) -> bool:
    """Whether a file in the landing folder is an export that can be read."""
    return path.is_file() and not path.name.startswith(".") and path.name.endswith(SUFFIXES)


def _open_text(path: Path) -> IO[str]:
    opener = gzip.open if path.name.endswith(".gz") else open
    return cast(IO[str], opener(path, "rt", encoding="utf-8-sig", newline=""))


def _read_header(path: Path) -> tuple[str, ...]:
    if path.name.endswith(".parquet"):
        return tuple(pl.read_parquet_schema(path))
    with _open_text(path) as file:
        header = next(csv.reader(file), None)
    if not header:
        raise OrderFileError(f"{path}: the file is empty, it has no header; remove it or export it again.")
    return tuple(header)


def open_source(path: Path, preset: Preset) -> Source:
    """Checks a file's header against the preset, before any row is read.

    Raises:
        OrderFileError: If the file can't be opened, is empty, is not UTF-8, or lacks a needed column.
    """
    try:
        header = _read_header(path)
    except UnicodeDecodeError:
        raise OrderFileError(f"{path}: the header is not UTF-8; export the file as UTF-8.") from None
    except (OSError, EOFError, zlib.error, csv.Error, pl.exceptions.PolarsError) as error:
        raise OrderFileError(
            f"{path}: can't be opened as {''.join(path.suffixes)} ({type(error).__name__}); "
            "is the file whole?"
        ) from None
    return Source(path, preset, header, preset.map_header(path, header))


def _scan_csv(path: Path, header: tuple[str, ...]) -> pl.LazyFrame:
    """The rows as text, columns named by position: a header may hold a name twice, or one of ours.

    A further column catches rows that have more fields than the header.
    """
    return pl.scan_csv(
        path,
        has_header=False,
        skip_rows=1,
        schema=dict.fromkeys([*_positions(header), _OVERFLOW], pl.String),
        truncate_ragged_lines=True,
        missing_columns="insert",
        row_index_name=_ROW,
        row_index_offset=1,
    )


def _text_of(name: str, dtype: pl.DataType, zone: str) -> pl.Expr:
    """A typed Parquet column as the text that a CSV export would hold."""
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        column = column.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    if dtype.is_float():
        whole = column == column.floor()
        return (
            pl.when(whole)
            .then(column.cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(column.cast(pl.String))
            .alias(name)
        )
    return column.cast(pl.String)


def _positions(header: tuple[str, ...]) -> list[str]:
    return [f"{i}" for i in range(len(header))]


def _scan_parquet(path: Path, zone: str) -> pl.LazyFrame:
    rows = pl.scan_parquet(path)
    return (
        rows.select(
            _text_of(name, dtype, zone).alias(f"{i}")
            for i, (name, dtype) in enumerate(rows.collect_schema().items())
        )
        .with_columns(pl.lit(None, pl.String).alias(_OVERFLOW))
        .with_row_index(_ROW, offset=1)
    )


def _parse_time(text: pl.Expr, zone: str) -> pl.Expr:
    """Shop-local time; a value that carries an offset is converted to the shop's zone."""
    plain = text.str.replace_all("/", "-", literal=True).str.replace("T", " ", literal=True)
    local = [plain.str.to_datetime(form, strict=False, time_unit="us") for form in _TIME_FORMATS]
    shifted = (
        plain.str.to_datetime(_OFFSET_FORMAT, strict=False, time_unit="us")
        .dt.convert_time_zone(zone)
        .dt.replace_time_zone(None)
    )
    parsed = pl.coalesce(*local, shifted)
    return pl.when(parsed >= _FIRST_TIME).then(parsed)


def typed_rows(source: Source, zone: str) -> pl.LazyFrame:
    """The rows of an export, typed and judged; nothing is read until it is collected.

    Args:
        source: The file.
        zone: The shop's IANA time zone.

    Returns:
        Lazy rows with ``row_no`` (1 is the first row below the header), the canonical columns,
        ``disposition`` (accepted, unpaid or rejected), ``reason`` and ``row_text`` (rejected rows only).
    """
    if source.path.name.endswith(".parquet"):
        rows = _scan_parquet(source.path, zone)
    else:
        rows = _scan_csv(source.path, source.header)
    raw = {
        column: pl.col(f"{source.header.index(source.mapping[column])}").str.strip_chars()
        if column in source.mapping
        else pl.lit(None, pl.String)
        for column in source.preset.columns | dict.fromkeys(ALL_COLUMNS)
    }
    texts = [pl.when(text != "").then(text).otherwise(None).alias(f"_{name}") for name, text in raw.items()]
    fields = [pl.col(name).fill_null("") for name in _positions(source.header)]
    more = pl.when(pl.col(_OVERFLOW).is_not_null()).then("," + pl.col(_OVERFLOW)).otherwise(pl.lit(""))
    row_text = pl.concat_str(fields, separator=",") + more
    return (
        rows.select(_ROW, _OVERFLOW, *texts, row_text.alias("row_text"))
        .with_columns(_typed_columns(source.preset, zone))
        .with_columns(_derived_columns(source.preset))
        .with_columns(reason=_reason(source.preset))
        .with_columns(disposition=_disposition())
        .select(
            pl.col(_ROW).cast(pl.Int64),
            pl.coalesce("line_no", pl.col(_ROW).cast(pl.Int64)).alias("line_no"),
            *(column for column in _CANONICAL if column != "line_no"),
            "disposition",
            pl.when(pl.col("disposition") == REJECTED).then("reason").alias("reason"),
            pl.when(pl.col("disposition") == REJECTED).then("row_text").alias("row_text"),
        )
    )


_CANONICAL = (
    "order_id",
    "line_no",
    "customer_id",
    "ordered_at",
    "line_type",
    "sku",
    "product_name",
    "quantity",
    "unit_price",
    "list_price",
    "amount",
    "refunded_amount",
    "refunded_at",
    "is_clearance",
)
ALL_COLUMNS = (*_CANONICAL, "order_status")
_MONEY_COLUMNS = ("unit_price", "list_price", "amount", "refunded_amount")


def _translate(text: pl.Expr, meanings: Mapping[Any, Sequence[str]], dtype: Any) -> pl.Expr:
    """Words as what they mean, null for a word that means nothing.

    Not ``replace_strict``: it makes Polars hold the whole file in memory.
    """
    meaning = pl.lit(None, dtype)
    for value, words in meanings.items():
        meaning = pl.when(text.is_in(list(words))).then(pl.lit(value, dtype)).otherwise(meaning)
    return meaning


def _typed_columns(preset: Preset, zone: str) -> list[pl.Expr]:
    line_type, is_clearance = pl.col("_line_type"), pl.col("_is_clearance")
    return [
        *(pl.col(f"_{c}").alias(c) for c in ("order_id", "customer_id", "sku", "product_name")),
        pl.col("_line_no").cast(pl.Int64, strict=False).alias("line_no"),
        pl.col("_quantity").cast(QUANTITY, strict=False).alias("quantity"),
        *(pl.col(f"_{c}").cast(MONEY, strict=False).alias(c) for c in _MONEY_COLUMNS),
        *(_parse_time(pl.col(f"_{c}"), zone).alias(c) for c in ("ordered_at", "refunded_at")),
        _translate(line_type.str.to_lowercase(), _LINE_TYPES, pl.String).alias("given_type"),
        _translate(is_clearance.str.to_lowercase(), _BOOLEANS, pl.Boolean).alias("is_clearance"),
        _translate(pl.col("_order_status"), preset.statuses, pl.String).alias("status"),
    ]


def _derived_columns(preset: Preset) -> list[pl.Expr]:
    """What follows from other columns: the line's type, its amount, the refund of a closed order."""
    is_return = (pl.col("quantity") < 0) | (pl.col("given_type") == "return").fill_null(False)
    if preset.credit_note_prefix is not None:
        is_return = is_return | pl.col("order_id").str.starts_with(preset.credit_note_prefix)
    reckoned = (pl.col("quantity").abs() * pl.col("unit_price")).round(4).cast(MONEY, strict=False)
    amount = pl.when(pl.col("_amount").is_null()).then(reckoned).otherwise(pl.col("amount"))
    refunded = (
        pl.when((pl.col("status") == "closed").fill_null(False))
        .then(amount)
        .when(pl.col("_refunded_amount").is_null())
        .then(pl.lit(0, MONEY))
        .otherwise(pl.col("refunded_amount"))
    )
    return [
        pl.when(is_return.fill_null(False))
        .then(pl.lit("return"))
        .otherwise(pl.lit("sale"))
        .alias("line_type"),
        amount.alias("amount"),
        refunded.alias("refunded_amount"),
    ]


def _reason(preset: Preset) -> pl.Expr:
    """The first thing that is wrong with a row, null if nothing is."""

    def missing(column: str) -> tuple[pl.Expr, str]:
        return pl.col(f"_{column}").is_null(), f"{column} is missing"

    def unreadable(column: str, kind: str, typed: str | None = None) -> tuple[pl.Expr, str]:
        given = pl.col(f"_{column}").is_not_null() & pl.col(typed or column).is_null()
        return given, f"{column} is no {kind}"

    statuses = ", ".join(word for group in preset.statuses.values() for word in group)
    rules = [
        (pl.col(_OVERFLOW).is_not_null(), "the row has more fields than the header"),
        missing("order_id"),
        missing("ordered_at"),
        unreadable("ordered_at", "date and time"),
        unreadable("line_no", "whole number"),
        missing("quantity"),
        unreadable("quantity", "number"),
        (pl.col("quantity") == 0, "quantity is 0"),
        missing("unit_price"),
        *(unreadable(column, "amount of money") for column in _MONEY_COLUMNS),
        *(
            (pl.col(column) < 0, f"{column} is negative; returns are told by a negative quantity")
            for column in _MONEY_COLUMNS
        ),
        (pl.col("amount").is_null(), "amount is too large"),
        unreadable("refunded_at", "date and time"),
        unreadable("line_type", "line type (sale or return)", "given_type"),
        unreadable("is_clearance", "yes or no (true or false)"),
        unreadable("order_status", f"known status ({statuses})", "status"),
    ]
    expression = pl.lit(None, pl.String)
    for condition, reason in reversed(rules):
        expression = pl.when(condition).then(pl.lit(reason)).otherwise(expression)
    return expression


def _disposition() -> pl.Expr:
    never_paid = pl.col("status").is_in(["unpaid", "cancelled"]).fill_null(False)
    return (
        pl.when(pl.col(_OVERFLOW).is_null() & never_paid)
        .then(pl.lit(UNPAID))
        .when(pl.col("reason").is_not_null())
        .then(pl.lit(REJECTED))
        .otherwise(pl.lit(ACCEPTED))
    )


def stage(source: Source, zone: str, folder: Path) -> Path:
    """Types a file into a Parquet file, streaming, so that memory stays bounded whatever the size.

    Args:
        source: The file.
        zone: The shop's IANA time zone.
        folder: Where the Parquet file goes; made if it isn't there.

    Returns:
        The Parquet file; the caller removes it.

    Raises:
        OrderFileError: If the file is damaged or not UTF-8.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.path.name}.typed.parquet"
    unpacked: Path | None = None
    try:
        if source.path.name.endswith(".gz"):
            unpacked = _unpack(source.path, folder)
            source = Source(unpacked, source.preset, source.header, source.mapping)
        typed_rows(source, zone).sink_parquet(target, compression="lz4", engine="streaming")
    except pl.exceptions.PolarsError as error:
        target.unlink(missing_ok=True)
        cause = "it is not UTF-8" if "utf-8" in str(error) else "its rows can't be told apart"
        raise OrderFileError(
            f"{source.path}: can't be read: {cause}. Export the file again as UTF-8 CSV; "
            "nothing of it was loaded."
        ) from None
    finally:
        if unpacked is not None:
            unpacked.unlink(missing_ok=True)
    return target


def _unpack(path: Path, folder: Path) -> Path:
    """Unpacks a gzip file piece by piece: Polars would hold all of it in memory."""
    target = folder / path.name.removesuffix(".gz")
    try:
        with gzip.open(path, "rb") as packed, target.open("wb") as plain:
            while piece := packed.read(1 << 24):
                plain.write(piece)
    except (OSError, EOFError, zlib.error):
        target.unlink(missing_ok=True)
        raise OrderFileError(
            f"{path}: the gzip file is damaged or cut off; nothing of it was loaded."
        ) from None
    return target
