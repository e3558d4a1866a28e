"""The schedules: Monday's week, and every day what a run left open."""

from datetime import date, datetime

import dagster as dg

from rfm_pipeline.errors import WarehouseBusyError
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.orchestration.jobs import Job
from rfm_pipeline.orchestration.run_tags import REASON_TAG, WEEK_TAG
from rfm_pipeline.orchestration.week_facts import read_facts
from rfm_pipeline.orchestration.week_plan import Action, plan_weeks
from rfm_pipeline.recall import tagging
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import as_of, newest_closed_week, shop_now, week_of

HOUR, MINUTE = 6, 0


def build_schedule(shop: Shop, warehouse: Warehouse, weekly_job: Job) -> dg.ScheduleDefinition:
    """Monday 06:00 in the shop's time zone: the week that has just closed, through all stages.

    Where the orders don't cover the week yet, that run fails at the diagnosis and the alert says so;
    ``week_plan_sensor`` then takes the week up as soon as they do. Where older weeks must be made first, the
    schedule leaves all of it to the sensor.
    """

    @dg.schedule(
        name="weekly_schedule",
        job=weekly_job,
        cron_schedule=f"{MINUTE} {HOUR} * * 1",
        execution_timezone=shop.shop.timezone,
        description="Monday 06:00 shop time, for the week just closed. Where older weeks must be made first, "
        "or the orders come late, week_plan_sensor takes it up.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def weekly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time.astimezone(shop.zone).replace(tzinfo=None)
        week = newest_closed_week(shop, now)
        if as_of(week) != week_of(now) or week < shop.shop.first_week:
            return dg.SkipReason(f"the week that has just closed is not on the shop's grid (newest: {week})")
        if older := _weeks_to_make_first(shop, warehouse, week, now):
            return dg.SkipReason(f"week_plan_sensor makes {len(older)} older weeks first, then week {week}")
        # the partition's tag is all that Dagster would look up for the key
        tags = {WEEK_TAG: str(week), REASON_TAG: "the week has closed"}
        return dg.RunRequest(run_key=str(week), partition_key=str(week), tags=tags)

    return weekly_schedule


def _weeks_to_make_first(shop: Shop, warehouse: Warehouse, week: date, now: datetime) -> list[date]:
    """The weeks before ``week`` that the plan makes or makes again; none while nothing can be read."""
    try:
        with warehouse.glance() as session:
            plan = plan_weeks(shop, read_facts(session, shop, now))
    except (FileNotFoundError, WarehouseBusyError):
        return []
    due = (Action.MAKE, Action.AGAIN)
    return [decision.week for decision in plan.decisions if decision.week < week and decision.action in due]


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
