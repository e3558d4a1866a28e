"""When nothing may be sent. Every asset that touches the world asks here first.

A refusal is no failure: the run goes on, and the asset reports ``sent: 0`` with the reason.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, timedelta

from rfm_pipeline.contacts.reach import Reach
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.orchestration.run_tags import CAUSE_TAG
from rfm_pipeline.recall import tagging
from rfm_pipeline.recall.schemas import RECALL_LIST
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.checks import stored_verdicts
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import as_of, name_range, newest_closed_week

BACKFILL_TAG = "dagster/backfill"


def refuse_weeks(shop: Shop, weeks: Sequence[date], run_tags: Mapping[str, str], now: datetime) -> str | None:
    """Why these weeks may not be sent, None if they may.

    Args:
        shop: The settings.
        weeks: The weeks that the run is asked for.
        run_tags: The run's tags.
        now: The present moment on the shop's clock.
    """
    if BACKFILL_TAG in run_tags:
        return "this run belongs to a backfill; backfills never send"
    if len(weeks) != 1:
        return f"this run is asked for {len(weeks)} weeks ({name_range(weeks)}); only a single week is sent"
    newest = newest_closed_week(shop, now)
    if weeks[0] > newest:
        return f"week {weeks[0]} is not over yet"
    if weeks[0] != newest and CAUSE_TAG in run_tags:
        return (
            f"week {weeks[0]} is not the newest closed week ({newest}), and no other is sent by a run that "
            "began by itself"
        )
    if weeks[0] != newest and not shop.recall.allow_past_weeks:
        return (
            f"week {weeks[0]} is not the newest closed week ({newest}); "
            "set recall.allow_past_weeks to true to send it all the same"
        )
    return None


def refuse_size(shop: Shop, customers: int) -> str | None:
    """Why a plan of this many customers may not be carried out, None if it may."""
    if customers > shop.recall.max_changes:
        return (
            f"the plan changes {customers} customers, more than recall.max_changes "
            f"({shop.recall.max_changes}); look at tag_plan before raising it"
        )
    return None


def refuse_worklist(
    shop: Shop, weeks: Sequence[date], sealed_weeks: Collection[date], now: datetime
) -> str | None:
    """Why no work list may be made of these weeks, None if it may.

    Args:
        shop: The settings.
        weeks: The weeks that the run is asked for.
        sealed_weeks: The weeks whose lists were sent.
        now: The present moment on the shop's clock.
    """
    if len(weeks) != 1:
        return f"this run is asked for {len(weeks)} weeks; a work list is made of a single one"
    [week] = weeks
    if week not in sealed_weeks:
        return f"the list of week {week} was not sent, so nobody on it may be contacted"
    last = as_of(week) + timedelta(days=shop.recall.campaign_days)
    is_over = now.date() >= last and week != newest_closed_week(shop, now)
    if is_over and not shop.recall.allow_past_weeks:
        return f"the campaign of week {week} ended on {last}"
    return None


def refuse_data(
    warehouse: Warehouse,
    ledger: Ledger,
    shop: Shop,
    week: date,
    required: Sequence[tuple[str, str]],
    read: Callable[[], Reach],
) -> str | None:
    """Why a week's list and plan may not be acted upon, None if they may: the first guard that objects.

    Args:
        warehouse: Holds list and plan.
        ledger: Knows whether they are sealed.
        shop: The settings.
        week: The week.
        required: (table, check) of every blocking check that must have passed.
        read: Reads who may be reached; not called where a guard objects without it.
    """
    with warehouse.transaction() as session:
        verdicts = stored_verdicts(session, week)
        stale = week in session.stale_weeks(RECALL_LIST.name)
    if reason := refuse_verdicts(required, verdicts):
        return reason
    if week in ledger.sealed_weeks():
        # the plan was judged when it was sealed; what is left of it may be finished
        return None
    if stale:
        return f"orders of week {week} changed since the list was made; materialize the week again"
    if reason := refuse_size(shop, tagging.planned_customers(warehouse, week)):
        return reason
    reach = read()
    if late := tagging.opted_out_since(warehouse, reach, week):
        return f"{late} listed customers opted out since the list was made; make it again"
    if differing := tagging.plan_differs(warehouse, reach, week):
        return f"the plan and the list differ by {differing} customers; make the plan again"
    return None


def refuse_verdicts(
    expected: Sequence[tuple[str, str]], stored: Mapping[tuple[str, str], bool]
) -> str | None:
    """Why the data may not be acted upon, None if every blocking check has passed.

    Args:
        expected: (table, check) of every blocking check that must have a verdict.
        stored: The verdicts in the warehouse.
    """
    missing = [f"{table}.{check}" for table, check in expected if (table, check) not in stored]
    failed = [f"{table}.{check}" for table, check in expected if stored.get((table, check)) is False]
    if failed:
        return f"data checks failed: {', '.join(failed)}"
    if missing:
        return f"data checks have no verdict for this week: {', '.join(missing)}"
    return None
