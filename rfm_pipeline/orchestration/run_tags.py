"""The tags of runs: Dagster's own that this project sets or reads, and those by which a run says why it is.

Belongs here: names of tags and what is read from them alone.
"""

from collections.abc import Mapping, Sequence
from datetime import date

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
WEEK_TAG = "dagster/partition"

REASON_TAG = "rfm/reason"
"""Why the run is, in words."""
CAUSE_TAG = "rfm/cause"
"""The decision that led to a run which began by itself: the same cause has the same tag."""


def range_tags(weeks: Sequence[date]) -> Mapping[str, str]:
    """The tags by which one run is asked for an unbroken range of weeks."""
    return {RANGE_START: str(weeks[0]), RANGE_END: str(weeks[-1])}
