"""What the week plan is made from, read from a shop's warehouse and its landing folder.

Belongs here: reading, in one transaction and without writing. What follows from it is ``week_plan``'s.
"""

from datetime import date, datetime
from typing import Any

from rfm_pipeline.diagnose.pipeline import newest_order_at, parameters
from rfm_pipeline.diagnose.schemas import NEW_SILENT_CHURNERS, SEGMENT_THRESHOLDS
from rfm_pipeline.ingest.files.landing import known_hashes
from rfm_pipeline.orchestration.week_plan import Facts
from rfm_pipeline.recall.schemas import CUSTOMER_TAGS, RECALL_LIST, TAG_PLAN
from rfm_pipeline.review.schemas import (
    DORMANCY_CURVE,
    RECALL_EFFECT,
    RECALL_OUTCOMES,
    RETURNER_VALUE,
    SLEEPING_VALUE,
    VALUE_BACKTEST,
)
from rfm_pipeline.shop import Shop
from rfm_pipeline.storage.fingerprints import FileState
from rfm_pipeline.warehouse.duckdb import Session

DIAGNOSED = NEW_SILENT_CHURNERS.name
"""The table that tells that a week is diagnosed: the last one of the diagnosis."""

ALL_STAGES = tuple(
    table.name
    for table in (
        NEW_SILENT_CHURNERS,
        RECALL_LIST,
        TAG_PLAN,
        CUSTOMER_TAGS,
        RECALL_OUTCOMES,
        RECALL_EFFECT,
        RETURNER_VALUE,
        SLEEPING_VALUE,
        VALUE_BACKTEST,
        DORMANCY_CURVE,
    )
)
"""The tables that a week has when it went through all stages."""

# what an ingest empties on its way to the end
_LEFT_BY_INGEST = ("touched_orders", "unchecked_orders", "touched_weeks", "unchecked_weeks")

# ends at the first line of a second order
_ONE_ORDER = """
select exists (from order_lines) and not exists (
    from order_lines where order_id <> (select order_id from order_lines limit 1)
)
"""
# a threshold that is a quantile is compared as such: the amount that it comes to is the week's own
_OTHER_SETTINGS = f"""
select week from {SEGMENT_THRESHOLDS.name}
where frequency_high <> $frequency_high
    or dormant_after_days <> $dormant_after_days
    or lapsing_after_days <> $lapsing_after_days
    or ($monetary_high_amount is null) <> (monetary_high_quantile is not null)
    or monetary_high_quantile <> cast($monetary_high_quantile as double)
    or (
        $monetary_high_amount is not null
        and monetary_high <> cast($monetary_high_amount as decimal(38, 10))
    )
"""


def read_facts(session: Session, shop: Shop, now: datetime) -> Facts:
    """What is known of the shop's weeks.

    Args:
        session: A transaction on the warehouse; nothing is written.
        shop: The settings.
        now: The moment on the shop's clock.
    """
    has_lines = session.has("order_lines")
    return Facts(
        now=now,
        newest_order_at=newest_order_at(session, now),
        is_single_order=has_lines and bool(session.value(_ONE_ORDER)),
        made=frozenset(session.snapshot_weeks(DIAGNOSED)),
        corrected=frozenset(session.stale_weeks(DIAGNOSED)),
        complete=_complete(session),
        other_settings=_other_settings(session, shop),
        inputs_version=session.inputs_version(),
    )


def is_ingest_unfinished(session: Session) -> bool:
    """Whether orders were read that are not added up yet, or whose checks did not pass."""
    left: list[Any] = [
        session.has(table) and session.value(f"select exists (from {table})") for table in _LEFT_BY_INGEST
    ]
    return any(left)


def are_read(session: Session, exports: dict[str, FileState]) -> bool:
    """Whether the exports of the landing folder are those that were last read, each to its end."""
    noted = known_hashes(session)
    if noted.keys() != set(exports.items()) or not session.has("order_batches"):
        return False
    loaded = session.execute("select content_hash from order_batches").fetchall()
    return set(noted.values()) <= {content for (content,) in loaded}


def _complete(session: Session) -> frozenset[date]:
    return frozenset.intersection(*(frozenset(session.snapshot_weeks(table)) for table in ALL_STAGES))


def _other_settings(session: Session, shop: Shop) -> frozenset[date]:
    if not session.has(SEGMENT_THRESHOLDS.name):
        return frozenset()
    rows = session.execute(_OTHER_SETTINGS, parameters(shop)).fetchall()
    return frozenset(week for (week,) in rows)
