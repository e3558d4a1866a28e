"""The oracle itself, held against small tables worked out by hand."""

import csv
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_pipeline_tests.random_shops import Shop, shops_with_rules, to_standard_csv, with_oddities
from rfm_pipeline_tests.reference_model import (
    Bestseller,
    CustomerActivity,
    CustomerRfm,
    Line,
    Rules,
    as_of_moment,
    bestsellers,
    customer_activity,
    customer_rfm,
    low_price,
    new_silent_churners,
    quantile,
    segments,
    silent_churners,
    thresholds,
    week_of,
)

WEEK = date(2024, 6, 3)
AS_OF = datetime(2024, 6, 10)
SECOND = timedelta(seconds=1)
RULES = Rules(first_week=date(2024, 1, 1), monetary_high=Decimal(100))


def sale(order_id: str, ordered_at: datetime, amount: str = "10.00", **others: Any) -> Line:
    """A sale line of customer c of one piece of A1, paid at its unit price."""
    columns: dict[str, Any] = {
        "line_no": 1,
        "customer_id": "c",
        "line_type": "sale",
        "sku": "A1",
        "product_name": "茶杯",
        "quantity": Decimal(1),
        "unit_price": Decimal(amount),
        "list_price": None,
        "amount": Decimal(amount),
    }
    if "refunded_amount" in others:
        others["refunded_amount"] = Decimal(others["refunded_amount"])
    return Line(order_id=order_id, ordered_at=ordered_at, **(columns | others))


def returned(order_id: str, ordered_at: datetime, amount: str = "10.00") -> Line:
    """A return line of customer c, linked to no order."""
    return sale(order_id, ordered_at, amount, line_type="return", quantity=Decimal(-1))


def rfm_row(
    recency_days: int, frequency: int, monetary: str, return_after_order: timedelta | None = None
) -> CustomerRfm:
    last_order_at = AS_OF - timedelta(days=recency_days) + timedelta(hours=12)
    last_return_at = None if return_after_order is None else last_order_at + return_after_order
    return CustomerRfm(
        AS_OF.date(),
        recency_days,
        frequency,
        Decimal(monetary),
        last_order_at,
        last_order_at,
        last_return_at,
    )


def one_rfm(lines: Sequence[Line], week: date = WEEK) -> CustomerRfm:
    return customer_rfm(lines, week, RULES)["c"]


# RFM


def test_a_week_knows_the_second_before_as_of_and_not_as_of_itself() -> None:
    last_second = sale("1", AS_OF - SECOND)
    midnight = sale("2", AS_OF)
    assert one_rfm([last_second, midnight]) == (
        AS_OF.date(),
        1,
        1,
        Decimal(10),
        AS_OF - SECOND,
        AS_OF - SECOND,
        None,
    )
    assert one_rfm([last_second, midnight], week=date(2024, 6, 10)).frequency == 2


def test_an_order_happens_at_the_earliest_time_of_all_its_lines() -> None:
    lines = [sale("1", AS_OF + SECOND), sale("1", AS_OF - SECOND, line_type="return", line_no=2)]
    row = one_rfm(lines)
    assert (row.last_order_at, row.last_return_at) == (AS_OF - SECOND, AS_OF - SECOND)
    assert row.monetary == 0


def test_customers_without_a_paid_order_or_without_an_id_have_no_rfm() -> None:
    moment = datetime(2024, 5, 1)
    lines = [
        sale("1", moment, "0.00"),
        returned("2", moment),
        sale("3", moment, customer_id=None),
    ]
    assert customer_rfm(lines, WEEK, RULES) == {}


def test_sales_less_refunds_and_returns_may_be_negative() -> None:
    lines = [
        sale("1", datetime(2024, 5, 1), refunded_amount="4.00", refunded_at=datetime(2024, 5, 3)),
        returned("2", datetime(2024, 5, 2), "30.00"),
    ]
    row = one_rfm(lines)
    assert (row.frequency, row.monetary) == (1, Decimal("-24.00"))
    assert row.last_return_at == datetime(2024, 5, 3)


@pytest.mark.parametrize(
    ("refunded", "refunded_at", "frequency"),
    [
        ("10.00", AS_OF - SECOND, 0),
        ("10.00", AS_OF, 1),
        ("9.99", AS_OF - SECOND, 1),
        ("10.00", None, 0),
    ],
)
def test_an_order_stops_counting_once_refunds_known_before_as_of_reach_its_amount(
    refunded: str, refunded_at: datetime | None, frequency: int
) -> None:
    line = sale("1", datetime(2024, 5, 1), refunded_amount=refunded, refunded_at=refunded_at)
    assert one_rfm([line]).frequency == frequency


def test_a_refund_without_a_time_happens_at_its_orders_time() -> None:
    line = sale("1", datetime(2024, 5, 1), refunded_amount="1.00")
    assert one_rfm([line]).last_return_at == datetime(2024, 5, 1)


def test_a_refund_of_zero_is_none_and_a_return_of_zero_is_one() -> None:
    order = sale("1", datetime(2024, 5, 1), refunded_at=datetime(2024, 5, 2))
    assert one_rfm([order]).last_return_at is None
    free = returned("2", datetime(2024, 5, 4), "0.00")
    assert one_rfm([order, free]).last_return_at == datetime(2024, 5, 4)


# Thresholds and segments


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ("", "0.75", None),
        ("7", "0.75", Fraction(7)),
        ("4 1 3 2", "0.75", Fraction(13, 4)),
        ("1 2", "0", Fraction(1)),
        ("1 2", "1", Fraction(2)),
    ],
)
def test_a_quantile_lies_on_the_line_between_its_neighbours(
    values: str, share: str, expected: Fraction | None
) -> None:
    assert quantile([Decimal(value) for value in values.split()], Decimal(share)) == expected


def test_the_monetary_threshold_is_an_amount_or_a_quantile_of_the_weeks_table() -> None:
    rfm = {name: rfm_row(1, 1, amount) for name, amount in [("a", "10"), ("b", "20")]}
    by_quantile = Rules(first_week=date(2024, 1, 1))
    assert thresholds(rfm, by_quantile) == Fraction("17.5")
    assert thresholds({}, by_quantile) is None
    assert thresholds(rfm, RULES) == 100


@pytest.mark.parametrize(
    ("row", "segment", "rfm_class"),
    [
        (rfm_row(89, 3, "100.00"), "champion", "重要价值"),
        (rfm_row(90, 3, "100.00"), "champion", "重要保持"),
        (rfm_row(89, 2, "100.00"), "rising_vip", "重要发展"),
        (rfm_row(90, 2, "100.00"), "rising_vip", "重要挽留"),
        (rfm_row(59, 3, "99.99"), "active_regular", "一般价值"),
        (rfm_row(60, 3, "99.99"), "lapsing_regular", "一般价值"),
        (rfm_row(90, 3, "99.99"), "lapsing_regular", "一般保持"),
        (rfm_row(89, 2, "99.99"), "developing", "一般发展"),
        (rfm_row(90, 2, "99.99"), "silent_churner", "一般挽留"),
        (rfm_row(90, 2, "99.99", -SECOND), "silent_churner", "一般挽留"),
        (rfm_row(90, 2, "99.99", timedelta(0)), "vocal_churner", "一般挽留"),
        (rfm_row(90, 2, "99.99", SECOND), "vocal_churner", "一般挽留"),
        (rfm_row(89, 2, "99.99", SECOND), "developing", "一般发展"),
    ],
)
def test_every_border_of_the_segment_table(row: CustomerRfm, segment: str, rfm_class: str) -> None:
    assert segments({"c": row}, RULES) == {"c": (segment, rfm_class)}


# Bestsellers and prices


def test_bestsellers_count_orders_then_revenue_then_sku() -> None:
    moment = datetime(2024, 5, 1)
    lines = [
        sale("1", moment, "1.00", sku="bb"),
        sale("2", moment, "1.00", sku=" BB ", customer_id=None),
        sale("3", moment, "99.00", sku="RICH"),
        sale("3", moment, "99.00", sku="RICH", line_no=2),
        sale("4", moment, "5.00", sku="Z"),
        sale("5", moment, "5.00", sku="Y"),
        sale("6", moment, "5.00", sku="OFF", is_clearance=True),
        sale("7", moment, "5.00", sku="post"),
        sale("8", moment, "5.00", sku="Gift_20"),
        sale("9", moment, "0.00", sku="FREE"),
        sale("10", moment, "5.00", sku="  "),
        sale("11", moment, "5.00", sku=None),
        returned("12", moment),
    ]
    assert bestsellers(lines, WEEK, RULES) == [
        Bestseller("BB", 2, Decimal("2.00")),
        Bestseller("RICH", 1, Decimal("198.00")),
        Bestseller("Y", 1, Decimal("5.00")),
        Bestseller("Z", 1, Decimal("5.00")),
    ]
    top_one = Rules(first_week=RULES.first_week, bestsellers_top=1)
    assert [row.sku for row in bestsellers(lines, WEEK, top_one)] == ["BB"]


def test_the_product_window_holds_its_first_instant_and_not_as_of() -> None:
    start = AS_OF - timedelta(days=365)
    lines = [
        sale("1", start - SECOND, "1.00", sku="TOO-OLD"),
        sale("2", start, "2.00", sku="OLDEST"),
        sale("3", AS_OF - SECOND, "2.00", sku="NEWEST"),
        sale("4", AS_OF, "1.00", sku="TOO-NEW"),
    ]
    assert [row.sku for row in bestsellers(lines, WEEK, RULES)] == ["NEWEST", "OLDEST"]
    assert low_price(lines, WEEK, RULES) == 2


@pytest.mark.parametrize(
    ("list_price", "flag", "is_bestseller"),
    [
        (None, None, True),
        (None, True, False),
        ("19.99", False, True),
        ("20.00", None, False),
        ("20.00", False, False),
    ],
)
def test_clearance_is_flagged_or_sold_at_half_its_list_price_or_less(
    list_price: str | None, flag: bool | None, is_bestseller: bool
) -> None:
    known = None if list_price is None else Decimal(list_price)
    line = sale("1", datetime(2024, 5, 1), "10.00", list_price=known, is_clearance=flag)
    assert bool(bestsellers([line], WEEK, RULES)) is is_bestseller


def test_the_low_price_takes_every_product_line_clearance_and_customerless_too() -> None:
    moment = datetime(2024, 5, 1)
    lines = [
        sale("1", moment, "1.00", is_clearance=True),
        sale("2", moment, "2.00", customer_id=None),
        sale("3", moment, "3.00"),
        sale("4", moment, "0.10", sku="POST"),
    ]
    assert low_price(lines, WEEK, RULES) == Fraction(3, 2)
    assert low_price([], WEEK, RULES) is None


# Silent churners

LONG_AGO = AS_OF - timedelta(days=100)
ONE_BESTSELLER = Rules(first_week=date(2024, 1, 1), monetary_high=Decimal(1000), bestsellers_top=1)


def stock_sales(*prices: str) -> list[Line]:
    """Recent sales of the bestseller TOP to nobody, which make the prices of the window."""
    return [
        sale(f"stock{number}", AS_OF - SECOND, price, sku="TOP", customer_id=None)
        for number, price in enumerate(prices)
    ]


@pytest.mark.parametrize(
    ("lines", "churn_class", "favourite"),
    [
        ([sale("1", LONG_AGO, "9.00"), sale("2", LONG_AGO, "8.00", sku="top ")], "A", "TOP"),
        ([sale("1", LONG_AGO, "8.00", sku="TOP", is_clearance=True)], "A", "TOP"),
        ([sale("1", LONG_AGO, "2.00")], "B", "A1"),
        ([sale("1", LONG_AGO, "2.01")], "C", "A1"),
        ([sale("1", LONG_AGO, "9.00", is_clearance=True)], "B", "A1"),
        ([sale("1", LONG_AGO, "2.00"), sale("2", LONG_AGO, "9.00", sku="B2")], "C", "B2"),
        ([sale("1", LONG_AGO, "2.00", sku="POST")], "C", None),
    ],
)
def test_the_class_of_a_silent_churner(lines: list[Line], churn_class: str, favourite: str | None) -> None:
    # Two lines of the customer at most: five at 2.00 keep the 0.25 quantile at exactly 2.00.
    shop = lines + stock_sales("2.00", "2.00", "2.00", "2.00", "2.00")
    churner = silent_churners(shop, WEEK, ONE_BESTSELLER)["c"]
    assert (churner.churn_class, churner.favourite_sku) == (churn_class, favourite)
    assert (churner.silent_since, churner.recency_days) == (LONG_AGO, 100)
    assert churner.monetary == sum(line.amount for line in lines)


@pytest.mark.parametrize(
    ("lines", "favourite"),
    [
        ([sale("1", LONG_AGO, "5.00", sku="AA"), sale("2", LONG_AGO, "6.00", sku="BB")], "BB"),
        ([sale("1", LONG_AGO, "5.00", sku="AA"), sale("2", LONG_AGO, "5.00", sku="BB")], "AA"),
        (
            [sale("1", LONG_AGO - SECOND, "5.00", sku="AA"), sale("2", LONG_AGO, "5.00", sku="BB")],
            "BB",
        ),
    ],
)
def test_the_favourite_is_where_most_was_spent_then_the_latest_then_the_smallest_sku(
    lines: list[Line], favourite: str
) -> None:
    shop = lines + stock_sales("2.00", "2.00", "2.00")
    assert silent_churners(shop, WEEK, ONE_BESTSELLER)["c"].favourite_sku == favourite


def test_the_first_week_is_backlog_and_later_weeks_hold_only_the_newly_silent() -> None:
    lines = [
        sale("1", datetime(2023, 9, 1), customer_id="old"),
        sale("2", datetime(2023, 10, 16, 23, 59, 59), customer_id="newer"),
    ]
    first, second, third = date(2024, 1, 1), date(2024, 1, 8), date(2024, 1, 15)
    assert new_silent_churners(lines, first, RULES) == (
        frozenset({"old"}),
        True,
    )
    assert new_silent_churners(lines, second, RULES) == (
        frozenset({"newer"}),
        False,
    )
    assert new_silent_churners(lines, third, RULES) == (frozenset(), False)
    with pytest.raises(ValueError, match="before the first week"):
        new_silent_churners(lines, date(2023, 12, 25), RULES)


# Activity


def test_a_refund_lies_in_its_own_week_and_completes_when_it_reaches_the_amount() -> None:
    ordered_at = datetime(2024, 5, 5, 23, 59, 59)
    midnight = datetime(2024, 5, 6)
    later = datetime(2024, 5, 20)
    lines = [
        sale("1", ordered_at, "6.00", refunded_amount="6.00", refunded_at=midnight),
        sale("1", midnight, "4.00", refunded_amount="4.00", refunded_at=later, line_no=2),
        returned("2", later + SECOND, "1.00"),
        sale("3", later, "0.00"),
        sale("4", datetime(2024, 5, 28), "0.00"),
    ]
    ten, six, five, zero = Decimal(10), Decimal(6), Decimal(5), Decimal(0)
    assert customer_activity(lines) == {
        ("c", date(2024, 4, 29)): CustomerActivity(1, 0, ten, zero, ordered_at, ordered_at, None),
        ("c", date(2024, 5, 6)): CustomerActivity(0, 0, zero, six, None, None, midnight),
        ("c", date(2024, 5, 20)): CustomerActivity(0, 1, zero, five, None, None, later + SECOND),
    }


def test_an_order_is_not_refunded_before_its_own_week() -> None:
    early = datetime(2024, 4, 30)
    line = sale("1", datetime(2024, 5, 7), refunded_amount="10.00", refunded_at=early)
    activity = customer_activity([line])
    assert activity[("c", date(2024, 4, 29))].refunded_orders == 0
    assert activity[("c", date(2024, 5, 6))].refunded_orders == 1


@settings(deadline=None)
@given(shop=shops_with_rules(), data=st.data())
def test_activity_adds_up_to_rfm_whatever_the_shop(shop: Shop, data: st.DataObject) -> None:
    lines = data.draw(with_oddities(shop.lines)) if data.draw(st.booleans()) else shop.lines
    activity = customer_activity(lines)
    week = data.draw(st.sampled_from(shop.weeks))
    rfm = customer_rfm(lines, week, shop.rules)
    for customer_id, row in rfm.items():
        known = [a for (owner, of), a in activity.items() if owner == customer_id and of <= week]
        assert row.frequency == sum(a.orders - a.refunded_orders for a in known)
        assert row.monetary == sum(a.sales - a.refunds for a in known)
        assert row.last_order_at == max(a.last_order_at for a in known if a.last_order_at)
        returns = [a.last_return_at for a in known if a.last_return_at]
        assert row.last_return_at == max(returns, default=None)
        assert row.last_order_at < as_of_moment(week)
        assert week_of(row.last_order_at) <= week


def test_the_export_has_the_canonical_columns_and_nothing_for_null(tmp_path: Path) -> None:
    line = sale("1", datetime(2024, 5, 6), sku=" a1", customer_id=None, is_clearance=False)
    to_standard_csv([line], tmp_path / "orders.csv")
    with (tmp_path / "orders.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "order_id": "1",
        "line_no": "1",
        "customer_id": "",
        "ordered_at": "2024-05-06 00:00:00",
        "line_type": "sale",
        "sku": " a1",
        "product_name": "茶杯",
        "quantity": "1",
        "unit_price": "10.00",
        "list_price": "",
        "amount": "10.00",
        "refunded_amount": "0",
        "refunded_at": "",
        "is_clearance": "false",
    }
