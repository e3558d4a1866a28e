"""A pandera schema as a table: its statement, its types, and errors that count without quoting."""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pandera.polars as pa
import polars as pl
import pytest

from rfm_pipeline.diagnose import schemas as diagnose_schemas
from rfm_pipeline.errors import ValidationError
from rfm_pipeline.ingest import schemas as ingest_schemas
from rfm_pipeline.warehouse.columns import MONEY, TIME, at_least, column, one_of, rows
from rfm_pipeline.warehouse.schema import Table, duckdb_type, validate

SECRET = "Zhang San 13800000000"
VISITS = Table(
    name="visits",
    schema=pa.DataFrameSchema(
        {
            "week": column(pl.Date, "the week"),
            "who": column(pl.String, "the visitor", one_of(["anna", "bert"])),
            "spent": column(MONEY, "money", at_least(0)),
            "came_at": column(TIME, "coming"),
            "left_at": column(TIME, "leaving", nullable=True),
        },
        checks=[rows("nobody leaves before coming", lambda: pl.col("left_at") >= pl.col("came_at"))],
        strict=True,
    ),
    key=("week", "who"),
)
ALL_TABLES = [
    value
    for module in (ingest_schemas, diagnose_schemas)
    for value in vars(module).values()
    if isinstance(value, Table)
]


def visits(*changes: dict[str, Any]) -> pl.DataFrame:
    """Good rows, changed as said."""
    good = {
        "week": date(2024, 1, 1),
        "who": "anna",
        "spent": Decimal("1.50"),
        "came_at": datetime(2024, 1, 1, 9),
        "left_at": datetime(2024, 1, 1, 10),
    }
    types = {name: column.dtype.type for name, column in VISITS.schema.columns.items()}
    return pl.DataFrame([good | change for change in changes], schema=types)


def refusal(*batches: pl.DataFrame) -> str:
    with pytest.raises(ValidationError) as caught:
        validate(VISITS, batches, "visits, week 2024-01-01")
    error = caught.value
    assert error.__suppress_context__ or error.__context__ is None
    return str(error)


def test_a_schema_writes_its_table() -> None:
    assert VISITS.ddl == (
        'create table if not exists "visits" ("week" DATE NOT NULL, "who" VARCHAR NOT NULL, '
        '"spent" DECIMAL(18,4) NOT NULL, "came_at" TIMESTAMP NOT NULL, "left_at" TIMESTAMP)'
    )


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_every_table_of_the_package_is_made_with_the_types_it_says(table: Table) -> None:
    with duckdb.connect() as connection:
        connection.execute(table.ddl)
        found = connection.execute(f'describe "{table.name}"').fetchall()
        assert {row[0]: row[1] for row in found} == table.column_types
        empty = connection.sql(f'select * from "{table.name}"').pl()
    assert validate(table, [empty], table.name) == 0
    assert set(table.key) <= set(table.column_types)
    assert table.weekly is (table.key[0] == "week")


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_every_column_of_the_package_says_what_it_means(table: Table) -> None:
    for name, one in table.schema.columns.items():
        assert one.description, f"{table.name}.{name}"


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (pl.String, "VARCHAR"),
        (pl.Boolean, "BOOLEAN"),
        (pl.Int64, "BIGINT"),
        (pl.Int32, "INTEGER"),
        (pl.Float64, "DOUBLE"),
        (pl.Date, "DATE"),
        (TIME, "TIMESTAMP"),
        (MONEY, "DECIMAL(18,4)"),
    ],
)
def test_types_have_the_names_of_duckdb(dtype: Any, name: str) -> None:
    schema = pa.DataFrameSchema({"it": column(dtype, "it")})
    assert duckdb_type(schema.columns["it"].dtype.type) == name


def test_good_rows_are_counted_over_all_batches() -> None:
    assert validate(VISITS, [visits({}, {}), visits({}), visits()], "visits") == 3
    assert validate(VISITS, [], "visits") == 0


def test_failures_are_counted_by_column_and_check_over_all_batches() -> None:
    message = refusal(
        visits({"who": SECRET}, {"spent": Decimal(-1)}),
        visits({}, {"who": SECRET + "!"}),
        visits({"who": None}),
    )
    assert message.startswith("visits, week 2024-01-01: 4 failures in 5 rows, nothing was written: ")
    assert "who: isin(['anna', 'bert']) (2 rows)" in message
    assert "spent: greater_than_or_equal_to(0) (1 rows)" in message
    assert "who: not_nullable (1 rows)" in message


def test_a_rule_over_several_columns_is_told_by_its_name() -> None:
    message = refusal(visits({}, {"left_at": datetime(2024, 1, 1, 8)}))
    assert "nobody leaves before coming" in message


@pytest.mark.parametrize(
    "frame",
    [
        visits({"who": SECRET}),
        visits({"spent": Decimal("-13800000000.0000")}),
        visits({"who": "anna", "left_at": datetime(1380, 1, 1)}),
        visits({}).with_columns(who=pl.lit(13800000000)),
        visits({}).with_columns(pl.lit(SECRET).alias("more")),
        visits({}).drop("spent").with_columns(who=pl.lit(SECRET)),
    ],
    ids=["word", "number", "time", "type", "column too many", "column too few"],
)
def test_no_error_quotes_a_value(frame: pl.DataFrame) -> None:
    message = refusal(frame)
    for secret in ("Zhang", "13800000000", "1380"):
        assert secret not in message


def test_batches_are_checked_one_at_a_time() -> None:
    taken = []

    def batches() -> Iterator[pl.DataFrame]:
        for number in range(3):
            taken.append(number)
            yield visits({}, {"spent": Decimal(-number)})

    assert "2 failures in 6 rows" in refusal(*batches())
    assert taken == [0, 1, 2]
