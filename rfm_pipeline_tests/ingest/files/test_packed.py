"""Rows that pack several order lines, separated by ``;``: what must come of each is computed by hand."""

# ruff: noqa: E501 (a row of a table is a line)

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rfm_pipeline.errors import ShopFileError
from rfm_pipeline.ingest.checks import RAW_ORDERS_CHECKS
from rfm_pipeline.ingest.files import texts
from rfm_pipeline.ingest.files.reading import Rules, open_source, read_rows
from rfm_pipeline.ingest.loading import load_new_files, update_order_lines
from rfm_pipeline.ingest.presets import load_preset
from rfm_pipeline.ingest.presets.preview import preview
from rfm_pipeline.ingest.report import check_file
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline_tests.helpers import make_shop, small_warehouse

TILL = """\
columns:
  order_id: [order]
  customer_id: [customer]
  ordered_at: [at]
  order_status: [status]
  sku: [sku]
  product_name: [name]
  quantity: [quantity]
  unit_price: [price]
  amount: [paid]
  line_postage: [postage]
  refunded_amount: [back]
  refund_flag: [flag]
  order_amount: [order paid]
  order_refunded: [order back]
required: [order_id, ordered_at]
statuses: {paid: [paid], unpaid: [open], cancelled: [void], closed: [closed]}
refund_words: {full: [all], none: [kept]}
no_sale_names: ["gift card*"]
packed: [sku, product_name, quantity, unit_price, amount, line_postage, refunded_amount, refund_flag]
"""
COLUMNS = (
    "order",
    "sku",
    "name",
    "quantity",
    "price",
    "paid",
    "postage",
    "back",
    "flag",
    "order paid",
    "order back",
)
COLUMNS += ("status", "customer", "at")
DAY = "2026-03-02 10:00:00"


def row(order: str = "o1", **values: str) -> str:
    given = {"order": order, "status": "paid", "customer": "c1", "at": DAY}
    given |= {name.replace("_", " "): value for name, value in values.items()}
    return ",".join(f'"{given.get(name, "")}"' for name in COLUMNS)


def till(home: Path, *rows: str) -> tuple[Shop, Warehouse, dict[str, Any]]:
    """The shop after one export, with what is said of the file."""
    shop = make_shop(home, orders={"preset": "till"})
    (home / "presets").mkdir(exist_ok=True)
    (home / "presets" / "till.yaml").write_text(TILL, "utf-8")
    (shop.orders_dir / "till.csv").write_text("\n".join((",".join(COLUMNS), *rows, "")), "utf-8")
    warehouse = small_warehouse(shop)
    (loaded,) = load_new_files(warehouse, shop).loaded
    update_order_lines(warehouse, shop)
    return shop, warehouse, loaded


def lines(warehouse: Warehouse) -> list[str]:
    """The order lines as texts, numbers without zeros behind them."""
    found = warehouse.read(
        "select row_no, line_no, sku, product_name, quantity, unit_price, amount, refunded_amount "
        "from order_lines order by order_id, row_no, line_no"
    )
    return [
        " | ".join("-" if value is None else _text(value) for value in line) for line in found.iter_rows()
    ]


def _text(value: object) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else f"{value}"


CASES = {
    "every line has its own values": (
        [
            row(
                sku="S1;S2",
                name="cup;pot",
                quantity="2;1",
                price="39.00;99.00",
                paid="70.00;99.00",
                back="0;9.00",
            )
        ],
        ["1 | 1 | S1 | cup | 2 | 39 | 70 | 0", "1 | 2 | S2 | pot | 1 | 99 | 99 | 9"],
    ),
    "one amount for the row is divided by price and quantity, and its refund by what was paid": (
        # 2 × 39 and 99: 100 × 78 / 177 = 44.07; 10 × 44.07 / 100 = 4.41
        [row(sku="S1;S2", name="cup;pot", quantity="2;1", price="39;99", paid="100.00", back="10.00")],
        ["1 | 1 | S1 | cup | 2 | 39 | 44.07 | 4.41", "1 | 2 | S2 | pot | 1 | 99 | 55.93 | 5.59"],
    ),
    "the order's own amount and refund are divided as those of any order": (
        [
            row(
                sku="S1;S2",
                name="cup;pot",
                quantity="2;1",
                price="39;99",
                order_paid="100.00",
                order_back="10.00",
            ),
            row(sku="S3", name="tray", quantity="1", price="23", order_paid="100.00", order_back="10.00"),
        ],
        # 78, 99 and 23 of 200
        [
            "1 | 1 | S1 | cup | 2 | 39 | 39 | 3.9",
            "1 | 2 | S2 | pot | 1 | 99 | 49.5 | 4.95",
            "2 | 3 | S3 | tray | 1 | 23 | 11.5 | 1.15",
        ],
    ),
    "one number of pieces is divided evenly, the rest to the first lines": (
        [row(sku="S1;S2", name="cup;pot", quantity="3", paid="90.00")],
        ["1 | 1 | S1 | cup | 2 | 30 | 60 | 0", "1 | 2 | S2 | pot | 1 | 30 | 30 | 0"],
    ),
    "postage comes off before the row's amount is divided": (
        [row(sku="S1;S2", name="cup;pot", quantity="1;1", price="20;30", paid="60.00", postage="10.00")],
        ["1 | 1 | S1 | cup | 1 | 20 | 20 | 0", "1 | 2 | S2 | pot | 1 | 30 | 30 | 0"],
    ),
    "postage for the row comes off the lines' own amounts in proportion": (
        [row(sku="S1;S2", name="cup;pot", quantity="1;1", price="20;30", paid="24;36", postage="10.00")],
        ["1 | 1 | S1 | cup | 1 | 20 | 20 | 0", "1 | 2 | S2 | pot | 1 | 30 | 30 | 0"],
    ),
    "full-width separators, spaces, wrapping and an end behind the last value": (
        [
            row(
                sku="\tS1；S2；",
                name="茶杯； 茶壶；",
                quantity="'1;2;",
                price="39.00；９９.００；",
                paid="237.00",
            )
        ],
        ["1 | 1 | S1 | 茶杯 | 1 | 39 | 39 | 0", "1 | 2 | S2 | 茶壶 | 2 | 99 | 198 | 0"],
    ),
    "a title may contain the separator": (
        [row(sku="S1", name="cup;white；big", quantity="2", price="39", paid="78")],
        ["1 | 1 | S1 | cup;white；big | 2 | 39 | 78 | 0"],
    ),
    "an empty column says nothing, and an empty value belongs to its line": (
        [row(sku="S1;;S3", name="a;b;c", quantity="1;1;1", paid="10;0;5")],
        [
            "1 | 1 | S1 | a | 1 | 10 | 10 | 0",
            "1 | 2 | - | b | 1 | 0 | 0 | 0",
            "1 | 3 | S3 | c | 1 | 5 | 5 | 0",
        ],
    ),
    "a word for one line gives that line back, a word for the row all of it": (
        [
            row(sku="S1;S2", name="a;b", quantity="1;1", paid="10;5", flag="kept;all"),
            row("o2", sku="S1;S2", name="a;b", quantity="1;1", paid="10;5", flag="all"),
            row("o3", sku="S1;S2", name="a;b", quantity="1;1", paid="10;5", status="closed", back="3"),
        ],
        [
            "1 | 1 | S1 | a | 1 | 10 | 10 | 0",
            "1 | 2 | S2 | b | 1 | 5 | 5 | 5",
            "2 | 3 | S1 | a | 1 | 10 | 10 | 10",
            "2 | 4 | S2 | b | 1 | 5 | 5 | 5",
            "3 | 5 | S1 | a | 1 | 10 | 10 | 10",
            "3 | 6 | S2 | b | 1 | 5 | 5 | 5",
        ],
    ),
    "a gift card has its part of the row's amount, which is no sale": (
        [row(sku="S1;G", name="cup;gift card 50", quantity="1;1", price="30;50", paid="80")],
        ["1 | 1 | S1 | cup | 1 | 30 | 30 | 0", "1 | 2 | G | gift card 50 | 1 | 50 | 0 | 0"],
    ),
    "a row that was given back beyond its lines' amounts gives all of them back": (
        [row(sku="S1;S2", name="a;b", quantity="1;1", price="2;1", paid="36.00", postage="6", back="36.00")],
        ["1 | 1 | S1 | a | 1 | 2 | 20 | 20", "1 | 2 | S2 | b | 1 | 1 | 10 | 10"],
    ),
    "rows that are not packed are read as before, beside those that are": (
        [
            row(sku="S1", name="cup", quantity="2", price="39", paid="78", back="8"),
            row("o2", sku="S1;S2", name="cup;pot", quantity="1;1", price="1;2", paid="3"),
            row("o3", sku="S3", name="tray", quantity="1", price="23", paid="20"),
        ],
        [
            "1 | 1 | S1 | cup | 2 | 39 | 78 | 8",
            "2 | 2 | S1 | cup | 1 | 1 | 1 | 0",
            "2 | 3 | S2 | pot | 1 | 2 | 2 | 0",
            "3 | 4 | S3 | tray | 1 | 23 | 20 | 0",
        ],
    ),
    "cents are neither lost nor made": (
        [row(sku="a;b;c", name="a;b;c", quantity="1;1;1", price="1;1;1", paid="0.05", back="0.02")],
        [
            "1 | 1 | A | a | 1 | 1 | 0.02 | 0.01",
            "1 | 2 | B | b | 1 | 1 | 0.01 | 0",
            "1 | 3 | C | c | 1 | 1 | 0.02 | 0.01",
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_packed_row_becomes_its_lines(tmp_path: Path, case: str) -> None:
    rows, expected = CASES[case]
    _, warehouse, loaded = till(tmp_path, *rows)
    assert lines(warehouse) == expected
    assert (loaded["rows_read"], loaded["rows_accepted"]) == (len(rows), len(rows))


DIFFER = "the row packs several lines, and its columns hold different numbers of values"
REJECTED = {
    "counts differ": (
        {"sku": "S1;S2;S3", "name": "cup;pot", "quantity": "2;1", "paid": "9"},
        f"{DIFFER} (sku: 3, name: 2, quantity: 2)",
    ),
    "prices can't be one for all": (
        {"sku": "S1;S2", "name": "cup;pot", "quantity": "2;1", "price": "9.00"},
        f"{DIFFER} (sku: 2, name: 2, quantity: 2, price: 1)",
    ),
    "a title for several articles": (
        {"sku": "S1;S2", "name": "tea set", "quantity": "1;1", "paid": "9"},
        f"{DIFFER} (sku: 2, name: 1, quantity: 2)",
    ),
    "fewer pieces than lines": (
        {"sku": "S1;S2", "name": "cup;pot", "quantity": "1", "paid": "9"},
        "quantity is one number for several packed lines, and no whole number of a piece a line or more",
    ),
    "no whole pieces": (
        {"sku": "S1;S2", "name": "cup;pot", "quantity": "2.5", "paid": "9"},
        "quantity is one number for several packed lines, and no whole number of a piece a line or more",
    ),
    "one value is bad": (
        {"sku": "S1;S2", "name": "cup;pot", "quantity": "1;two", "paid": "9"},
        "quantity is no number",
    ),
}


@pytest.mark.parametrize("case", REJECTED)
def test_a_packed_row_is_rejected_as_a_whole_and_once(tmp_path: Path, case: str) -> None:
    values, reason = REJECTED[case]
    good = row("o0", sku="S1;S2", name="a;b", quantity="1;1", paid="3;4")
    bad = row("o2", **values)
    shop, warehouse, loaded = till(tmp_path, good, bad, row("o3", sku="S1", name="a", quantity="1", paid="3"))
    found = warehouse.read("select row_no, reason, row_text from rejected_rows").rows()
    assert found == [(2, reason, bad.replace('"', ""))]
    assert [loaded[name] for name in ("rows_read", "rows_accepted", "rows_rejected")] == [3, 2, 1]
    assert warehouse.read("select distinct order_id from order_lines order by 1")["order_id"].to_list() == [
        "o0",
        "o3",
    ]
    check = check_file(shop.orders_dir / "till.csv", load_preset("till", tmp_path), shop.shop.timezone)
    assert (dict(check.rows), check.first_rows) == (
        {"accepted": 2, "unpaid": 0, "rejected": 1},
        {reason: [2]},
    )


def test_rows_are_counted_not_their_lines(tmp_path: Path) -> None:
    packed = row(sku="S1;S1", name="a;a", quantity="1;1", paid="3;3", customer="")
    unpaid = row("o2", sku="S1;S2", name="a;b", quantity="1;1", paid="3;4", status="open")
    shop, warehouse, loaded = till(tmp_path, packed, packed, unpaid)
    names = ("rows_read", "rows_accepted", "rows_unpaid", "rows_identical", "rows_without_customer", "orders")
    assert [loaded[name] for name in names] == [3, 2, 1, 1, 2, 1]
    seen = preview([shop.orders_dir / "till.csv"], load_preset("till", tmp_path), shop.shop.timezone, Rules())
    assert (dict(seen.rows), seen.net) == ({"accepted": 2, "unpaid": 1}, Decimal(12))
    (nothing_lost,) = (check for check in RAW_ORDERS_CHECKS if check.name == "nothing_lost")
    assert warehouse.read(nothing_lost.sql)["files_with_lost_rows"].to_list() == [0]
    with warehouse.transaction() as session:
        session.execute("delete from raw_orders where row_no = 2")
    assert warehouse.read(nothing_lost.sql)["files_with_lost_rows"].to_list() == [1]


def test_lines_are_numbered_through_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "BATCH_ROWS", 2)
    packed = row(sku="S1;S2", name="a;b", quantity="1;1", paid="3;4")
    single = [row(f"s{i}", sku="S", name="a", quantity="1", paid="1") for i in range(5)]
    shop, warehouse, _ = till(tmp_path, packed, *single, packed)
    found = warehouse.read("select row_no, line_no from order_lines where order_id = 'o1' order by line_no")
    assert found.rows() == [(1, 1), (1, 2), (7, 8), (7, 9)]
    source = open_source(shop.orders_dir / "till.csv", load_preset("till", tmp_path))
    assert len(list(read_rows(source, shop.shop.timezone, tmp_path / "work"))) > 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("packed: [customer_id, sku]", "customer_id can't differ within a row"),
        ("packed: [product_name]", "titles alone don't show"),
        ("packed: [sku]\nrow: order", "'packed' needs row: line"),
        ("packed: [line_discount]", "'line_discount' stands under no header"),
        ("packed: [skus]", "there is no column 'skus'; did you mean 'sku'?"),
    ],
)
def test_a_preset_that_packs_what_cannot_be_is_refused(tmp_path: Path, change: str, words: str) -> None:
    (tmp_path / "presets").mkdir()
    text = TILL[: TILL.index("packed:")] + change + "\n"
    (tmp_path / "presets" / "till.yaml").write_text(text, "utf-8")
    with pytest.raises(ShopFileError, match=words.replace("?", r"\?")):
        load_preset("till", tmp_path)


DOUYIN = """\
主订单编号,子订单编号,选购商品,商品规格,商品数量,商家编码,订单应付金额,运费,收件人手机号,订单提交时间,订单状态,售后状态
"\t1001","\t1001;1002","\t茶杯;茶壶","\t白;红",3,"\tCUP;POT",105.00,5.00,1**********,2026-03-22 00:54:10,已完成,-
"\t2001","\t2001；2002","\t茶杯；茶壶",-,2,-,60.00,0.00,1**********,2026-03-23 00:54:10,已完成,退款成功
"\t3001","\t3001","\t茶杯;白色",-,2,"\tCUP",60.00,0.00,1**********,2026-03-23 00:54:10,已发货,-
"""


def test_douyin_packs_sub_orders_with_one_number_of_pieces(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, orders={"preset": "douyin"})
    (shop.orders_dir / "1791430000_orders.csv").write_text(DOUYIN, "utf-8-sig")
    warehouse = small_warehouse(shop)
    load_new_files(warehouse, shop)
    update_order_lines(warehouse, shop)
    assert lines(warehouse) == [
        # 100 of goods, by 2 and 1 pieces
        "1 | 1 | CUP | 茶杯 | 2 | 33.335 | 66.67 | 0",
        "1 | 2 | POT | 茶壶 | 1 | 33.33 | 33.33 | 0",
        "2 | 3 | 茶杯 | 茶杯 | 1 | 30 | 30 | 30",
        "2 | 4 | 茶壶 | 茶壶 | 1 | 30 | 30 | 30",
        "3 | 5 | CUP | 茶杯;白色 | 2 | 30 | 60 | 0",
    ]
    assert warehouse.read("select count(*) from rejected_rows").item() == 0


def test_the_frame_of_a_file_without_packed_rows_is_what_it_is_without_the_setting(tmp_path: Path) -> None:
    rows = [
        row(sku="S1", name="a;b", quantity="2", paid="10", back="3"),
        row("o2", sku="S2", quantity="1", price="4"),
    ]
    _, warehouse, _ = till(tmp_path / "with", *rows)
    (tmp_path / "without").mkdir(exist_ok=True)
    plain = pl.DataFrame(warehouse.read("select * from order_lines order by row_no"))
    shop = make_shop(tmp_path / "without", orders={"preset": "till"})
    (tmp_path / "without" / "presets").mkdir()
    (tmp_path / "without" / "presets" / "till.yaml").write_text(TILL[: TILL.index("packed:")], "utf-8")
    (shop.orders_dir / "till.csv").write_text("\n".join((",".join(COLUMNS), *rows, "")), "utf-8")
    other = small_warehouse(shop)
    load_new_files(other, shop)
    update_order_lines(other, shop)
    assert other.read("select * from order_lines order by row_no").equals(plain)
