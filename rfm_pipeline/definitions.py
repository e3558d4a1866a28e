"""The one page that shows everything Dagster loads."""

import warnings
from pathlib import Path

import dagster as dg

from rfm_pipeline import automation
from rfm_pipeline.diagnose import assets as diagnose
from rfm_pipeline.diagnose import checks as diagnose_checks
from rfm_pipeline.diagnose import schemas as diagnose_schemas
from rfm_pipeline.ingest import assets as ingest
from rfm_pipeline.ingest import checks as ingest_checks
from rfm_pipeline.ingest.schemas import ORDER_LINES
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.recall import assets as recall
from rfm_pipeline.review import assets as review
from rfm_pipeline.review import documents
from rfm_pipeline.shop import Shop, home_from_environment, load_shop
from rfm_pipeline.warehouse.cluster import ClusterSettings, require_spark
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.published import TableStore
from rfm_pipeline.warehouse.spark import SparkWarehouse

EARLIER_CHECKS = [
    *ingest_checks.RAW_ORDERS_CHECKS,
    *ingest_checks.ORDER_LINES_CHECKS,
    *diagnose_checks.CUSTOMER_ACTIVITY_CHECKS,
    *diagnose_checks.CUSTOMER_RFM_CHECKS,
    *diagnose_checks.CUSTOMER_SEGMENTS_CHECKS,
    *diagnose_checks.SILENT_CHURNERS_CHECKS,
    *diagnose_checks.NEW_SILENT_CHURNERS_CHECKS,
]


def warehouse_of(shop: Shop) -> Warehouse:
    """The shop's warehouse with the limits of its settings.

    Raises:
        RfmError: If its engine is Spark, and that isn't installed.
    """
    limits = shop.warehouse
    if limits.engine == "duckdb":
        return Warehouse(
            path=shop.warehouse_path,
            memory_limit=limits.memory_limit,
            threads=limits.threads,
            lock_wait_seconds=limits.lock_wait_seconds,
        )
    require_spark()
    cluster = ClusterSettings(
        master=limits.spark.master,
        memory_limit=limits.memory_limit,
        threads=limits.threads,
        conf=limits.spark.conf,
        log=shop.warehouse_path.with_name("spark.log"),
    )
    made = {table.name: table for table in diagnose_schemas.TABLES}
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


def build_defs(home: Path) -> dg.Definitions:
    """Everything Dagster loads for the shop in ``home``.

    Raises:
        ShopFileError: If the shop's settings can't be used.
    """
    # a beta part that this project uses on purpose
    warnings.filterwarnings("ignore", message=r"Parameter `backfill_policy` .*")
    shop = load_shop(home)
    stages = (
        ingest.build_assets(shop),
        diagnose.build_assets(shop),
        recall.build_assets(shop, EARLIER_CHECKS),
        review.build_assets(shop),
        documents.build_assets(shop),
    )
    jobs = automation.build_jobs(*stages)
    return dg.Definitions(
        assets=[asset for stage in stages for asset in stage],
        jobs=jobs,
        schedules=[automation.build_schedule(jobs[0])],
        resources={"warehouse": warehouse_of(shop), "ledger": Ledger(shop.ledger_url)},
        # multiprocess costs seconds a step, and DuckDB allows one writer anyway
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The shop that ``RFM_HOME`` names (``data`` if unset)."""
    return build_defs(home_from_environment())
