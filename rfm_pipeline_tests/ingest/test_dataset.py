"""Orders from a Parquet dataset: the same rows as from the same files in the landing folder."""

import os
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from rfm_pipeline.demo.sample_shop import make_sample
from rfm_pipeline.diagnose.pipeline import update_customer_activity
from rfm_pipeline.errors import OrderFileError, ShopFileError
from rfm_pipeline.home.warehouse import open_warehouse as engine_of
from rfm_pipeline.ingest.checks import ORDER_LINES_CHECKS, RAW_ORDERS_CHECKS
from rfm_pipeline.ingest.loading import load_new_orders, update_order_lines
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.checks import run_checks
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import diagnose, ingest, make_shop, small_warehouse
from rfm_pipeline_tests.warehouse.spark.engines import SMALL, assert_same_rows, rows_of

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

LAST_WEEK = date(2026, 6, 29)
WEEKS = weeks_between(date(2026, 5, 25), LAST_WEEK)
CANONICAL = (
    "order_id, line_no, customer_id, ordered_at, line_type, sku, product_name, quantity, unit_price, "
    "list_price, amount, refunded_amount, refunded_at, is_clearance"
)


def on_dataset(home: Path) -> Shop:
    return make_shop(
        home,
        shop={"first_week": WEEKS[0]},
        orders={"kind": "parquet", "dataset": {"url": "lines"}},
        warehouse={
            "engine": "spark",
            "memory_limit": "2GB",
            "threads": 2,
            "spark": {"master": "local[2]", "conf": SMALL},
        },
    )


def take_in(warehouse: Warehouse, shop: Shop, weeks: Sequence[date] = WEEKS) -> int:
    """Loads what is new and diagnoses the weeks; returns in how many weeks something changed."""
    load_new_orders(warehouse, shop, ledger=Ledger(shop.ledger_url))
    update_order_lines(warehouse, shop)
    changed = update_customer_activity(warehouse)
    if weeks:
        diagnose(warehouse, shop, weeks)
    return len(changed)


def write(rows: pl.DataFrame, name: str, *places: Path) -> None:
    """The same file in several places, each written later than what was there before."""
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(place / name)
        os.utime(place / name, (time.time(), time.time()))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The order lines of a sample shop."""
    home = tmp_path_factory.mktemp("sample") / "home"
    shop = make_sample(home, customers=300, weeks=30, seed=4, last_week=LAST_WEEK)
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    return warehouse.read(f"select {CANONICAL} from order_lines order by order_id, line_no")


@pytest.mark.slow
def test_files_that_come_in_change_and_go_make_the_same_rows(lines: pl.DataFrame, tmp_path: Path) -> None:
    landing = make_shop(tmp_path / "landing", shop={"first_week": WEEKS[0]})
    shop = on_dataset(tmp_path / "dataset")
    places = (landing.orders_dir, shop.home / "lines")
    duckdb, spark = small_warehouse(landing), engine_of(shop)
    cut = datetime(2026, 6, 22)
    early, late = lines.filter(pl.col("ordered_at") < cut), lines.filter(pl.col("ordered_at") >= cut)

    # a first file, up to two weeks before the end
    write(early, "a.parquet", *places)
    assert take_in(duckdb, landing, WEEKS[:-2]) == take_in(spark, shop, WEEKS[:-2])
    assert_same_rows(rows_of(duckdb), rows_of(spark))

    # a second one, which holds an early order again, now refunded
    again = early["order_id"][0]
    paid_back = {
        "refunded_amount": pl.col("amount"),
        "refunded_at": pl.lit(cut + timedelta(days=1), dtype=pl.Datetime("us")),
    }
    refunded = early.filter(order_id=again).with_columns(**paid_back)
    write(pl.concat([late, refunded]), "b.parquet", *places)
    changed = take_in(spark, shop)
    assert take_in(duckdb, landing) == changed
    # the weeks of the new lines, and of the refunded order
    assert changed < 6
    assert_same_rows(rows_of(duckdb), rows_of(spark))
    with spark.transaction() as session:
        checks = [*RAW_ORDERS_CHECKS, *ORDER_LINES_CHECKS]
        verdicts = run_checks(session, checks, [], {"now": datetime(2026, 8, 1)})
    assert all(verdict.passed for verdict in verdicts)

    # nothing new: nothing is done
    assert take_in(spark, shop, weeks=()) == 0

    # the first one again, with another price in one line: later than the second, so it counts
    dearer = early.with_columns(
        amount=pl.when(pl.int_range(pl.len()) == 5).then(Decimal("1.00")).otherwise("amount")
    )
    write(dearer, "a.parquet", *places)
    assert take_in(duckdb, landing) == take_in(spark, shop)
    one, other = rows_of(duckdb), rows_of(spark)
    # all files are taken again, and numbered again
    for rows in (one, other):
        rows["order_lines"] = rows["order_lines"].drop("batch_id")
    assert_same_rows(one, other)

    # who asked to be forgotten stays out when files are read again
    somebody = one["customer_rfm"]["customer_id"][0]
    Ledger(shop.ledger_url).forget(somebody)
    (shop.home / "lines" / "b.parquet").unlink()
    take_in(spark, shop, weeks=())
    left = spark.read("select count(*) as n, count(distinct order_id) as orders from order_lines")
    assert left.row(0) == (dearer.height, dearer["order_id"].n_unique())
    named = spark.read("select count(*) as n from order_lines where customer_id = $id", {"id": somebody})
    assert named.item() == 0


def test_rows_that_break_the_contract_are_told_by_file_and_count(lines: pl.DataFrame, tmp_path: Path) -> None:
    shop = on_dataset(tmp_path / "home")
    spark = engine_of(shop)
    folder = shop.home / "lines" / "month=2026-06"
    write(lines.head(20), "good.parquet", folder)
    bad = lines.head(3).with_columns(amount=-pl.col("amount"), order_id=pl.lit(None, dtype=pl.String))
    write(bad, "bad.parquet", folder)
    with pytest.raises(OrderFileError) as caught:
        load_new_orders(spark, shop)
    message = str(caught.value)
    assert "month=2026-06/bad.parquet: order_id is missing (3 rows); amount is missing or negative" in message
    assert "good.parquet" not in message
    assert spark.read("select count(*) as n from order_batches").item() == 0


def test_a_missing_column_is_named(lines: pl.DataFrame, tmp_path: Path) -> None:
    shop = on_dataset(tmp_path / "home")
    write(lines.head(3).drop("unit_price"), "a.parquet", shop.home / "lines")
    with pytest.raises(OrderFileError, match="the column unit_price is missing"):
        load_new_orders(engine_of(shop), shop)


def test_times_with_a_zone_are_the_shops(lines: pl.DataFrame, tmp_path: Path) -> None:
    shop = on_dataset(tmp_path / "home")
    moments = pl.col("ordered_at").dt.replace_time_zone("Asia/Shanghai").dt.convert_time_zone("UTC")
    write(lines.head(50).with_columns(moments), "a.parquet", shop.home / "lines")
    spark = engine_of(shop)
    load_new_orders(spark, shop)
    update_order_lines(spark, shop)
    found = spark.read(f"select {CANONICAL} from order_lines order by order_id, line_no")
    assert_frame_equal(found, lines.head(50), check_exact=True)


def test_a_dataset_needs_spark_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ShopFileError, match=r"orders\.kind: parquet is read by Spark"):
        make_shop(tmp_path, orders={"kind": "parquet", "dataset": {"url": "lines"}})


def test_an_empty_dataset_is_an_error_that_says_what_is_wanted(tmp_path: Path) -> None:
    shop = on_dataset(tmp_path / "home")
    with pytest.raises(OrderFileError, match=r"holds no \.parquet file"):
        load_new_orders(engine_of(shop), shop)
