"""The schedules: Monday's orders, and every day what a run left open."""

import dagster as dg

from rfm_pipeline.ledger import Ledger
from rfm_pipeline.orchestration.jobs import Job
from rfm_pipeline.orchestration.run_tags import REASON_TAG
from rfm_pipeline.recall import tagging
from rfm_pipeline.shop import Shop
from rfm_pipeline.weeks import newest_closed_week, shop_now

HOUR, MINUTE = 6, 0


def build_schedule(shop: Shop, ingest_job: Job) -> dg.ScheduleDefinition:
    """Monday 06:00 in the shop's time zone: looks for the last orders of the week that has just closed.

    What follows from them is ``week_plan_sensor``'s: the week runs as soon as the orders cover it, now or
    after a later ingest.
    """
    return dg.ScheduleDefinition(
        name="weekly_schedule",
        job=ingest_job,
        cron_schedule=f"{MINUTE} {HOUR} * * 1",
        execution_timezone=shop.shop.timezone,
        description="Monday 06:00 shop time: looks for the orders of the week just closed. week_plan_sensor "
        "then takes it through all stages, once the orders cover it.",
        tags={REASON_TAG: "a week has closed"},
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def build_catch_up(shop: Shop, send_job: Job) -> dg.ScheduleDefinition:
    """Every day 10:00: what a run left open of the newest list's tags is not left for a week."""

    @dg.schedule(
        name="catch_up_schedule",
        job=send_job,
        cron_schedule="0 10 * * *",
        execution_timezone=shop.shop.timezone,
        description="Every day 10:00 shop time, if tag changes of the newest closed week are left open.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def catch_up_schedule(ledger: dg.ResourceParam[Ledger]) -> dg.RunRequest | dg.SkipReason:
        now = shop_now(shop)
        week = newest_closed_week(shop, now)
        left = tagging.open_after_a_run(ledger, week)
        if not left:
            return dg.SkipReason(f"nothing is left open of week {week}")
        return dg.RunRequest(run_key=f"{week} {now.date()}", partition_key=str(week))

    return catch_up_schedule
