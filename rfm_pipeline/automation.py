"""What runs when: the jobs and the weekly schedule.

``weekly_job`` is everything, for one week, Monday 06:00 shop time. ``history_job`` is ingest, diagnosis and
review without any sink or page, for backfills; whom the team reached is read there, too. ``ingest_job`` only
looks for new orders.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

HOUR, MINUTE = 6, 0

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
