"""Which sheets of a workbook are read, as what, and which only add columns to another, by order number.

A workbook of 千牛 holds the orders, their lines and their shipments on three sheets. Each sheet that fits a
preset is read as that; the warehouse joins order lists and lines of one platform. A sheet that fits none adds
what it knows of an order (buyer, time, address) to those that lack it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from rfm_pipeline.ingest.files import cells
from rfm_pipeline.ingest.files.headers import Fit, header_row
from rfm_pipeline.ingest.files.workbooks import SheetTop
from rfm_pipeline.ingest.presets import Preset, best_fit, best_preset

OF_THE_ORDER = (
    "customer_id",
    "ordered_at",
    "paid_mark",
    "cancelled_at",
    "updated_at",
    "order_status",
    "order_amount",
    "order_refunded",
    "order_total",
    "order_tax",
    "order_postage",
    "outstanding",
    "currency",
    "payment_method",
    "fulfilment",
    "phone",
    "email",
    "name",
    "accepts_marketing",
)
"""What is the same on every row of an order, and may come from another sheet."""


@dataclass(frozen=True)
class Lookup:
    """Columns of another sheet, found by order number.

    Attributes:
        sheet: The other sheet.
        skip: How many rows stand above its header.
        key: The position of its order number.
        columns: The positions of the columns it adds.
    """

    sheet: str
    skip: int
    key: int
    columns: tuple[int, ...]


@dataclass(frozen=True)
class SheetPlan:
    """How a sheet is read.

    Attributes:
        sheet: Its name.
        skip: How many rows stand above its header.
        header: Its column names; those of the lookups follow them.
        own: How many of the names are its own.
        key: The position of its order number; None if it has none.
        lookups: What other sheets add.
    """

    sheet: str
    skip: int
    header: tuple[str, ...]
    own: int
    key: int | None = None
    lookups: tuple[Lookup, ...] = ()


def plan_sheets(tops: Sequence[SheetTop], family: Sequence[Preset]) -> list[tuple[Preset, SheetPlan]]:
    """The sheets that are read as orders or lines, each with its preset; none if no sheet fits.

    Args:
        tops: The first rows of the workbook's sheets.
        family: The shop's preset and those of the same platform.
    """
    headers = sheet_headers(tops, partial(best_fit, family))
    fitting = [(sheet, preset) for sheet in headers if (preset := best_preset(family, sheet.header))]
    others = [sheet for sheet in headers if all(sheet is not one for one, _ in fitting)]
    plans = [(preset, _enriched(sheet, preset, others)) for sheet, preset in fitting]
    for sheet in others:
        beside = [one for one in headers if one is not sheet]
        for preset in family:
            whole = _enriched(sheet, preset, beside)
            if not preset.lacks(whole.header):
                plans.append((preset, whole))
                break
    return sorted(plans, key=lambda plan: family.index(plan[0]))


def sheet_headers(tops: Sequence[SheetTop], fit: Fit) -> list[SheetPlan]:
    """The sheets that have a header, each with what it has by itself.

    Args:
        tops: The first rows of the workbook's sheets.
        fit: Tells how many wanted columns a header holds.
    """
    found = [(top.name, *header_row([_trimmed(row) for row in top.rows], fit)) for top in tops]
    return [SheetPlan(name, skip, tuple(header), len(header)) for name, skip, header in found if header]


def _trimmed(row: Sequence[str]) -> tuple[str, ...]:
    """A row without the empty cells behind its last filled one."""
    width = max((i for i, cell in enumerate(row, start=1) if cell.strip()), default=0)
    return tuple(row[:width])


def _enriched(sheet: SheetPlan, preset: Preset, others: Sequence[SheetPlan]) -> SheetPlan:
    """A sheet with the columns that it lacks and others have."""
    key = _order_number(sheet.header, preset)
    if key is None:
        return sheet
    plan = replace(sheet, key=key)
    wanted = (*OF_THE_ORDER, "product_name") if preset.row == "order" else OF_THE_ORDER
    for other in others:
        other_key = _order_number(other.header, preset)
        if other_key is None:
            continue
        columns = [
            position
            for column in wanted
            if not _found(plan.header, preset, column)
            for position in _found(other.header, preset, column)[:1]
        ]
        if columns:
            different = tuple(dict.fromkeys(columns))
            lookup = Lookup(other.sheet, other.skip, other_key, different)
            names = tuple(other.header[position] for position in different)
            plan = replace(plan, header=plan.header + names, lookups=(*plan.lookups, lookup))
    return plan


def _order_number(header: Sequence[str], preset: Preset) -> int | None:
    return next(iter(_found(header, preset, "order_id")), None)


def _found(header: Sequence[str], preset: Preset, column: str) -> list[int]:
    """The positions of a column and its fallbacks in a header."""
    return [*preset.positions(header, column), *preset.fallbacks_in(header).get(column, [])]


def looked_up(rows: pl.DataFrame, key: int, other: pl.DataFrame, lookup: Lookup, first: int) -> pl.DataFrame:
    """A sheet's rows with the columns of another sheet, of each order the first filled cell.

    Args:
        rows: A text column per position.
        key: The position of the order number in them.
        other: The rows of the other sheet.
        lookup: What it adds.
        first: The position of the first column it adds.
    """
    number = pl.col("__number__")
    present = [(i, f"{column}") for i, column in enumerate(lookup.columns) if f"{column}" in other.columns]
    added = (
        other.with_columns(_order(lookup.key).alias("__number__"))
        .filter(number != "")
        .group_by("__number__", maintain_order=True)
        .agg(
            pl.col(column).filter(pl.col(column).str.strip_chars() != "").first().alias(f"{first + i}")
            for i, column in present
        )
    )
    joined = rows.with_columns(_order(key).alias("__number__")).join(
        added, on="__number__", how="left", maintain_order="left"
    )
    names = [f"{first + i}" for i in range(len(lookup.columns))]
    missing = [pl.lit("").alias(name) for name in names if name not in joined.columns]
    return joined.drop("__number__").with_columns(
        *missing, *(pl.col(name).fill_null("") for name in names if name in joined.columns)
    )


def _order(position: int) -> pl.Expr:
    """An order number without what exports wrap around it."""
    return cells.unwrapped(pl.col(f"{position}").str.strip_chars())
