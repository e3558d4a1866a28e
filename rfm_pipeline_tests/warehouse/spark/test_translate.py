"""What a statement of ours says in Spark's dialect."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from rfm_pipeline.warehouse.spark.translate import tables_of, to_spark

WEEKS = [date(2026, 1, 5), date(2026, 1, 12)]


def evaluate(query: str) -> list[Any]:
    with duckdb.connect() as connection:
        connection.execute("create table target_weeks (week date, as_of date)")
        connection.executemany("insert into target_weeks values (?, ?::date + 7)", [[w, w] for w in WEEKS])
        return [value for (value,) in connection.execute(query).fetchall()]


def spark(sql: str, **params: Any) -> str:
    return to_spark(sql, params, evaluate)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3, "3"),
        (None, "NULL"),
        (True, "TRUE"),
        ("it's", "'it\\'s'"),
        (Decimal("0.75"), "CAST('0.75' AS DECIMAL(3, 2))"),
        (Decimal("1E+3"), "CAST('1000' AS DECIMAL(4, 0))"),
        (Decimal("0.0005"), "CAST('0.0005' AS DECIMAL(5, 4))"),
        (date(2026, 1, 5), "CAST('2026-01-05' AS DATE)"),
        (datetime(2026, 1, 5, 9), "CAST('2026-01-05 09:00:00' AS TIMESTAMP_NTZ)"),
    ],
)
def test_a_value_stands_in_the_place_of_its_name_with_its_type(value: object, said: str) -> None:
    assert spark("select $value as v from t", value=value) == f"SELECT {said} AS v FROM t"


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(KeyError, match="value"):
        spark("select $value as v from t")


def test_the_weeks_asked_for_are_said_as_dates() -> None:
    said = spark("select * from t where week in (select week from target_weeks)")
    assert said.endswith("WHERE week IN (CAST('2026-01-05' AS DATE), CAST('2026-01-12' AS DATE))")


def test_what_hangs_on_the_weeks_only_is_computed_beforehand() -> None:
    said = spark(
        "with bounds as (select max(as_of) as last from target_weeks) "
        "select * from t where day < (select last - cast($n as integer) from bounds)",
        n=3,
    )
    assert said.endswith("WHERE day < CAST('2026-01-16' AS DATE)")


def test_what_hangs_on_a_table_too_is_left_to_spark() -> None:
    said = spark(
        "select * from t where week = (select max(u.week) from u join target_weeks w on w.week = u.week)"
    )
    assert "SELECT MAX(u.week) FROM u" in said


def test_lines_after_a_time_lie_in_the_weeks_from_there_on() -> None:
    said = spark("select * from order_lines o where o.order_at >= date '2026-01-08'")
    assert said.endswith(
        "(o.order_at >= CAST('2026-01-08' AS DATE) AND o.week >= CAST('2026-01-05' AS DATE))"
    )


def test_lines_before_a_monday_may_lie_in_its_week_as_far_as_the_partition_tells() -> None:
    said = spark("select * from order_lines where order_at < date '2026-01-12'")
    assert said.endswith("(order_at < CAST('2026-01-12' AS DATE) AND week <= CAST('2026-01-12' AS DATE))")


def test_times_of_other_tables_say_nothing_of_a_week() -> None:
    assert "week" not in spark("select * from elsewhere o where o.order_at >= date '2026-01-08'")


def test_an_order_of_the_rows_is_left_to_the_writer() -> None:
    assert spark("select a from t order by a") == "SELECT a FROM t"


def test_the_tables_of_a_statement_are_those_it_does_not_make_itself() -> None:
    assert tables_of("with a as (select * from b) select * from a join c using (x)") == {"b", "c"}


def test_the_latest_name_passes_over_unknown_ones_on_spark_too() -> None:
    said = spark("select max_by(name, day) as latest from t")
    assert said == "SELECT MAX_BY(name, CASE WHEN NOT name IS NULL THEN day END) AS latest FROM t"


def test_contents_with_nulls_in_other_places_are_distinguished() -> None:
    assert spark("select hash(a, b) as content from t") == (
        "SELECT XXHASH64(a, a IS NULL, b, b IS NULL) AS content FROM t"
    )


def test_parts_of_a_text_are_texts() -> None:
    said = spark("select concat(at, name) as t from t")
    assert (
        said
        == "SELECT CONCAT(COALESCE(CAST(at AS STRING), ''), COALESCE(CAST(name AS STRING), '')) AS t FROM t"
    )
