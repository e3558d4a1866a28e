"""The weekly grid: which weeks are closed, which the orders cover, and how weeks are read and named."""

from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from rfm_pipeline import weeks
from rfm_pipeline.errors import RfmError
from rfm_pipeline.orchestration.partitions import weekly_partitions
from rfm_pipeline.shop import Shop
from rfm_pipeline.weeks import (
    as_of,
    name_range,
    newest_closed_week,
    newest_covered_week,
    parse_week,
    parse_weeks,
    ranges,
    week_of,
    weeks_between,
)
from rfm_pipeline_tests.helpers import make_shop

MONDAY = date(2024, 1, 1)


def nth(number: int) -> date:
    return MONDAY + timedelta(days=7 * number)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A grid without an end."""
    return make_shop(tmp_path, shop={"first_week": MONDAY})


@pytest.fixture
def ended(tmp_path: Path) -> Shop:
    """A grid of ten weeks."""
    return make_shop(tmp_path, shop={"first_week": MONDAY, "last_week": nth(9)})


# The grid


@pytest.mark.parametrize(
    ("day", "week"),
    [
        (date(2024, 1, 1), date(2024, 1, 1)),
        (date(2024, 1, 7), date(2024, 1, 1)),
        (date(2024, 1, 8), date(2024, 1, 8)),
        (date(2023, 12, 31), date(2023, 12, 25)),
        (datetime(2024, 1, 7, 23, 59, 59), date(2024, 1, 1)),
        (datetime(2024, 1, 8), date(2024, 1, 8)),
    ],
)
def test_a_day_lies_in_the_week_of_its_monday(day: date, week: date) -> None:
    assert week_of(day) == week
    assert type(week_of(day)) is date


def test_a_week_knows_what_lies_before_the_next_monday() -> None:
    assert as_of(MONDAY) == nth(1)


@pytest.mark.parametrize(("last", "count"), [(nth(0), 1), (nth(2), 3), (nth(-1), 0)])
def test_both_ends_lie_between(last: date, count: int) -> None:
    assert weeks_between(MONDAY, last) == [nth(number) for number in range(count)]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([], []),
        ([3], [(3, 3)]),
        ([0, 1, 2], [(0, 2)]),
        ([2, 0, 1], [(0, 2)]),
        ([0, 2, 3, 5], [(0, 0), (2, 3), (5, 5)]),
    ],
)
def test_weeks_join_into_unbroken_ranges(numbers: list[int], expected: list[tuple[int, int]]) -> None:
    assert ranges({nth(number) for number in numbers}) == [(nth(a), nth(b)) for a, b in expected]
    assert ranges([nth(number) for number in numbers]) == [(nth(a), nth(b)) for a, b in expected]


def test_a_range_is_named_by_its_ends() -> None:
    assert name_range([MONDAY]) == "2024-01-01"
    assert name_range([nth(0), nth(1), nth(2)]) == "2024-01-01..2024-01-15"


# Closed weeks


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        (datetime(2024, 2, 4, 23, 59, 59), date(2024, 1, 22)),
        (datetime(2024, 2, 5, 0, 0, 0), date(2024, 1, 29)),
        (datetime(2024, 2, 7, 12), date(2024, 1, 29)),
    ],
)
def test_a_week_closes_at_monday_midnight(shop: Shop, now: datetime, newest: date) -> None:
    assert newest_closed_week(shop, now) == newest


def test_before_the_first_week_is_over_the_newest_closed_one_lies_before_the_grid(shop: Shop) -> None:
    assert newest_closed_week(shop, datetime(2024, 1, 7, 23, 59, 59)) < MONDAY
    assert newest_closed_week(shop, datetime(2024, 1, 8)) == MONDAY


def test_the_grid_may_end(ended: Shop) -> None:
    assert newest_closed_week(ended, datetime(2024, 1, 8)) == MONDAY
    assert newest_closed_week(ended, datetime(2030, 1, 1)) == nth(9)


@pytest.mark.parametrize(
    ("zone", "utc", "local"),
    [
        ("Asia/Shanghai", "2024-02-04 16:00:00", datetime(2024, 2, 5)),
        ("Europe/London", "2024-03-31 00:59:59", datetime(2024, 3, 31, 0, 59, 59)),
        ("Europe/London", "2024-03-31 01:00:00", datetime(2024, 3, 31, 2)),
        ("Europe/London", "2024-07-07 23:00:00", datetime(2024, 7, 8)),
        ("America/New_York", "2024-11-04 04:59:59", datetime(2024, 11, 3, 23, 59, 59)),
        ("America/New_York", "2024-11-04 05:00:00", datetime(2024, 11, 4)),
    ],
)
def test_now_is_the_shop_s_clock_summer_time_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str, utc: str, local: datetime
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromisoformat(f"{utc}+00:00").astimezone(tz)

    shop = make_shop(tmp_path, shop={"timezone": zone})
    monkeypatch.setattr(weeks, "datetime", Clock)
    now = weeks.shop_now(shop)
    assert (now, now.tzinfo) == (local, None)


def test_now_is_now(shop: Shop) -> None:
    elsewhere = datetime.now(shop.zone).replace(tzinfo=None)
    assert abs(weeks.shop_now(shop) - elsewhere) < timedelta(minutes=1)


# Covered weeks

LATER = datetime(2024, 6, 1)


@pytest.mark.parametrize(
    ("newest_order", "covered"),
    [
        # the week of 22 January ends on Sunday the 28th; three days may be missing
        (datetime(2024, 1, 28, 23, 59, 59), date(2024, 1, 22)),
        (datetime(2024, 1, 25, 0, 0, 0), date(2024, 1, 22)),
        (datetime(2024, 1, 24, 23, 59, 59), date(2024, 1, 15)),
        (datetime(2024, 1, 31, 23, 59, 59), date(2024, 1, 22)),
        (datetime(2024, 2, 1), date(2024, 1, 29)),
    ],
)
def test_orders_cover_a_week_up_to_three_days_before_its_end(
    shop: Shop, newest_order: datetime, covered: date
) -> None:
    assert newest_covered_week(shop, newest_order, LATER) == covered


@pytest.mark.parametrize(("gap", "covered"), [(0, None), (1, MONDAY)])
def test_how_many_days_may_be_missing_is_the_shop_s_decision(
    tmp_path: Path, gap: int, covered: date | None
) -> None:
    shop = make_shop(tmp_path, shop={"first_week": MONDAY}, rules={"max_order_gap_days": gap})
    assert newest_covered_week(shop, datetime(2024, 1, 6, 23, 59), LATER) == covered
    assert newest_covered_week(shop, datetime(2024, 1, 7), LATER) == MONDAY


def test_a_week_that_is_not_over_is_not_covered(shop: Shop) -> None:
    order = datetime(2024, 1, 28, 20)
    assert newest_covered_week(shop, order, datetime(2024, 1, 28, 23, 59, 59)) == date(2024, 1, 15)
    assert newest_covered_week(shop, order, datetime(2024, 1, 29)) == date(2024, 1, 22)


def test_orders_before_the_grid_or_none_at_all_cover_no_week(shop: Shop) -> None:
    assert newest_covered_week(shop, None, LATER) is None
    assert newest_covered_week(shop, datetime(2023, 12, 31), LATER) is None
    assert newest_covered_week(shop, datetime(2024, 1, 3, 23, 59, 59), LATER) is None
    assert newest_covered_week(shop, datetime(2024, 1, 4), LATER) == MONDAY


def test_no_week_after_the_last_of_the_grid_is_covered(ended: Shop) -> None:
    assert newest_covered_week(ended, LATER, LATER) == nth(9)


# Reading weeks


@pytest.mark.parametrize("text", ["2024-01-01", "2024-03-04"])
def test_a_week_is_read_as_its_monday(ended: Shop, text: str) -> None:
    assert parse_week(ended, text) == date.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon", "'soon' is no date; write a week as its Monday, such as 2025-01-06."),
        ("", "'' is no date; write a week as its Monday, such as 2025-01-06."),
        ("2024-13-01", "'2024-13-01' is no date; write a week as its Monday, such as 2025-01-06."),
        ("2024-01-03", "2024-01-03 is a Wednesday; a week is named by its Monday, here 2024-01-01."),
        (
            "2023-12-25",
            "week 2023-12-25 is not on the shop's grid (2024-01-01 to 2024-03-04; see shop.first_week and "
            "shop.last_week in shop.yaml).",
        ),
        (
            "2024-03-11",
            "week 2024-03-11 is not on the shop's grid (2024-01-01 to 2024-03-04; see shop.first_week and "
            "shop.last_week in shop.yaml).",
        ),
    ],
)
def test_what_is_no_week_of_the_grid_is_reported(ended: Shop, text: str, message: str) -> None:
    with pytest.raises(RfmError) as caught:
        parse_week(ended, text)
    assert str(caught.value) == message


def test_a_grid_without_an_end_goes_up_to_now(shop: Shop) -> None:
    assert parse_week(shop, "2024-03-11") == date(2024, 3, 11)
    with pytest.raises(RfmError, match="2024-01-01 to now"):
        parse_week(shop, "2023-12-25")


@pytest.mark.parametrize("text", ["2024-01-01..2024-01-15", " 2024-01-01 .. 2024-01-15 "])
def test_a_range_is_read_with_both_ends(ended: Shop, text: str) -> None:
    assert parse_weeks(ended, text) == [nth(0), nth(1), nth(2)]


def test_a_range_may_be_one_week(ended: Shop) -> None:
    assert parse_weeks(ended, "2024-01-08..2024-01-08") == [nth(1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2024-01-01", "is no range of weeks; write two Mondays"),
        ("2024-01-15..2024-01-01", "ends before it begins"),
        ("2024-01-01..2024-01-16", "is a Tuesday"),
        ("2024-01-01..", "'' is no date"),
        ("..2024-01-01", "'' is no date"),
        ("2024-01-01..2024-01-08..2024-01-15", "is no date"),
        ("2024-01-01..2024-03-11", "is not on the shop's grid"),
    ],
)
def test_what_is_no_range_of_the_grid_is_reported(ended: Shop, text: str, message: str) -> None:
    with pytest.raises(RfmError) as caught:
        parse_weeks(ended, text)
    assert message in str(caught.value)


# Dagster's partitions


def test_partitions_are_the_weeks_of_the_grid(ended: Shop) -> None:
    keys = weekly_partitions(ended).get_partition_keys()
    assert keys == [f"{week}" for week in weeks_between(MONDAY, nth(9))]


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "Europe/London", "America/New_York"])
def test_a_partition_runs_from_monday_to_monday_on_the_shop_s_clock(tmp_path: Path, zone: str) -> None:
    shop = make_shop(tmp_path, shop={"timezone": zone, "first_week": MONDAY, "last_week": date(2024, 12, 30)})
    partitions = weekly_partitions(shop)
    for week in weeks_between(MONDAY, date(2024, 12, 30)):
        window = partitions.time_window_for_partition_key(f"{week}")
        assert window.start.replace(tzinfo=None) == datetime.combine(week, datetime.min.time())
        assert window.end.replace(tzinfo=None) == datetime.combine(as_of(week), datetime.min.time())
        assert window.start.utcoffset() == datetime.combine(week, datetime.min.time(), shop.zone).utcoffset()
