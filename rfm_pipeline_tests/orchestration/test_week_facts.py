"""What the week plan is made from, as it is read from a real warehouse."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rfm_pipeline.diagnose.pipeline import note_activity_checked
from rfm_pipeline.ingest.files.landing import landing_states
from rfm_pipeline.ingest.loading import note_checked
from rfm_pipeline.orchestration.week_facts import (
    ALL_STAGES,
    are_read,
    is_ingest_unfinished,
    read_facts,
)
from rfm_pipeline.orchestration.week_plan import Facts
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.storage import fingerprints
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import diagnose, ingest, make_shop, small_warehouse, write_export

FIRST = date(2024, 1, 1)
GRID = weeks_between(FIRST, date(2024, 1, 22))
NOW = datetime(2024, 1, 30, 12)
RULES = {
    "frequency_high": 3,
    "monetary_high": {"quantile": "0.75"},
    "dormant_after_days": 90,
    "lapsing_after_days": 60,
}


@pytest.fixture(autouse=True)
def _settled_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "FRESH_SECONDS", 0.0)


def shop_with(home: Path, rules: Mapping[str, Any] = RULES) -> Shop:
    return make_shop(home, shop={"first_week": FIRST}, rules=rules)


def order(number: int, day: date) -> str:
    return f"o{number},c{number % 5},{day} 10:00:00,S1,1,{10 + number}"


def four_weeks(home: Path) -> Shop:
    """An order a day for four weeks."""
    made = shop_with(home)
    write_export(made, "orders.csv", *(order(number, FIRST + timedelta(days=number)) for number in range(28)))
    return made


def made_up_to_the_third(shop: Shop) -> Warehouse:
    """Ingested to the end, its first three weeks diagnosed."""
    warehouse = small_warehouse(shop)
    ingest_to_the_end(warehouse, shop)
    diagnose(warehouse, shop, GRID[:3])
    return warehouse


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return four_weeks(tmp_path / "home")


@pytest.fixture
def warehouse(shop: Shop) -> Warehouse:
    return made_up_to_the_third(shop)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The same, for tests that only read."""
    return made_up_to_the_third(four_weeks(tmp_path_factory.mktemp("unchanged")))


def ingest_to_the_end(warehouse: Warehouse, shop: Shop) -> None:
    ingest(warehouse, shop)
    note_checked(warehouse)
    note_activity_checked(warehouse)


def facts(warehouse: Warehouse, shop: Shop, now: datetime = NOW) -> Facts:
    with warehouse.glance() as session:
        return read_facts(session, shop, now)


def test_an_empty_warehouse_knows_nothing(shop: Shop) -> None:
    warehouse = small_warehouse(shop)
    with warehouse.transaction():
        """Makes the file."""
    assert facts(warehouse, shop) == Facts(NOW)


def test_there_is_nothing_to_glance_at_before_the_first_ingest(shop: Shop) -> None:
    with pytest.raises(FileNotFoundError), small_warehouse(shop).glance():
        """Never gets here."""


def test_weeks_that_are_diagnosed_and_the_newest_order_are_known(unchanged: Warehouse, shop: Shop) -> None:
    known = facts(unchanged, shop)
    assert known.made == set(GRID[:3])
    assert known.newest_order_at == datetime(2024, 1, 28, 10)
    assert (known.is_single_order, known.corrected, known.complete) == (False, frozenset(), frozenset())


def test_an_order_dated_later_than_now_is_no_newest_order(unchanged: Warehouse, shop: Shop) -> None:
    assert facts(unchanged, shop, datetime(2024, 1, 20)).newest_order_at == datetime(2024, 1, 19, 10)


@pytest.mark.parametrize(("orders", "is_single"), [(1, True), (2, False)])
def test_one_order_is_too_little(tmp_path: Path, orders: int, is_single: bool) -> None:
    shop = shop_with(tmp_path)
    write_export(shop, "orders.csv", *(order(number, FIRST) for number in range(orders)))
    warehouse = small_warehouse(shop)
    ingest_to_the_end(warehouse, shop)
    assert facts(warehouse, shop).is_single_order is is_single


def test_a_correction_is_known_from_its_week_on_and_changes_the_version(
    warehouse: Warehouse, shop: Shop
) -> None:
    before = facts(warehouse, shop).inputs_version
    write_export(shop, "z_corrected.csv", "o8,c3,2024-01-09 10:00:00,S1,1,99")
    ingest_to_the_end(warehouse, shop)
    known = facts(warehouse, shop)
    assert known.corrected == set(GRID[1:3])
    assert known.inputs_version == before + 1


def test_a_week_is_complete_once_every_stage_has_its_snapshot(warehouse: Warehouse, shop: Shop) -> None:
    found = {}
    for left_out in (None, *ALL_STAGES):
        with warehouse.transaction() as session:
            session.execute("delete from snapshots")
            for table in set(ALL_STAGES) - {left_out}:
                values = {"table_name": table, "week": GRID[2]}
                session.execute("insert into snapshots values ($table_name, $week, 0, 1)", values)
        found[left_out] = set(facts(warehouse, shop).complete)
    assert found == {None: {GRID[2]}} | {table: set() for table in ALL_STAGES}


# Settings


@pytest.mark.parametrize(
    ("changed", "is_other"),
    [
        ({}, False),
        ({"frequency_high": 4}, True),
        ({"dormant_after_days": 91}, True),
        ({"lapsing_after_days": 59}, True),
        ({"monetary_high": {"quantile": "0.8"}}, True),
        ({"monetary_high": 100}, True),
        # no threshold: says when a week may be made, not how
        ({"max_order_gap_days": 5}, False),
    ],
)
def test_weeks_made_with_other_thresholds_are_known(
    unchanged: Warehouse, tmp_path: Path, changed: Mapping[str, Any], is_other: bool
) -> None:
    now = shop_with(tmp_path, {**RULES, **changed})
    assert facts(unchanged, now).other_settings == (set(GRID[:3]) if is_other else set())


def test_a_fixed_amount_is_compared_as_an_amount(tmp_path: Path) -> None:
    shop = shop_with(tmp_path, {**RULES, "monetary_high": 100})
    write_export(shop, "orders.csv", *(order(number, FIRST + timedelta(days=6)) for number in range(3)))
    warehouse = small_warehouse(shop)
    ingest_to_the_end(warehouse, shop)
    diagnose(warehouse, shop, GRID[:1])
    found = [
        len(facts(warehouse, shop_with(tmp_path, {**RULES, "monetary_high": monetary_high})).other_settings)
        for monetary_high in (100, "100.00", 101, {"quantile": "0.75"})
    ]
    assert found == [0, 0, 1, 1]


# Orders


def reads(warehouse: Warehouse, shop: Shop) -> bool:
    with warehouse.glance() as session:
        return are_read(session, landing_states(shop.orders_dir))


def _one_more(orders: Path) -> None:
    (orders / "more.csv").write_text("order_id\n", "utf-8")


def _same_bytes_again(orders: Path) -> None:
    path = orders / "orders.csv"
    path.write_bytes(path.read_bytes())


def _renamed(orders: Path) -> None:
    (orders / "orders.csv").rename(orders / "renamed.csv")


def _gone(orders: Path) -> None:
    (orders / "orders.csv").unlink()


def _a_note_beside_them(orders: Path) -> None:
    (orders / "readme.txt.bak").write_text("no export", "utf-8")


@pytest.mark.parametrize(
    ("change", "is_read"),
    [
        (_one_more, False),
        (_same_bytes_again, False),
        (_renamed, False),
        (_gone, False),
        (_a_note_beside_them, True),
    ],
)
def test_any_change_of_the_exports_is_noticed(
    warehouse: Warehouse, shop: Shop, change: Any, is_read: bool
) -> None:
    assert reads(warehouse, shop)
    change(shop.orders_dir)
    assert reads(warehouse, shop) is is_read


def test_an_export_that_was_seen_but_not_loaded_is_still_to_be_read(warehouse: Warehouse, shop: Shop) -> None:
    with warehouse.transaction() as session:
        session.execute("delete from order_batches")
    assert not reads(warehouse, shop)


def test_an_ingest_is_finished_once_both_checks_have_passed(shop: Shop) -> None:
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    found = [is_unfinished(warehouse)]
    for passed in (note_checked, note_activity_checked):
        passed(warehouse)
        found.append(is_unfinished(warehouse))
    assert found == [True, True, False]


def is_unfinished(warehouse: Warehouse) -> bool:
    with warehouse.glance() as session:
        return is_ingest_unfinished(session)


def test_a_glance_cannot_write(warehouse: Warehouse, shop: Shop) -> None:
    with warehouse.glance() as session, pytest.raises(Exception, match="read-only"):
        session.execute("delete from snapshots")
    assert load_shop(shop.home).shop.first_week == FIRST
    assert facts(warehouse, shop).made == set(GRID[:3])
