"""The warehouse: a write is whole or absent, errors count without quoting, one process writes at a time."""

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pandera.polars as pa
import polars as pl
import pytest

import rfm_pipeline.warehouse.duckdb as duckdb_warehouse
from rfm_pipeline.errors import RfmError, ValidationError, WarehouseBusyError
from rfm_pipeline.warehouse.columns import MONEY, at_least, column
from rfm_pipeline.warehouse.duckdb import Session, Warehouse
from rfm_pipeline.warehouse.schema import Table
from rfm_pipeline.warehouse.sql import read_sql, used_parameters

MONDAY, NEXT, THIRD = date(2024, 1, 1), date(2024, 1, 8), date(2024, 1, 15)
SECRET = "Zhang San 13800000000"
VISITS = Table(
    name="visits",
    schema=pa.DataFrameSchema(
        {
            "week": column(pl.Date, "the week"),
            "who": column(pl.String, "the visitor"),
            "spent": column(MONEY, "money", at_least(0)),
        },
        strict=True,
    ),
    key=("week", "who"),
)
# one visitor in each week asked for
SQL = "select $spent::decimal(18, 4) as spent, $who as who, week from target_weeks"
ANNA = {"who": "anna", "spent": Decimal(1)}
BERT = {"who": "bert", "spent": Decimal(2)}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb", memory_limit="500MB", threads=1, lock_wait_seconds=2)


def visits(warehouse: Warehouse) -> list[tuple[date, str]]:
    return warehouse.read("select week, who from visits order by all").rows()


def can_be_opened_elsewhere(warehouse: Warehouse) -> bool:
    """Whether another process gets the file, that is: whether no connection was left open here."""
    code = f"import duckdb; duckdb.connect({str(warehouse.path)!r}).close()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


# Replacing weeks


def test_the_weeks_asked_for_are_replaced_and_counted(warehouse: Warehouse) -> None:
    assert warehouse.replace_weeks(VISITS, [MONDAY, NEXT], SQL, ANNA) == {MONDAY: 1, NEXT: 1}
    assert warehouse.replace_weeks(VISITS, [NEXT, THIRD], SQL, BERT) == {NEXT: 1, THIRD: 1}
    assert visits(warehouse) == [(MONDAY, "anna"), (NEXT, "bert"), (THIRD, "bert")]


def test_columns_are_matched_by_name(warehouse: Warehouse) -> None:
    warehouse.replace_weeks(VISITS, [MONDAY], SQL, ANNA)
    row = warehouse.read("select * from visits").row(0, named=True)
    assert row == {"week": MONDAY, "who": "anna", "spent": Decimal(1)}


def test_a_query_sees_the_weeks_with_their_as_of(warehouse: Warehouse) -> None:
    sql = "select week, as_of::varchar as who, 1 as spent from target_weeks"
    warehouse.replace_weeks(VISITS, [MONDAY, THIRD], sql)
    assert visits(warehouse) == [(MONDAY, "2024-01-08"), (THIRD, "2024-01-22")]


def test_a_week_without_a_row_is_a_snapshot_of_0_rows(warehouse: Warehouse) -> None:
    counted = warehouse.replace_weeks(VISITS, [MONDAY, NEXT], f"{SQL} where week > date '2024-01-01'", ANNA)
    assert counted == {MONDAY: 0, NEXT: 1}
    assert warehouse.snapshot_weeks("visits") == {MONDAY, NEXT}
    assert warehouse.replace_weeks(VISITS, [NEXT], f"{SQL} where false", ANNA) == {NEXT: 0}
    assert visits(warehouse) == []
    assert warehouse.snapshot_weeks("visits") == {MONDAY, NEXT}


def test_rows_that_break_the_contract_leave_the_old_rows(warehouse: Warehouse) -> None:
    warehouse.replace_weeks(VISITS, [MONDAY, NEXT], SQL, ANNA)
    mixed = f"{SQL} union all select -1, 'cora', week from target_weeks"
    with pytest.raises(ValidationError) as caught:
        warehouse.replace_weeks(VISITS, [MONDAY, NEXT, THIRD], mixed, BERT)
    assert str(caught.value) == (
        "visits, week 2024-01-01..2024-01-15: 3 failures in 6 rows, nothing was written: "
        "spent: greater_than_or_equal_to(0) (3 rows)"
    )
    assert visits(warehouse) == [(MONDAY, "anna"), (NEXT, "anna")]
    assert warehouse.snapshot_weeks("visits") == {MONDAY, NEXT}


def test_a_wrong_row_in_a_later_batch_is_found_too(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duckdb_warehouse, "BATCH_ROWS", 2048)
    sql = """
        select week, n::varchar as who, case when n = 9999 then -1 else 1 end as spent
        from target_weeks, range(10000) r(n)
    """
    with pytest.raises(ValidationError, match="1 failures in 10000 rows"):
        warehouse.replace_weeks(VISITS, [MONDAY], sql)
    assert warehouse.snapshot_weeks("visits") == set()


def test_a_first_write_that_fails_leaves_no_table(warehouse: Warehouse) -> None:
    with pytest.raises(ValidationError):
        warehouse.replace_weeks(VISITS, [MONDAY], SQL, ANNA | {"spent": Decimal(-1)})
    with warehouse.transaction() as session:
        assert not session.has("visits")
        assert session.snapshot_weeks("visits") == set()


def test_several_tables_of_one_transaction_appear_together_or_not_at_all(warehouse: Warehouse) -> None:
    def write_both(second_spent: Decimal) -> None:
        with warehouse.transaction() as session:
            session.replace_weeks(VISITS, [MONDAY], SQL, ANNA)
            session.replace_weeks(VISITS, [NEXT], SQL, BERT | {"spent": second_spent})

    with pytest.raises(ValidationError):
        write_both(Decimal(-1))
    with warehouse.transaction() as session:
        assert not session.has("visits")
    write_both(Decimal(1))
    assert visits(warehouse) == [(MONDAY, "anna"), (NEXT, "bert")]


def test_a_whole_table_is_replaced_or_left_alone(warehouse: Warehouse) -> None:
    rows = "select date '2024-01-01' as week, 'anna' as who, x as spent from range($first, $last) r(x)"
    assert warehouse.replace(VISITS, rows, {"first": 0, "last": 3}) == 3
    assert warehouse.replace(VISITS, rows, {"first": 0, "last": 2}) == 2
    with pytest.raises(ValidationError, match="1 failures in 4 rows"):
        warehouse.replace(VISITS, rows, {"first": -1, "last": 3})
    assert len(visits(warehouse)) == 2


# Errors quote no value


@pytest.mark.parametrize(
    "sql",
    [
        # DuckDB's own errors: a word that is no number, an overflow, a null
        f"select week, 'anna' as who, '{SECRET}' as spent from target_weeks",
        f"select week, 'anna' as who, ('{SECRET}' || week)::integer as spent from target_weeks",
        "select week, 'anna' as who, 13800000000::decimal(38, 4) * 1000000000 as spent from target_weeks",
        f"select week, null as who, 1 as spent from target_weeks where '{SECRET}' <> ''",
        # the contract's
        f"select week, '{SECRET}' as who, -13800000000 as spent from target_weeks",
    ],
    ids=["conversion", "cast", "overflow", "null", "contract"],
)
def test_neither_the_error_nor_its_cause_quotes_a_value(warehouse: Warehouse, sql: str) -> None:
    warehouse.replace_weeks(VISITS, [MONDAY], SQL, ANNA)
    with pytest.raises(ValidationError) as caught:
        warehouse.replace_weeks(VISITS, [MONDAY], sql)
    assert "nothing was written" in str(caught.value)
    assert "Zhang" not in str(caught.value)
    assert "138" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert visits(warehouse) == [(MONDAY, "anna")]


def test_reading_quotes_no_value_either(warehouse: Warehouse) -> None:
    warehouse.replace_weeks(VISITS, [MONDAY], SQL, {"who": SECRET, "spent": 1})
    with pytest.raises(ValidationError) as caught:
        warehouse.read("select who::integer from visits")
    assert "Zhang" not in str(caught.value)


def test_a_mistake_in_the_sql_stays_an_error_of_its_own(warehouse: Warehouse) -> None:
    with pytest.raises(duckdb.Error, match="no_such_table"):
        warehouse.read("select * from no_such_table")


# Shapes


def test_a_table_of_an_older_version_is_reported_with_what_to_do(warehouse: Warehouse) -> None:
    with warehouse.transaction() as session:
        session.execute("create table visits (week date not null, who varchar not null)")
    with pytest.raises(RfmError) as caught:
        warehouse.replace_weeks(VISITS, [MONDAY], SQL, ANNA)
    assert str(caught.value) == (
        "the warehouse's table visits has other columns than this version of rfm expects. "
        "The warehouse is derived from the orders: delete warehouse.duckdb and run again."
    )


def test_a_table_of_other_types_is_an_older_version_too(warehouse: Warehouse) -> None:
    with warehouse.transaction() as session:
        session.execute("create table visits (week date, who varchar, spent double)")
        with pytest.raises(RfmError, match="other columns"):
            session.create(VISITS)


def test_a_temporary_table_of_the_same_name_does_not_count(warehouse: Warehouse) -> None:
    with warehouse.transaction() as session:
        session.execute("create temp table visits (x integer)")
        assert not session.has("visits")


def test_frames_are_readable_for_a_while(warehouse: Warehouse) -> None:
    with warehouse.transaction() as session:
        with session.frames(numbers=pl.DataFrame({"n": [1, 2]})):
            assert session.value("select sum(n) from numbers") == 3
        with pytest.raises(duckdb.Error):
            session.execute("select * from numbers")


@pytest.mark.parametrize(
    ("sql", "used"),
    [
        ("select $a", {"a"}),
        ("select $a, $b", {"a", "b"}),
        ("-- not $a\nselect $b -- nor $c", {"b"}),
        ("select $ab", set()),
        ("select 1", set()),
    ],
)
def test_only_the_parameters_that_a_statement_names_are_given_to_it(sql: str, used: set[str]) -> None:
    assert set(used_parameters(sql, {"a": 1, "b": 2, "c": 3})) == used


def test_a_stage_s_sql_is_read_by_package_and_table() -> None:
    assert read_sql("rfm_pipeline.diagnose", "customer_rfm").startswith("-- customer_rfm: one row is")


def test_ctes_that_statements_share_are_part_of_each() -> None:
    for table in ("recall_answers", "returners", "return_curve", "silent_windows"):
        sql = read_sql("rfm_pipeline.review", table)
        assert "-- include" not in sql
        assert sql.index("later_lines as (") < sql.index("\norders as (") < sql.index("\nrefunds as (")


# Snapshots and changes of the inputs


def stale(session: Session) -> set[date]:
    return session.stale_weeks("visits")


def note(session: Session, *weeks: date) -> None:
    days = ", ".join(f"(date '{week}')" for week in weeks)
    session.note_input_changes(f"select week from (values {days}) v(week)")


def test_nothing_is_stale_in_a_new_warehouse(warehouse: Warehouse) -> None:
    assert warehouse.snapshot_weeks("visits") == set()
    assert not warehouse.path.exists()
    with warehouse.transaction() as session:
        assert stale(session) == set()
        assert session.inputs_version() == 0


def test_a_change_makes_stale_the_snapshots_of_its_week_and_later_ones(warehouse: Warehouse) -> None:
    warehouse.replace_weeks(VISITS, [MONDAY, NEXT, THIRD], SQL, ANNA)
    with warehouse.transaction() as session:
        note(session, NEXT)
        assert stale(session) == {NEXT, THIRD}
        note(session, MONDAY, THIRD)
        assert stale(session) == {MONDAY, NEXT, THIRD}
        assert session.inputs_version() == 2
        session.replace_weeks(VISITS, [NEXT], SQL, BERT)
        assert stale(session) == {MONDAY, THIRD}
        session.replace_weeks(VISITS, [MONDAY, THIRD], SQL, BERT)
        assert stale(session) == set()


def test_a_change_after_all_snapshots_or_of_no_week_makes_none_stale(warehouse: Warehouse) -> None:
    warehouse.replace_weeks(VISITS, [MONDAY, NEXT], SQL, ANNA)
    with warehouse.transaction() as session:
        note(session, THIRD)
        session.note_input_changes("select null::date as week")
        assert stale(session) == set()


# One writer


@contextmanager
def another_process_holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A real process that has the file open until the block ends."""
    code = textwrap.dedent(
        f"""
        import sys, duckdb
        connection = duckdb.connect({str(path)!r})
        print("open", flush=True)
        sys.stdin.readline()
        connection.close()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()


def test_a_warehouse_in_use_is_reported_with_the_pid_of_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with another_process_holding(path) as process:
        started = time.monotonic()
        with pytest.raises(WarehouseBusyError) as caught:
            Warehouse(path, lock_wait_seconds=0.3).read("select 1")
        assert time.monotonic() - started >= 0.3
    assert str(caught.value) == (
        f"{path} has been in use by process {process.pid} for more than 0.3 s. "
        "Wait for that run to end, or stop it, then run again."
    )


def test_a_holder_that_ends_in_time_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    pauses = []
    with another_process_holding(path) as process:

        def release(pause: float) -> None:
            pauses.append(pause)
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=30)

        waiting = Warehouse(path, lock_wait_seconds=30, sleep=release)
        assert waiting.read("select 1 as one").item() == 1
    assert pauses == [0.05]


def test_the_connection_is_closed_after_use_and_after_an_exception(warehouse: Warehouse) -> None:
    warehouse.replace_weeks(VISITS, [MONDAY], SQL, ANNA)
    assert can_be_opened_elsewhere(warehouse)

    def write_and_stumble() -> None:
        with warehouse.transaction() as session:
            session.execute("delete from visits")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_stumble()
    assert can_be_opened_elsewhere(warehouse)
    assert visits(warehouse) == [(MONDAY, "anna")]


def test_the_connection_is_closed_after_a_row_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(ValidationError):
        warehouse.replace_weeks(VISITS, [MONDAY], SQL, ANNA | {"spent": Decimal(-1)})
    assert can_be_opened_elsewhere(warehouse)


def test_a_file_that_is_no_warehouse_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_text("something else entirely " * 1000, "utf-8")
    with pytest.raises(duckdb.Error):
        Warehouse(path).read("select 1")


def test_the_file_s_folder_is_made(tmp_path: Path) -> None:
    assert Warehouse(tmp_path / "new" / "warehouse.duckdb").read("select 1 as one").item() == 1
