"""Whether a weekly table was made for the weeks that are read from it."""

from collections.abc import Sequence
from datetime import date

from rfm_pipeline.errors import MissingWeekError
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Session
from rfm_pipeline.warehouse.schema import Table


def require_snapshots(
    session: Session,
    shop: Shop,
    table: Table,
    weeks: Sequence[date],
    purpose: str | None = None,
) -> None:
    """Stops where a table wasn't made: its missing rows would pass for a week without any.

    Args:
        session: Of the warehouse that holds the table.
        shop: Its home is named in the error.
        table: The table that is read.
        weeks: The weeks that are read.
        purpose: What the table is needed for, for the error.

    Raises:
        MissingWeekError: With the weeks and how to make them.
    """
    missing = sorted(set(weeks) - session.snapshot_weeks(table.name))
    if not missing:
        return
    span = f"{missing[0]}..{missing[-1]}"
    reason = f", {purpose}" if purpose else ""
    raise MissingWeekError(
        f"{table.name} has no snapshot of week {missing[0]}{reason}. "
        f"Make it first: rfm run --home {shop.home} --weeks {span} (or backfill history_job for {span} "
        "in the Dagster UI), then run this week again."
    )
