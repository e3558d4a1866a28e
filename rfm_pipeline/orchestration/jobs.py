"""The jobs: which assets run together.

``weekly_job`` is everything, for one week. ``history_job`` is ingest, diagnosis and review without any sink
or page, for backfills; it also reads whom the team reached. ``ingest_job`` only looks for new orders.
``send_job`` carries out what is left of a week's tags.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

SENDING = ("customer_tags", "ops_worklist", "team_message")

# what Dagster's builders return has no public name
Job = Any


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
