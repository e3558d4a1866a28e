"""The dormancy curve against a plain reading of it, and when there is nothing to recommend."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from rfm_pipeline.review.models.dormancy import advise, draw_curve, lengths, write_dormancy_curve
from rfm_pipeline.review.schemas import ORDER_BANDS
from rfm_pipeline.review.statistics import wilson
from rfm_pipeline_tests import reference_model as plain
from rfm_pipeline_tests.helpers import ingest, shop_of, small_warehouse, table_rows
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.random_shops import FIRST_WEEK, shops, to_standard_csv
from rfm_pipeline_tests.reference_model import Line, Rules

HORIZON = timedelta(days=90)


def week(number: int) -> date:
    return FIRST_WEEK + timedelta(weeks=number)


# --- the definition, read in plain Python ---------------------------------------------------------


def plain_point(lines: Sequence[Line], rules: Rules, day: date, band: str, days: int) -> tuple[int, int]:
    """(silences that lasted so many days and are answered, those of them that ended within 90 days more)."""
    as_of = plain.as_of_date(day)
    lasted = ended = 0
    for orders in plain.paid_orders(lines).values():
        times = sorted(order.ordered_at for order in orders)
        for number, began in enumerate(times):
            placed = number + 1
            # orders of one week are one visit, whose silence begins with its last
            if placed < len(times) and plain.week_of(times[placed]) == plain.week_of(began):
                continue
            in_band = (
                placed < rules.frequency_high
                if band == "low_f"
                else band == ("3+" if placed >= 3 else str(placed))
            )
            silent_on = began.date() + timedelta(days=days)
            if not in_band or silent_on + HORIZON > as_of:
                continue
            following = times[placed].date() if placed < len(times) else None
            if following is not None and following < silent_on:
                continue
            lasted += 1
            ended += following is not None and following < silent_on + HORIZON
    return lasted, ended


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.too_slow])
@given(shops(max_orders=40, min_orders=10), st.sampled_from([2, 3, 4]))
def test_the_curve_is_what_the_definition_says(lines: list[Line], frequency_high: int) -> None:
    rules = Rules(
        first_week=FIRST_WEEK, frequency_high=frequency_high, dormant_after_days=30, lapsing_after_days=20
    )
    weeks = [week(number) for number in (13, 20, 31)]
    with TemporaryDirectory() as folder:
        shop = shop_of(Path(folder), rules)
        to_standard_csv(lines, shop.orders_dir / "orders.csv")
        warehouse = small_warehouse(shop)
        ingest(warehouse, shop)
        write_dormancy_curve(warehouse, shop, weeks)
        rows = table_rows(warehouse, "dormancy_curve")
    assert len(rows) == len(weeks) * len(ORDER_BANDS) * len(lengths(30))
    for row in rows:
        if row["silent_days"] in (7, 14, 30, 49, 91, 119):
            expected = plain_point(lines, rules, row["week"], row["order_band"], row["silent_days"])
            assert (row["silences"], row["came_back"]) == expected, row


def silences(*rows: tuple[str, bool, date, int | None, int]) -> pl.DataFrame:
    names = ["order_band", "is_low_f", "began_on", "days", "silences"]
    return pl.DataFrame(list(rows), schema=names, orient="row", schema_overrides={"days": pl.Int64})


def point(frame: pl.DataFrame, day: date, days: int, band: str = "1") -> dict[str, Any]:
    [row] = [row for row in draw_curve(frame, [day], [days]) if row["order_band"] == band]
    return row


BEGAN = date(2023, 9, 1)
MUCH_LATER = week(100)


@pytest.mark.parametrize(
    ("ended_after", "counted"),
    [(27, (0, 0)), (28, (40, 40)), (117, (40, 40)), (118, (40, 0)), (None, (40, 0))],
)
def test_a_silence_counts_from_its_length_on_and_its_end_for_ninety_days(
    ended_after: int | None, counted: tuple[int, int]
) -> None:
    row = point(silences(("1", True, BEGAN, ended_after, 40)), MUCH_LATER, 28)
    assert (row["silences"], row["came_back"]) == counted


@pytest.mark.parametrize(("later", "silences_known"), [(0, 40), (1, 0)])
def test_a_silence_counts_once_its_ninety_days_have_passed(later: int, silences_known: int) -> None:
    """As of Monday 8 January 2024: 28 days of silence and 90 more reach back to 12 September."""
    began = date(2024, 1, 8) - timedelta(days=28 + 90) + timedelta(days=later)
    row = point(silences(("1", True, began, None, 40)), week(0), 28)
    assert (row["silences"], row["status"]) == (silences_known, "too_short" if later else "known")


@pytest.mark.parametrize(("count", "status"), [(29, "too_few"), (30, "known")])
def test_fewer_than_thirty_silences_make_no_point(count: int, status: str) -> None:
    row = point(silences(("1", True, BEGAN, 60, count)), MUCH_LATER, 28)
    assert row["status"] == status
    assert (row.get("share_back") is None) is (status == "too_few")


def test_a_point_has_wilsons_interval() -> None:
    frame = silences(("2", True, BEGAN, 60, 12), ("2", True, BEGAN, None, 48))
    row = point(frame, MUCH_LATER, 28, "2")
    share = wilson(12, 60)
    assert (row["share_back"], row["share_back_low"], row["share_back_high"]) == (0.2, share.low, share.high)


def test_nobody_with_three_orders_is_said_and_not_computed() -> None:
    row = point(silences(("1", True, BEGAN, 60, 400)), MUCH_LATER, 28, "3+")
    assert (row["status"], row["silences"], row.get("share_back")) == ("nobody", 0, None)


def test_customers_who_came_later_are_nobody_yet() -> None:
    assert point(silences(("1", True, BEGAN, 60, 400)), date(2023, 8, 21), 28)["status"] == "nobody"
    assert point(silences(("1", True, BEGAN, 60, 400)), date(2023, 8, 28), 28)["status"] == "too_short"


# --- the advice -----------------------------------------------------------------------------------


def points(*shares: float, silences: int = 500, status: str = "known") -> list[dict[str, Any]]:
    return [
        {"silent_days": 7 * number, "share_back": share, "silences": silences, "status": status}
        for number, share in enumerate(shares, start=1)
    ]


def test_recommended_is_where_the_share_has_fallen_to_half_for_good() -> None:
    found = advise(points(0.4, 0.3, 0.2, 0.21, 0.2, 0.1), dormant=14, dormant_share=0.5)
    assert (found["status"], found["recommended_days"]) == ("recommended", 35)
    assert (found["share_back_at_recommended"], found["share_back_at_threshold"]) == (0.2, 0.3)
    assert "from 35 days on at most 50% of that" in found["reason"]


@pytest.mark.parametrize(("share", "days"), [(0.2, 14), (0.2001, None)])
def test_at_most_the_share_is_meant(share: float, days: int | None) -> None:
    assert advise(points(0.4, share), dormant=14, dormant_share=0.5).get("recommended_days") == days


@pytest.mark.parametrize(("count", "status"), [(99, "too_few"), (100, "recommended")])
def test_a_recommendation_needs_a_hundred_silences(count: int, status: str) -> None:
    assert advise(points(0.4, 0.1, silences=count), dormant=14, dormant_share=0.5)["status"] == status


def test_a_share_that_never_falls_recommends_nothing() -> None:
    found = advise(points(0.4, 0.38, 0.36), dormant=14, dormant_share=0.5)
    assert (found["status"], found.get("recommended_days")) == ("no_length_found", None)
    assert "after 21 days, as far as is known, still 36.0%" in found["reason"]


def test_a_shop_to_which_nobody_comes_back_recommends_nothing() -> None:
    assert advise(points(0.0, 0.0, 0.0), dormant=14, dormant_share=0.5)["status"] == "no_length_found"


def test_a_history_too_short_is_said() -> None:
    found = advise(points(0.4, 0.1, silences=0, status="too_short"), dormant=14, dormant_share=0.5)
    assert (found["status"], found.get("recommended_days")) == ("too_short", None)


def test_past_weeks_know_nothing_of_what_came_later(tmp_path: Path) -> None:
    rules = Rules(first_week=FIRST_WEEK)
    start = datetime(2024, 1, 3, 9)
    lines = [
        Line(
            f"o{number}-{visit}",
            1,
            f"c{number}",
            start + timedelta(days=visit * (20 + number)),
            "sale",
            "A1",
            "茶杯",
            Decimal(1),
            Decimal(5),
            None,
            Decimal(5),
        )
        for number in range(60)
        for visit in range(5)
    ]
    tables = ("dormancy_curve", "dormancy_advice")
    found = []
    as_of = plain.as_of_moment(week(30))
    for name, known in (("all", lines), ("then", [line for line in lines if line.ordered_at < as_of])):
        (tmp_path / name).mkdir()
        shop = shop_of(tmp_path / name, rules)
        to_standard_csv(known, shop.orders_dir / "orders.csv")
        warehouse = small_warehouse(shop)
        ingest(warehouse, shop)
        write_dormancy_curve(warehouse, shop, [week(30)])
        found.append([table_rows(warehouse, table) for table in tables])
    assert found[0] == found[1]
    assert any(row["status"] == "known" for row in found[0][0])
