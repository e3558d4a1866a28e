"""What those who came back are worth, against a plain reading, and at the border of measured and foreseen."""

import statistics
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rfm_pipeline.diagnose.pipeline import sql_of
from rfm_pipeline.diagnose.schemas import CUSTOMER_ACTIVITY
from rfm_pipeline.review.models.returners import write_returner_value
from rfm_pipeline.weeks import as_of, week_of
from rfm_pipeline_tests.recall.recall_home import RecallHome, make_recall_home, week
from rfm_pipeline_tests.review.test_outcomes import (
    CLOSES,
    DAY,
    OPENS,
    SECOND,
    Assigned,
    Order,
    lists_are,
    orders_are,
)

DAYS = timedelta(days=90)


@pytest.fixture
def recall_home(tmp_path: Path) -> RecallHome:
    return make_recall_home(tmp_path)


def returner_row(
    recall_home: RecallHome, orders: Sequence[Order], day: date, arm: str = "recall"
) -> dict[str, Any]:
    """The row of an arm at a week."""
    orders_are(recall_home, orders)
    moments = [moment for order in orders for moment in (order.at, order.refunded_at) if moment]
    weeks = sorted({week_of(moment.date()) for moment in moments})
    with recall_home.warehouse.transaction() as session:
        session.target(weeks)
        session.replace(CUSTOMER_ACTIVITY, sql_of(CUSTOMER_ACTIVITY))
    write_returner_value(recall_home.warehouse, recall_home.ledger, recall_home.shop, [day])
    query = "select * from returner_value where week = $week and arm = $arm"
    return recall_home.warehouse.read(query, {"week": day, "arm": arm}).row(0, named=True)


def earlier_returns(count: int, again: int, amount: int = 40) -> list[Order]:
    """Strangers who came back after half a year of silence; some of them bought again twenty days later."""
    first = datetime(2022, 12, 1, 12)
    orders = []
    for number in range(count):
        name = f"s{number:03}"
        orders.append(Order(f"{name}-1", name, first))
        orders.append(Order(f"{name}-2", name, first + 180 * DAY))
        if number < again:
            orders.append(Order(f"{name}-3", name, first + 200 * DAY, amount))
    return orders


@pytest.mark.parametrize(
    ("returned_at", "day", "status"),
    [
        # ninety days from the return reach to as_of of week 14, or pass it by a second
        (as_of(week(14)), week(14), "measured"),
        (as_of(week(14)), week(13), "too_short"),
    ],
)
def test_it_is_measured_once_the_days_have_passed(
    recall_home: RecallHome, returned_at: date, day: date, status: str
) -> None:
    back = datetime.combine(returned_at, datetime.min.time()) - DAYS
    assert OPENS <= back < CLOSES
    lists_are(recall_home, Assigned("a"))
    row = returner_row(recall_home, [Order("o1", "a", back)], day)
    assert (row["status"], row["measured_customers"]) == (status, int(status == "measured"))
    late = returner_row(recall_home, [Order("o1", "a", back + SECOND)], day)
    assert late["status"] == "too_short"


def test_the_days_run_from_the_order_they_came_back_with(recall_home: RecallHome) -> None:
    back = OPENS + 20 * DAY
    orders = [
        Order("before", "a", OPENS - SECOND, 1000),
        Order("o1", "a", back, 100),
        Order("o2", "a", back + 30 * DAY, 50, refunded=20, refunded_at=back + DAYS - SECOND),
        Order("o3", "a", back + 31 * DAY, 50, refunded=20, refunded_at=back + DAYS),
        Order("r1", "a", back + 60 * DAY, 5, line_type="return"),
        Order("r2", "a", back - SECOND, 7, line_type="return"),
        Order("o4", "a", back + DAYS - SECOND, 3),
        Order("o5", "a", back + DAYS, 900),
    ]
    lists_are(recall_home, Assigned("a"), Assigned("b"), Assigned("c", arm="holdout"))
    row = returner_row(recall_home, orders, week(40))
    assert row["net_sales_so_far"] == 100 + 30 + 50 - 5 + 3
    figures = ("returned", "measured_customers", "value_90d", "value_90d_low", "value_90d_high", "status")
    assert [row[name] for name in figures] == [1, 1, 178.0, 178.0, 178.0, "measured"]


@pytest.mark.parametrize("at", [OPENS - SECOND, CLOSES])
def test_who_comes_back_outside_the_window_did_not_come_back(recall_home: RecallHome, at: datetime) -> None:
    lists_are(recall_home, Assigned("a"))
    row = returner_row(recall_home, [Order("o1", "a", at)], week(40))
    assert (row["returned"], row["status"], row["value_90d"]) == (0, "nobody", 0.0)


@pytest.mark.parametrize(("returns", "status"), [(29, "too_short"), (30, "predicted")])
def test_thirty_earlier_returns_are_needed_to_foresee(
    recall_home: RecallHome, returns: int, status: str
) -> None:
    lists_are(recall_home, Assigned("a"))
    row = returner_row(recall_home, [*earlier_returns(returns, 10), Order("o1", "a", OPENS + DAY)], week(1))
    assert (row["status"], row["learnt_from"]) == (status, returns)
    assert (row["value_90d"] is None) is (status == "too_short")


def test_foreseen_is_what_earlier_returners_still_brought_from_that_day_on(recall_home: RecallHome) -> None:
    """As of 6 days after the return: 12 of 40 earlier returners bought for 40 twenty days after theirs."""
    lists_are(recall_home, Assigned("a"))
    row = returner_row(recall_home, [*earlier_returns(40, 12), Order("o1", "a", OPENS + DAY)], week(1))
    rest = [40.0] * 12 + [0.0] * 28
    assert row["value_90d"] == pytest.approx(100 + statistics.mean(rest))
    variance = statistics.variance(rest)
    half = 1.959964 * (variance / 40 + variance) ** 0.5
    assert row["value_90d_high"] == pytest.approx(100 + 12 + half, abs=1e-3)
    assert row["value_90d_low"] == 100.0


@pytest.mark.parametrize(("day", "rest"), [(week(2), 12.0), (week(3), 0.0)])
def test_what_lies_behind_is_not_foreseen_again(recall_home: RecallHome, day: date, rest: float) -> None:
    """Back on the opening Monday: 14 days later the twentieth day is to come, 21 days later not."""
    lists_are(recall_home, Assigned("a"))
    row = returner_row(recall_home, [*earlier_returns(40, 12), Order("o1", "a", OPENS)], day)
    assert row["value_90d"] == pytest.approx(100 + rest)


def test_only_earlier_returns_whose_days_have_passed_are_learnt_from(recall_home: RecallHome) -> None:
    """Twenty strangers came back a month before as_of: their ninety days are not over."""
    fresh = [
        order
        for number in range(20)
        for order in (
            Order(f"f{number}-1", f"f{number}", datetime(2023, 3, 1)),
            Order(f"f{number}-2", f"f{number}", datetime(2023, 12, 15)),
        )
    ]
    lists_are(recall_home, Assigned("a"))
    row = returner_row(
        recall_home, [*earlier_returns(35, 10), *fresh, Order("o1", "a", OPENS + DAY)], week(1)
    )
    assert row["learnt_from"] == 35


def test_part_measured_part_foreseen(recall_home: RecallHome) -> None:
    lists_are(recall_home, Assigned("a"), Assigned("b"))
    orders = [*earlier_returns(40, 0), Order("o1", "a", OPENS), Order("o2", "b", CLOSES - DAY)]
    row = returner_row(recall_home, orders, week(14))
    assert (row["status"], row["returned"], row["measured_customers"]) == ("partly_measured", 2, 1)
    assert row["value_90d"] == pytest.approx(200)


def test_every_arm_of_every_campaign_has_its_row(recall_home: RecallHome) -> None:
    lists_are(recall_home, Assigned("a"), Assigned("h", arm="holdout"), Assigned("b", week(2)))
    orders_are(recall_home, [])
    write_returner_value(recall_home.warehouse, recall_home.ledger, recall_home.shop, [week(1), week(3)])
    rows = recall_home.warehouse.read(
        "select week, campaign_week, arm from returner_value order by all"
    ).rows()
    assert rows == [
        (week(1), week(0), "holdout"),
        (week(1), week(0), "recall"),
        (week(3), week(0), "holdout"),
        (week(3), week(0), "recall"),
        (week(3), week(2), "recall"),
    ]
