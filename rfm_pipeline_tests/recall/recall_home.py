"""A home for recall tests: a shop, its warehouse and its ledger, with silent customers written straight in.

What belongs here sets the scene for the recall and review tests without any order: who is silent in
which week, what the RFM table says of them, and one call a step for list, plan and sending.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from rfm_pipeline.contacts.reach import Reach
from rfm_pipeline.contacts.vocabulary import CHANNEL_COLUMNS
from rfm_pipeline.diagnose.schemas import CUSTOMER_RFM, NEW_SILENT_CHURNERS, SILENT_CHURNERS
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.recall.listing import ListReport, ledger_rows, write_recall_list
from rfm_pipeline.recall.sinks.base import LocalSink, Outcomes, TagSink
from rfm_pipeline.recall.tagging import TagReport, apply_tags, write_tag_plan
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.schema import Table
from rfm_pipeline_tests.helpers import make_shop, small_warehouse
from rfm_pipeline_tests.random_shops import FIRST_WEEK

CHANNELS = tuple(CHANNEL_COLUMNS)
LONG_AGO = datetime(2023, 6, 1, 10, 30)
NO_ACTIONS = pl.DataFrame(
    schema=dict.fromkeys(("customer_id", "tag", "action", "churn_class", "reason"), pl.String)
)


def week(number: int) -> date:
    """The week of that number; the grid begins with week 0."""
    return FIRST_WEEK + timedelta(weeks=number)


@dataclass(frozen=True)
class Churner:
    """A silent churner of a week; ``is_new`` if the week before did not know them as silent."""

    week: date
    customer_id: str
    monetary: Decimal | int = 10
    silent_since: datetime = LONG_AGO
    churn_class: str = "C"
    product: str | None = "白瓷茶杯"
    is_new: bool = True

    @property
    def recency_days(self) -> int:
        return (self.week + timedelta(days=7) - self.silent_since.date()).days

    def row(self) -> dict[str, Any]:
        return {
            "week": self.week,
            "customer_id": self.customer_id,
            "churn_class": self.churn_class,
            "favourite_sku": None if self.product is None else "CUP1",
            "favourite_product": self.product,
            "silent_since": self.silent_since,
            "recency_days": self.recency_days,
            "frequency": 1,
            "monetary": Decimal(self.monetary),
        }


def silent(
    customer_id: str,
    weeks: Sequence[date] = (week(0),),
    *,
    new_in: Sequence[date] | None = None,
    **other: Any,
) -> list[Churner]:
    """A customer who is silent in the weeks, and newly so in the first of them unless said otherwise."""
    new = weeks[:1] if new_in is None else new_in
    return [Churner(day, customer_id, is_new=day in new, **other) for day in weeks]


def write_rows(
    warehouse: Warehouse, table: Table, weeks: Sequence[date], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Replaces a weekly table's weeks by literal rows."""
    types = {name: column.dtype.type for name, column in table.schema.columns.items()}
    frame = pl.DataFrame([dict(row) for row in rows], schema=types, orient="row")
    with warehouse.transaction() as session, session.frames(literal_rows=frame):
        session.replace_weeks(table, weeks, "select * from literal_rows")


def no_files() -> Reach:
    """A shop without contacts and without opt-outs."""
    nobody = pl.DataFrame(schema={"customer_id": pl.String, "channel": pl.String})
    return Reach(closed=nobody, opted_out=nobody, reachable=None, suppressed=0, unmatched=0)


def reach_of(opted_out: Sequence[tuple[str, str]] = (), reachable: Iterable[str] | None = None) -> Reach:
    """Who opted out of which channel, and who has an address (None: the shop gave no contacts)."""
    pairs = pl.DataFrame(
        list(opted_out), schema={"customer_id": pl.String, "channel": pl.String}, orient="row"
    )
    known = (
        None
        if reachable is None
        else pl.DataFrame({"customer_id": pl.Series(sorted(reachable), dtype=pl.String)})
    )
    return Reach(pairs, pairs, known, pairs["customer_id"].n_unique(), 0)


@dataclass
class RecallHome:
    """One shop's recall, step by step."""

    shop: Shop
    warehouse: Warehouse
    ledger: Ledger
    reach: Reach = field(default_factory=no_files)

    def copy_to(self, home: Path) -> "RecallHome":
        """The same recall_home in another folder, so that many tests may begin with the same scene."""
        shutil.copytree(self.shop.home, home, dirs_exist_ok=True)
        return recall_home_in(load_shop(home))

    def silent_are(self, churners: Sequence[Churner], weeks: Sequence[date] | None = None) -> None:
        """Writes both tables of the diagnosis for the churners' weeks."""
        asked = sorted({churner.week for churner in churners}) if weeks is None else list(weeks)
        rows = [churner.row() for churner in churners]
        new = [
            churner.row() | {"is_backlog": churner.week == FIRST_WEEK}
            for churner in churners
            if churner.is_new
        ]
        write_rows(self.warehouse, SILENT_CHURNERS, asked, rows)
        write_rows(self.warehouse, NEW_SILENT_CHURNERS, asked, new)

    def last_orders_are(self, weeks: Sequence[date], last_orders: Mapping[str, datetime]) -> None:
        """Writes ``customer_rfm``: the same customers with the same last order in every week."""
        rows = [
            {
                "week": day,
                "as_of": day + timedelta(days=7),
                "customer_id": customer_id,
                "recency_days": max(1, (day + timedelta(days=7) - ordered_at.date()).days),
                "frequency": 1,
                "monetary": Decimal(10),
                "first_order_at": ordered_at,
                "last_order_at": ordered_at,
                "last_return_at": None,
            }
            for day in weeks
            for customer_id, ordered_at in last_orders.items()
        ]
        write_rows(self.warehouse, CUSTOMER_RFM, weeks, rows)

    def make_list(self, *weeks: date) -> ListReport:
        return write_recall_list(self.warehouse, self.ledger, self.shop, self.reach, weeks)

    def make_plan(self, *weeks: date) -> dict[date, int]:
        return write_tag_plan(self.warehouse, self.ledger, self.shop, self.reach, weeks)

    def listed(self, day: date) -> list[dict[str, Any]]:
        """The week's list in order of priority."""
        return self._rows("recall_list", "priority", day)

    def names(self, day: date) -> list[str]:
        """The customers of the week's list in order of priority."""
        return [row["customer_id"] for row in self.listed(day)]

    def arms(self, day: date) -> dict[str, str]:
        return {row["customer_id"]: row["arm"] for row in self.listed(day)}

    def plan(self, day: date) -> set[tuple[str, str, str]]:
        """The week's tag plan as (customer, action, reason)."""
        rows = self._rows("tag_plan", "all", day)
        return {(row["customer_id"], row["action"], row["reason"]) for row in rows}

    def _rows(self, table: str, order: str, day: date) -> list[dict[str, Any]]:
        query = f"select * from {table} where week = $week order by {order}"
        return self.warehouse.read(query, {"week": day}).to_dicts()

    def seal(self, day: date) -> None:
        """Makes the week's list final without any tag."""
        listed = self.warehouse.read("select * from recall_list where week = $week", {"week": day})
        assert self.ledger.seal(day, ledger_rows(listed), NO_ACTIONS, "test")

    def list_and_seal(self, day: date) -> list[str]:
        self.make_list(day)
        self.seal(day)
        return self.names(day)

    def send(self, day: date, sink: TagSink | None = None) -> TagReport:
        return apply_tags(self.warehouse, self.ledger, sink or LocalSink(self.shop), self.reach, day)

    def campaign(self, day: date, sink: TagSink | None = None) -> TagReport:
        """List, plan and tags of a week."""
        self.make_list(day)
        self.make_plan(day)
        return self.send(day, sink)


def make_recall_home(
    home: Path, *, name: str = "茶铺", review: Mapping[str, Any] | None = None, **recall: Any
) -> RecallHome:
    """A home with everybody contactable; no hold-out unless asked for."""
    settings = {"holdout_share": 0} | recall
    return recall_home_in(make_shop(home, shop={"name": name}, recall=settings, review=review or {}))


def recall_home_in(shop: Shop) -> RecallHome:
    """The recall_home of a home that is there."""
    return RecallHome(shop, small_warehouse(shop), Ledger(shop.ledger_url))


class NotingSink:
    """Notes which changes it carries out; breaks after the first few if asked to."""

    name = "noting"

    def __init__(self, breaks_after: int | None = None) -> None:
        self.breaks_after = breaks_after
        self.carried_out: list[tuple[str, str]] = []

    def apply(self, week: date, open_actions: pl.DataFrame, all_actions: pl.DataFrame) -> Outcomes:
        for number, (customer_id, tag) in enumerate(open_actions.select("customer_id", "tag").iter_rows()):
            if number == self.breaks_after:
                raise ConnectionError("the line is dead")
            self.carried_out.append((customer_id, tag))
            yield customer_id, tag, "done", None
