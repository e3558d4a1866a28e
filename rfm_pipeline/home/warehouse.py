"""The warehouse that a shop's settings ask for.

Not ``warehouse``'s, which knows no stage: on Spark it must be said which tables are made there.
"""

from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.schema import Table


def open_warehouse(shop: Shop) -> Warehouse:
    """The shop's warehouse with the limits of its settings.

    Raises:
        RfmError: If its engine is Spark, and that isn't installed.
    """
    limits = shop.warehouse
    if limits.engine == "spark":
        return _on_spark(shop)
    return Warehouse(
        path=shop.warehouse_path,
        memory_limit=limits.memory_limit,
        threads=limits.threads,
        lock_wait_seconds=limits.lock_wait_seconds,
    )


def _spark_tables(shop: Shop) -> dict[str, Table]:
    """The tables that Spark makes, by name: the diagnosis, and the lines where they come from a dataset."""
    from rfm_pipeline.diagnose.schemas import TABLES
    from rfm_pipeline.ingest.schemas import ORDER_LINES

    tables = TABLES if shop.orders.dataset is None else (*TABLES, ORDER_LINES)
    return {table.name: table for table in tables}


def _on_spark(shop: Shop) -> Warehouse:
    # slow to load, and most shops never need it
    from rfm_pipeline.ingest.schemas import ORDER_LINES
    from rfm_pipeline.warehouse.spark.cluster import ClusterSettings, require_spark
    from rfm_pipeline.warehouse.spark.engine import SparkWarehouse
    from rfm_pipeline.warehouse.spark.published import TableStore

    require_spark()
    limits = shop.warehouse
    cluster = ClusterSettings(
        master=limits.spark.master,
        memory_limit=limits.memory_limit,
        threads=limits.threads,
        conf=limits.spark.conf,
        log=shop.warehouse_path.with_name("spark.log"),
    )
    return SparkWarehouse(
        path=shop.warehouse_path,
        memory_limit=cluster.catalog_memory,
        threads=limits.threads,
        lock_wait_seconds=limits.lock_wait_seconds,
        store=TableStore(shop.spark_tables),
        on_spark=_spark_tables(shop),
        copied={ORDER_LINES.name: ORDER_LINES} if shop.orders.dataset is None else {},
        cluster=cluster,
    )
