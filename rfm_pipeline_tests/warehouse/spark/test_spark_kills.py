"""A driver that is killed while it writes: no week is ever half-visible, and the next run makes it good."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

from rfm_pipeline.demo.sample_shop import make_sample
from rfm_pipeline.shop import load_shop
from rfm_pipeline.warehouse.spark.engine import SparkWarehouse
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import diagnose, small_warehouse
from rfm_pipeline_tests.warehouse.spark.engines import assert_same_rows, make_all, on_spark, rows_of
from rfm_pipeline_tests.warehouse.spark.processes import kill_group, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.xdist_group("spark")]

LAST_WEEK = date(2026, 6, 29)
TOGETHER = {"segment_thresholds": "customer_segments", "bestsellers": "silent_churners"}
DRIVER = """
import sys
from datetime import date
from pathlib import Path
from rfm_pipeline.shop import load_shop
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import diagnose
from rfm_pipeline_tests.warehouse.spark.engines import on_spark

shop = load_shop(Path(sys.argv[1]))
weeks = [date.fromisoformat(week) for week in sys.argv[2:]]
diagnose(on_spark(shop), shop, weeks)
"""


def writes(warehouse: SparkWarehouse, table: str) -> set[Path]:
    """Files of a table that are there, finished or not."""
    return set(Path(warehouse.store.root, table).glob("write=*/**/*.parquet"))


@pytest.mark.parametrize("table", ["customer_segments", "silent_churners"])
def test_a_driver_killed_mid_write_leaves_all_weeks_as_they_were(table: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shop = make_sample(home, customers=200, weeks=26, seed=5, last_week=LAST_WEEK)
    weeks = weeks_between(shop.shop.first_week, LAST_WEEK)[:6]
    spark = on_spark(shop)
    make_all(spark, shop, weeks)
    before, files = rows_of(spark), writes(spark, table)

    # other thresholds make other rows of every week
    settings = yaml.safe_load((home / "shop.yaml").read_text("utf-8"))
    settings["rules"] |= {"dormant_after_days": 30, "frequency_high": 2}
    (home / "shop.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
    shop = load_shop(home)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(home), *map(str, weeks)], start_new_session=True
    )
    wait_until(lambda: bool(writes(spark, table) - files) or driver.poll() is not None, f"files of {table}")
    kill_group(driver)
    assert driver.returncode == -9

    duckdb = small_warehouse(shop)
    make_all(duckdb, shop, weeks)
    after, now = rows_of(spark), rows_of(duckdb)
    for name, rows in after.items():
        if name == "snapshots":
            continue
        # a table is wholly as before or wholly as it is now to be, and so are those written with it
        is_old = rows.equals(before[name])
        assert is_old or rows.equals(now[name]), name
        if partner := TOGETHER.get(name):
            assert after[partner].equals((before if is_old else now)[partner])
    assert after[table].equals(before[table])
    assert not before[table].equals(now[table])

    diagnose(spark, shop, weeks)
    assert_same_rows(rows_of(duckdb), rows_of(spark))
    assert_no_rubbish(spark)


def assert_no_rubbish(spark: SparkWarehouse) -> None:
    with spark.transaction() as session:
        for name in spark.on_spark:
            named = sum(len(pointer.files) for pointer in session.pointers.of(name))
            assert len(writes(spark, name)) == named, name
