"""The Spark engine on a standalone cluster, with workers that die."""

import shutil
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.spark.cluster import stop_spark
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import diagnose, ingest, small_warehouse
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.online_retail import FIRST, LAST, needs_online_retail, online_retail
from rfm_pipeline_tests.random_shops import Shop as RandomShop
from rfm_pipeline_tests.random_shops import shops_with_rules
from rfm_pipeline_tests.warehouse.spark.engines import (
    Cluster,
    a_random_shop,
    assert_equal_frames,
    assert_same_rows,
    make_all,
    of_cluster,
    on_spark,
    rows_of,
    standalone_cluster,
)
from rfm_pipeline_tests.warehouse.spark.processes import kill_group, wait_until

# not the local engine's group: each change from one master to the other would start Spark again
pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.xdist_group("spark_cluster")]

REPOSITORY = Path(__file__).resolve().parents[3]
WEEKS = weeks_between(date(2026, 1, 5), date(2026, 6, 29))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The demo shop, of which the last half year is diagnosed."""
    home = tmp_path_factory.mktemp("cluster") / "demo"
    (home / "orders").mkdir(parents=True)
    for export in (REPOSITORY / "data" / "orders").iterdir():
        shutil.copy(export, home / "orders")
    text = (REPOSITORY / "data" / "shop.yaml").read_text("utf-8")
    (home / "shop.yaml").write_text(
        text.replace("first_week: 2025-07-07", f"first_week: {WEEKS[0]}"), "utf-8"
    )
    return load_shop(home)


@pytest.fixture(scope="module")
def duckdb(shop: Shop) -> Warehouse:
    warehouse = small_warehouse(shop)
    make_all(warehouse, shop, WEEKS)
    return warehouse


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standalone_cluster(tmp_path_factory.mktemp("processes")) as cluster:
        yield cluster
        stop_spark()


@needs_online_retail
def test_the_online_retail_year_has_the_same_rows(cluster: Cluster, tmp_path: Path) -> None:
    shop = online_retail(tmp_path / "home")
    assert_same_on(cluster, shop, weeks_between(FIRST, LAST))


@settings(max_examples=examples(1), derandomize=True, suppress_health_check=list(HealthCheck), deadline=None)
@given(shops_with_rules(max_orders=60).filter(lambda shop: len(shop.lines) > 40))
def test_a_random_shop_has_the_same_rows(cluster: Cluster, random_shop: RandomShop) -> None:
    with TemporaryDirectory() as folder:
        assert_same_on(cluster, *a_random_shop(Path(folder), random_shop))


def assert_same_on(cluster: Cluster, shop: Shop, weeks: list[date]) -> None:
    """The cluster's tables of a shop are DuckDB's, row for row."""
    duckdb, spark = small_warehouse(shop), on_spark(shop, cluster.url, of_cluster())
    for warehouse in (duckdb, spark):
        make_all(warehouse, shop, weeks)
    one, other = rows_of(duckdb), rows_of(spark)
    assert one["customer_rfm"].height
    assert_equal_frames(one, other)


# The last test: it leaves the cluster with one worker


def test_a_worker_killed_during_a_range_run_changes_nothing(
    cluster: Cluster, shop: Shop, duckdb: Warehouse
) -> None:
    spark = on_spark(shop, cluster.url, of_cluster())
    ingest(spark, shop)
    diagnose(spark, shop, WEEKS[:1])
    context = spark.cluster.session().sparkContext
    # both workers have an executor, beside the driver's own entry
    executors = context._jsc.sc().statusTracker().getExecutorInfos
    wait_until(lambda: len(executors()) == 3, "two executors")

    killed = threading.Event()

    def kill_a_worker_at_work() -> None:
        wait_until(lambda: bool(context.statusTracker().getActiveStageIds()), "a stage at work")
        kill_group(cluster.workers[0])
        killed.set()

    killer = threading.Thread(target=kill_a_worker_at_work)
    killer.start()
    diagnose(spark, shop, WEEKS)
    killer.join()
    assert killed.is_set()
    assert_same_rows(rows_of(duckdb), rows_of(spark))
    wait_until(lambda: len(executors()) == 2, "the loss of an executor")
    # and with what is left a week is made again
    diagnose(spark, shop, WEEKS[-1:])
    assert_same_rows(rows_of(duckdb), rows_of(spark))
