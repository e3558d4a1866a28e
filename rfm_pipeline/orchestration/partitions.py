"""Dagster's partitions of the weekly grid."""

import dagster as dg

from rfm_pipeline.shop import Shop
from rfm_pipeline.weeks import WEEK


def weekly_partitions(shop: Shop) -> dg.WeeklyPartitionsDefinition:
    """Dagster's partitions of the grid, in the shop's time zone, Monday to Monday."""
    last = shop.shop.last_week
    return dg.WeeklyPartitionsDefinition(
        start_date=shop.shop.first_week.isoformat(),
        end_date=None if last is None else (last + WEEK).isoformat(),
        timezone=shop.shop.timezone,
        day_offset=1,
    )
