"""The recall stage's last asset: ``team_message``, by which the team's group learns of the week.

It guards itself like ``customer_tags``, and nothing builds on it: what it meets stops no other asset.
"""

from typing import Any

import dagster as dg

from rfm_pipeline.contacts.order_contacts import read_order_contacts
from rfm_pipeline.contacts.reach import read_reach
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.orchestration.asset_arguments import (
    OPERATIONS,
    TOUCHES_TEAM,
    Stage,
    asked_weeks,
    handout_arguments,
    one_connection,
)
from rfm_pipeline.recall import weekly_summary
from rfm_pipeline.recall.resources import WecomAccess
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse

TO_DO = "look into the group; what is missing there is sent by `rfm recall announce --again`"


def build_assets(shop: Shop, stage: Stage) -> list[dg.AssetsDefinition]:
    """The assets that speak to the team of one shop."""

    @dg.asset(
        deps=["ops_worklist", "order_contacts"],
        **handout_arguments(
            shop,
            "team_message",
            stage,
            "Tells the team's group in WeCom of the week: a message of counts, and the work list as a file. "
            "Each of them once, whatever is re-run. Refuses backfills, ranges, past weeks, and weeks without "
            "a work list.",
            frozenset({"wecom", "sqlite"}),
            owner=OPERATIONS,
            # the work list goes with it
            has_personal_data=True,
            tags={TOUCHES_TEAM: "true"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "outcome_is_known",
                asset="team_message",
                description="It is known whether the group has the message and the file. If not, neither is "
                "sent again by itself: somebody has to look.",
            )
        ],
    )
    @one_connection
    def team_message(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
        wecom: WecomAccess,
    ) -> dg.MaterializeResult:
        weeks = asked_weeks(context)
        refusal = weekly_summary.refuse(shop, ledger, wecom.robot_key, weeks, context.run.tags)
        if refusal or not wecom.robot_key:
            context.log.warning(f"the group gets no message: {refusal}")
            return _result(weekly_summary.Announcement(refused=refusal))
        reach = read_reach(shop, read_order_contacts(warehouse))
        announcement = weekly_summary.announce(shop, warehouse, ledger, reach, wecom.robot_key, weeks[0])
        for part in announcement.unknown:
            context.log.warning(
                f"nobody knows whether the group has the {part} ({announcement.reasons[part]}): {TO_DO}"
            )
        return _result(announcement)

    return [team_message]


def _result(announcement: weekly_summary.Announcement) -> dg.MaterializeResult:
    metadata: dict[str, Any] = {"sent": announcement.sent}
    if announcement.refused:
        metadata["refused"] = announcement.refused
    metadata |= {part: state.value for part, state in announcement.parts.items()}
    if announcement.words:
        metadata["words"] = dg.MetadataValue.md(announcement.words)
    return dg.MaterializeResult(
        metadata=metadata,
        check_results=[
            dg.AssetCheckResult(
                check_name="outcome_is_known",
                passed=not announcement.unknown,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"unknown": ", ".join(announcement.unknown), "to_do": TO_DO}
                if announcement.unknown
                else {},
            )
        ],
    )
