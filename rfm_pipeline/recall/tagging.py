"""The tag plan of a week and its carrying out, every step of it in the ledger.

Why doing it again is safe: a week's list and plan are sealed together before the first call, a sealed week
is only ever continued with what is not done yet, and a silence can be listed once in the ledger's life.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from time import monotonic

import polars as pl

from rfm_pipeline.contacts.reach import Reach
from rfm_pipeline.ledger import DONE, FAILED, FORGOTTEN, PENDING, REJECTED, UNMATCHED, Ledger, Lock
from rfm_pipeline.recall.listing import ledger_rows
from rfm_pipeline.recall.schemas import ADD, CUSTOMER_TAGS, RECALL_LIST, TAG_PLAN
from rfm_pipeline.recall.sinks.base import Outcome, SinkPausedError, TagSink
from rfm_pipeline.shop import HOLDOUT, Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.sql import read_sql

_PLAN_COLUMNS = tuple(TAG_PLAN.schema.columns)
_TAG_COLUMNS = tuple(CUSTOMER_TAGS.schema.columns)
_ON_COLUMNS = ("customer_id", "tag", "churn_class", "silent_since", "listed_week")
_OUTCOMES_AT_ONCE = 500
_WAIT_SECONDS = 60
_LOOK_SECONDS = 1
SAID_NO = "the customer said no after the list was sealed"


def write_tag_plan(
    warehouse: Warehouse, ledger: Ledger, shop: Shop, reach: Reach, weeks: Sequence[date]
) -> dict[date, int]:
    """Writes ``tag_plan`` for the weeks; a sealed week's plan is read back from the ledger."""
    sealed = sorted(ledger.sealed_weeks() & set(weeks))
    open_weeks = [week for week in weeks if week not in sealed]
    class_tags = pl.DataFrame({"churn_class": list(shop.recall.tags), "tag": list(shop.recall.tags.values())})
    frames = {
        "class_tags": class_tags,
        "no_wecom": _no_wecom(reach),
        "tags_done": tags_on(ledger),
        "tags_undone": tags_undone(ledger),
    }
    with warehouse.transaction() as session:
        session.target(open_weeks)
        with session.frames(**frames):
            planned = session.read(
                read_sql("rfm_pipeline.recall", "tag_plan"), {"campaign_days": shop.recall.campaign_days}
            )
        rows = pl.concat([planned.select(_PLAN_COLUMNS), ledger.tag_actions(sealed).select(_PLAN_COLUMNS)])
        with session.frames(plan_rows=rows):
            return session.replace_weeks(TAG_PLAN, weeks, "select * from plan_rows")


def tags_on(ledger: Ledger) -> pl.DataFrame:
    """The tags that may be on now, by the ledger: customer_id, tag, churn_class, silent_since, listed_week.

    An addition whose outcome was never learnt counts as on, a removal as not done: taking a tag off once too
    often harms nobody. A forgotten customer's can't be taken off any more: nobody
    knows whose it is.
    """
    maybe_on = (pl.col("action") == ADD) & (pl.col("status") == PENDING)
    counted = (pl.col("status") == DONE) | maybe_on
    latest = _latest(_with_list(ledger).filter(counted))
    return latest.filter(pl.col("action") == ADD).select(_ON_COLUMNS)


def tags_undone(ledger: Ledger) -> pl.DataFrame:
    """The tags that a list asked for and that aren't known to be on, with the columns of :func:`tags_on`.

    Not those that were refused for good: those are for a human.
    """
    latest = _latest(_with_list(ledger))
    undone = (pl.col("action") == ADD) & pl.col("status").is_in([PENDING, FAILED, UNMATCHED])
    return latest.filter(undone).select(_ON_COLUMNS)


def _with_list(ledger: Ledger) -> pl.DataFrame:
    """All tag changes of customers who aren't forgotten, each with the list that it goes back to."""
    actions = ledger.tag_actions().filter(~_is_forgotten()).sort("week")
    lists = (
        ledger.assignments(columns=("week", "customer_id", "silent_since"))
        .with_columns(listed_week=pl.col("week"))
        .sort("week")
    )
    # an addition that is tried again in a later week is still that of the list before
    found = actions.join_asof(lists, on="week", by="customer_id", check_sortedness=False)
    return found.drop_nulls("listed_week")


def _latest(actions: pl.DataFrame) -> pl.DataFrame:
    return actions.group_by("customer_id", "tag", maintain_order=True).last()


@dataclass(frozen=True)
class TagReport:
    """What :func:`apply_tags` did.

    Attributes:
        sent: Tag changes carried out by this run.
        done: All of the week's changes that are done.
        failed: Those that failed and wait for the next run.
        rejected: Those that the sink refused for good: a human has to look.
        unmatched: Those of customers of whom the sink knows no contact, or several.
        pending: Those of which nothing is known; they wait for the next run, too.
        newly_sealed: Whether this run made the week's list final.
        paused: Why the sink left the rest to the next run, None if it didn't.
    """

    sent: int
    done: int
    failed: int
    rejected: int
    unmatched: int
    pending: int
    newly_sealed: bool
    paused: str | None


def planned_customers(warehouse: Warehouse, week: date) -> int:
    """How many customers the week's plan changes."""
    plan = warehouse.read(
        "select count(distinct customer_id) as n from tag_plan where week = $week", {"week": week}
    )
    return int(plan["n"][0])


def apply_tags(warehouse: Warehouse, ledger: Ledger, sink: TagSink, reach: Reach, week: date) -> TagReport:
    """Seals the week's list and carries out what is not done of its plan.

    The caller has asked the guards. Killed at any moment and called again, it goes on where it stopped; who
    said no in the meantime is left out, and the ledger says so. Of several at once, wherever they run, one
    works and the others wait for it, to find nothing left.

    Raises:
        LedgerBusyError: If another run carries out tags for too long.
    """
    listed = warehouse.read(f"select * from {RECALL_LIST.name} where week = $week", {"week": week})
    plan = warehouse.read(f"select * from {TAG_PLAN.name} where week = $week", {"week": week})
    with ledger.lock("tags", wait_seconds=_WAIT_SECONDS) as lock:
        newly_sealed = ledger.seal(week, ledger_rows(listed), plan, sink.name)
        ledger.record(week, _said_no_since(ledger, week, reach))
        sent, paused = _carry_out(ledger, sink, week, ledger.tag_actions([week]), lock)
    found = dict(ledger.tag_actions([week]).group_by("status").len().iter_rows())
    return TagReport(
        sent=sent,
        done=found.get(DONE, 0),
        failed=found.get(FAILED, 0),
        rejected=found.get(REJECTED, 0),
        unmatched=found.get(UNMATCHED, 0),
        pending=found.get(PENDING, 0),
        newly_sealed=newly_sealed,
        paused=paused,
    )


def touched_holdout(ledger: Ledger) -> dict[str, int]:
    """Rows of the ledger in which a hold-out customer was not left alone; none, ever.

    Returns:
        tags_added: Additions asked for by the list that drew them into the hold-out.
        words_or_coupons: Assignments to a hold-out that hold something that could be sent.
    """
    sendable = ("offer", "coupon_code", "sms", "email_subject", "email_body", "wecom_text")
    held_out = ledger.assignments(columns=("week", "customer_id", "arm", *sendable)).filter(
        pl.col("arm") == HOLDOUT
    )
    adds = ledger.tag_actions().filter(pl.col("action") == ADD)
    return {
        "tags_added": adds.join(held_out, on=["week", "customer_id"], how="semi").height,
        "words_or_coupons": held_out.filter(pl.any_horizontal(pl.col(sendable).is_not_null())).height,
    }


def _said_no_since(ledger: Ledger, week: date, reach: Reach) -> list[Outcome]:
    """The open additions to customers who said no after their list was sealed.

    Where a call was begun of which the outcome was never learnt, the tag may be on and is to be taken off.
    """
    open_adds = ledger.tag_actions([week]).filter((pl.col("status") != DONE) & (pl.col("action") == ADD))
    late = open_adds.join(_no_wecom(reach), on="customer_id", how="semi")
    unknown = ledger.tag_calls([week]).filter(pl.col("status") == PENDING)
    begun = set(unknown.select("customer_id", "tag").iter_rows())
    return [
        (customer, tag, PENDING if (customer, tag) in begun else FAILED, SAID_NO)
        for customer, tag in late.select("customer_id", "tag").iter_rows()
    ]


def _is_forgotten() -> pl.Expr:
    """Whether a row's customer is forgotten: no sink knows the name that stands there instead."""
    return pl.col("customer_id").str.starts_with(FORGOTTEN)


def open_changes(warehouse: Warehouse, ledger: Ledger, week: date) -> pl.DataFrame:
    """The changes that carrying out a week would ask of the sink: of a sealed week, what is left of it."""
    if week in ledger.sealed_weeks():
        return waiting_changes(ledger.tag_actions([week]))
    return warehouse.read(f"select * from {TAG_PLAN.name} where week = $week", {"week": week})


def waiting_changes(actions: pl.DataFrame) -> pl.DataFrame:
    """Those of a week's changes that the next run carries out."""
    said_no = pl.col("error").eq_missing(SAID_NO)
    is_over = pl.col("status").is_in([DONE, REJECTED])
    return actions.filter(~said_no & ~_is_forgotten() & ~is_over)


def open_after_a_run(ledger: Ledger, week: date) -> int:
    """How many changes of a sealed week a run left open, and another one can do."""
    if not ledger.is_there:
        return 0
    left = waiting_changes(ledger.tag_actions([week]))
    return left.filter(pl.col("status").is_in([PENDING, FAILED])).height


def _carry_out(
    ledger: Ledger, sink: TagSink, week: date, actions: pl.DataFrame, lock: Lock
) -> tuple[int, str | None]:
    """Hands the sink what is not done yet and records what it reports, while no other process may.

    Returns:
        How many changes were done, and why the rest is left to the next run, if it is.
    """
    said_no = pl.col("error").eq_missing(SAID_NO)
    everything = actions.filter(~said_no & ~_is_forgotten())
    sent, paused, looked = 0, None, monotonic()
    known: list[Outcome] = []
    try:
        with closing(sink.apply(week, waiting_changes(actions), everything)) as outcomes:
            for outcome in outcomes:
                known.append(outcome)
                sent += outcome[2] == DONE
                if len(known) == _OUTCOMES_AT_ONCE:
                    ledger.record(week, known)
                    known = []
                if monotonic() - looked > _LOOK_SECONDS:
                    looked = monotonic()
                    if not lock.still_mine():
                        raise SinkPausedError("the lock on the ledger was lost; the next run does the rest")
    except SinkPausedError as reason:
        paused = str(reason)
    finally:
        # a sink that breaks has carried out what it reported until then
        ledger.record(week, known)
    return sent, paused


def write_customer_tags(warehouse: Warehouse, ledger: Ledger, weeks: Sequence[date]) -> dict[date, int]:
    """Mirrors the ledger's tag changes of the weeks into ``customer_tags``."""
    actions = ledger.tag_actions(list(weeks)).select(_TAG_COLUMNS)
    with warehouse.transaction() as session, session.frames(tag_rows=actions):
        return session.replace_weeks(CUSTOMER_TAGS, weeks, "select * from tag_rows")


def plan_differs(warehouse: Warehouse, reach: Reach, week: date) -> int:
    """How many customers the week's plan tags though the list doesn't say so, or leaves out though it does.

    None, unless the list was made again without the plan.
    """
    query = """
        with
        planned as (
            select customer_id from tag_plan where week = $week and action = 'add' and reason = 'listed'
        ),
        to_contact as (
            select customer_id from recall_list
            where week = $week and arm = 'recall' and customer_id not in (select customer_id from silenced)
        )
        select count(*) from planned full join to_contact using (customer_id)
        where planned.customer_id is null or to_contact.customer_id is null
    """
    with warehouse.transaction() as session, session.frames(silenced=_no_wecom(reach)):
        return int(session.value(query, {"week": week}))


def opted_out_since(warehouse: Warehouse, reach: Reach, week: date) -> int:
    """How many customers whom the week's plan would tag may not be reached in WeCom by now."""
    with warehouse.transaction() as session, session.frames(silenced=_no_wecom(reach)):
        return int(
            session.value(
                "select count(distinct customer_id) from tag_plan where week = $week and action = 'add' "
                "and customer_id in (select customer_id from silenced)",
                {"week": week},
            )
        )


def _no_wecom(reach: Reach) -> pl.DataFrame:
    """(customer_id) of those who said no to WeCom, and so get no tag there.

    Whether a customer has a WeCom contact at all is for the sink to find out.
    """
    return reach.opted_out.filter(pl.col("channel") == "wecom").select("customer_id").unique()
