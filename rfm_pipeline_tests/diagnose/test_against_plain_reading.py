"""Random shops, exported, loaded and diagnosed, against the definitions read in plain Python.

All weeks of the grid are made in one range run and compared row by row with exact decimals, from the
activity to the newly silent.
"""

import tempfile
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from rfm_pipeline.diagnose.pipeline import sql_of
from rfm_pipeline.diagnose.schemas import CUSTOMER_RFM, SEGMENT_THRESHOLDS
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline_tests import reference_model as plain
from rfm_pipeline_tests.helpers import diagnosed, table_rows
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.random_shops import Shop, any_shops

Rows = dict[Any, Any]
PRODUCT_NAMES = {"favourite_product", "product_name"}


def exact(value: Decimal | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def by_key(warehouse: Warehouse, table: str, *key: str) -> Rows:
    """The rows as {key: other columns}, without the product names that the plain reading leaves open."""
    rows = table_rows(warehouse, table)
    found = {}
    for row in rows:
        place = tuple(row.pop(name) for name in key)
        found[place] = {name: value for name, value in row.items() if name not in PRODUCT_NAMES}
    assert len(found) == len(rows), f"{table}: {key} doesn't name a row"
    return found


def expected_activity(shop: Shop) -> Rows:
    return {key: row._asdict() for key, row in plain.customer_activity(shop.lines).items()}


def expected_rfm(shop: Shop) -> Rows:
    return {
        (week, customer_id): row._asdict()
        for week in shop.weeks
        for customer_id, row in plain.customer_rfm(shop.lines, week, shop.rules).items()
    }


def expected_thresholds(shop: Shop) -> Rows:
    rules = shop.rules
    found = {}
    for week in shop.weeks:
        rfm = plain.customer_rfm(shop.lines, week, rules)
        found[(week,)] = {
            "customers": len(rfm),
            "frequency_high": rules.frequency_high,
            "monetary_high": plain.thresholds(rfm, rules),
            "monetary_high_quantile": (
                float(rules.monetary_high_quantile) if rules.monetary_high is None else None
            ),
            "monetary_high_is_exclusive": plain.is_exclusive(rfm, rules),
            "dormant_after_days": rules.dormant_after_days,
            "lapsing_after_days": rules.lapsing_after_days,
        }
    return found


def expected_segments(shop: Shop) -> Rows:
    found = {}
    for week in shop.weeks:
        rfm = plain.customer_rfm(shop.lines, week, shop.rules)
        for customer_id, (segment, rfm_class) in plain.segments(rfm, shop.rules).items():
            row = rfm[customer_id]
            found[(week, customer_id)] = {
                "segment": segment,
                "rfm_class": rfm_class,
                "recency_days": row.recency_days,
                "frequency": row.frequency,
                "monetary": row.monetary,
                "last_order_at": row.last_order_at,
            }
    return found


def expected_bestsellers(shop: Shop) -> Rows:
    return {
        (week, position): row._asdict()
        for week in shop.weeks
        for position, row in enumerate(plain.bestsellers(shop.lines, week, shop.rules), start=1)
    }


def expected_low_prices(shop: Shop) -> Rows:
    return {
        (week,): {
            "product_lines": len(plain.window_product_lines(shop.lines, week, shop.rules)),
            "low_price": plain.low_price(shop.lines, week, shop.rules),
        }
        for week in shop.weeks
    }


def expected_silent_churners(shop: Shop) -> dict[date, dict[str, dict[str, Any]]]:
    return {
        week: {
            customer_id: row._asdict()
            for customer_id, row in plain.silent_churners(shop.lines, week, shop.rules).items()
        }
        for week in shop.weeks
    }


def with_exact(rows: Rows, column: str) -> Rows:
    return {key: row | {column: exact(row[column])} for key, row in rows.items()}


def in_a_fresh_home(shop: Shop, compare: Callable[[Warehouse], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        compare(diagnosed(Path(folder), shop.lines, shop.rules, shop.weeks))


# too_slow: every example loads and diagnoses a whole shop on disk, and drawing its lines takes a while.
@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.too_slow])
@given(shop=any_shops())
def test_every_table_says_what_the_definitions_say(shop: Shop) -> None:
    silent = expected_silent_churners(shop)
    new = {week: plain.new_silent_churners(shop.lines, week, shop.rules) for week in shop.weeks}

    names = {(line.customer_id, plain.normal(line.sku or ""), line.product_name) for line in shop.lines}

    def compare(warehouse: Warehouse) -> None:
        assert by_key(warehouse, "customer_activity", "customer_id", "week") == expected_activity(shop)
        assert by_key(warehouse, "customer_rfm", "week", "customer_id") == expected_rfm(shop)
        thresholds = by_key(warehouse, "segment_thresholds", "week")
        assert with_exact(thresholds, "monetary_high") == expected_thresholds(shop)
        assert by_key(warehouse, "customer_segments", "week", "customer_id") == expected_segments(shop)
        assert by_key(warehouse, "bestsellers", "week", "position") == expected_bestsellers(shop)
        assert with_exact(by_key(warehouse, "low_prices", "week"), "low_price") == expected_low_prices(shop)
        assert by_key(warehouse, "silent_churners", "week", "customer_id") == {
            (week, customer_id): row for week, rows in silent.items() for customer_id, row in rows.items()
        }
        assert by_key(warehouse, "new_silent_churners", "week", "customer_id") == {
            (week, customer_id): silent[week][customer_id] | {"is_backlog": new[week].is_backlog}
            for week in shop.weeks
            for customer_id in new[week].customer_ids
        }
        for row in table_rows(warehouse, "silent_churners"):
            bought = (row["customer_id"], row["favourite_sku"], row["favourite_product"])
            assert bought in names or bought[1:] == (None, None)

    in_a_fresh_home(shop, compare)


WEEK = date(2024, 1, 1)
MONETARY = st.integers(-1_000, 10_000_000).map(lambda n: Decimal(n).scaleb(-2))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(tmp_path_factory.mktemp("quantiles") / "warehouse.duckdb", "1GB", threads=1)


# too_slow: up to 201 customers are drawn for every example.
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(
    monetary=st.sampled_from((1, 2, 11, 51, 101, 201)).flatmap(
        lambda n: st.lists(MONETARY, min_size=n, max_size=n)
    ),
    percent=st.integers(0, 100),
)
def test_the_threshold_is_exact_at_every_quantile(
    scratch: Warehouse, monetary: list[Decimal], percent: int
) -> None:
    assert threshold(scratch, monetary, percent) == plain.quantile(monetary, Decimal(percent) / 100)


@pytest.mark.parametrize(
    ("customers", "percent"), [(101, 7), (101, 29), (101, 57), (101, 58), (201, 14), (201, 55)]
)
def test_a_customer_who_is_the_quantile_lies_exactly_on_the_threshold(
    scratch: Warehouse, customers: int, percent: int
) -> None:
    # in floating point 0.07 * 100 is a little more than 7, and 0.57 * 100 a little less than 57
    monetary = [Decimal(number * 1_000_000) for number in range(customers)]
    assert threshold(scratch, monetary, percent) == monetary[percent * (customers - 1) // 100]


def threshold(warehouse: Warehouse, monetary: list[Decimal], percent: int) -> Fraction | None:
    """High M by the SQL, for customers of one week who spent the given amounts."""
    values = {"monetary": monetary, "week": WEEK}
    people = """
        select
            $week::date as week, $week::date + 7 as as_of, row_number() over ()::varchar as customer_id,
            7 as recency_days, 1 as frequency, m as monetary, $week::timestamp as first_order_at,
            $week::timestamp as last_order_at, null as last_return_at
        from (select unnest($monetary::decimal(18, 4)[]) as m)
    """
    params = {
        "frequency_high": 3,
        "monetary_high_amount": None,
        "monetary_high_quantile": Decimal(percent) / 100,
        "dormant_after_days": 90,
        "lapsing_after_days": 60,
    }
    with warehouse.transaction() as session:
        session.replace_weeks(CUSTOMER_RFM, [WEEK], people, values)
        session.replace_weeks(SEGMENT_THRESHOLDS, [WEEK], sql_of(SEGMENT_THRESHOLDS), params)
        return exact(session.value("select monetary_high from segment_thresholds"))


def line(order_id: str, day: datetime, price: str, **others: Any) -> plain.Line:
    """One piece of B2, sold to customer c unless said otherwise."""
    columns: dict[str, Any] = {"customer_id": "c", "sku": "B2"} | others
    return plain.Line(
        order_id=order_id,
        line_no=1,
        ordered_at=day,
        line_type="sale",
        product_name="台灯",
        quantity=Decimal(1),
        unit_price=Decimal(price),
        list_price=None,
        amount=Decimal(price),
        **columns,
    )


@pytest.mark.parametrize(
    ("flag", "churn_class"),
    [(None, "C"), (False, "C"), (True, "B")],
    ids=["unknown", "full price", "clearance"],
)
def test_where_no_price_of_the_window_is_known_none_is_low(
    tmp_path: Path, flag: bool | None, churn_class: str
) -> None:
    rules = plain.Rules(first_week=WEEK, monetary_high=Decimal(1000), product_window_days=14)
    lines = [line("1", datetime(2023, 9, 1), "0.50", is_clearance=flag)]
    (churner,) = table_rows(diagnosed(tmp_path, lines, rules, [WEEK]), "silent_churners")
    assert (churner["churn_class"], churner["favourite_sku"]) == (churn_class, "B2")


@pytest.mark.parametrize(
    ("spent", "segment"), [("99.99", "developing"), ("100.00", "rising_vip"), ("100.01", "rising_vip")]
)
def test_high_m_may_begin_at_an_amount(tmp_path: Path, spent: str, segment: str) -> None:
    rules = plain.Rules(first_week=WEEK, monetary_high=Decimal("100.00"))
    warehouse = diagnosed(tmp_path, [line("1", datetime(2024, 1, 3), spent)], rules, [WEEK])
    assert [row["segment"] for row in table_rows(warehouse, "customer_segments")] == [segment]
    (threshold_row,) = table_rows(warehouse, "segment_thresholds")
    assert threshold_row["monetary_high"] == 100
    assert threshold_row["monetary_high_quantile"] is None
