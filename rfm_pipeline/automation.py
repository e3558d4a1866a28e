"""What runs when: the jobs, the schedules, and the alert when a run fails.

``weekly_job`` is everything, for one week, Monday 06:00 shop time. ``history_job`` is ingest, diagnosis and
review without any sink or page, for backfills; whom the team reached is read there, too. ``ingest_job`` only
looks for new orders. ``send_job`` does what is left of a week's tags, every day 10:00 if anything is.
``failure_alert`` tells the team's group of every run that fails while the daemon is up, whoever started it.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from rfm_pipeline import alerts
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.recall import tagging
from rfm_pipeline.recall.resources import WecomAccess
from rfm_pipeline.shop import Shop
from rfm_pipeline.weeks import newest_closed_week, shop_now

HOUR, MINUTE = 6, 0
SENDING = ("customer_tags", "ops_worklist", "team_message")

# what Dagster's builders return has no public name
Job = Any
Schedule = Any


def build_jobs(
    ingest: Sequence[dg.AssetsDefinition],
    diagnose: Sequence[dg.AssetsDefinition],
    recall: Sequence[dg.AssetsDefinition],
    review: Sequence[dg.AssetsDefinition],
    documents: Sequence[dg.AssetsDefinition],
) -> list[Job]:
    """The jobs over the stages' assets."""
    return [
        dg.define_asset_job(
            "weekly_job",
            selection=[*ingest, *diagnose, *recall, *review, *documents],
            description="Everything, for one week: orders in, list and tags out, outcomes told, the page "
            "written. Backfills of it send nothing.",
        ),
        dg.define_asset_job(
            "history_job",
            selection=[*ingest, *diagnose, recall[0], *review],
            description="Ingest, diagnosis and review, no sinks: for backfills of past weeks.",
        ),
        dg.define_asset_job(
            "ingest_job",
            selection=[*ingest, diagnose[0]],
            description="Looks for new orders and adds them up; no week is diagnosed.",
        ),
        dg.define_asset_job(
            "send_job",
            selection=[asset for asset in recall if asset.key.to_user_string() in SENDING],
            description="Carries out what is left of a week's tag plan, and makes the work list of it. What "
            "was done is not done again.",
        ),
    ]


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


def build_failure_alert(shop: Shop) -> dg.SensorDefinition:
    """Tells the team's group of runs that fail; of one cause once a day, see ``alerts``."""

    @dg.run_failure_sensor(
        name="failure_alert",
        description="Tells the team's group in WeCom of runs that failed and checks that stopped one; of one "
        "cause once a day.",
        # all runs of this home's storage, also those of `rfm run` and `dg launch`
        monitor_all_code_locations=True,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def failure_alert(
        context: dg.RunFailureSensorContext, ledger: dg.ResourceParam[Ledger], wecom: WecomAccess
    ) -> None:
        failed = alerts.of_run(context.instance, context.dagster_run)
        for problem in alerts.send_alerts(shop, ledger, wecom.robot_key, failed):
            context.log.warning(problem)

    return failure_alert
