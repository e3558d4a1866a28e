"""Exports in the landing folder becoming order lines: each file once, each order in its latest form."""

import gzip
import tempfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

import rfm_pipeline.ingest.loading as loading
import rfm_pipeline.warehouse.duckdb as duckdb_warehouse
from rfm_pipeline.errors import OrderFileError, ShopFileError, ValidationError
from rfm_pipeline.ingest.loading import LoadReport, load_new_files, read_as, update_order_lines
from rfm_pipeline.ingest.presets import load_preset
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline_tests.helpers import HEADER, make_shop, small_warehouse, write_export
from rfm_pipeline_tests.hypothesis_profiles import examples

O1 = "o1,anna,2024-01-03 10:00:00,TEA,1,10.00"
O2 = "o2,bert,2024-01-10 10:00:00,CUP,1,20.00"
O3 = "o3,cora,2024-01-17 10:00:00,POT,1,30.00"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path)


@pytest.fixture
def warehouse(shop: Shop) -> Warehouse:
    return small_warehouse(shop)


def run(warehouse: Warehouse, shop: Shop) -> LoadReport:
    report = load_new_files(warehouse, shop)
    update_order_lines(warehouse, shop)
    return report


def amounts(warehouse: Warehouse) -> dict[str, Decimal]:
    """The current truth, as order to amount."""
    rows = warehouse.read("select order_id, sum(amount) from order_lines group by all order by all")
    return dict(rows.iter_rows())


def amount_of(**orders: int) -> dict[str, Decimal]:
    return {order_id: Decimal(amount) for order_id, amount in orders.items()}


def loaded_names(report: LoadReport) -> list[str]:
    return [batch["file_name"] for batch in report.loaded]


def file_names(warehouse: Warehouse) -> list[str]:
    return warehouse.read("select file_name from order_batches order by 1")["file_name"].to_list()


def touched_weeks(warehouse: Warehouse) -> set[date]:
    return set(warehouse.read("select distinct week from touched_weeks")["week"])


# Every file once


def test_an_unchanged_file_is_not_read_again(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv", O1, O2)
    assert loaded_names(run(warehouse, shop)) == ["a.csv"]
    again = run(warehouse, shop)
    assert (again.loaded, again.unchanged) == ([], 1)
    assert amounts(warehouse) == amount_of(o1=10, o2=20)


def test_neither_is_a_copy_nor_a_renamed_file(warehouse: Warehouse, shop: Shop) -> None:
    path = write_export(shop, "a.csv", O1)
    run(warehouse, shop)
    write_export(shop, "copy of a.csv", O1)
    assert run(warehouse, shop).unchanged == 2
    path.unlink()
    (shop.orders_dir / "copy of a.csv").rename(shop.orders_dir / "renamed.csv")
    again = run(warehouse, shop)
    assert (again.loaded, again.unchanged) == ([], 1)
    assert amounts(warehouse) == amount_of(o1=10)


def test_two_copies_that_land_together_are_read_once(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv", O1)
    write_export(shop, "b.csv", O1)
    report = run(warehouse, shop)
    assert (loaded_names(report), report.unchanged) == (["a.csv"], 1)


def test_exports_lie_in_folders_too_and_other_files_are_named(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "2024/01/a.csv", O1)
    (shop.orders_dir / "notes.docx").write_bytes(b"x")
    (shop.orders_dir / ".hidden.csv").write_text("x", "utf-8")
    report = run(warehouse, shop)
    assert (loaded_names(report), report.ignored) == (["2024/01/a.csv"], ["notes.docx"])


def test_an_empty_landing_folder_is_an_error_only_before_the_first_load(
    warehouse: Warehouse, shop: Shop
) -> None:
    with pytest.raises(OrderFileError, match="holds no order export"):
        run(warehouse, shop)
    path = write_export(shop, "a.csv", O1)
    run(warehouse, shop)
    path.unlink()
    assert run(warehouse, shop) == LoadReport()
    assert amounts(warehouse) == amount_of(o1=10)


# A changed file replaces its former rows


def test_a_changed_file_replaces_its_former_rows(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv", O1, O2, "bad,anna,soon,TEA,1,1.00")
    run(warehouse, shop)
    write_export(shop, "a.csv", O1.replace("10.00", "11.00"), O3)
    assert loaded_names(run(warehouse, shop)) == ["a.csv"]
    assert amounts(warehouse) == amount_of(o1=11, o3=30)
    assert file_names(warehouse) == ["a.csv"]
    assert warehouse.read("select * from rejected_rows").is_empty()


def test_an_order_gone_from_a_changed_file_stays_if_another_file_holds_it(
    warehouse: Warehouse, shop: Shop
) -> None:
    write_export(shop, "a.csv", O1, O2)
    run(warehouse, shop)
    write_export(shop, "b.csv", O2.replace("20.00", "25.00"), O3)
    run(warehouse, shop)
    assert amounts(warehouse) == amount_of(o1=10, o2=25, o3=30)
    write_export(shop, "b.csv", O3)
    run(warehouse, shop)
    assert amounts(warehouse) == amount_of(o1=10, o2=20, o3=30)


def test_a_file_that_returns_to_a_former_content_is_read_again(warehouse: Warehouse, shop: Shop) -> None:
    for price in ("10.00", "11.00", "10.00"):
        write_export(shop, "a.csv", O1.replace("10.00", price))
        assert loaded_names(run(warehouse, shop)) == ["a.csv"]
    assert amounts(warehouse) == amount_of(o1=10)


def test_a_file_renamed_to_make_room_for_a_new_one_keeps_its_rows(warehouse: Warehouse, shop: Shop) -> None:
    path = write_export(shop, "orders.csv", O1, O2, "bad,anna,soon,TEA,1,1.00")
    run(warehouse, shop)
    path.rename(shop.orders_dir / "orders-1.csv")
    write_export(shop, "orders.csv", O2.replace("20.00", "22.00"), O3)
    assert loaded_names(run(warehouse, shop)) == ["orders.csv"]
    assert amounts(warehouse) == amount_of(o1=10, o2=22, o3=30)
    assert file_names(warehouse) == ["orders-1.csv", "orders.csv"]
    rejected = warehouse.read("select file_name from rejected_rows")
    assert rejected["file_name"].to_list() == ["orders-1.csv"]
    assert run(warehouse, shop).loaded == []
    assert amounts(warehouse) == amount_of(o1=10, o2=22, o3=30)


def test_files_that_swap_their_names_keep_their_rows(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv", O1)
    write_export(shop, "b.csv", O2)
    run(warehouse, shop)
    write_export(shop, "a.csv", O2)
    write_export(shop, "b.csv", O1)
    assert run(warehouse, shop).loaded == []
    assert amounts(warehouse) == amount_of(o1=10, o2=20)
    write_export(shop, "a.csv", O3)
    run(warehouse, shop)
    assert amounts(warehouse) == amount_of(o1=10, o3=30)


@pytest.mark.parametrize("copy", ["a copy.csv", "z copy.csv"])
def test_a_file_overwritten_by_a_copy_of_a_new_one_loses_its_former_rows(
    warehouse: Warehouse, shop: Shop, copy: str
) -> None:
    write_export(shop, "orders.csv", O1)
    run(warehouse, shop)
    write_export(shop, "orders.csv", O2)
    write_export(shop, copy, O2)
    run(warehouse, shop)
    assert amounts(warehouse) == amount_of(o2=20)
    assert run(warehouse, shop).loaded == []


def test_a_file_overwritten_by_a_copy_of_a_known_one_loses_its_former_rows(
    warehouse: Warehouse, shop: Shop
) -> None:
    write_export(shop, "a.csv", O1)
    write_export(shop, "b.csv", O2)
    run(warehouse, shop)
    write_export(shop, "a.csv", O2)
    assert run(warehouse, shop).loaded == []
    assert amounts(warehouse) == amount_of(o2=20)


# The unit of correction is the order


def test_a_later_file_replaces_all_lines_of_the_orders_it_holds(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv", O1, "o1,anna,2024-01-03 10:00:00,CUP,1,5.00", O2)
    run(warehouse, shop)
    assert amounts(warehouse) == amount_of(o1=15, o2=20)
    write_export(shop, "b.csv", "o1,anna,2024-01-03 10:00:00,CUP,1,6.00")
    run(warehouse, shop)
    assert amounts(warehouse) == amount_of(o1=6, o2=20)


def test_within_one_run_the_later_name_is_the_later_export(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "2024-02.csv", O1.replace("10.00", "12.00"), O2)
    write_export(shop, "2024-01.csv", O1, O2)
    assert loaded_names(run(warehouse, shop)) == ["2024-01.csv", "2024-02.csv"]
    assert amounts(warehouse) == amount_of(o1=12, o2=20)


def test_an_order_that_moves_to_another_week_leaves_the_old_one(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv", O1, O2)
    run(warehouse, shop)
    with warehouse.transaction() as session:
        session.execute("delete from touched_weeks")
    write_export(shop, "b.csv", O1.replace("2024-01-03", "2024-01-24"))
    run(warehouse, shop)
    weeks = warehouse.read("select order_id, week from order_lines order by 1")
    assert weeks.rows() == [("o1", date(2024, 1, 22)), ("o2", date(2024, 1, 8))]
    assert touched_weeks(warehouse) == {date(2024, 1, 1), date(2024, 1, 22)}


def test_an_order_happens_in_one_week_that_of_its_earliest_line(warehouse: Warehouse, shop: Shop) -> None:
    write_export(
        shop, "a.csv", "o1,anna,2024-01-08 00:00:01,TEA,1,1.00", "o1,anna,2024-01-07 23:59:59,CUP,1,1.00"
    )
    run(warehouse, shop)
    times = warehouse.read("select distinct order_at, week from order_lines")
    assert times.rows() == [(datetime(2024, 1, 7, 23, 59, 59), date(2024, 1, 1))]


def test_a_refund_without_a_time_counts_as_of_its_order(warehouse: Warehouse, shop: Shop) -> None:
    header = f"{HEADER},refunded_amount,refunded_at"
    write_export(shop, "a.csv", f"{O1},5.00,", f"{O2},5.00,2024-02-01", f"{O3},0,2024-02-01", header=header)
    run(warehouse, shop)
    refunds = warehouse.read("select refund_at, refund_week from order_lines order by order_id")
    assert refunds.rows() == [
        (datetime(2024, 1, 3, 10), date(2024, 1, 1)),
        (datetime(2024, 2, 1), date(2024, 1, 29)),
        (None, None),
    ]


def test_identical_lines_of_a_file_are_kept_and_counted(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv", O1, O2, O1, O1)
    (batch,) = run(warehouse, shop).loaded
    assert (batch["rows_accepted"], batch["rows_identical"], batch["orders"]) == (4, 2, 2)
    assert amounts(warehouse) == amount_of(o1=30, o2=20)


def test_a_line_without_a_customer_is_kept(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv", O1.replace("anna", ""))
    run(warehouse, shop)
    lines = warehouse.read("select customer_id, is_product from order_lines")
    assert lines.rows() == [(None, True)]


# Counts


def test_a_batch_notes_what_became_of_its_rows(warehouse: Warehouse, shop: Shop) -> None:
    header = f"{HEADER},order_status"
    write_export(
        shop,
        "a.csv",
        f"{O1},paid",
        f"{O2},closed",
        f"{O3},unpaid",
        f"{O3},cancelled",
        "o4,dora,2024-01-18,TEA,0,1.00,",
        header=header,
    )
    (batch,) = run(warehouse, shop).loaded
    content_hash = batch.pop("content_hash")
    assert len(content_hash) == 64
    assert batch.pop("read_as") == read_as(shop, load_preset("standard"))
    assert batch == {
        "batch_id": 1,
        "file_name": "a.csv",
        "preset": "standard",
        "watermark": None,
        "rows_read": 5,
        "rows_accepted": 2,
        "rows_unpaid": 2,
        "rows_rejected": 1,
        "rows_identical": 0,
        "rows_without_customer": 0,
        "keys_masked": 0,
        "keys_damaged": 0,
        "keys_from_fallback": 0,
        "orders": 2,
        "first_ordered_at": datetime(2024, 1, 3, 10),
        "last_ordered_at": datetime(2024, 1, 10, 10),
        # unpaid rows are a sign of when the file was written, too
        "newest_at": datetime(2024, 1, 17, 10),
        "rows_other_currency": 0,
        "currency": None,
        "amounts_made_gross": 0,
        "unpaid_delivered_orders": 0,
        "unpaid_delivered_amount": 0,
        "unpaid_delivered_methods": None,
    }
    rejected = warehouse.read("select file_name, row_no, reason, row_text from rejected_rows")
    assert rejected.rows() == [("a.csv", 5, "quantity is 0", "o4,dora,2024-01-18,TEA,0,1.00,")]


def test_an_export_without_rows_is_noted_as_read(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv")
    (batch,) = run(warehouse, shop).loaded
    assert (batch["rows_read"], batch["orders"], batch["first_ordered_at"]) == (0, 0, None)
    assert run(warehouse, shop).loaded == []


FIELDS = {
    "order_id": ("o1", "o2", "o3", ""),
    "customer_id": ("anna", "bert", ""),
    "ordered_at": ("2024-01-03", "2024-01-10 10:00:00", "2024-01-03T10:00:00Z", "soon", ""),
    "sku": ("TEA", "post ", "", '"quoted, sku"', '"two\nlines"'),
    "quantity": ("1", "-2", "0", "x", "", "1e3"),
    "unit_price": ("2.00", "0", "-1", "¥5", "", "1,5"),
    "amount": ("", "", "3.00", "-1", "nan"),
    "refunded_amount": ("", "", "1.00", "x"),
    "order_status": ("", "paid", "unpaid", "cancelled", "closed", "shipped"),
}
CSV_ROW = st.tuples(*(st.sampled_from((values[0], *values)) for values in FIELDS.values())).map(",".join)
RAGGED_ROW = st.builds(
    lambda row, cut: row[: len(row) - cut] if cut else row + ",surplus", CSV_ROW, st.integers(0, 12)
)


# too_slow: every example loads files on disk.
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(st.one_of(CSV_ROW, CSV_ROW, RAGGED_ROW.filter(lambda row: row.count('"') % 2 == 0))))
def test_rows_read_are_accepted_rejected_or_unpaid_whatever_they_hold(rows: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = make_shop(Path(folder))
        warehouse = small_warehouse(shop)
        write_export(shop, "a.csv", *rows, header=",".join(FIELDS))
        (batch,) = run(warehouse, shop).loaded
        counted = batch["rows_accepted"] + batch["rows_rejected"] + batch["rows_unpaid"]
        assert batch["rows_read"] == counted == len(rows)
        kept = warehouse.read(
            """
            select
                (select count(*) from raw_orders) as raw_orders,
                (select count(*) from order_lines) as order_lines,
                (select count(*) from rejected_rows where reason <> '' and row_text <> '') as rejected
            """
        )
        accepted = batch["rows_accepted"]
        assert kept.row(0) == (accepted, accepted, batch["rows_rejected"])


# Settings


def products(warehouse: Warehouse) -> dict[str, bool]:
    return dict(warehouse.read("select sku, is_product from order_lines order by 1").iter_rows())


def test_another_list_of_codes_that_are_no_products_judges_every_line_again(
    warehouse: Warehouse, shop: Shop
) -> None:
    write_export(shop, "a.csv", O1, O2.replace("CUP", " gift_50 "), O3.replace("POT", "YF"))
    run(warehouse, shop)
    assert products(warehouse) == {"GIFT_50": True, "TEA": True, "YF": True}
    with warehouse.transaction() as session:
        session.execute("delete from touched_weeks")
    changed = make_shop(shop.home, orders={"not_products": ["Gift*", "yf"]})
    assert update_order_lines(warehouse, changed)["orders"] == 3
    assert products(warehouse) == {"GIFT_50": False, "TEA": True, "YF": False}
    assert touched_weeks(warehouse) == {date(2024, 1, 8), date(2024, 1, 15)}
    assert update_order_lines(warehouse, changed) == {"orders": 0, "lines": 0, "weeks": 0}
    run(warehouse, shop)
    assert products(warehouse) == {"GIFT_50": True, "TEA": True, "YF": True}


def test_only_paid_sales_with_a_sku_are_product_lines(warehouse: Warehouse, shop: Shop) -> None:
    write_export(
        shop,
        "a.csv",
        O1,
        "o2,bert,2024-01-10,CUP,-1,20.00",
        "o3,cora,2024-01-17,POT,1,0",
        "o4,dora,2024-01-17,,1,1.00",
    )
    run(warehouse, shop)
    flags = warehouse.read("select is_product from order_lines order by order_id")
    assert flags["is_product"].to_list() == [True, False, False, False]


def test_a_wrong_preset_is_told_before_anything_is_read(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv", O1)
    wrong = make_shop(shop.home, orders={"preset": "standart"})
    with pytest.raises(ShopFileError, match="standart"):
        run(warehouse, wrong)


# Files that can't be read, and failures midway


def test_all_files_with_a_wrong_header_are_named_at_once_and_nothing_is_loaded(
    warehouse: Warehouse, shop: Shop
) -> None:
    write_export(shop, "a.csv", O1)
    for number in range(7):
        write_export(shop, f"wrong{number}.csv", "1", header=f"InvoiceNo{number}")
    with pytest.raises(OrderFileError) as caught:
        run(warehouse, shop)
    assert str(caught.value).count("the header lacks") == 5
    assert str(caught.value).endswith("... and 2 more files")
    assert file_names(warehouse) == []


def test_files_read_before_a_damaged_one_stay(warehouse: Warehouse, shop: Shop) -> None:
    write_export(shop, "a.csv", O1)
    whole = gzip.compress(("".join(f"{row}\n" for row in (HEADER, *[O2] * 9000))).encode())
    (shop.orders_dir / "b.csv.gz").write_bytes(whole[:-8])
    write_export(shop, "c.csv", O3)
    with pytest.raises(OrderFileError, match=r"b\.csv\.gz: the gzip file is damaged or cut off"):
        load_new_files(warehouse, shop)
    assert file_names(warehouse) == ["a.csv"]
    assert not list((shop.home / ".staging").iterdir())
    (shop.orders_dir / "b.csv.gz").write_bytes(whole)
    assert loaded_names(run(warehouse, shop)) == ["b.csv.gz", "c.csv"]
    assert amounts(warehouse) == amount_of(o1=10, o2=180_000, o3=30)


def fail(*_: object) -> int:
    raise ValidationError("one row is wrong")


def test_a_failure_while_a_file_is_taken_in_leaves_its_former_rows(
    warehouse: Warehouse, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_export(shop, "a.csv", O1, "bad,anna,soon,TEA,1,1.00")
    run(warehouse, shop)
    write_export(shop, "a.csv", O2)
    with monkeypatch.context() as patched:
        patched.setattr(duckdb_warehouse, "validate", fail)
        with pytest.raises(ValidationError):
            load_new_files(warehouse, shop)
    assert warehouse.read("select order_id from raw_orders")["order_id"].to_list() == ["o1"]
    assert warehouse.read("select * from rejected_rows").height == 1
    assert not list((shop.home / ".staging").iterdir())
    run(warehouse, shop)
    assert amounts(warehouse) == amount_of(o2=20)


def test_a_failure_while_order_lines_are_written_leaves_the_old_and_is_made_good_by_the_next_run(
    warehouse: Warehouse, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_export(shop, "a.csv", O1, O2)
    run(warehouse, shop)
    write_export(shop, "b.csv", O1.replace("10.00", "11.00"))
    load_new_files(warehouse, shop)
    with monkeypatch.context() as patched:
        patched.setattr(loading, "validate", fail)
        with pytest.raises(ValidationError):
            update_order_lines(warehouse, shop)
    assert amounts(warehouse) == amount_of(o1=10, o2=20)
    assert update_order_lines(warehouse, shop)["orders"] == 1
    assert amounts(warehouse) == amount_of(o1=11, o2=20)


# An order that a later export takes back


def test_an_order_that_a_later_export_holds_as_cancelled_is_gone(warehouse: Warehouse, shop: Shop) -> None:
    header = f"{HEADER},order_status"
    write_export(shop, "a.csv", f"{O1},paid", f"{O2},paid", header=header)
    run(warehouse, shop)
    write_export(shop, "b.csv", f"{O1},cancelled", header=header)
    run(warehouse, shop)
    assert amounts(warehouse) == amount_of(o2=20)
    write_export(shop, "c.csv", f"{O1},paid", header=header)
    run(warehouse, shop)
    assert amounts(warehouse) == amount_of(o1=10, o2=20)


def test_an_unpaid_line_of_a_paid_order_leaves_the_others(warehouse: Warehouse, shop: Shop) -> None:
    header = f"{HEADER},order_status"
    write_export(shop, "a.csv", f"{O1},paid", f"{O1},unpaid", header=header)
    run(warehouse, shop)
    assert amounts(warehouse) == amount_of(o1=10)


# Size


def test_a_file_of_several_batches_is_taken_in_whole(
    warehouse: Warehouse, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duckdb_warehouse, "BATCH_ROWS", 50_000)
    rows = 300_000
    number = pl.int_range(rows)
    pl.select(
        order_id="o" + (number // 3).cast(pl.String),
        customer_id="c" + (number % 1000).cast(pl.String),
        ordered_at=pl.lit("2024-01-03 10:00:00"),
        sku="S" + (number % 50).cast(pl.String),
        # every thousandth row is wrong
        quantity=pl.when(number % 1000 == 999).then(0).otherwise(1),
        unit_price=pl.lit("0.10"),
    ).write_csv(shop.orders_dir / "a.csv")
    (batch,) = run(warehouse, shop).loaded
    assert (batch["rows_read"], batch["rows_accepted"], batch["rows_rejected"]) == (rows, 299_700, 300)
    total = warehouse.read("select count(*), sum(amount), max(row_no) from order_lines").row(0)
    assert total == (299_700, Decimal("29970.00"), rows - 1)
    rejected = warehouse.read("select max(row_no), count(distinct row_no) from rejected_rows").row(0)
    assert rejected == (rows, 300)


@pytest.mark.parametrize("setting", ["preset", "timezone"])
def test_a_file_is_read_again_when_the_settings_read_it_differently(tmp_path: Path, setting: str) -> None:
    shop = make_shop(tmp_path)
    rows = f"InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,{HEADER}"
    values = "i1,S,1,2025-01-06 09:00:00,5,c1,o1,c1,2025-01-06T09:00:00+08:00,S,1,5"
    (tmp_path / "orders" / "both.csv").write_text(f"{rows}\n{values}\n", "utf-8")
    warehouse = small_warehouse(shop)
    load_new_files(warehouse, shop)
    update_order_lines(warehouse, shop)
    changed = (
        make_shop(tmp_path, orders={"preset": "online_retail"})
        if setting == "preset"
        else make_shop(tmp_path, shop={"timezone": "Europe/London"})
    )
    assert len(load_new_files(warehouse, changed).loaded) == 1
    update_order_lines(warehouse, changed)
    found = warehouse.read("select order_id, strftime(ordered_at, '%H:%M') as at from order_lines").rows()
    assert found == ([("i1", "09:00")] if setting == "preset" else [("o1", "01:00")])
    assert load_new_files(warehouse, changed).loaded == []
