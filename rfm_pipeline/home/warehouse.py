"""The warehouse that a shop's settings ask for.

Not ``warehouse``'s, which knows no stage: on Spark it must be said which tables are made there.
"""

from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse


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


def _on_spark(shop: Shop) -> Warehouse:
    # slow to load, and most shops never need it
    from rfm_pipeline.diagnose import schemas
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
    made = {table.name: table for table in schemas.TABLES}
    lines = {ORDER_LINES.name: ORDER_LINES}
    return SparkWarehouse(
        path=shop.warehouse_path,
        memory_limit=cluster.catalog_memory,
        threads=limits.threads,
        lock_wait_seconds=limits.lock_wait_seconds,
        store=TableStore(shop.spark_tables),
        on_spark=made if shop.orders.dataset is None else made | lines,
        copied=lines if shop.orders.dataset is None else {},
        cluster=cluster,
    )
