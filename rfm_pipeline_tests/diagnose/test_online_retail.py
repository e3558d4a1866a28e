"""The UCI Online Retail data: a real shop's year, against known figures and the plain reading."""

import csv
import shutil
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests import reference_model as plain
from rfm_pipeline_tests.helpers import (
    WEEKLY_TABLES,
    all_weekly_rows,
    diagnose,
    ingest,
    snapshots,
)
from rfm_pipeline_tests.online_retail import (
    DATA,
    FIRST,
    LAST,
    make_loaded_online_retail,
    needs_online_retail,
)
from rfm_pipeline_tests.shared_homes import SharedHomes

WEEKS = weeks_between(FIRST, LAST)

pytestmark = needs_online_retail


@pytest.fixture(scope="module")
def shop(shared_homes: SharedHomes, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home = tmp_path_factory.mktemp("diagnosed") / "home"
    return load_shop(shared_homes.copy("online_retail", make_loaded_online_retail, home))


@pytest.fixture(scope="module")
def warehouse(shop: Shop) -> Warehouse:
    """All files loaded, all weeks of the grid diagnosed in one range run."""
    warehouse = Warehouse(shop.warehouse_path, memory_limit="2GB")
    diagnose(warehouse, shop, WEEKS)
    return warehouse


@pytest.fixture(scope="module")
def lines() -> list[plain.Line]:
    """The data as order lines, read by the csv module."""
    found = []
    for path in sorted(DATA.glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=1):
                price = Decimal(row["UnitPrice"])
                if price >= 0:
                    found.append(to_line(number, row, price))
    return found


def to_line(number: int, row: dict[str, str], price: Decimal) -> plain.Line:
    quantity = Decimal(row["Quantity"])
    is_return = quantity < 0 or row["InvoiceNo"].startswith("C")
    return plain.Line(
        order_id=row["InvoiceNo"],
        line_no=number,
        customer_id=row["CustomerID"] or None,
        ordered_at=datetime.fromisoformat(row["InvoiceDate"]),
        line_type="return" if is_return else "sale",
        sku=row["StockCode"],
        product_name=row["Description"],
        quantity=quantity,
        unit_price=price,
        list_price=None,
        amount=abs(quantity) * price,
    )


def counts(warehouse: Warehouse, table: str, column: str, week: date = LAST) -> dict[Any, int]:
    rows = warehouse.read(
        f"select {column}, count(*) as n from {table} where week = $week group by {column}", {"week": week}
    )
    return dict(rows.iter_rows())


# Known figures


def test_every_row_read_is_accepted_or_accounted_for(warehouse: Warehouse) -> None:
    batches = warehouse.read("select * from order_batches")
    assert batches.height == len(list(DATA.glob("*.csv")))
    assert batches["rows_read"].sum() == 541_909
    counted = pl.col("rows_accepted") + pl.col("rows_unpaid") + pl.col("rows_rejected")
    assert batches.filter(pl.col("rows_read") != counted).is_empty()
    rejected = warehouse.read("select reason, count(*) as n from rejected_rows group by reason")
    assert rejected.rows() == [("unit_price is negative; a return has a negative quantity", 2)]


def test_no_file_is_read_twice(warehouse: Warehouse, shop: Shop) -> None:
    report = ingest(warehouse, shop)
    assert (report.loaded, report.unchanged) == ([], len(list(DATA.glob("*.csv"))))


def test_the_last_week_has_the_known_customers_and_money(warehouse: Warehouse) -> None:
    total = warehouse.read(
        "select count(*) as customers, sum(monetary) as monetary from customer_rfm where week = $week",
        {"week": LAST},
    )
    assert total.rows() == [(4338, Decimal("8310477.054"))]
    high = warehouse.read("select monetary_high from segment_thresholds where week = $week", {"week": LAST})
    assert high.item() == Decimal("1623.9225")


def test_the_last_week_has_the_known_segments(warehouse: Warehouse) -> None:
    assert counts(warehouse, "customer_segments", "segment") == {
        "champion": 1013,
        "rising_vip": 72,
        "lapsing_regular": 350,
        "active_regular": 647,
        "silent_churner": 997,
        "vocal_churner": 161,
        "developing": 1098,
    }


def test_the_last_week_has_the_known_classes_and_newly_silent(warehouse: Warehouse) -> None:
    assert counts(warehouse, "silent_churners", "churn_class") == {"A": 574, "B": 26, "C": 397}
    assert counts(warehouse, "new_silent_churners", "is_backlog") == {False: 37}


# One range run


@pytest.mark.slow
def test_forty_weeks_in_one_range_equal_forty_runs(warehouse: Warehouse, shop: Shop, tmp_path: Path) -> None:
    assert len(WEEKS) == 40
    assert set(snapshots(warehouse, "new_silent_churners")) == set(WEEKS)
    copy = Warehouse(tmp_path / "warehouse.duckdb", memory_limit="2GB")
    shutil.copy(warehouse.path, copy.path)
    with copy.transaction() as session:
        for table in (*WEEKLY_TABLES, "snapshots"):
            session.execute(f"delete from {table}")
    for week in WEEKS:
        diagnose(copy, shop, [week])
    in_one_run, one_by_one = all_weekly_rows(warehouse), all_weekly_rows(copy)
    for table in WEEKLY_TABLES:
        assert in_one_run[table].height > 0
        assert_frame_equal(in_one_run[table], one_by_one[table])


# The plain reading of half a million lines


@pytest.mark.slow
@pytest.mark.parametrize("week", [date(2011, 6, 6), date(2011, 10, 3)])
def test_two_other_weeks_are_as_the_definitions_say(
    warehouse: Warehouse, lines: list[plain.Line], week: date
) -> None:
    rules = plain.Rules(first_week=FIRST)
    rfm = plain.customer_rfm(lines, week, rules)
    segments = plain.segments(rfm, rules)
    found = warehouse.read(
        """
        select r.* exclude (week), s.segment, s.rfm_class
        from customer_rfm r join customer_segments s using (week, customer_id) where week = $week
        """,
        {"week": week},
    )
    assert {row.pop("customer_id"): row for row in found.to_dicts()} == {
        customer_id: row._asdict() | segments[customer_id]._asdict() for customer_id, row in rfm.items()
    }
    best = warehouse.read(
        "select sku, orders, revenue from bestsellers where week = $week order by position", {"week": week}
    )
    bestsellers = plain.bestsellers(lines, week, rules)
    assert best.rows() == [tuple(row) for row in bestsellers]
    low = warehouse.read("select low_price from low_prices where week = $week", {"week": week}).item()
    low_price = plain.low_price(lines, week, rules)
    assert low == low_price

    as_of = plain.as_of_moment(week)
    bought: dict[str, set[tuple[str, Decimal]]] = {}
    for sku, line in plain.product_lines(lines, rules):
        if line.customer_id is not None and line.ordered_at < as_of:
            bought.setdefault(line.customer_id, set()).add((sku, line.unit_price))
    current = {row.sku for row in bestsellers}
    classes = warehouse.read(
        "select customer_id, churn_class from silent_churners where week = $week", {"week": week}
    )
    assert dict(classes.iter_rows()) == {
        customer_id: class_of(bought.get(customer_id, set()), current, low)
        for customer_id, (segment, _) in segments.items()
        if segment == "silent_churner"
    }


def class_of(bought: set[tuple[str, Decimal]], current: set[str], low: Decimal) -> str:
    """Read the definition of the class where nothing is clearance: this data knows no list price."""
    if any(sku in current for sku, _ in bought):
        return "A"
    return "B" if bought and all(price <= low for _, price in bought) else "C"
