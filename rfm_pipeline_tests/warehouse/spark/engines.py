"""The same shop on two engines: one home of which both make their tables, and a Spark small enough."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyspark
from polars.testing import assert_frame_equal

from rfm_pipeline.home.warehouse import open_warehouse
from rfm_pipeline.shop import Shop, SparkSection, WarehouseSection
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.spark.engine import SparkWarehouse
from rfm_pipeline.weeks import WEEK, weeks_between
from rfm_pipeline_tests.helpers import WEEKLY_TABLES, diagnose, ingest, shop_of
from rfm_pipeline_tests.random_shops import Shop as RandomShop
from rfm_pipeline_tests.random_shops import to_standard_csv
from rfm_pipeline_tests.warehouse.spark.processes import free_port, kill_group, wait_for_line

LOOPBACK = "127.0.0.1"
TABLES = (
    "order_lines",
    "customer_activity",
    "customer_totals",
    *WEEKLY_TABLES,
    "snapshots",
    "input_changes",
)
# little data, and few seconds to live: no compiling for speed, few tasks
SMALL = {
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
}


def on_spark(shop: Shop, master: str = "local[2]", conf: Mapping[str, str] = SMALL) -> SparkWarehouse:
    """The shop's warehouse with its engine changed to Spark, in the same home."""
    section = WarehouseSection(
        engine="spark",
        memory_limit="2GB",
        threads=2,
        spark=SparkSection(master=master, conf=dict(conf)),
    )
    warehouse = open_warehouse(shop.model_copy(update={"warehouse": section}))
    assert isinstance(warehouse, SparkWarehouse)
    return warehouse


def a_random_shop(home: Path, random_shop: RandomShop) -> tuple[Shop, list[date]]:
    """A home with a random shop's orders, and 21 weeks to diagnose."""
    shop = shop_of(home, random_shop.rules)
    to_standard_csv(random_shop.lines, shop.orders_dir / "orders.csv")
    first = random_shop.rules.first_week
    return shop, weeks_between(first, first + 20 * WEEK)


def make_all(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> None:
    """Loads the orders and makes all tables of the diagnosis."""
    ingest(warehouse, shop)
    diagnose(warehouse, shop, weeks)


def rows_of(warehouse: Warehouse, tables: Sequence[str] = TABLES) -> dict[str, pl.DataFrame]:
    """The tables' rows, in one and the same order every time."""
    with warehouse.transaction() as session:
        return {name: session.read(f'select * from "{name}" order by all') for name in tables}


def assert_same_rows(one: Mapping[str, pl.DataFrame], other: Mapping[str, pl.DataFrame]) -> None:
    """Every table has the same rows, to the last digit, and what customers fill is not empty."""
    assert_equal_frames(one, other)
    for name, rows in one.items():
        assert rows.height or name in ("bestsellers", "silent_churners", "new_silent_churners"), name


def assert_equal_frames(one: Mapping[str, pl.DataFrame], other: Mapping[str, pl.DataFrame]) -> None:
    """Every table has the same rows, to the last digit; any may be empty, as in a random shop."""
    assert one.keys() == other.keys()
    for name, rows in one.items():
        assert_frame_equal(rows, other[name], check_exact=True)


class Cluster:
    """A standalone cluster on loopback: its URL, and its processes.

    Attributes:
        url: What ``warehouse.spark.master`` says.
        workers: The workers' processes; each leads a group with its executors.
    """

    def __init__(self, url: str, workers: "list[subprocess.Popen[bytes]]") -> None:
        self.url = url
        self.workers = workers


def _start(folder: Path, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
    spark = Path(pyspark.__file__).parent
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [spark / "bin" / "spark-class", *arguments],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "SPARK_HOME": str(spark),
                "SPARK_LOCAL_IP": LOOPBACK,
                "SPARK_LOCAL_DIRS": str(folder),
                "SPARK_DAEMON_MEMORY": "256m",
                "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            },
        )


@contextmanager
def standalone_cluster(folder: Path, *, workers: int = 2) -> Iterator[Cluster]:
    """Starts a master and workers of one core each, from the pyspark package; stops them at the end."""
    port = free_port()
    url = f"spark://{LOOPBACK}:{port}"
    deploy = "org.apache.spark.deploy"
    started = [
        _start(
            folder,
            "master",
            f"{deploy}.master.Master",
            *("--host", LOOPBACK, "--port", str(port), "--webui-port", "0"),
        )
    ]
    try:
        wait_for_line(folder / "master.log", "New state: ALIVE")
        for number in range(workers):
            worker = _start(
                folder,
                f"worker{number}",
                f"{deploy}.worker.Worker",
                *("--host", LOOPBACK, "--webui-port", "0", "--cores", "1", "--memory", "700m"),
                *("--work-dir", str(folder / f"work{number}"), url),
            )
            started.append(worker)
        for number in range(workers):
            wait_for_line(folder / f"worker{number}.log", "Successfully registered with master")
        yield Cluster(url, started[1:])
    finally:
        for process in started:
            kill_group(process)


def of_cluster() -> dict[str, Any]:
    """What a driver on loopback tells a cluster on loopback."""
    return {
        **SMALL,
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.executor.memory": "600m",
        "spark.executor.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    }
