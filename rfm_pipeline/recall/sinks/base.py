"""Where tags go. A sink carries out tag changes one way or another and says what came of each.

The seam for other sinks: whatever implements :class:`TagSink` can be returned by
:func:`rfm_pipeline.recall.sinks.connection.sink_for`. The ledger has every change as pending before a sink is
called, so a sink that is killed is simply called again with what is not done yet; carrying out the same
change twice must be harmless.
"""

import io
from collections.abc import Generator
from datetime import date
from pathlib import Path
from typing import Protocol

import polars as pl

from rfm_pipeline.ledger import DONE
from rfm_pipeline.shop import Shop
from rfm_pipeline.storage.atomic_files import replace_files

Outcome = tuple[str, str, str, str | None]
"""(customer_id, tag, status, error) of one tag change."""
Outcomes = Generator[Outcome, None, None]


class SinkPausedError(Exception):
    """The rest of the changes has to wait for another run; the message says why. No failure of this one."""


class TagSink(Protocol):
    """Carries out tag changes."""

    name: str

    def apply(self, week: date, open_actions: pl.DataFrame, all_actions: pl.DataFrame) -> Outcomes:
        """Carries out a week's open tag changes.

        Args:
            week: The week.
            open_actions: What is not done yet: customer_id, tag, action, churn_class, reason.
            all_actions: The same for all of the week's changes, done ones included.

        Yields:
            The outcome of each open change, as soon as it is known.

        Raises:
            SinkPausedError: If changes without an outcome have to wait for another run.
        """
        ...


def tags_file(shop: Shop, week: date) -> Path:
    """Where the local sink writes a week's tags."""
    return shop.out_dir / "tags" / f"{week}.csv"


class LocalSink:
    """Writes a week's tag changes to one CSV file, for a team that tags by hand or imports them.

    The file always holds the whole week and replaces the former one in a single step, so doing it again
    changes nothing and a killed run leaves no half-written file. Customers' ids are personal: mode 0600.
    """

    name = "local"

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def apply(self, week: date, open_actions: pl.DataFrame, all_actions: pl.DataFrame) -> Outcomes:
        """See :meth:`TagSink.apply`."""
        columns = ("customer_id", "action", "tag", "churn_class", "reason")
        # with a BOM, so that Excel reads the Chinese tags as UTF-8
        rows = all_actions.select(columns).sort("action", "tag", "customer_id")
        buffer = io.BytesIO()
        rows.write_csv(buffer, include_bom=True)
        files = {tags_file(self._shop, week): buffer.getvalue()}
        replace_files(self._shop.out_dir, files, mode=0o600)
        for customer_id, tag in open_actions.select("customer_id", "tag").iter_rows():
            yield customer_id, tag, DONE, None
