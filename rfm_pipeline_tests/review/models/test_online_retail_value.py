"""The value of the silent on the Online Retail data: predicted at a week, against what followed."""

import csv
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from rfm_pipeline.ledger import Ledger
from rfm_pipeline.review.models.dormancy import write_dormancy_curve
from rfm_pipeline.review.models.sleeping import write_sleeping_value
from rfm_pipeline.review.outcomes import write_recall_outcomes
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import as_of, weeks_between
from rfm_pipeline_tests.helpers import diagnose
from rfm_pipeline_tests.online_retail import (
    DATA,
    FIRST,
    make_loaded_online_retail,
    needs_online_retail,
)
from rfm_pipeline_tests.shared_homes import SharedHomes

pytestmark = needs_online_retail

WEEK = date(2011, 7, 4)


@pytest.fixture(scope="module")
def shop(shared_homes: SharedHomes, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home = tmp_path_factory.mktemp("value") / "home"
    return load_shop(shared_homes.copy("online_retail", make_loaded_online_retail, home))


@pytest.fixture(scope="module")
def warehouse(shop: Shop) -> Warehouse:
    warehouse = Warehouse(shop.warehouse_path, memory_limit="2GB")
    diagnose(warehouse, shop, weeks_between(FIRST, WEEK))
    write_recall_outcomes(warehouse, Ledger(shop.ledger_url), shop, [WEEK])
    write_sleeping_value(warehouse, shop, [WEEK])
    write_dormancy_curve(warehouse, shop, [WEEK])
    return warehouse


def what_followed(warehouse: Warehouse) -> tuple[int, Decimal]:
    """Who of the week's silent came back, and their net sales, read from the files by the csv module."""
    silent = set(
        warehouse.read("select customer_id from silent_churners where week = $week", {"week": WEEK})[
            "customer_id"
        ]
    )
    opens = datetime.combine(as_of(WEEK), datetime.min.time())
    closes = opens + timedelta(days=90)
    sales: dict[tuple[str, str], Decimal] = {}
    times: dict[tuple[str, str], datetime] = {}
    returns = []
    for path in sorted(DATA.glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                customer, at = row["CustomerID"], datetime.fromisoformat(row["InvoiceDate"])
                quantity, price = Decimal(row["Quantity"]), Decimal(row["UnitPrice"])
                if customer not in silent or not opens <= at < closes or price < 0:
                    continue
                if quantity < 0 or row["InvoiceNo"].startswith("C"):
                    returns.append((customer, at, abs(quantity) * price))
                    continue
                key = (customer, row["InvoiceNo"])
                sales[key] = sales.get(key, Decimal(0)) + quantity * price
                times[key] = min(at, times.get(key, at))
    back: dict[str, datetime] = {}
    for (customer, invoice), amount in sales.items():
        if amount > 0:
            at = times[customer, invoice]
            back[customer] = min(at, back.get(customer, at))
    came = sum(sales.values(), Decimal(0))
    came -= sum(
        (amount for customer, at, amount in returns if customer in back and at >= back[customer]), Decimal(0)
    )
    return len(back), came


def test_the_value_at_a_week_in_july_is_near_what_followed(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    total = warehouse.read("select * from sleeping_totals where week = $week", {"week": WEEK}).row(
        0, named=True
    )
    returned, came = what_followed(warehouse)
    error = total["value"] / float(came) - 1
    second = total["second_opinion_value"] / float(came) - 1
    with capsys.disabled():
        print(  # noqa: T201
            f"\nweek {WEEK}: {total['customers']} silent; predicted {total['expected_returns']:.0f} returns "
            f"and {total['value']:,.0f} ({total['value_low']:,.0f} to {total['value_high']:,.0f}), came "
            f"{returned} and {came:,.0f}: error {error:+.1%} (BG/NBD with Gamma-Gamma {second:+.1%})"
        )
    assert (total["status"], total["windows"], total["customers"]) == ("season_assumed", 2, 804)
    assert total["expected_returns"] == pytest.approx(returned, rel=0.15)
    assert total["value_low"] < came < total["value_high"]
    assert abs(error) < 0.35


def test_the_curve_of_half_a_year_knows_short_silences_and_says_of_long_ones_that_it_does_not(
    warehouse: Warehouse,
) -> None:
    rows = warehouse.read(
        "select silent_days, status from dormancy_curve where week = $week and order_band = '1'",
        {"week": WEEK},
    )
    status = dict(rows.iter_rows())
    assert status[28] == "known"
    # the first order is of 1 December: 132 days of silence and ninety more are the most that can be known
    assert status[133] == status[364] == "too_short"
