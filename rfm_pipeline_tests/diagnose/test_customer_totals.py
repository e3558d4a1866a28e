"""``customer_totals`` changes how long ``customer_rfm`` takes, and nothing else."""

import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from polars.testing import assert_frame_equal

from rfm_pipeline.diagnose.pipeline import write_customer_rfm
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import WEEK
from rfm_pipeline_tests.helpers import ingest, shop_of, small_warehouse, write_export
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.random_shops import Shop as RandomShop
from rfm_pipeline_tests.random_shops import any_shops, to_standard_csv
from rfm_pipeline_tests.reference_model import Rules

FIRST = date(2026, 1, 5)
RULES = Rules(first_week=FIRST)


def rfm_of(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> pl.DataFrame:
    write_customer_rfm(warehouse, shop, weeks)
    weeks_sql = ", ".join(f"date '{week}'" for week in weeks)
    return warehouse.read(f"select * from customer_rfm where week in ({weeks_sql}) order by all")


def without_totals(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> pl.DataFrame:
    """The weeks' rows by adding up everything."""
    kept = warehouse.read("select * from customer_totals")
    with warehouse.transaction() as session:
        session.execute("delete from customer_totals")
    found = rfm_of(warehouse, shop, weeks)
    with warehouse.transaction() as session, session.frames(kept=kept):
        session.execute("insert into customer_totals by name select * from kept")
    return found


def totals_week(warehouse: Warehouse) -> date | None:
    week = warehouse.read("select max(week) as week, count(distinct week) as n from customer_totals").row(0)
    assert week[1] <= 1
    return week[0]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return shop_of(tmp_path, RULES)


@pytest.fixture
def warehouse(shop: Shop) -> Warehouse:
    return small_warehouse(shop)


def orders(*placed: tuple[str, date, str], batch: str = "o") -> list[str]:
    """Rows of an export: a customer, a day and what was paid."""
    return [
        f"{batch}{number},{customer},{day} 10:00:00,S,1,{amount}"
        for number, (customer, day, amount) in enumerate(placed)
    ]


def a_year(shop: Shop, warehouse: Warehouse) -> None:
    """40 weeks with an order of one of eight customers each."""
    placed = [(f"c{week % 8}", FIRST + week * WEEK, "10") for week in range(40)]
    write_export(shop, "year.csv", *orders(*placed))
    ingest(warehouse, shop)


# too_slow: every example loads a whole shop on disk, and drawing its lines takes a while.
@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.too_slow])
@given(random_shop=any_shops())
def test_the_rfm_is_the_same_with_and_without(random_shop: RandomShop) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = shop_of(Path(folder), random_shop.rules)
        to_standard_csv(random_shop.lines, shop.orders_dir / "orders.csv")
        warehouse = small_warehouse(shop)
        ingest(warehouse, shop)
        up_to = totals_week(warehouse)
        asked = {random_shop.weeks[0], random_shop.weeks[-1]}
        if up_to is not None:
            asked |= {week for week in (up_to - WEEK, up_to, up_to + WEEK) if week >= shop.shop.first_week}
        for weeks in ([week] for week in sorted(asked)):
            assert_frame_equal(rfm_of(warehouse, shop, weeks), without_totals(warehouse, shop, weeks))
        span = [week for week in random_shop.weeks if up_to is None or week >= up_to] or random_shop.weeks
        for weeks in (span, random_shop.weeks):
            assert_frame_equal(rfm_of(warehouse, shop, weeks), without_totals(warehouse, shop, weeks))


def test_the_totals_hold_most_of_the_past_and_not_the_newest(shop: Shop, warehouse: Warehouse) -> None:
    a_year(shop, warehouse)
    assert totals_week(warehouse) == FIRST + 34 * WEEK  # 35 of 40 rows
    assert warehouse.read("select sum(frequency) as n from customer_totals")["n"][0] == 35


def test_one_week_of_activity_has_no_totals(shop: Shop, warehouse: Warehouse) -> None:
    write_export(shop, "one.csv", *orders(("c1", FIRST, "10")))
    ingest(warehouse, shop)
    assert totals_week(warehouse) is None
    assert rfm_of(warehouse, shop, [FIRST])["frequency"].to_list() == [1]


def test_orders_without_a_customer_have_no_totals(shop: Shop, warehouse: Warehouse) -> None:
    write_export(shop, "cash.csv", *orders(("", FIRST, "10"), ("", FIRST + WEEK, "20")))
    ingest(warehouse, shop)
    assert warehouse.read("select count(*) as n from order_lines")["n"][0] == 2
    assert totals_week(warehouse) is None
    assert rfm_of(warehouse, shop, [FIRST + WEEK]).is_empty()


def test_a_later_week_leaves_the_totals_as_they_are(shop: Shop, warehouse: Warehouse) -> None:
    a_year(shop, warehouse)
    # what isn't made again stays, even if it is wrong: so the newest week begins with it
    with warehouse.transaction() as session:
        session.execute("update customer_totals set monetary = monetary + 1000 where customer_id = 'c1'")
    write_export(shop, "week.csv", *orders(("c1", FIRST + 40 * WEEK, "1"), batch="p"))
    ingest(warehouse, shop)
    assert totals_week(warehouse) == FIRST + 34 * WEEK
    weeks = [FIRST + 40 * WEEK]
    of_c1 = rfm_of(warehouse, shop, weeks).filter(pl.col("customer_id") == "c1")["monetary"][0]
    assert of_c1 == 1051
    assert without_totals(warehouse, shop, weeks).filter(pl.col("customer_id") == "c1")["monetary"][0] == 51


@pytest.mark.parametrize("weeks_later", [3, 33])
def test_a_change_of_a_week_that_is_in_them_makes_them_again(
    shop: Shop, warehouse: Warehouse, weeks_later: int
) -> None:
    a_year(shop, warehouse)
    write_export(shop, "late.csv", *orders(("c1", FIRST + weeks_later * WEEK, "7"), batch="p"))
    ingest(warehouse, shop)
    found = warehouse.read("select monetary from customer_totals where customer_id = 'c1'")["monetary"][0]
    assert found == 57
    newest = [FIRST + 39 * WEEK]
    assert_frame_equal(rfm_of(warehouse, shop, newest), without_totals(warehouse, shop, newest))


def test_when_much_happened_since_they_move_on(shop: Shop, warehouse: Warehouse) -> None:
    a_year(shop, warehouse)
    # 35 of 46 rows are more than three quarters, 35 of 47 are not
    more = [(f"c{number}", FIRST + (40 + number) * WEEK, "1") for number in range(6)]
    write_export(shop, "more.csv", *orders(*more, batch="p"))
    ingest(warehouse, shop)
    assert totals_week(warehouse) == FIRST + 34 * WEEK
    write_export(shop, "one.csv", *orders(("c7", FIRST + 46 * WEEK, "1"), batch="q"))
    ingest(warehouse, shop)
    assert totals_week(warehouse) == FIRST + 40 * WEEK  # 41 of 47


def test_a_person_forgotten_in_their_last_week_makes_none_of_them_again(
    shop: Shop, warehouse: Warehouse
) -> None:
    a_year(shop, warehouse)
    with warehouse.transaction() as session:
        # c2 alone bought in the week that the totals end with
        for table in ("customer_totals", "customer_activity"):
            session.execute(f"delete from {table} where customer_id = 'c2'")
    write_export(shop, "week.csv", *orders(("c1", FIRST + 40 * WEEK, "1"), batch="p"))
    ingest(warehouse, shop)
    assert totals_week(warehouse) == FIRST + 34 * WEEK
    newest = [FIRST + 40 * WEEK]
    found = rfm_of(warehouse, shop, newest)
    assert "c2" not in found["customer_id"].to_list()
    assert_frame_equal(found, without_totals(warehouse, shop, newest))


def test_who_returned_before_they_ever_bought_appears_with_the_first_order_and_keeps_the_return(
    shop: Shop, warehouse: Warehouse
) -> None:
    a_year(shop, warehouse)
    back = f"r1,x,{FIRST + WEEK} 10:00:00,S,-1,3"
    first = f"r2,x,{FIRST + 39 * WEEK} 10:00:00,S,1,10"
    write_export(shop, "returns.csv", back, first)
    ingest(warehouse, shop)
    before, after = (
        rfm_of(warehouse, shop, [FIRST + weeks * WEEK]).filter(pl.col("customer_id") == "x")
        for weeks in (38, 39)
    )
    assert before.is_empty()
    [row] = after.to_dicts()
    assert (row["frequency"], row["monetary"], row["last_return_at"].date()) == (1, 7, FIRST + WEEK)


def test_a_warehouse_of_before_the_totals_adds_up_everything(shop: Shop, warehouse: Warehouse) -> None:
    a_year(shop, warehouse)
    with warehouse.transaction() as session:
        session.execute("drop table customer_totals")
    newest = rfm_of(warehouse, shop, [FIRST + 39 * WEEK])
    assert newest["frequency"].sum() == 40
