"""Which of two exports is the newer: by what is inside, then by name, then by modification time."""

import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from rfm_pipeline.ingest.checks import RAW_ORDERS_CHECKS
from rfm_pipeline.ingest.files.names import name_key, time_stamp
from rfm_pipeline.ingest.files.reading import open_source, read_rows
from rfm_pipeline.ingest.loading import LoadReport, load_new_files, update_order_lines
from rfm_pipeline.ingest.precedence import newest_of
from rfm_pipeline.ingest.presets import load_preset
from rfm_pipeline.ingest.report import write_report
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.checks import run_checks
from rfm_pipeline_tests.helpers import HEADER, make_shop, small_warehouse, write_export
from rfm_pipeline_tests.ingest.shopify_exports import shopify_csv

OLDER = shopify_csv({"Name": "#1001"}, {"Name": "#1002", "Subtotal": "50.00", "Total": "50.00"})
NEWER = shopify_csv(
    {"Name": "#1001", "Financial Status": "refunded", "Refunded Amount": "100.00"},
    {
        "Name": "#1002",
        "Subtotal": "50.00",
        "Total": "50.00",
        "Financial Status": "partially_refunded",
        "Refunded Amount": "20.00",
    },
)


def shopify(home: Path, **files: str) -> Shop:
    shop = make_shop(home, shop={"currency": "USD"}, orders={"preset": "shopify"})
    for name, text in files.items():
        (shop.orders_dir / name).write_text(text, "utf-8")
    return shop


def load(shop: Shop, ledger: Ledger | None = None) -> LoadReport:
    warehouse = small_warehouse(shop)
    report = load_new_files(warehouse, shop, ledger=ledger)
    update_order_lines(warehouse, shop)
    return report


def net(shop: Shop) -> Decimal:
    found = small_warehouse(shop).read("select sum(amount - refunded_amount) as net from order_lines")
    amount = found["net"][0]
    assert isinstance(amount, Decimal)
    return amount


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("orders_export (2).csv", "orders_export (10).csv"),
        ("orders_export.csv", "orders_export (1).csv"),
        ("orders_export（9）.csv", "orders_export（11）.csv"),
        ("export-9.csv", "export-10.csv"),
        ("orders 2024-5-9.csv", "orders 2024-05-10.csv"),
        ("2024年9月30日.csv", "2024年10月1日.csv"),
        ("订单.csv", "订单 - 副本.csv"),
        ("orders - Copy.csv", "orders - Copy (2).csv"),
        ("z_1790000000_orders.csv", "a_1790000001_orders.csv"),
        ("2024/9/orders.csv", "2024/10/orders.csv"),
    ],
)
def test_names_are_read_as_people_read_them(older: str, newer: str) -> None:
    assert name_key(older) < name_key(newer)


def test_of_files_that_hold_the_same_the_name_decides(tmp_path: Path) -> None:
    older, newer = "orders_export (2).csv", "orders_export (10).csv"
    shop = shopify(tmp_path, **{newer: NEWER, older: OLDER})
    report = load(shop)
    assert net(shop) == 30
    assert [(place.file_name, place.by) for place in report.places] == [(older, None), (newer, "its name")]


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"Created at": "2026-04-01 10:00:00 +0800"}, datetime(2026, 4, 1, 10)),
        ({"Paid at": "2026-04-02 10:00:00 +0800"}, datetime(2026, 4, 2, 10)),
        ({"Fulfilled at": "2026-04-03 10:00:00 +0800"}, datetime(2026, 4, 3, 10)),
        ({"Cancelled at": "2026-04-04 10:00:00 +0800"}, datetime(2026, 4, 4, 10)),
        (
            {"Created at": "2026-04-05 10:00:00 +0800", "Financial Status": "pending"},
            datetime(2026, 4, 5, 10),
        ),
    ],
)
def test_the_newest_time_inside(tmp_path: Path, change: dict[str, str], at: datetime) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(shopify_csv({"Name": "#1"}, {"Name": "#2", **change}), "utf-8")
    (rows,) = read_rows(open_source(path, load_preset("shopify")), "Asia/Shanghai", tmp_path / "staging")
    assert newest_of(rows) == at


def test_what_is_inside_goes_before_the_name(tmp_path: Path) -> None:
    # no sale, but a sign of when the file was written
    later = {"Name": "#1003", "Created at": "2026-04-05 10:00:00 +0800", "Financial Status": "pending"}
    text = NEWER + shopify_csv(later, body_only=True)
    shop = shopify(tmp_path, **{"orders_export (1).csv": text, "orders_export (2).csv": OLDER})
    last = load(shop).places[-1]
    assert (last.file_name, last.newest_at) == ("orders_export (1).csv", datetime(2026, 4, 5, 10))
    assert last.by == "what is inside"
    assert net(shop) == 30


def test_the_exports_own_stamp_is_a_time_inside(tmp_path: Path) -> None:
    shop = shopify(tmp_path, **{"1791430000_orders.csv": NEWER, "orders (3).csv": OLDER})
    assert load(shop).places[-1].by == "what is inside"
    assert net(shop) == 30


def test_where_content_and_names_say_nothing_the_modification_time_decides(tmp_path: Path) -> None:
    shop = shopify(tmp_path, **{"b.csv": OLDER, "a.csv": NEWER})
    os.utime(shop.orders_dir / "b.csv", (1_700_000_000, 1_700_000_000))
    os.utime(shop.orders_dir / "a.csv", (1_700_000_001, 1_700_000_001))
    assert load(shop).places[-1].by == "its modification time"
    assert net(shop) == 30


def test_a_warehouse_made_again_comes_to_the_same_truth(tmp_path: Path) -> None:
    """What landed in another run came later, and stays so whatever its name, content and time say."""
    shop = shopify(tmp_path, **{"orders (10).csv": NEWER})
    ledger = Ledger(shop.ledger_url)
    load(shop, ledger)
    (shop.orders_dir / "orders (2).csv").write_text(OLDER, "utf-8")
    report = load(shop, ledger)
    assert net(shop) == 150
    assert [(row["order_id"], row["change"]) for row in report.set_back] == [
        ("#1001", "refund taken back"),
        ("#1002", "refund taken back"),
    ]
    shop.warehouse_path.unlink()
    load(shop, ledger)
    assert net(shop) == 150


CHANGES = [
    ("paid,5.00", "paid,0", ("refund taken back", 5, 0)),
    ("paid,5.00", "paid,3.00", ("refund taken back", 5, 3)),
    ("closed,", "paid,", ("refund taken back", 10, 0)),
    ("paid,0", "unpaid,", ("payment taken back", 0, 0)),
    ("paid,4.00", "cancelled,", ("payment taken back", 4, 0)),
    ("paid,5.00", "paid,5.00", None),
    ("paid,3.00", "paid,5.00", None),
    ("unpaid,", "paid,", None),
    ("paid,0", "closed,", None),
]


@pytest.mark.parametrize("together", [True, False], ids=["in one run", "in two runs"])
def test_an_order_that_is_set_back_is_reported(tmp_path: Path, together: bool) -> None:
    shop = make_shop(tmp_path)
    header = f"{HEADER},order_status,refunded_amount"
    row = "o{},anna,2024-01-03 10:00:00,TEA,1,10.00,{}"
    before = [row.format(number, state) for number, (state, _, _) in enumerate(CHANGES)]
    after = [row.format(number, state) for number, (_, state, _) in enumerate(CHANGES)]
    write_export(shop, "1.csv", *before, header=header)
    if not together:
        assert load(shop).set_back == []
    write_export(shop, "2.csv", *after, header=header)
    found = {
        row["order_id"]: (row["change"], row["refunded_before"], row["refunded_now"])
        for row in load(shop).set_back
    }
    assert found == {f"o{number}": change for number, (_, _, change) in enumerate(CHANGES) if change}
    (check,) = [check for check in RAW_ORDERS_CHECKS if check.name == "no_order_is_set_back"]
    with small_warehouse(shop).transaction() as session:
        (verdict,) = run_checks(session, [check], [], {})
    assert (verdict.passed, verdict.check.blocking, verdict.figures["orders"]) == (False, False, 5)


def test_the_report_says_which_file_is_newer_and_which_orders_are_set_back(tmp_path: Path) -> None:
    shop = shopify(tmp_path, **{"orders (1).csv": NEWER, "orders (2).csv": OLDER})
    report = load(shop)
    path = write_report(shop, small_warehouse(shop), report, datetime(2026, 4, 1))
    assert path is not None
    text = path.read_text("utf-8")
    assert "| orders (2).csv | 2026-03-02 10:00:00 | its name |" in text
    assert "| #1001 | orders (2).csv | refund taken back | 100.0000 | 0.0000 |" in text


@pytest.mark.parametrize(
    ("name", "stamp"),
    [
        ("1791430000_orders.csv", datetime(2026, 10, 8, 11, 26, 40)),
        ("1791430000123.csv", datetime(2026, 10, 8, 11, 26, 40)),
        ("ExportOrderList202405311203.csv", datetime(2024, 5, 31, 12, 3)),
        ("orders_20240531_120305.csv.gz", datetime(2024, 5, 31, 12, 3, 5)),
        ("2024-05-31 12.03.05.xlsx", datetime(2024, 5, 31, 12, 3, 5)),
        ("orders 20240531.csv", None),
        ("orders_20249931120305.csv", None),
        ("13800000001.csv", None),
    ],
)
def test_time_stamps_of_names(name: str, stamp: datetime | None) -> None:
    assert time_stamp(name, "Asia/Shanghai") == stamp


def test_names_in_order() -> None:
    names = ["a.csv", "a (1).csv", "a (2).csv", "a (10).csv", "a 3.csv", "a 20240501.csv", "a 2024-5-2.csv"]
    keys = [name_key(name) for name in names]
    assert keys == sorted(keys)
