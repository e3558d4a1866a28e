"""A pandera schema as the one place where a table's columns are written: its DDL, its check, its docs."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from rfm_pipeline.errors import ValidationError

_DUCKDB_TYPES: dict[Any, str] = {
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.Float64: "DOUBLE",
    pl.Date: "DATE",
}

ENOUGH_FAILURES = 1_000_000
_PERSONAL_COLUMNS = frozenset({"customer_id", "phone", "email", "name", "row_text"})


@dataclass(frozen=True)
class Table:
    """A table of the warehouse.

    Attributes:
        name: The table's name, which is the asset's name too.
        schema: Its columns: types, nullability, value checks, descriptions.
        key: The columns that name a row.
        weekly: Whether it has a ``week`` and is replaced week by week.
    """

    name: str
    schema: pa.DataFrameSchema
    key: tuple[str, ...]
    weekly: bool = True

    @property
    def ddl(self) -> str:
        """The statement that makes the table if it isn't there."""
        columns = ", ".join(
            f'"{name}" {duckdb_type(column.dtype.type)}{"" if column.nullable else " NOT NULL"}'
            for name, column in self.schema.columns.items()
        )
        return f'create table if not exists "{self.name}" ({columns})'

    @property
    def has_personal_data(self) -> bool:
        """Whether its rows name a customer or hold text that may."""
        return not _PERSONAL_COLUMNS.isdisjoint(self.schema.columns)

    @property
    def column_types(self) -> dict[str, str]:
        """DuckDB's type of every column, in order."""
        return {name: duckdb_type(c.dtype.type) for name, c in self.schema.columns.items()}


def duckdb_type(dtype: Any) -> str:
    """DuckDB's name for a Polars type."""
    if isinstance(dtype, pl.Decimal):
        return f"DECIMAL({dtype.precision},{dtype.scale})"
    if isinstance(dtype, pl.Datetime):
        return "TIMESTAMP"
    return _DUCKDB_TYPES[dtype.base_type()]


def validate(table: Table, batches: Iterable[pl.DataFrame], what: str) -> int:
    """Checks rows against the table's schema, batch by batch.

    Args:
        table: The contract.
        batches: The rows, in any number of frames.
        what: What is being checked, for the message (table and week).

    Returns:
        The number of rows checked.

    Raises:
        ValidationError: With counts per column and check, up to the batch in which they pass a million:
            pandera lists every failure, and more of the same tell nothing new. Never with a value: the
            failing values are customers' data, and pandera's own error quotes them.
    """
    failures: Counter[str] = Counter()
    rows = 0
    for batch in batches:
        rows += batch.height
        failures += failures_in(table, batch)
        if failures.total() > ENOUGH_FAILURES:
            break
    refuse(failures, rows, what)
    return rows


def failures_in(table: Table, rows: pl.DataFrame) -> Counter[str]:
    """How many rows break which rule of the table's schema."""
    failures: Counter[str] = Counter()
    try:
        table.schema.validate(rows, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases.group_by("column", "check", maintain_order=True).len()
        for column, check, count in cases.iter_rows():
            # a rule over several columns has no column
            failures[f"{column}: {check}" if column else str(check)] += count
    return failures


def refuse(failures: Counter[str], rows: int, what: str) -> None:
    """Raises a :class:`ValidationError` if there are failures, with their counts."""
    if not failures:
        return
    parts = "; ".join(f"{rule} ({n} rows)" for rule, n in failures.most_common())
    raise ValidationError(f"{what}: {failures.total()} failures in {rows} rows, nothing was written: {parts}")
