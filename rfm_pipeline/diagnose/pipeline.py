"""Runs the diagnosis' SQL for a range of weeks: which tables, in which order, with which thresholds.

Every function takes any number of weeks and is one set-based statement a table. Nothing here knows Dagster.
"""

from collections.abc import Sequence
from datetime import date, datetime
from itertools import accumulate
from typing import Any

from rfm_pipeline.diagnose.schemas import (
    BESTSELLERS,
    CUSTOMER_ACTIVITY,
    CUSTOMER_RFM,
    CUSTOMER_SEGMENTS,
    CUSTOMER_TOTALS,
    LOW_PRICES,
    NEW_SILENT_CHURNERS,
    SEGMENT_THRESHOLDS,
    SILENT_CHURNERS,
)
from rfm_pipeline.errors import CoverageError
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Session, Warehouse
from rfm_pipeline.warehouse.schema import Table
from rfm_pipeline.warehouse.snapshots import require_snapshots
from rfm_pipeline.warehouse.sql import read_sql
from rfm_pipeline.weeks import WEEK, shop_now

Rows = dict[date, int]

# customer_totals adds up this share of the activity; late changes mostly fall into the rest
TOTALS_SHARE = 7 / 8
# and is made again when it holds less than this
TOTALS_SHARE_LEAST = 3 / 4


def sql_of(table: Table) -> str:
    """The SELECT that makes a table of this stage."""
    return read_sql("rfm_pipeline.diagnose", table.name)


def parameters(shop: Shop) -> dict[str, Any]:
    """The shop's thresholds, as the ``$names`` of the SQL files."""
    rules = shop.rules
    return {
        "frequency_high": rules.frequency_high,
        "monetary_high_amount": rules.monetary_high.amount,
        "monetary_high_quantile": rules.monetary_high.quantile,
        "dormant_after_days": rules.dormant_after_days,
        "lapsing_after_days": rules.lapsing_after_days,
        "bestsellers_top": rules.bestsellers.top,
        "product_window_days": rules.product_window_days,
        "low_price_quantile": rules.low_price_quantile,
        "clearance_share": rules.clearance_share,
        "first_week": shop.shop.first_week,
    }


def update_customer_activity(warehouse: Warehouse) -> Rows:
    """Adds up the weeks in which an order changed, and notes them as changed inputs.

    Returns:
        The rows of every week added up again.
    """
    with warehouse.transaction() as session:
        session.create(CUSTOMER_ACTIVITY)
        if not session.has("unchecked_weeks"):
            # a warehouse of an older version: all its weeks are to be looked at once
            session.execute("create table unchecked_weeks as select distinct week from customer_activity")
        weeks = [
            week
            for (week,) in session.execute("select distinct week from touched_weeks order by week").fetchall()
        ]
        if not weeks:
            return {}
        rows = session.rewrite_weeks(CUSTOMER_ACTIVITY, weeks, sql_of(CUSTOMER_ACTIVITY))
        _keep_totals(session, weeks)
        session.note_input_changes("select week from touched_weeks")
        session.execute("insert into unchecked_weeks select week from target_weeks")
        session.execute("delete from touched_weeks")
        return rows


def _keep_totals(session: Session, changed: Sequence[date]) -> None:
    """Makes ``customer_totals`` again if it holds a week that changed, or too little of the past.

    Args:
        session: In which ``customer_activity`` was written.
        changed: The weeks that were.
    """
    session.create(CUSTOMER_TOTALS)
    held = session.value("select max(week) from customer_totals")
    weeks = session.execute(
        "select week, count(*) from customer_activity group by week order by week"
    ).fetchall()
    up_to = dict(zip((week for week, _ in weeks), accumulate(rows for _, rows in weeks), strict=True))
    everything = max(up_to.values(), default=0)
    if held is not None and held < min(changed):
        # the week itself may be gone: forgetting a person changes no week
        in_them = max((rows for week, rows in up_to.items() if week <= held), default=0)
        if in_them >= TOTALS_SHARE_LEAST * everything:
            return
    wanted = max((week for week, rows in up_to.items() if rows <= TOTALS_SHARE * everything), default=None)
    if held not in (None, wanted):
        session.rewrite_weeks(CUSTOMER_TOTALS, [held], "select * from customer_totals where false")
    if wanted is not None:
        session.rewrite_weeks(CUSTOMER_TOTALS, [wanted], sql_of(CUSTOMER_TOTALS))


def note_activity_checked(warehouse: Warehouse) -> None:
    """Says that the checks of ``customer_activity`` passed: its weeks are looked at when they change."""
    with warehouse.transaction() as session:
        session.execute("delete from unchecked_weeks")


def require_coverage(shop: Shop, newest_order_at: datetime | None, weeks: Sequence[date]) -> int:
    """Stops the diagnosis if the orders end before the week does.

    Returns:
        By how many days the newest order is older than the newest week's last day; 0 if it isn't.

    Raises:
        CoverageError: If that is more than ``rules.max_order_gap_days``: a broken export would otherwise
            turn every customer into a silent one.
    """
    newest_week = max(weeks)
    last_day = newest_week + WEEK - date.resolution
    if newest_order_at is None:
        raise CoverageError("there are no orders yet: ingest some before diagnosing a week.")
    gap = (last_day - newest_order_at.date()).days
    if gap > shop.rules.max_order_gap_days:
        raise CoverageError(
            f"week {newest_week} ends on {last_day}, but the newest order is of {newest_order_at.date()}, "
            f"{gap} days earlier; at most {shop.rules.max_order_gap_days} are allowed "
            "(rules.max_order_gap_days). Load the missing orders, or diagnose an earlier week."
        )
    return max(gap, 0)


def newest_order_at(session: Session, now: datetime) -> datetime | None:
    """The time of the newest order, None without orders; orders dated in the future prove nothing."""
    if not session.has("order_lines"):
        return None
    newest = session.value("select max(order_at) from order_lines where order_at <= $now", {"now": now})
    assert newest is None or isinstance(newest, datetime)
    return newest


def write_customer_rfm(
    warehouse: Warehouse, shop: Shop, weeks: Sequence[date], now: datetime | None = None
) -> Rows:
    """Writes ``customer_rfm`` for the weeks; returns each week's number of rows.

    Args:
        warehouse: Holds ``customer_activity``.
        shop: The thresholds.
        weeks: The weeks to write.
        now: The moment on the shop's clock up to which orders count as coverage; the present by default.

    Raises:
        CoverageError: If the orders end before the newest of the weeks does.
    """
    with warehouse.transaction() as session:
        require_coverage(shop, newest_order_at(session, now or shop_now(shop)), weeks)
        # a warehouse of an older version has none yet: all activity is added up
        session.create(CUSTOMER_TOTALS)
        return session.replace_weeks(CUSTOMER_RFM, weeks, sql_of(CUSTOMER_RFM), parameters(shop))


def write_customer_segments(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> Rows:
    """Writes ``segment_thresholds`` and ``customer_segments`` for the weeks, together.

    Raises:
        MissingWeekError: If a week has no ``customer_rfm``.
    """
    return _write(warehouse, shop, weeks, CUSTOMER_RFM, SEGMENT_THRESHOLDS, CUSTOMER_SEGMENTS)


def write_silent_churners(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> Rows:
    """Writes ``bestsellers``, ``low_prices`` and ``silent_churners`` for the weeks, together.

    Raises:
        MissingWeekError: If a week has no ``customer_segments``.
    """
    return _write(warehouse, shop, weeks, CUSTOMER_SEGMENTS, BESTSELLERS, LOW_PRICES, SILENT_CHURNERS)


def write_new_silent_churners(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> Rows:
    """Writes ``new_silent_churners`` for the weeks.

    Raises:
        MissingWeekError: If a week or the one before has no snapshot: an empty yesterday would turn every
            silent customer into a new one.
    """
    with warehouse.transaction() as session:
        before = [week - WEEK for week in weeks if week != shop.shop.first_week]
        require_snapshots(
            session, shop, SILENT_CHURNERS, before, purpose="which the week after is compared with"
        )
        require_snapshots(
            session, shop, SILENT_CHURNERS, weeks, purpose="from which its newly silent are taken"
        )
        return session.replace_weeks(
            NEW_SILENT_CHURNERS, weeks, sql_of(NEW_SILENT_CHURNERS), parameters(shop)
        )


def _write(warehouse: Warehouse, shop: Shop, weeks: Sequence[date], source: Table, *tables: Table) -> Rows:
    """Writes tables that belong together in one transaction; returns the rows of the last."""
    rows: Rows = {}
    with warehouse.transaction() as session:
        require_snapshots(session, shop, source, weeks, f"from which its {tables[-1].name} are made")
        for table in tables:
            rows = session.replace_weeks(table, weeks, sql_of(table), parameters(shop))
    return rows
