"""The jobs: which assets run together.

``weekly_job`` is everything, for one week. ``history_job`` is ingest, diagnosis and review without any sink
or page, for backfills; it also reads whom the team reached. ``ingest_job`` only looks for new orders.
``send_job`` carries out what is left of a week's tags.
"""

from typing import Any

import dagster as dg

# what Dagster's builders return has no public name
Job = Any

_STAGES = dg.AssetSelection.groups("ingest", "diagnose", "recall", "review")
_INGEST = dg.AssetSelection.groups("ingest")
_DIAGNOSE = dg.AssetSelection.groups("diagnose")
_ACTIVITY = dg.AssetSelection.assets("customer_activity", "customer_totals")
_OUTREACH = dg.AssetSelection.assets("outreach_log", "outreach_findings")
_SENDING = dg.AssetSelection.assets("customer_tags", "ops_worklist", "team_message")
_DOCUMENTS = dg.AssetSelection.assets("weekly_report", "recall_playbook")
_REVIEW_TABLES = dg.AssetSelection.groups("review") - _DOCUMENTS


def build_jobs() -> list[Job]:
    """The jobs, each over assets named by key or by stage."""
    return [
        dg.define_asset_job(
            "weekly_job",
            selection=_STAGES,
            description="Everything, for one week: orders in, list and tags out, outcomes measured, the page "
            "written. Backfills of it send nothing.",
        ),
        dg.define_asset_job(
            "history_job",
            selection=_INGEST | _DIAGNOSE | _OUTREACH | _REVIEW_TABLES,
            description="Ingest, diagnosis and review, no sinks: for backfills of past weeks.",
        ),
        dg.define_asset_job(
            "ingest_job",
            selection=_INGEST | _ACTIVITY,
            description="Looks for new orders and adds them up; no week is diagnosed.",
        ),
        dg.define_asset_job(
            "send_job",
            selection=_SENDING,
            description="Carries out what is left of a week's tag plan, and makes the work list of it. What "
            "was done is not done again.",
        ),
    ]
