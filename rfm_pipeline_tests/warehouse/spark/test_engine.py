"""The Spark engine on one machine: its tables are DuckDB's, row for row, and a write is seen whole or not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from polars.testing import assert_frame_equal

from rfm_pipeline.demo.sample_shop import make_sample
from rfm_pipeline.diagnose import checks
from rfm_pipeline.diagnose.pipeline import parameters, sql_of, write_customer_rfm, write_customer_segments
from rfm_pipeline.diagnose.schemas import BESTSELLERS, CUSTOMER_RFM, CUSTOMER_SEGMENTS, SEGMENT_THRESHOLDS
from rfm_pipeline.errors import ValidationError
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.privacy.forget import forget
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.checks import run_checks
from rfm_pipeline.warehouse.duckdb import Session, Warehouse
from rfm_pipeline.warehouse.spark.engine import SparkWarehouse
from rfm_pipeline.warehouse.spark.published import Pointers
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import small_warehouse
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.online_retail import FIRST, LAST, needs_online_retail, online_retail
from rfm_pipeline_tests.random_shops import Shop as RandomShop
from rfm_pipeline_tests.random_shops import shops_with_rules
from rfm_pipeline_tests.warehouse.spark.engines import (
    SMALL,
    a_random_shop,
    assert_equal_frames,
    assert_same_rows,
    make_all,
    on_spark,
    rows_of,
)

# one session for all tests of the local engine
pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

REPOSITORY = Path(__file__).resolve().parents[3]
LAST_WEEK = date(2026, 6, 29)
RFM = """
select week, as_of, customer_id, {recency_days} as recency_days, frequency, {monetary} as monetary,
    first_order_at, last_order_at, last_return_at
from customer_rfm where week in (select week from target_weeks)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A small shop of 30 weeks, of which the last 9 are diagnosed."""
    home = tmp_path_factory.mktemp("spark") / "a shop's 家"
    return make_sample(home, customers=300, weeks=30, seed=11, last_week=LAST_WEEK)


@pytest.fixture(scope="module")
def weeks(shop: Shop) -> list[date]:
    return weeks_between(shop.shop.first_week, LAST_WEEK)[:9]


@pytest.fixture(scope="module")
def duckdb(shop: Shop, weeks: list[date]) -> Warehouse:
    warehouse = small_warehouse(shop)
    make_all(warehouse, shop, weeks)
    return warehouse


@pytest.fixture(scope="module")
def spark(shop: Shop, weeks: list[date]) -> SparkWarehouse:
    warehouse = on_spark(shop)
    make_all(warehouse, shop, weeks)
    return warehouse


def parquet_files(warehouse: SparkWarehouse) -> set[Path]:
    return set(Path(warehouse.store.root).rglob("*.parquet"))


class Undone(Exception):
    """Ends a transaction without its writes."""


@contextmanager
def tried(warehouse: Warehouse) -> Iterator[Session]:
    """A transaction that is rolled back whatever happens in it."""
    with suppress(Undone), warehouse.transaction() as session:
        yield session
        raise Undone


# Row for row


@pytest.mark.slow
def test_the_demo_shop_goes_through_all_four_stages_with_the_same_rows(tmp_path: Path) -> None:
    homes = {engine: tmp_path / engine for engine in ("duckdb", "spark")}
    for engine, home in homes.items():
        shutil.copytree(
            REPOSITORY / "data", home, ignore=shutil.ignore_patterns("warehouse*", "ledger*", "out")
        )
        settings_file = home / "shop.yaml"
        text = settings_file.read_text("utf-8")
        # the one line that a shop changes
        settings_file.write_text(text.replace("engine: duckdb", f"engine: {engine}"), "utf-8")
        ran = subprocess.run(
            [
                sys.executable,
                "-c",
                "from rfm_pipeline.cli.app import main; main()",
                "run",
                "--home",
                str(home),
            ],
            capture_output=True,
            env={
                "PATH": "/usr/bin:/bin",
                "DO_NOT_TRACK": "1",
                "JAVA_TOOL_OPTIONS": SMALL["spark.driver.extraJavaOptions"],
            },
            check=False,
        )
        assert ran.returncode == 0, ran.stderr.decode()
    one, other = (warehouse_of_home(home) for home in homes.values())
    names = one.read("select table_name from duckdb_tables() where not temporary")["table_name"].to_list()
    # when the copies of the exports were written
    tables = sorted(set(names) - {"landing_states"})
    assert {"recall_list", "data_checks", "recall_effect", "sleeping_value"} <= set(tables)
    for table in tables:
        query = f'select * from "{table}" order by all'
        assert_frame_equal(one.read(query), other.read(query), check_exact=True)
    tags = [(home / "out" / "tags" / f"{LAST_WEEK}.csv").read_bytes() for home in homes.values()]
    assert tags[0] == tags[1]
    log = homes["spark"] / "warehouse_spark" / "spark.log"
    assert log.stat().st_mode & 0o077 == 0


def warehouse_of_home(home: Path) -> Warehouse:
    from rfm_pipeline.home.warehouse import open_warehouse as engine_of

    return engine_of(load_shop(home))


@pytest.mark.slow
@needs_online_retail
def test_the_online_retail_year_has_the_same_rows(tmp_path: Path) -> None:
    shop = online_retail(tmp_path / "home")
    duckdb, spark = Warehouse(shop.warehouse_path, memory_limit="2GB"), on_spark(shop)
    for warehouse in (duckdb, spark):
        make_all(warehouse, shop, weeks_between(FIRST, LAST))
    assert_same_rows(rows_of(duckdb), rows_of(spark))


@settings(max_examples=examples(2), derandomize=True, suppress_health_check=list(HealthCheck))
@given(shops_with_rules(max_orders=60).filter(lambda shop: len(shop.lines) > 40))
def test_random_shops_have_the_same_rows(random_shop: RandomShop) -> None:
    with TemporaryDirectory() as folder:
        shop, weeks = a_random_shop(Path(folder), random_shop)
        duckdb, spark = small_warehouse(shop), on_spark(shop)
        for warehouse in (duckdb, spark):
            make_all(warehouse, shop, weeks)
        assert_equal_frames(rows_of(duckdb), rows_of(spark))


def test_a_small_shop_has_the_same_rows(duckdb: Warehouse, spark: SparkWarehouse) -> None:
    assert_same_rows(rows_of(duckdb), rows_of(spark))


def test_the_checks_find_the_same(duckdb: Warehouse, spark: SparkWarehouse, weeks: list[date]) -> None:
    asked = [
        *checks.CUSTOMER_RFM_CHECKS,
        *checks.CUSTOMER_SEGMENTS_CHECKS,
        *checks.SILENT_CHURNERS_CHECKS,
        *checks.NEW_SILENT_CHURNERS_CHECKS,
    ]
    params = {"now": datetime(2026, 8, 1), "max_order_gap_days": 3}
    found = []
    for warehouse in (duckdb, spark):
        with warehouse.transaction() as session:
            verdicts = run_checks(session, asked, weeks, params)
        found.append([(v.check.name, v.passed, {k: str(n) for k, n in v.figures.items()}) for v in verdicts])
    assert found[0] == found[1]


def test_a_check_that_fails_on_duckdb_fails_on_spark(
    shop: Shop, spark: SparkWarehouse, weeks: list[date]
) -> None:
    week = weeks[-1]
    with tried(spark) as session:
        session.rewrite_weeks(
            CUSTOMER_SEGMENTS,
            [week],
            "select * from customer_segments where week = $week and segment <> 'champion'",
            {"week": week},
        )
        asked = [
            check for check in checks.CUSTOMER_SEGMENTS_CHECKS if check.name == "every_customer_has_a_segment"
        ]
        [verdict] = run_checks(session, asked, [week], {})
        assert not verdict.passed
        assert verdict.figures["differing_customers"] > 0


# Seen whole, or not at all


def test_rows_that_break_the_schema_are_counted_and_never_seen(
    spark: SparkWarehouse, weeks: list[date]
) -> None:
    before, files = rows_of(spark), parquet_files(spark)
    with pytest.raises(ValidationError) as caught:
        spark.replace_weeks(
            CUSTOMER_RFM,
            weeks[-2:],
            RFM.format(recency_days="-1", monetary="monetary"),
        )
    message = str(caught.value)
    expected = before["customer_rfm"].filter(pl.col("week") >= weeks[-2]).height
    assert f"customer_rfm, week {weeks[-2]}..{weeks[-1]}: {expected} failures in {expected} rows" in message
    assert "recency_days: greater_than_or_equal_to(1)" in message
    assert_same_rows(rows_of(spark), before)
    assert parquet_files(spark) == files


def test_a_value_that_does_not_fit_is_refused_without_telling_it(
    spark: SparkWarehouse, weeks: list[date]
) -> None:
    too_much = "1234567890123456789"
    with pytest.raises(ValidationError) as caught:
        spark.replace_weeks(
            CUSTOMER_RFM,
            weeks[-1:],
            RFM.format(recency_days="recency_days", monetary=f"cast({too_much} as decimal(38, 0))"),
        )
    assert "nothing was written" in str(caught.value)
    assert too_much not in str(caught.value)


def test_tables_written_together_are_seen_together(
    shop: Shop, spark: SparkWarehouse, weeks: list[date]
) -> None:
    before = rows_of(spark)
    with tried(spark) as session:
        session.replace_weeks(
            SEGMENT_THRESHOLDS,
            weeks[:2],
            sql_of(SEGMENT_THRESHOLDS),
            parameters(shop) | {"frequency_high": 9},
        )
        inside = session.value("select count(*) from segment_thresholds where frequency_high = 9")
        assert inside == 2
    assert_same_rows(rows_of(spark), before)


def test_a_range_written_again_replaces_its_weeks_only_and_leaves_no_rubbish(
    shop: Shop, spark: SparkWarehouse, duckdb: Warehouse, weeks: list[date]
) -> None:
    write_customer_rfm(spark, shop, weeks[2:4])
    write_customer_segments(spark, shop, weeks[2:4])
    assert_same_rows(rows_of(duckdb), rows_of(spark))
    with spark.transaction() as session:
        named = {
            Path(spark.store.root, name, f"write={pointer.write_id}", f"week={pointer.week}", file)
            for name in (*spark.on_spark, *spark.copied)
            for pointer in session.pointers.of(name)
            for file in pointer.files
        }
    assert parquet_files(spark) >= named
    # other tables may still hold what a transaction that was undone above left, until they are written
    mine = {path for path in parquet_files(spark) if {"customer_rfm", "customer_segments"} & set(path.parts)}
    assert mine <= named


def test_files_and_their_folders_are_on_the_disk_before_a_pointer_names_them(
    shop: Shop, spark: SparkWarehouse, weeks: list[date], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[Path] = set()
    really = os.fsync

    def noted(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        really(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    seen = {}
    move = Pointers.move

    def moved(self: Pointers, table: str, *arguments: Any) -> None:
        seen[table] = set(synced)
        move(self, table, *arguments)

    monkeypatch.setattr(Pointers, "move", moved)
    write_customer_rfm(spark, shop, weeks[:2])
    with spark.transaction() as session:
        [*pointers] = [each for each in session.pointers.of("customer_rfm") if each.week in weeks[:2]]
    assert len(pointers) == 2
    for pointer in pointers:
        folder = Path(spark.store.root, "customer_rfm", f"write={pointer.write_id}", f"week={pointer.week}")
        assert pointer.files
        assert {folder / name for name in pointer.files} <= seen["customer_rfm"]
        assert {folder, folder.parent, folder.parent.parent} <= seen["customer_rfm"]


def test_a_week_without_rows_is_a_week_that_was_made(spark: SparkWarehouse, weeks: list[date]) -> None:
    with tried(spark) as session:
        rows = session.replace_weeks(BESTSELLERS, weeks[:1], "select * from bestsellers where false")
        assert rows == {weeks[0]: 0}
        assert weeks[0] in session.snapshot_weeks("bestsellers")
        assert session.value("select count(*) from bestsellers where week = $week", {"week": weeks[0]}) == 0


# The right to be forgotten


def test_a_forgotten_customer_is_in_no_file_and_all_others_stay(
    shop: Shop, spark: SparkWarehouse, duckdb: Warehouse
) -> None:
    before = rows_of(spark)
    somebody = before["new_silent_churners"]["customer_id"][0]
    traces = forget(shop, spark, Ledger(shop.ledger_url), somebody)
    assert traces.warehouse.derived["customer_rfm"] > 0
    assert traces.warehouse.order_lines["order_lines"] > 0
    for path in parquet_files(spark):
        columns = pl.scan_parquet(path).collect_schema().names()
        if "customer_id" in columns:
            assert somebody not in pl.read_parquet(path)["customer_id"].to_list(), path
    assert somebody.encode() not in spark.path.read_bytes()
    after = rows_of(spark)
    for table, rows in before.items():
        if table == "order_lines":
            assert after[table].height == rows.height
        elif "customer_id" in rows.columns:
            kept = rows.filter(pl.col("customer_id") != somebody)
            assert_frame_equal(after[table], kept, check_exact=True)
    lent = spark.cluster.session().read.parquet(f"{spark.store.root}/order_lines")
    assert lent.filter(lent.customer_id == somebody).count() == 0
    # and what the other engine had made of the same orders
    assert not duckdb.path.exists()
    assert forget(shop, spark, Ledger(shop.ledger_url), somebody).warehouse.derived == {}
