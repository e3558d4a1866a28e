"""The schedules: Monday's week, and every day what a run left open."""

from typing import Any

import dagster as dg

from rfm_pipeline.ledger import Ledger
from rfm_pipeline.orchestration.jobs import Job
from rfm_pipeline.recall import tagging
from rfm_pipeline.shop import Shop
from rfm_pipeline.weeks import newest_closed_week, shop_now

HOUR, MINUTE = 6, 0

# what Dagster's builders return has no public name
Schedule = Any


def build_schedule(weekly_job: Job) -> Schedule:
    """Monday 06:00 in the shop's time zone (the partitions'), for the week that has just closed."""
    return dg.build_schedule_from_partitioned_job(
        weekly_job,
        name="weekly_schedule",
        description="Monday 06:00 shop time, for the week just closed.",
        hour_of_day=HOUR,
        minute_of_hour=MINUTE,
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
