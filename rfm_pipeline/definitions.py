"""The one page that shows everything Dagster loads."""

import warnings
from pathlib import Path

import dagster as dg

from rfm_pipeline.diagnose import assets as diagnose
from rfm_pipeline.diagnose import checks as diagnose_checks
from rfm_pipeline.home.warehouse import open_warehouse
from rfm_pipeline.ingest import assets as ingest
from rfm_pipeline.ingest import checks as ingest_checks
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.orchestration import schedules, sensors
from rfm_pipeline.orchestration.jobs import build_jobs
from rfm_pipeline.orchestration.week_plan_sensor import build_week_plan_sensor
from rfm_pipeline.recall import assets as recall
from rfm_pipeline.recall.resources import wecom_access
from rfm_pipeline.review import assets as review
from rfm_pipeline.review.report import assets as documents
from rfm_pipeline.shop import home_from_environment, load_shop

EARLIER_CHECKS = [
    *ingest_checks.RAW_ORDERS_CHECKS,
    *ingest_checks.ORDER_LINES_CHECKS,
    *diagnose_checks.CUSTOMER_ACTIVITY_CHECKS,
    *diagnose_checks.CUSTOMER_RFM_CHECKS,
    *diagnose_checks.CUSTOMER_SEGMENTS_CHECKS,
    *diagnose_checks.SILENT_CHURNERS_CHECKS,
    *diagnose_checks.NEW_SILENT_CHURNERS_CHECKS,
]


def build_defs(home: Path) -> dg.Definitions:
    """Everything Dagster loads for the shop in ``home``.

    Raises:
        ShopFileError: If the shop's settings can't be used.
    """
    # a beta part that this project uses on purpose
    warnings.filterwarnings("ignore", message=r"Parameter `backfill_policy` .*")
    shop = load_shop(home)
    warehouse = open_warehouse(shop)
    stages = (
        ingest.build_assets(shop),
        diagnose.build_assets(shop),
        recall.build_assets(shop, EARLIER_CHECKS),
        review.build_assets(shop),
        documents.build_assets(shop),
    )
    jobs = build_jobs()
    job_of = {job.name: job for job in jobs}
    return dg.Definitions(
        assets=[asset for stage in stages for asset in stage],
        jobs=jobs,
        schedules=[
            schedules.build_schedule(shop, warehouse, job_of["weekly_job"]),
            schedules.build_catch_up(shop, job_of["send_job"]),
        ],
        sensors=[sensors.build_failure_alert(shop), build_week_plan_sensor(shop, job_of)],
        # no ConfigurableResource: Dagster copies those for each run, and shows their fields. The warehouse's
        # open connection would be lost, the ledger's password shown, and tests would need a context.
        resources={
            "warehouse": warehouse,
            "ledger": Ledger(lambda: shop.ledger_url),
            "wecom": wecom_access(shop),
        },
        # multiprocess costs seconds a step, and DuckDB allows one writer anyway
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The shop that ``RFM_HOME`` names (``data`` if unset)."""
    return build_defs(home_from_environment())
