"""High M where many customers spent the same: about the top quarter, not everybody at the common price."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rfm_pipeline.diagnose.checks import CUSTOMER_SEGMENTS_CHECKS
from rfm_pipeline.warehouse.checks import Verdict, run_checks
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline_tests.helpers import diagnosed, table_rows
from rfm_pipeline_tests.reference_model import Line, Rules

WEEK = date(2024, 1, 1)
LONG_AGO = datetime(2023, 1, 2, 10)
QUARTER = Rules(first_week=WEEK)


def sale(customer: str, spent: str, order: int = 1, day: datetime = LONG_AGO, **others: Any) -> Line:
    return Line(
        order_id=f"{customer}-{order}",
        line_no=1,
        customer_id=customer,
        ordered_at=day,
        line_type="sale",
        sku="CUP",
        product_name="茶杯",
        quantity=Decimal(1),
        unit_price=Decimal(spent),
        list_price=None,
        amount=Decimal(spent),
        **others,
    )


def buyers(*spent: tuple[int, str]) -> list[Line]:
    """One order a customer: so many customers who spent so much, group by group."""
    amounts = [amount for count, amount in spent for _ in range(count)]
    return [sale(f"c{number}", amount) for number, amount in enumerate(amounts)]


def threshold(warehouse: Warehouse) -> tuple[Decimal, bool]:
    (row,) = table_rows(warehouse, "segment_thresholds")
    return row["monetary_high"], row["monetary_high_is_exclusive"]


def high(warehouse: Warehouse) -> int:
    return sum(row["rfm_class"].startswith("重要") for row in table_rows(warehouse, "customer_segments"))


@pytest.mark.parametrize(
    ("spent", "limit", "is_exclusive", "are_high"),
    [
        # 40 % reach the limit: that is the quarter and 15 points, and no more
        pytest.param([(12, "10"), (8, "50")], 50, False, 8, id="40 % at one price"),
        pytest.param([(11, "10"), (9, "50")], 50, True, 0, id="45 % at one price"),
        pytest.param([(10, "10"), (7, "50"), (3, "90")], 50, True, 3, id="half reach it, some lie above"),
        pytest.param([(20, "50")], 50, True, 0, id="one price for all"),
        pytest.param([(19, "50"), (1, "50.01")], 50, True, 1, id="one customer a cent above"),
        pytest.param([(15, "10"), (5, "50")], 20, False, 5, id="the limit lies between two prices"),
        pytest.param([(1, str(n)) for n in range(1, 21)], "15.25", False, 5, id="no two the same"),
        pytest.param([(4, "0.01"), (16, "9.99")], "9.99", True, 0, id="most at one price"),
    ],
)
def test_high_m_is_about_the_top_quarter(
    tmp_path: Path, spent: Sequence[tuple[int, str]], limit: object, is_exclusive: bool, are_high: int
) -> None:
    warehouse = diagnosed(tmp_path, buyers(*spent), QUARTER, [WEEK])
    assert threshold(warehouse) == (Decimal(str(limit)), is_exclusive)
    assert high(warehouse) == are_high


@pytest.mark.parametrize(("sharing", "is_exclusive"), [(5, False), (6, True)])
def test_another_quantile_has_another_share(tmp_path: Path, sharing: int, is_exclusive: bool) -> None:
    rules = Rules(first_week=WEEK, monetary_high_quantile=Decimal("0.9"))
    warehouse = diagnosed(tmp_path, buyers((20 - sharing, "10"), (sharing, "50")), rules, [WEEK])
    assert threshold(warehouse) == (50, is_exclusive)


def test_a_fixed_amount_is_high_for_all_who_share_it(tmp_path: Path) -> None:
    rules = Rules(first_week=WEEK, monetary_high=Decimal(50))
    warehouse = diagnosed(tmp_path, buyers((20, "50")), rules, [WEEK])
    assert threshold(warehouse) == (50, False)
    assert high(warehouse) == 20


def test_a_shop_with_one_price_has_silent_churners(tmp_path: Path) -> None:
    """300 buy once at 50, 30 buy three times, 10 get their money back, 10 get a free piece."""
    lines = [sale(f"once{n}", "50.00", day=LONG_AGO + timedelta(days=n)) for n in range(300)]
    lines += [sale(f"often{n}", "50.00", order) for n in range(30) for order in range(3)]
    lines += [sale(f"back{n}", "50.00", refunded_amount=Decimal(50)) for n in range(10)]
    lines += [sale(f"free{n}", "0.00") for n in range(10)]
    warehouse = diagnosed(tmp_path, lines, QUARTER, [WEEK])
    assert threshold(warehouse) == (50, True)
    segments = Counter(row["segment"] for row in table_rows(warehouse, "customer_segments"))
    # of those who bought once, the last 25 did so less than 90 days before; as_of is 2024-01-08
    assert segments == {"champion": 30, "silent_churner": 282, "developing": 18, "vocal_churner": 10}


def verdict(warehouse: Warehouse) -> Verdict:
    (check,) = [one for one in CUSTOMER_SEGMENTS_CHECKS if one.name == "high_m_is_about_a_quarter"]
    with warehouse.transaction() as session:
        (found,) = run_checks(session, [check], [WEEK], {})
    return found


@pytest.mark.parametrize(
    ("high_m", "passed"), [(1, False), (2, True), (5, True), (8, True), (9, False), (20, False)]
)
def test_a_check_says_when_high_m_is_far_from_a_quarter(tmp_path: Path, high_m: int, passed: bool) -> None:
    rules = Rules(first_week=WEEK, monetary_high=Decimal(50))
    warehouse = diagnosed(tmp_path, buyers((20 - high_m, "10"), (high_m, "50")), rules, [WEEK])
    found = verdict(warehouse)
    assert (found.passed, found.check.blocking) == (passed, False)
    assert found.figures["highest_share"] == pytest.approx(high_m / 20)


def test_the_check_judges_no_week_of_a_few_customers(tmp_path: Path) -> None:
    rules = Rules(first_week=WEEK, monetary_high=Decimal(50))
    assert verdict(diagnosed(tmp_path, buyers((19, "50")), rules, [WEEK])).passed
