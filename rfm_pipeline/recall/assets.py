"""The recall stage's assets, from ``outreach_log`` and ``recall_list`` to ``ops_worklist``.

``customer_tags`` touches the world, and guards itself: see ``recall.guards``. ``ops_worklist`` only hands out
a list that passed those guards. ``team_message``, the team's own message, is in ``recall.team``.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from functools import cache, partial
from typing import Any

import dagster as dg

from rfm_pipeline.contacts.messages import UNNAMED_PRODUCT, compile_messages, write_messages
from rfm_pipeline.contacts.order_contacts import read_order_contacts
from rfm_pipeline.contacts.outreach import OutreachReport, write_outreach_log
from rfm_pipeline.contacts.reach import Reach, read_reach
from rfm_pipeline.contacts.schemas import OUTREACH_FINDINGS, OUTREACH_LOG
from rfm_pipeline.errors import LedgerBusyError
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.orchestration.asset_arguments import (
    OPERATIONS,
    TOUCHES_CUSTOMERS,
    Results,
    Stage,
    TableAsset,
    WeeklyStep,
    answer_checks,
    asked_weeks,
    handout_arguments,
    one_connection,
    permanent_failures,
    plain_results,
    table_step,
)
from rfm_pipeline.orchestration.versions import version_of_run
from rfm_pipeline.recall import checks, guards, tagging, team
from rfm_pipeline.recall.listing import write_recall_list
from rfm_pipeline.recall.problems import write_problems
from rfm_pipeline.recall.resources import WecomAccess
from rfm_pipeline.recall.schemas import CUSTOMER_TAGS, RECALL_LIST, TAG_PLAN
from rfm_pipeline.recall.sinks.base import TagSink
from rfm_pipeline.recall.sinks.connection import (
    CONFIRMED_TAG,
    preview,
    refuse_connection,
    refuse_unconfirmed,
    sink_for,
)
from rfm_pipeline.recall.worklist import write_worklist
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.checks import TableCheck
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import shop_now

STAGE = Stage("recall", settings=("shop", "rules", "recall"))
_LEDGER_KINDS = frozenset({"duckdb", "sqlite"})


def build_assets(shop: Shop, earlier_checks: Sequence[TableCheck]) -> list[dg.AssetsDefinition]:
    """The assets of the stage for one shop.

    Args:
        shop: The settings.
        earlier_checks: The checks of the earlier stages; the blocking ones must have passed before
            anything is sent.

    Raises:
        ShopFileError: If a template of the words can't be used.
    """
    compile_messages(shop)
    required = checks.required_before_sending(earlier_checks)

    team_files = _LEDGER_KINDS | {"xlsx", "csv"}

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                OUTREACH_LOG,
                "What came of contacting the listed, as the team wrote it down: the files of outreach/ and "
                "work lists filled in in place. Who refused is left alone from then on.",
                # the orders' contacts say whose phone number a row names
                deps=["order_contacts"],
                made_by=(write_outreach_log,),
                kinds=team_files,
                owner=OPERATIONS,
            ),
            TableAsset(
                OUTREACH_FINDINGS,
                "The rows and files of outreach/ that somebody must look at, with what was expected.",
                deps=["order_contacts"],
                made_by=(write_outreach_log,),
                kinds=team_files,
                owner=OPERATIONS,
            ),
            checks=checks.OUTREACH_LOG_CHECKS,
        )
    )
    @one_connection
    def outreach_log(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> Results:
        report = write_outreach_log(warehouse, ledger, shop, shop_now(shop))
        if report.findings_file is not None:
            context.log.warning(f"outcome files have rows to look at: {report.findings_file}")
        known = {"holdout_contacts_known": shop.recall.holdout_contacts_known}
        yield from plain_results(
            warehouse,
            OUTREACH_LOG,
            after=(OUTREACH_FINDINGS,),
            metadata=_outreach(report),
            answers=answer_checks(warehouse, shop, checks.OUTREACH_LOG_CHECKS, params=known),
            data_version=version_of_run(context),
        )

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                RECALL_LIST,
                "Who is to be contacted this week, with offer and words, and who is left alone to measure "
                "against. Sealed when the tags go out.",
                deps=["new_silent_churners", "silent_churners", "outreach_log", "order_contacts"],
                made_by=("recall_queue.sql", "recall_list.sql", write_recall_list, write_messages),
                kinds=_LEDGER_KINDS | {"jinja"},
            ),
            checks=checks.RECALL_LIST_CHECKS,
        )
    )
    @one_connection
    def recall_list(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> Results:
        step = WeeklyStep(context, warehouse, shop, RECALL_LIST)
        reach = _reach(warehouse, shop)
        report = write_recall_list(warehouse, ledger, shop, reach, step.weeks)
        newest = step.weeks[-1]
        yield from step.results(
            checks.RECALL_LIST_CHECKS,
            params={
                "holdout_share": shop.recall.holdout_share,
                "message_rules": shop.recall.message_rules,
                "unnamed_product": UNNAMED_PRODUCT,
            },
            metadata={
                "sealed": newest in report.sealed,
                "queued": report.queued.get(newest, 0),
                "customers_opted_out": reach.suppressed,
                "optouts_without_customer": reach.unmatched,
                **_arms(warehouse, newest),
            },
            data_version=version_of_run(context),
        )

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                TAG_PLAN,
                "Tags to add and to remove this week: what should be, minus what the ledger says is. With "
                "WeCom connected, says how many customers are matched there and how many calls it takes.",
                deps=["recall_list", "customer_rfm", "order_contacts"],
                made_by=("tag_plan.sql", tagging.write_tag_plan),
                kinds=_LEDGER_KINDS,
            ),
            checks=checks.TAG_PLAN_CHECKS,
        )
    )
    @one_connection
    def tag_plan(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
        wecom: WecomAccess,
    ) -> Results:
        step = WeeklyStep(context, warehouse, shop, TAG_PLAN)
        weeks = step.weeks
        reach = _reach(warehouse, shop)
        tagging.write_tag_plan(warehouse, ledger, shop, reach, weeks)
        is_to_send = guards.refuse_weeks(shop, weeks, context.run.tags, shop_now(shop)) is None
        seen = preview(warehouse, ledger, shop, reach, wecom, weeks[0]) if is_to_send else {}
        yield from step.results(
            checks.TAG_PLAN_CHECKS,
            metadata=_actions(warehouse, weeks[-1]) | seen,
            data_version=version_of_run(context),
        )

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                CUSTOMER_TAGS,
                "Carries out the tag plan and says what came of it. Refuses backfills, ranges, past weeks, "
                "plans that are too large, and data whose checks have not passed.",
                deps=["tag_plan", "recall_list", "order_contacts"],
                made_by=(tagging.write_customer_tags,),
                kinds=_LEDGER_KINDS | {"csv", "wecom"},
                owner=OPERATIONS,
                tags={TOUCHES_CUSTOMERS: "true"},
            ),
            checks=checks.CUSTOMER_TAGS_CHECKS,
        )
    )
    def customer_tags(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
        wecom: WecomAccess,
    ) -> Results:
        with permanent_failures():
            step = WeeklyStep(context, warehouse, shop, CUSTOMER_TAGS)
        weeks = step.weeks
        is_confirmed = CONFIRMED_TAG in context.run.tags
        with permanent_failures():
            with warehouse.kept_open():
                # read once for guard and sending, and not at all where the guards refuse without it
                reach = cache(partial(_reach, warehouse, shop))
                refusal = (
                    guards.refuse_weeks(shop, weeks, context.run.tags, shop_now(shop))
                    or refuse_connection(shop, wecom)
                    or (None if is_confirmed else refuse_unconfirmed(shop, ledger))
                    or guards.refuse_data(warehouse, ledger, shop, weeks[0], required, reach)
                )
                people = None if refusal else reach()
            try:
                if people is None:
                    outcome = {"sent": 0, "refused": refusal}
                    context.log.warning(f"nothing sent: {refusal}")
                else:
                    sink = sink_for(shop, ledger, people, wecom, context.log.info)
                    if is_confirmed:
                        ledger.confirm(sink.name)
                    # takes minutes where calls are made: nobody has to wait for the warehouse meanwhile
                    outcome = _send(warehouse, ledger, shop, weeks[0], people, sink)
            finally:
                tagging.write_customer_tags(warehouse, ledger, weeks)
            with warehouse.kept_open():
                results = [
                    *step.results(
                        checks.CUSTOMER_TAGS_CHECKS, metadata=outcome, data_version=version_of_run(context)
                    )
                ]
        yield from results

    @dg.asset(
        deps=["customer_tags", "order_contacts"],
        **handout_arguments(
            shop,
            "ops_worklist",
            STAGE,
            "The operations team's Excel file of a sealed list in out/worklists/, with the upload file for "
            "the text-message platform and the coupon import beside it. Made from the ledger; a workbook "
            "that the team has written into is left as it is.",
            frozenset({"xlsx", "csv"}),
            owner=OPERATIONS,
            has_personal_data=True,
            tags={TOUCHES_CUSTOMERS: "true"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "holdout_is_left_alone",
                asset="ops_worklist",
                description="By the ledger, no customer of any hold-out was ever given a tag by the list "
                "they were drawn on, or holds words, an offer or a coupon.",
                blocking=True,
            )
        ],
    )
    @one_connection
    def ops_worklist(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult:
        touched = tagging.touched_holdout(ledger)
        proof = dg.AssetCheckResult(
            check_name="holdout_is_left_alone",
            passed=not any(touched.values()),
            severity=dg.AssetCheckSeverity.ERROR,
            metadata=touched,
        )
        weeks = asked_weeks(context)
        if refusal := guards.refuse_worklist(shop, weeks, ledger.sealed_weeks(), shop_now(shop)):
            context.log.warning(f"no work list: {refusal}")
            return dg.MaterializeResult(metadata={"refused": refusal}, check_results=[proof])
        made = write_worklist(shop, ledger, _reach(warehouse, shop), weeks[0])
        return dg.MaterializeResult(
            metadata={
                "work_list": dg.MetadataValue.path(str(made.workbook)),
                "sms_upload": dg.MetadataValue.path(str(made.sms_upload)),
                "coupon_import": dg.MetadataValue.path(str(made.coupon_import)),
                "customers": sum(made.customers.values()),
                **{f"customers_{name}": count for name, count in made.customers.items()},
                "left_out_since_sealed": made.left_out,
                "kept_as_the_team_left_it": made.is_kept,
            },
            check_results=[proof],
        )

    return [
        outreach_log,
        recall_list,
        tag_plan,
        customer_tags,
        ops_worklist,
        *team.build_assets(shop, STAGE),
    ]


def _outreach(report: OutreachReport) -> dict[str, Any]:
    """Counts of the log; no value of a row."""
    return {
        "files": report.files,
        "rows_read": report.rows_read,
        "rows_taken": report.rows_taken,
        "new_refusals": report.new_refusals,
        **{f"customers_{name}": count for name, count in report.customers.items()},
        **{f"to_look_at: {name}": count for name, count in report.findings.items()},
        **(
            {}
            if report.findings_file is None
            else {"file_to_look_at": dg.MetadataValue.path(str(report.findings_file))}
        ),
    }


def _reach(warehouse: Warehouse, shop: Shop) -> Reach:
    return read_reach(shop, read_order_contacts(warehouse))


def _send(
    warehouse: Warehouse, ledger: Ledger, shop: Shop, week: date, reach: Reach, sink: TagSink
) -> dict[str, Any]:
    try:
        report = tagging.apply_tags(warehouse, ledger, sink, reach, week)
    except LedgerBusyError:
        return {"sent": 0, "refused": "another run carries out tags with this ledger"}
    outcome = {name: value for name, value in asdict(report).items() if value is not None}
    problems = write_problems(shop, ledger, week)
    return outcome | ({} if problems is None else {"problems": dg.MetadataValue.path(str(problems))})


def _arms(warehouse: Warehouse, week: date) -> dict[str, int]:
    """How many customers of each class and arm are on the list."""
    counts = warehouse.read(
        "select churn_class, arm, count(*) as n from recall_list where week = $week "
        "group by all order by all",
        {"week": week},
    )
    return {f"{name}_{arm}": n for name, arm, n in counts.iter_rows()}


def _actions(warehouse: Warehouse, week: date) -> dict[str, int]:
    counts = warehouse.read(
        "select action, reason, count(*) as n from tag_plan where week = $week group by all order by all",
        {"week": week},
    )
    return {f"{action}: {reason}": n for action, reason, n in counts.iter_rows()}
