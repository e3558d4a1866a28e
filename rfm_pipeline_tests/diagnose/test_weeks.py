"""Weeks as the diagnosis treats them: ranges, order, repeats, gaps, coverage, and what makes a week stale."""

import shutil
import tempfile
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from polars.testing import assert_frame_equal

from rfm_pipeline.diagnose.pipeline import (
    require_coverage,
    write_customer_rfm,
    write_customer_segments,
    write_new_silent_churners,
    write_silent_churners,
)
from rfm_pipeline.errors import CoverageError, MissingWeekError
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests import random_shops
from rfm_pipeline_tests.helpers import (
    WEEKLY_TABLES,
    all_weekly_rows,
    diagnose,
    diagnosed,
    ingest,
    make_shop,
    small_warehouse,
    snapshots,
    table_rows,
    write_export,
)
from rfm_pipeline_tests.hypothesis_profiles import examples

FIRST, LAST = date(2023, 12, 25), date(2024, 3, 4)
WEEKS = weeks_between(FIRST, LAST)
HEADER = "order_id,customer_id,ordered_at,sku,quantity,unit_price,refunded_amount,refunded_at"
# silent from 28 days on: anna as of 5 February, bert as of 12 February, cora never (she is refunded)
ORDERS = (
    "o1,anna,2024-01-03 10:00:00,TEA,1,10.00,,",
    "o2,bert,2024-01-10 10:00:00,CUP,1,20.00,,",
    "o3,cora,2024-01-11 10:00:00,CUP,1,20.00,20.00,2024-01-12 09:00:00",
    "o4,,2024-01-20 10:00:00,TEA,2,10.00,,",
    "o5,dora,2024-03-10 10:00:00,POT,1,90.00,,",
)


def make_literal_shop(home: Path) -> Shop:
    rules = {"monetary_high": 1000, "dormant_after_days": 28, "lapsing_after_days": 14}
    return make_shop(home, shop={"first_week": FIRST}, rules=rules)


def make_exported_shop(home: Path) -> Shop:
    shop = make_literal_shop(home)
    write_export(shop, "orders.csv", *ORDERS, header=HEADER)
    return shop


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse file after the orders were loaded; tests get a copy."""
    shop = make_exported_shop(tmp_path_factory.mktemp("loaded"))
    ingest(small_warehouse(shop), shop)
    return shop.warehouse_path


@pytest.fixture(scope="module")
def all_weeks(loaded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse file after every week was diagnosed; tests get a copy."""
    shop = make_exported_shop(tmp_path_factory.mktemp("all_weeks"))
    shutil.copy(loaded, shop.warehouse_path)
    diagnose(small_warehouse(shop), shop, WEEKS)
    return shop.warehouse_path


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_exported_shop(tmp_path)


@pytest.fixture
def warehouse(shop: Shop, loaded: Path) -> Warehouse:
    shutil.copy(loaded, shop.warehouse_path)
    return small_warehouse(shop)


@pytest.fixture
def full(shop: Shop, all_weeks: Path) -> Warehouse:
    """The warehouse with every week diagnosed."""
    shutil.copy(all_weeks, shop.warehouse_path)
    return small_warehouse(shop)


def assert_same_rows(one: Warehouse, other: Warehouse) -> None:
    ours, theirs = all_weekly_rows(one), all_weekly_rows(other)
    for table in WEEKLY_TABLES:
        assert_frame_equal(ours[table], theirs[table])


def new_by_week(warehouse: Warehouse) -> list[tuple[date, str, bool]]:
    rows = table_rows(warehouse, "new_silent_churners")
    return [(row["week"], row["customer_id"], row["is_backlog"]) for row in rows]


# Ranges


def test_each_customer_is_new_in_the_week_the_silence_begins(full: Warehouse) -> None:
    assert new_by_week(full) == [(date(2024, 1, 29), "anna", False), (date(2024, 2, 5), "bert", False)]


def test_one_range_run_makes_what_week_by_week_makes(full: Warehouse, tmp_path: Path) -> None:
    again = make_literal_shop(tmp_path / "again")
    write_export(again, "orders.csv", *ORDERS, header=HEADER)
    one_by_one = small_warehouse(again)
    ingest(one_by_one, again)
    for week in WEEKS:
        diagnose(one_by_one, again, [week])
    assert_same_rows(full, one_by_one)


# too_slow: drawing a shop's lines takes a while, and each example diagnoses a shop twice.
@settings(max_examples=examples(4), suppress_health_check=[HealthCheck.too_slow])
@given(any_shop=random_shops.shops_with_rules(max_orders=10).filter(lambda shop: bool(shop.lines)))
def test_so_it_does_in_any_shop(any_shop: random_shops.Shop) -> None:
    weeks = random_shops.grid(any_shop.lines, any_shop.rules)[-7:]
    rules = replace(any_shop.rules, first_week=weeks[0])
    with tempfile.TemporaryDirectory() as folder:
        in_one_run = diagnosed(Path(folder) / "range", any_shop.lines, rules, weeks)
        one_by_one = diagnosed(Path(folder) / "single", any_shop.lines, rules, weeks[:1])
        shop = load_shop(Path(folder) / "single")
        for week in weeks[1:]:
            diagnose(one_by_one, shop, [week])
        assert_same_rows(in_one_run, one_by_one)


def test_weeks_may_be_made_in_any_order_and_with_gaps_between(full: Warehouse, tmp_path: Path) -> None:
    again = make_literal_shop(tmp_path / "again")
    write_export(again, "orders.csv", *ORDERS, header=HEADER)
    backwards = small_warehouse(again)
    ingest(backwards, again)
    for weeks in (WEEKS[1::2], WEEKS[0::2]):
        write_customer_rfm(backwards, again, weeks[::-1])
        write_customer_segments(backwards, again, weeks[::-1])
        write_silent_churners(backwards, again, weeks[::-1])
    for week in reversed(WEEKS):
        write_new_silent_churners(backwards, again, [week])
    assert_same_rows(full, backwards)


def test_running_twice_changes_nothing(full: Warehouse, shop: Shop) -> None:
    before = all_weekly_rows(full)
    noted = {table: snapshots(full, table) for table in WEEKLY_TABLES}
    ingest(full, shop)
    diagnose(full, shop, WEEKS)
    after = all_weekly_rows(full)
    for table in WEEKLY_TABLES:
        assert_frame_equal(before[table], after[table])
    assert noted == {table: snapshots(full, table) for table in WEEKLY_TABLES}


def test_a_single_week_made_again_leaves_the_others_alone(full: Warehouse, shop: Shop) -> None:
    before = all_weekly_rows(full)
    diagnose(full, shop, [WEEKS[6]])
    after = all_weekly_rows(full)
    for table in WEEKLY_TABLES:
        assert_frame_equal(before[table], after[table])


# The week before, the first week, the empty week


def test_a_missing_week_before_is_named_with_the_command_that_makes_it(
    warehouse: Warehouse, shop: Shop
) -> None:
    for write in (write_customer_rfm, write_customer_segments, write_silent_churners):
        write(warehouse, shop, [*WEEKS[:4], *WEEKS[6:]])
    with pytest.raises(MissingWeekError) as caught:
        write_new_silent_churners(warehouse, shop, [WEEKS[6]])
    assert "silent_churners has no snapshot of week 2024-01-29, which the week after is" in str(caught.value)
    assert f"rfm run --home {shop.home} --weeks 2024-01-29..2024-01-29" in str(caught.value)
    assert warehouse.snapshot_weeks("new_silent_churners") == set()


def test_the_command_spans_all_weeks_that_are_missing(warehouse: Warehouse, shop: Shop) -> None:
    for write in (write_customer_rfm, write_customer_segments, write_silent_churners):
        write(warehouse, shop, [WEEKS[3], *WEEKS[6:]])
    with pytest.raises(MissingWeekError, match=r"--weeks 2024-01-08\.\.2024-01-29"):
        write_new_silent_churners(warehouse, shop, [WEEKS[3], *WEEKS[6:]])


def test_no_table_is_made_from_one_that_was_not_made(warehouse: Warehouse, shop: Shop) -> None:
    # an empty table would pass for a week without silent customers, and make all of them new a week later
    week = [WEEKS[6]]
    with pytest.raises(
        MissingWeekError,
        match=r"customer_rfm has no snapshot of week 2024-02-05, from which its customer_segments are made\.",
    ):
        write_customer_segments(warehouse, shop, week)
    write_customer_rfm(warehouse, shop, week)
    with pytest.raises(
        MissingWeekError, match=r"customer_segments has no .*, from which its silent_churners are made\."
    ):
        write_silent_churners(warehouse, shop, week)
    diagnose(warehouse, shop, WEEKS[:6])
    with pytest.raises(MissingWeekError, match=r"silent_churners .* from which its newly silent are taken"):
        write_new_silent_churners(warehouse, shop, week)
    assert WEEKS[6] not in warehouse.snapshot_weeks("new_silent_churners")


def test_a_week_before_without_a_silent_customer_is_no_missing_week(warehouse: Warehouse, shop: Shop) -> None:
    diagnose(warehouse, shop, WEEKS[:5])
    assert snapshots(warehouse, "silent_churners") == dict.fromkeys(WEEKS[:5], 0)
    diagnose(warehouse, shop, [WEEKS[5]])
    assert new_by_week(warehouse) == [(date(2024, 1, 29), "anna", False)]


def test_all_who_are_silent_in_the_first_week_of_the_grid_are_the_backlog(tmp_path: Path) -> None:
    rules = {"monetary_high": 1000, "dormant_after_days": 28, "lapsing_after_days": 14}
    late = make_shop(tmp_path, shop={"first_week": date(2024, 2, 5)}, rules=rules)
    write_export(late, "orders.csv", *ORDERS, "o6,emma,2024-01-17,TEA,1,10.00,,", header=HEADER)
    warehouse = small_warehouse(late)
    ingest(warehouse, late)
    diagnose(warehouse, late, weeks_between(date(2024, 2, 5), LAST))
    assert new_by_week(warehouse) == [
        (date(2024, 2, 5), "anna", True),
        (date(2024, 2, 5), "bert", True),
        (date(2024, 2, 12), "emma", False),
    ]


def test_a_customer_who_buys_and_falls_silent_again_is_new_again(tmp_path: Path) -> None:
    shop = make_literal_shop(tmp_path)
    write_export(shop, "orders.csv", *ORDERS, "o6,anna,2024-02-07,TEA,1,10.00,,", header=HEADER)
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    diagnose(warehouse, shop, WEEKS)
    assert [week for week, who, _ in new_by_week(warehouse) if who == "anna"] == [
        date(2024, 1, 29),
        date(2024, 3, 4),
    ]


def test_a_week_without_customers_has_no_rows_but_a_snapshot(full: Warehouse) -> None:
    for table in WEEKLY_TABLES:
        rows = [row for row in table_rows(full, table) if row["week"] == FIRST]
        assert snapshots(full, table)[FIRST] == len(rows)
        assert list(snapshots(full, table)) == WEEKS
        assert len(rows) == (1 if table in ("segment_thresholds", "low_prices") else 0)


def test_thresholds_and_prices_of_an_empty_week_are_unknown(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, shop={"first_week": FIRST})
    write_export(shop, "orders.csv", *ORDERS, header=HEADER)
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    diagnose(warehouse, shop, [FIRST])
    (thresholds,) = table_rows(warehouse, "segment_thresholds")
    assert (thresholds["customers"], thresholds["monetary_high"]) == (0, None)
    (prices,) = table_rows(warehouse, "low_prices")
    assert (prices["product_lines"], prices["low_price"]) == (0, None)


# Coverage


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_orders_may_end_a_few_days_before_the_week_does(shop: Shop, gap: int) -> None:
    newest = datetime(2024, 3, 10, 23, 59, 59) - timedelta(days=gap)
    assert require_coverage(shop, newest, WEEKS) == gap


def test_orders_beyond_the_week_leave_no_gap(shop: Shop) -> None:
    assert require_coverage(shop, datetime(2024, 6, 1), WEEKS) == 0


def test_orders_that_end_four_days_early_stop_the_diagnosis(shop: Shop) -> None:
    with pytest.raises(CoverageError) as caught:
        require_coverage(shop, datetime(2024, 3, 6, 23, 59, 59), WEEKS)
    assert str(caught.value) == (
        "week 2024-03-04 ends on 2024-03-10, but the newest order is of 2024-03-06, 4 days earlier; at most "
        "3 are allowed (rules.max_order_gap_days). Load the missing orders, or diagnose an earlier week."
    )


def test_without_any_order_nothing_is_diagnosed(shop: Shop) -> None:
    with pytest.raises(CoverageError, match="no orders yet"):
        require_coverage(shop, None, WEEKS)


@pytest.mark.parametrize(("last_order", "is_covered"), [("2024-03-07", True), ("2024-03-06", False)])
def test_a_broken_export_writes_no_week(tmp_path: Path, last_order: str, is_covered: bool) -> None:
    shop = make_literal_shop(tmp_path)
    write_export(shop, "orders.csv", *ORDERS[:4], f"o5,dora,{last_order},POT,1,9.00,,", header=HEADER)
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    if is_covered:
        assert write_customer_rfm(warehouse, shop, [LAST]) == {LAST: 4}
    else:
        with pytest.raises(CoverageError):
            write_customer_rfm(warehouse, shop, [LAST])
        assert warehouse.snapshot_weeks("customer_rfm") == set()


def test_an_order_dated_in_the_future_proves_no_coverage(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "typo.csv", "o9,fred,2042-03-10,TEA,1,10.00,,", header=HEADER)
    ingest(warehouse, shop)
    now = datetime(2024, 3, 19, 8)
    assert write_customer_rfm(warehouse, shop, [LAST], now=now)[LAST] == 4
    with pytest.raises(CoverageError, match="newest order is of 2024-03-10"):
        write_customer_rfm(warehouse, shop, [LAST + timedelta(days=7)], now=now)


# Stale weeks


def stale(warehouse: Warehouse) -> set[date]:
    """The stale weeks, which are the same for every weekly table after a full run."""
    with warehouse.transaction() as session:
        (weeks,) = {frozenset(session.stale_weeks(table)) for table in WEEKLY_TABLES}
    return set(weeks)


def reexport(warehouse: Warehouse, shop: Shop, *rows: str) -> None:
    write_export(shop, "orders_again.csv", *rows, header=HEADER)
    ingest(warehouse, shop)


def test_no_week_is_stale_after_a_full_run(full: Warehouse) -> None:
    assert stale(full) == set()


def test_a_late_refund_makes_stale_the_weeks_from_the_refund_on(full: Warehouse, shop: Shop) -> None:
    reexport(full, shop, "o2,bert,2024-01-10 10:00:00,CUP,1,20.00,20.00,2024-02-20 12:00:00")
    assert stale(full) == {week for week in WEEKS if week >= date(2024, 2, 19)}
    diagnose(full, shop, sorted(stale(full)))
    assert stale(full) == set()
    bert = {row["week"]: row["frequency"] for row in rows_of(full, "bert")}
    assert (bert[date(2024, 2, 12)], bert[date(2024, 2, 19)]) == (1, 0)


def rows_of(warehouse: Warehouse, customer_id: str) -> list[dict[str, Any]]:
    return [row for row in table_rows(warehouse, "customer_rfm") if row["customer_id"] == customer_id]


def test_a_corrected_amount_makes_stale_the_weeks_from_the_order_on(full: Warehouse, shop: Shop) -> None:
    reexport(full, shop, "o2,bert,2024-01-10 10:00:00,CUP,1,25.00,,")
    assert stale(full) == {week for week in WEEKS if week >= date(2024, 1, 8)}


def test_an_order_that_moves_back_makes_stale_the_weeks_from_its_new_one_on(
    full: Warehouse, shop: Shop
) -> None:
    reexport(full, shop, "o2,bert,2024-01-02 10:00:00,CUP,1,20.00,,")
    assert stale(full) == {week for week in WEEKS if week >= date(2024, 1, 1)}


def test_a_correction_of_a_refunded_order_reaches_its_refund_too(full: Warehouse, shop: Shop) -> None:
    # 20.00 given back are no full refund of 30.00: the activity of the refund's week changes with the order's
    reexport(full, shop, "o3,cora,2024-01-01 10:00:00,CUP,1,30.00,20.00,2024-01-12 09:00:00")
    assert stale(full) == {week for week in WEEKS if week >= date(2024, 1, 1)}
    diagnose(full, shop, sorted(stale(full)))
    assert {row["frequency"] for row in rows_of(full, "cora")} == {1}


def test_the_same_orders_exported_again_make_nothing_stale(full: Warehouse, shop: Shop) -> None:
    reexport(full, shop, *reversed(ORDERS))
    assert table_rows(full, "order_batches")[-1]["rows_accepted"] == len(ORDERS)
    assert stale(full) == set()


def test_the_orders_of_a_new_week_make_no_older_week_stale(full: Warehouse, shop: Shop) -> None:
    reexport(full, shop, "o6,emma,2024-03-14 10:00:00,TEA,1,10.00,,")
    assert stale(full) == set()
    diagnose(full, shop, [date(2024, 3, 11)])
    assert stale(full) == set()


def test_only_what_was_made_before_the_change_is_stale(full: Warehouse, shop: Shop) -> None:
    reexport(full, shop, "o2,bert,2024-01-10 10:00:00,CUP,1,20.00,20.00,2024-02-20 12:00:00")
    write_customer_rfm(full, shop, [LAST])
    with full.transaction() as session:
        assert LAST not in session.stale_weeks("customer_rfm")
        assert LAST in session.stale_weeks("customer_segments")
        assert session.stale_weeks("no_such_table") == set()


def test_money_is_exact_to_the_fourth_decimal(tmp_path: Path) -> None:
    shop = make_literal_shop(tmp_path)
    header = "order_id,customer_id,ordered_at,sku,quantity,unit_price"
    rows = [f"o{number},anna,2024-01-04,TEA,1,0.1001" for number in range(1000)]
    write_export(shop, "orders.csv", *rows, header=header)
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    write_customer_rfm(warehouse, shop, [date(2024, 1, 1)])
    (row,) = table_rows(warehouse, "customer_rfm")
    assert row["monetary"] == Decimal("100.1000")
