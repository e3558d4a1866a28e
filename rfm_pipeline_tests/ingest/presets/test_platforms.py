"""What each platform's export becomes, from files written as the platforms write them to order lines.

The files lie in ``platforms/`` as UTF-8, so that they can be read here; the tests write them out in the
platform's own encoding and format. People, numbers and goods are invented. What must come of them stands here
as tables, computed by hand.
"""

# ruff: noqa: E501 (a row of a table is a line)

import csv
import gzip
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from rfm_pipeline.ingest.loading import LoadReport, load_new_files, update_order_lines
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline_tests.helpers import diagnose, ingest, make_shop, small_warehouse

PLATFORMS = Path(__file__).parent / "platforms"
COLUMNS = (
    "order_id",
    "customer_id",
    "ordered_at",
    "sku",
    "product_name",
    "quantity",
    "unit_price",
    "list_price",
    "amount",
    "refunded_amount",
    "line_type",
)
COUNTS = (
    "rows_read",
    "rows_accepted",
    "rows_unpaid",
    "rows_rejected",
    "rows_identical",
    "rows_without_customer",
    "keys_masked",
    "keys_damaged",
    "keys_from_fallback",
)

TAOBAO_ORDERS = """
310000000000000101 | 青岚 | 2024-05-01 09:03:00 | 陶瓷茶杯 白 | 陶瓷茶杯 白 | 1 | 59.90 | | 59.90 | 0.00 | sale
310000000000000102 | 竹影 | 2024-05-01 09:04:00 | 陶瓷茶杯 白 | 陶瓷茶杯 白 | 2 | 33.3333 | | 66.67 | 0.00 | sale
310000000000000102 | 竹影 | 2024-05-01 09:04:00 | 竹编托盘 | 竹编托盘 | 1 | 33.3333 | | 33.33 | 0.00 | sale
310000000000000103 | 松风 | 2024-05-02 00:00:00 | 纯棉毛巾，加厚，灰 | 纯棉毛巾，加厚，灰 | 2 | 19.50 | | 39.00 | 0.00 | sale
310000000000000106 | 晚舟 | 2024-05-02 12:00:00 | 香薰蜡烛 大 | 香薰蜡烛 大 | 1 | 88.00 | | 88.00 | 88.00 | sale
310000000000000107 | 青岚 | 2024-05-03 20:00:00 | 藤编收纳篮 | 藤编收纳篮 | 1 | 59.00 | | 59.00 | 10.00 | sale
310000000000000108 | 石舍 | 2024-05-04 20:00:00 | 竹编托盘 | 竹编托盘 | 1 | 45.00 | | 45.00 | 15.01 | sale
310000000000000108 | 石舍 | 2024-05-04 20:00:00 | 藤编收纳篮 | 藤编收纳篮 | 1 | 45.00 | | 45.00 | 15.00 | sale
310000000000000109 | 石舍 | 2024-05-05 08:30:00 | 实木边几 | 实木边几 | 1 | 1299.00 | | 1299.00 | 0.00 | sale
310000000000000110 | 听雨 | 2024-05-06 08:30:00 | 杯垫 | 杯垫 | 2 | 6.25 | | 12.50 | 0.00 | sale
310000000000000112 | shan.gu@example.com | 2024-05-07 09:30:00 | 杯垫 | 杯垫 | 1 | 20.00 | | 20.00 | 0.00 | sale
310000000000000113 | 13800000008 | 2024-05-07 10:30:00 | 杯垫 | 杯垫 | 1 | 21.00 | | 21.00 | 0.00 | sale
310000000000000114 | | 2024-05-07 11:30:00 | 杯垫 | 杯垫 | 1 | 22.00 | | 22.00 | 0.00 | sale
310000000000000119 | 听雨 | 2024-05-08 12:30:00 | 杯垫 | 杯垫 | 3 | 12.00 | | 36.00 | 0.00 | sale
310000000000000120 | 松风 | 2024-05-09 12:30:00 | 杯垫 | 杯垫 | 1 | 0.0067 | | 0.01 | 0.01 | sale
310000000000000120 | 松风 | 2024-05-09 12:30:00 | 样品 | 样品 | 1 | 0.0067 | | 0.00 | 0.00 | sale
310000000000000120 | 松风 | 2024-05-09 12:30:00 | 贺卡 | 贺卡 | 1 | 0.0067 | | 0.01 | 0.01 | sale
"""
TAOBAO_ITEMS_NEW = """
310000000000000201 | | 2024-05-10 09:03:00 | CUP-W | 陶瓷茶杯 白 | 1 | 49.90 | | 44.91 | 0.00 | sale
310000000000000201 | | 2024-05-10 09:03:00 | TRAY | 竹编托盘 | 2 | 30.00 | | 54.00 | 0.00 | sale
310000000000000202 | | 2024-05-10 09:04:00 | TRAY | 竹编托盘 | 2 | 30.00 | | 54.00 | 27.00 | sale
310000000000000202 | | 2024-05-10 09:04:00 | MAT | 杯垫 | 4 | 6.25 | | 25.00 | 25.00 | sale
310000000000000205 | | 2024-05-10 12:00:00 | CARD | 贺卡 | 1 | 0.00 | | 0.00 | 0.00 | sale
310000000000000205 | | 2024-05-10 12:00:00 | MAT | 杯垫 | 1 | 6.25 | | 6.25 | 0.00 | sale
310000000000000206 | | 2024-05-10 13:00:00 | MAT | 杯垫 | 1 | 6.25 | | 6.25 | 0.00 | sale
"""
YOUZAN_ORDERS = """
E20240501090300001 | 13800000001 | 2024-05-01 09:03:00 | 陶瓷茶杯 | 陶瓷茶杯 | 1 | 49.90 | | 49.90 | 0.00 | sale
E20240501090400002 | 13800000002 | 2024-05-01 09:04:00 | 陶瓷茶杯 | 陶瓷茶杯 | 1 | 35.3333 | | 35.33 | 0.00 | sale
E20240501090400002 | 13800000002 | 2024-05-01 09:04:00 | 竹编托盘 | 竹编托盘 | 1 | 35.3333 | | 35.34 | 0.00 | sale
E20240501090400002 | 13800000002 | 2024-05-01 09:04:00 | 贺卡 | 贺卡 | 1 | 35.3333 | | 35.33 | 0.00 | sale
E20240501090700005 | 13800000002 | 2024-05-01 09:07:00 | 杯垫 | 杯垫 | 1 | 30.00 | | 30.00 | 30.00 | sale
E20240501090800006 | 松风 | 2024-05-01 09:08:00 | 实木边几，胡桃色 | 实木边几，胡桃色 | 1 | 1299.00 | | 1299.00 | 100.00 | sale
E20240501090900007 | 13800000003 | 2024-05-01 09:09:00 | 杯垫 | 杯垫 | 1 | 10.00 | | 10.00 | 0.00 | sale
E20240501091000008 | | 2024-05-01 09:10:00 | 杯垫 | 杯垫 | 1 | 10.00 | | 10.00 | 0.00 | sale
E20240501091100009 | 13800000005 | 2024-05-01 09:11:00 | 杯垫 | 杯垫 | 1 | 10.00 | | 10.00 | 0.00 | sale
E20240501091200010 | 13800000005 | 2024-05-01 09:12:00 | 杯垫;托盘 大;小;贺卡 | 杯垫;托盘 大;小;贺卡 | 2 | 10.00 | | 20.00 | 20.00 | sale
E20240501091300011 | 13800000005 | 2024-05-01 09:13:00 | 杯垫 | 杯垫 | 1 | 15.00 | | 15.00 | 15.00 | sale
E20240501091500013 | 石舍 | 2024-05-01 09:15:30 | 杯垫 | 杯垫 | 1 | 15.00 | | 15.00 | 0.00 | sale
"""
YOUZAN_ITEMS = """
E20240501090400002 | 13800000002 | 2024-05-01 09:04:00 | CUP-W | 陶瓷茶杯 | 2 | 35.00 | | 74.20 | 0.00 | sale
E20240501090400002 | 13800000002 | 2024-05-01 09:04:00 | TRAY | 竹编托盘 | 1 | 30.00 | | 31.80 | 0.00 | sale
E20240501090400002 | 13800000002 | 2024-05-01 09:04:00 | 贺卡 | 贺卡 | 1 | 0.00 | | 0.00 | 0.00 | sale
E20240502090400021 | 松风 | 2024-05-02 09:04:00 | CUP-W | 陶瓷茶杯 | 1 | 60.00 | | 54.00 | 10.00 | sale
E20240502090400021 | 松风 | 2024-05-02 09:04:00 | TRAY | 竹编托盘 | 2 | 20.00 | | 36.00 | 0.00 | sale
E20240502090500022 | 13800000003 | 2024-05-02 09:05:00 | CUP-W | 陶瓷茶杯 | 1 | 60.00 | | 60.00 | 60.00 | sale
E20240502090500022 | 13800000003 | 2024-05-02 09:05:00 | TRAY | 竹编托盘 | 2 | 20.00 | | 40.00 | 0.00 | sale
E20240502090600023 | 13800000003 | 2024-05-02 09:06:00 | CUP-W | 陶瓷茶杯 | 1 | 30.00 | | 30.00 | 30.00 | sale
E20240502090600023 | 13800000003 | 2024-05-02 09:06:00 | TRAY | 竹编托盘 | 1 | 20.00 | | 20.00 | 20.00 | sale
E20240502090900026 | 松风 | 2024-05-02 09:09:00 | CUP-W | 陶瓷茶杯 | 1 | 100.00 | | 35.00 | 17.50 | sale
E20240502090900026 | 松风 | 2024-05-02 09:09:00 | CUP-W | 陶瓷茶杯 | 1 | 100.00 | | 35.00 | 17.50 | sale
"""
JD = """
8800000001 | jd_qinglan | 2024-05-01 09:03:00 | 5500000001 | 陶瓷茶杯 | 1 | 49.90 | | 24.95 | 0.00 | sale
8800000001 | jd_qinglan | 2024-05-01 09:03:00 | 5500000001 | 陶瓷茶杯 | 1 | 49.90 | | 24.95 | 0.00 | sale
8800000002 | jd_zhuying | 2024-05-01 09:04:00 | 5500000001 | 陶瓷茶杯 | 2 | 49.90 | | 76.89 | 0.00 | sale
8800000002 | jd_zhuying | 2024-05-01 09:04:00 | 5500000002 | 竹编托盘 | 1 | 30.00 | | 23.11 | 0.00 | sale
8800000005 | jd_zhuying | 2024-05-01 09:07:00 | 5500000002 | 竹编托盘 | 1 | 30.00 | | 30.00 | 30.00 | sale
8800000006 | 13800000003 | 2024-05-02 09:07:00 | TRAY | 竹编托盘 | 1 | 30.00 | | 30.00 | 0.00 | sale
8800000007 | | 2024-05-03 09:07:00 | 杯垫 | 杯垫 | 3 | 3.33 | | 9.99 | 0.00 | sale
8800000011 | JD_TingYu | 2024-05-03 09:10:00 | 5500000003 | 杯垫 | 1 | 3.33 | | 3.33 | 0.00 | sale
8800000012 | jd_tingyu | 2024-05-04 09:10:00 | 5500000003 | 杯垫 | 1 | 5.00 | | 5.01 | 0.00 | sale
8800000012 | jd_tingyu | 2024-05-04 09:10:00 | 5500000003 | 杯垫 | 1 | 5.00 | | 5.00 | 0.00 | sale
"""
ERP = """
S240501000001 | 13800000001 | 2024-05-01 09:03:00 | CUP-W | 陶瓷茶杯 | 1 | 49.90 | 59.90 | 49.90 | 0.00 | sale
S240501000001 | 13800000001 | 2024-05-01 09:03:00 | CUP-W | 陶瓷茶杯 | 1 | 49.90 | 59.90 | 49.90 | 0.00 | sale
S240501000002 | 13800000002 | 2024-05-01 09:04:00 | CUP-W | 陶瓷茶杯 | 2 | 49.90 | 59.90 | 99.80 | 0.00 | sale
S240501000002 | 13800000002 | 2024-05-01 09:04:00 | TRAY | 竹编托盘 | 1 | 25.20 | 30.00 | 25.20 | 25.20 | sale
S240501000005 | 13800000002 | 2024-05-01 09:07:00 | TRAY | 竹编托盘 | 1 | 30.00 | 30.00 | 30.00 | 30.00 | sale
S240501000007 | | 2024-05-02 09:08:00 | 6900000000028 | 竹编托盘 | 3 | 26.6667 | 30.00 | 80.00 | 0.00 | sale
S240501000008 | 听雨 | 2024-05-02 09:09:00 | 杯垫 | 杯垫 | 2 | 10.00 | | 20.00 | 0.00 | sale
S240501000011 | 13800000006 | 2024-05-02 09:12:00 | MAT | 杯垫 | -1 | 10.00 | 12.00 | 10.00 | 0.00 | return
S240501000012 | 13800000006 | 2024-05-02 09:13:00 | MAT | 杯垫 | 1 | 10.00 | 12.00 | 10.00 | 0.00 | sale
T310000000000000306 | 松风 | 2024-05-02 09:07:00 | TABLE | 实木边几 | 1 | 1299.00 | 1999.00 | 1299.00 | 0.00 | sale
"""
SHOPIFY = """
#1001 | qing.lan@example.com | 2024-05-01 09:03:00 | CUP-W | Cup - White | 1 | 49.90 | 59.90 | 49.90 | 0.00 | sale
#1002 | zhu.ying@example.com | 2024-05-01 09:04:00 | CUP-W | Cup - White | 2 | 49.90 | 59.90 | 76.89 | 0.00 | sale
#1002 | zhu.ying@example.com | 2024-05-01 09:04:00 | TRAY | Tray | 1 | 30.00 | | 23.11 | 0.00 | sale
#1005 | song.feng@example.com | 2024-05-02 09:00:00 | TRAY | Tray | 1 | 30.00 | | 30.00 | 30.00 | sale
#1005 | song.feng@example.com | 2024-05-02 09:00:00 | CUP-W | Cup - White | 1 | 30.00 | | 30.00 | 30.00 | sale
#1006 | song.feng@example.com | 2024-05-02 10:00:00 | TRAY | Tray | 2 | 30.00 | | 45.00 | 10.00 | sale
#1006 | song.feng@example.com | 2024-05-02 10:00:00 | MAT | Mat | 1 | 30.00 | | 22.50 | 5.00 | sale
#1006 | song.feng@example.com | 2024-05-02 10:00:00 | MAT | Mat | 1 | 30.00 | | 22.50 | 5.00 | sale
#1007 | 13800000005 | 2024-05-02 11:00:00 | TABLE | Side Table | 1 | 1399.00 | 1999.00 | 1299.00 | 0.00 | sale
#1008 | | 2024-05-02 12:00:00 | MAT | Mat | 3 | 3.50 | | 10.00 | 0.00 | sale
#1009 | 13800000009 | 2024-05-02 13:00:00 | MAT | Mat | 1 | 3.50 | | 3.50 | 0.00 | sale
#1010 | song.feng@example.com | 2024-05-06 01:00:00 | MAT | Mat | 1 | 3.50 | | 0.00 | 0.00 | sale
#1011 | song.feng@example.com | 2024-05-06 01:00:00 | MAT | Mat | 1 | 3.50 | | 0.00 | 0.00 | sale
#1012 | song.feng@example.com | 2024-05-06 09:00:00 | TRAY | Tray | 2 | 30.00 | | 60.00 | 60.00 | sale
#1013 | song.feng@example.com | 2024-05-06 10:00:00 | CUP-W | Cup - White | 1 | 60.00 | | 60.00 | 0.00 | sale
"""
DAMAGED = "order_id was damaged by a spreadsheet (1.2E+18); export it as text"
TOTAL = "a total, no order"

# preset, fixture, lines, counts in the order of COUNTS, rejected rows by reason
CASES: dict[str, tuple[str, str, str, tuple[int, ...], dict[str, list[int]]]] = {
    "taobao_orders": (
        "taobao_orders",
        "taobao_orders",
        TAOBAO_ORDERS,
        (21, 14, 2, 5, 1, 1, 2, 0, 2),
        {
            DAMAGED: [11],
            "quantity is 0": [16],
            "amount is no amount of money": [17],
            "order_status is no known status": [18],
            TOTAL: [21],
        },
    ),
    "taobao_items": (
        "taobao_items",
        "taobao_items_new",
        TAOBAO_ITEMS_NEW,
        (11, 7, 2, 2, 0, 0, 0, 0, 0),
        {"unit_price is no amount of money": [10], "ordered_at is no date and time": [11]},
    ),
    "youzan": (
        "youzan",
        "youzan_orders",
        YOUZAN_ORDERS,
        (15, 11, 2, 2, 1, 1, 3, 1, 4),
        {"ordered_at is no date and time": [12], TOTAL: [15]},
    ),
    "youzan_items": (
        "youzan",
        "youzan_items",
        YOUZAN_ITEMS,
        (15, 11, 2, 2, 1, 0, 4, 0, 6),
        {"unit_price is missing": [14], "quantity is 0": [15]},
    ),
    "jd": (
        "jd",
        "jd",
        JD,
        (17, 10, 3, 4, 2, 1, 1, 0, 1),
        {"quantity is 0": [9], DAMAGED: [10], "unit_price is missing": [11], TOTAL: [17]},
    ),
    "erp_cn": (
        "erp_cn",
        "erp_cn",
        ERP,
        (17, 10, 3, 4, 1, 1, 2, 1, 2),
        {
            DAMAGED: [10],
            "quantity is 0": [11],
            "neither an amount nor a price is given": [16],
            TOTAL: [17],
        },
    ),
    "shopify": (
        "shopify",
        "shopify",
        SHOPIFY,
        (20, 15, 3, 2, 1, 1, 1, 0, 2),
        {"quantity is 0": [17], TOTAL: [20]},
    ),
}


def fixture_rows(name: str) -> list[list[str]]:
    with (PLATFORMS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def csv_text(rows: Sequence[Sequence[str]], delimiter: str = ",", newline: str = "\r\n") -> str:
    out = []
    for row in rows:
        quoted = (
            '"' + value.replace('"', '""') + '"'
            if any(sign in value for sign in (delimiter, '"', "\n"))
            else value
            for value in row
        )
        out.append(delimiter.join(quoted) + newline)
    return "".join(out)


def land(shop: Shop, fixture: str, name: str, encoding: str = "utf-8", delimiter: str = ",") -> Path:
    """Writes a fixture into the landing folder, in the format that the name ends with."""
    path = shop.orders_dir / name
    rows = fixture_rows(fixture)
    if name.endswith(".xlsx"):
        write_workbook(path, rows)
        return path
    content = csv_text(rows, delimiter).encode(encoding)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def write_workbook(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """All cells as texts, the way order managers export them; a sheet about the export comes first."""
    with xlsxwriter.Workbook(path, {"strings_to_numbers": False, "strings_to_formulas": False}) as book:
        book.add_worksheet("说明").write_row(0, 0, ["本表由系统导出"])
        sheet = book.add_worksheet("订单")
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)


def shop_with(home: Path, preset: str) -> tuple[Shop, Warehouse]:
    home.mkdir(exist_ok=True)
    shop = make_shop(home, shop={"first_week": date(2024, 4, 29)}, orders={"preset": preset})
    return shop, small_warehouse(shop)


def run(warehouse: Warehouse, shop: Shop) -> LoadReport:
    report = load_new_files(warehouse, shop)
    update_order_lines(warehouse, shop)
    return report


def _text(value: Any, column: str) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        cents = value.quantize(Decimal("0.01"))
        return f"{value.normalize():f}" if column == "quantity" or cents != value else f"{cents}"
    return str(value)


def lines_of(warehouse: Warehouse, columns: Sequence[str] = COLUMNS) -> list[tuple[str, ...]]:
    """The order lines as texts, by order and line."""
    rows = warehouse.read("select * from order_lines order by order_id, line_no").to_dicts()
    return [tuple(_text(row[column], column) for column in columns) for row in rows]


def table(text: str) -> list[tuple[str, ...]]:
    return [tuple(cell.strip() for cell in row.split("|")) for row in text.strip().splitlines()]


def counts(batch: dict[str, Any]) -> dict[str, int]:
    return {name: batch[name] for name in COUNTS}


def rejected(warehouse: Warehouse) -> dict[str, list[int]]:
    """The rejected rows' numbers by reason; of the list of known words, only what comes before it."""
    rows = warehouse.read("select reason, row_no from rejected_rows order by row_no").rows()
    found: dict[str, list[int]] = {}
    for reason, row_no in rows:
        short = reason.split(" (")[0] if "known status" in reason else reason
        found.setdefault(short, []).append(row_no)
    return found


# One file of each platform


@pytest.mark.parametrize(
    ("case", "name", "encoding"),
    [
        ("taobao_orders", "ExportOrderList20240510.csv", "gbk"),
        ("taobao_orders", "ExportOrderList20240510.csv", "utf-8-sig"),
        ("taobao_orders", "ExportOrderList20240510.xlsx", ""),
        ("taobao_items", "ExportOrderDetailList20240510.csv", "gbk"),
        ("taobao_items", "销售明细.xlsx", ""),
        ("youzan", "订单.csv", "utf-8-sig"),
        ("youzan", "订单.csv.gz", "utf-8"),
        ("youzan_items", "商品.csv", "utf-8"),
        ("jd", "京东订单.csv", "gb18030"),
        ("jd", "京东订单.csv.gz", "gbk"),
        ("erp_cn", "明细.csv", "gb18030"),
        ("erp_cn", "明细.xlsx", ""),
        ("shopify", "orders_export.csv", "utf-8"),
        ("shopify", "orders_export.csv.gz", "utf-8"),
    ],
)
def test_an_export_becomes_the_order_lines_that_it_says(
    tmp_path: Path, case: str, name: str, encoding: str
) -> None:
    preset, fixture, lines, expected_counts, reasons = CASES[case]
    shop, warehouse = shop_with(tmp_path, preset)
    land(shop, fixture, name, encoding)
    (batch,) = run(warehouse, shop).loaded
    assert lines_of(warehouse) == table(lines)
    assert counts(batch) == dict(zip(COUNTS, expected_counts, strict=True))
    assert rejected(warehouse) == reasons
    assert batch["rows_read"] == batch["rows_accepted"] + batch["rows_unpaid"] + batch["rows_rejected"]
    assert batch["preset"] == case


@pytest.mark.parametrize("case", CASES)
def test_a_tab_separates_as_well_as_a_comma(tmp_path: Path, case: str) -> None:
    preset, fixture, lines, _, _ = CASES[case]
    shop, warehouse = shop_with(tmp_path, preset)
    land(shop, fixture, "orders.csv", "utf-16", "\t")
    run(warehouse, shop)
    assert lines_of(warehouse) == table(lines)


@pytest.mark.parametrize("case", CASES)
def test_an_order_is_paid_for_by_its_lines_to_the_cent(tmp_path: Path, case: str) -> None:
    """Where the platform gives the order's amount only, it is divided without a rest."""
    preset, fixture, _, _, _ = CASES[case]
    shop, warehouse = shop_with(tmp_path, preset)
    land(shop, fixture, "orders.csv")
    run(warehouse, shop)
    paid = warehouse.read(
        """
        select r.order_id, any_value(coalesce(r.order_amount, r.amount)) as paid, any_value(l.paid) as shared
        from raw_orders r
        join (select order_id, sum(amount) as paid from order_lines group by 1) l using (order_id)
        where r.order_amount is not null or r.row_kind = 'order'
        group by r.order_id
        """
    )
    assert paid["paid"].to_list() == paid["shared"].to_list()
    assert paid.height > 0 or case in ("taobao_items", "erp_cn")


def test_refunds_of_a_cancelled_shopify_order_count_when_it_was_cancelled(tmp_path: Path) -> None:
    shop, warehouse = shop_with(tmp_path, "shopify")
    land(shop, "shopify", "orders_export.csv")
    run(warehouse, shop)
    rows = warehouse.read(
        "select order_id, refunded_at::varchar, refund_week::varchar from order_lines "
        "where refund_week is not null order by order_id, line_no"
    ).rows()
    assert rows == [
        ("#1005", "2024-05-06 12:00:00", "2024-05-06"),
        ("#1005", "2024-05-06 12:00:00", "2024-05-06"),
        ("#1006", None, "2024-04-29"),
        ("#1006", None, "2024-04-29"),
        ("#1006", None, "2024-04-29"),
        ("#1012", "2024-05-07 12:00:00", "2024-05-06"),
    ]


# An order list and its line file


# lines of TAOBAO_ITEMS_OLD with buyer, time and money of TAOBAO_ORDERS; orders that only the list holds as there
TAOBAO_BOTH = """
310000000000000101 | 青岚 | 2024-05-01 09:03:00 | CUP-W | 陶瓷茶杯 白 | 1 | 49.90 | | 59.90 | 0.00 | sale
310000000000000102 | 竹影 | 2024-05-01 09:04:00 | CUP-W | 陶瓷茶杯 白 | 1 | 49.90 | | 45.36 | 0.00 | sale
310000000000000102 | 竹影 | 2024-05-01 09:04:00 | TRAY | 竹编托盘 | 2 | 30.05 | | 54.64 | 0.00 | sale
310000000000000103 | 松风 | 2024-05-02 00:00:00 | 纯棉毛巾，加厚，灰 | 纯棉毛巾，加厚，灰 | 2 | 19.50 | | 39.00 | 0.00 | sale
310000000000000106 | 晚舟 | 2024-05-02 12:00:00 | 香薰蜡烛 大 | 香薰蜡烛 大 | 1 | 88.00 | | 88.00 | 88.00 | sale
310000000000000107 | 青岚 | 2024-05-03 20:00:00 | BASKET | 藤编收纳篮 | 2 | 29.50 | | 59.00 | 10.00 | sale
310000000000000108 | 石舍 | 2024-05-04 20:00:00 | TRAY | 竹编托盘 | 1 | 30.00 | | 30.00 | 10.00 | sale
310000000000000108 | 石舍 | 2024-05-04 20:00:00 | BASKET | 藤编收纳篮 | 1 | 30.00 | | 30.00 | 10.01 | sale
310000000000000108 | 石舍 | 2024-05-04 20:00:00 | BASKET | 藤编收纳篮 | 1 | 30.00 | | 30.00 | 10.00 | sale
310000000000000109 | 石舍 | 2024-05-05 08:30:00 | TABLE | 实木边几 | 1 | 1399.00 | | 1299.00 | 0.00 | sale
310000000000000110 | 听雨 | 2024-05-06 08:30:00 | MAT | 杯垫 | 2 | 6.25 | | 12.50 | 0.00 | sale
310000000000000112 | shan.gu@example.com | 2024-05-07 09:30:00 | 杯垫 | 杯垫 | 1 | 20.00 | | 20.00 | 0.00 | sale
310000000000000113 | 13800000008 | 2024-05-07 10:30:00 | 杯垫 | 杯垫 | 1 | 21.00 | | 21.00 | 0.00 | sale
310000000000000114 | | 2024-05-07 11:30:00 | 杯垫 | 杯垫 | 1 | 22.00 | | 22.00 | 0.00 | sale
310000000000000119 | 听雨 | 2024-05-08 12:30:00 | 杯垫 | 杯垫 | 3 | 12.00 | | 36.00 | 0.00 | sale
310000000000000120 | 松风 | 2024-05-09 12:30:00 | 杯垫 | 杯垫 | 1 | 0.0067 | | 0.01 | 0.01 | sale
310000000000000120 | 松风 | 2024-05-09 12:30:00 | 样品 | 样品 | 1 | 0.0067 | | 0.00 | 0.00 | sale
310000000000000120 | 松风 | 2024-05-09 12:30:00 | 贺卡 | 贺卡 | 1 | 0.0067 | | 0.01 | 0.01 | sale
"""
# who bought is the order list's to tell: no row lacks a customer
ITEMS_OLD_COUNTS = (17, 11, 3, 3, 1, 0, 0, 0, 0)

LIST_HEADER = "订单编号,买家会员名,买家实际支付金额,总金额,退款金额,订单状态,订单创建时间,订单付款时间 ,宝贝标题 ,宝贝种类,宝贝总数量"


def order_list(shop: Shop, name: str, *rows: str) -> None:
    """A short order list, in GBK."""
    (shop.orders_dir / name).write_bytes("\r\n".join([LIST_HEADER, *rows, ""]).encode("gbk"))


def money_of(warehouse: Warehouse, order: str) -> list[tuple[str, str, str, str]]:
    """The order's lines as customer, SKU, amount and refund."""
    return [
        row[1:]
        for row in lines_of(warehouse, ("order_id", "customer_id", "sku", "amount", "refunded_amount"))
        if row[0] == order
    ]


@pytest.mark.parametrize("first", ["list", "lines"])
@pytest.mark.parametrize("runs", [1, 2])
def test_a_taobao_order_list_and_its_line_file_are_one(tmp_path: Path, first: str, runs: int) -> None:
    shop, warehouse = shop_with(tmp_path, "taobao_orders")
    # within one run, files are read by name
    names = {"list": "1.csv" if first == "list" else "3.csv", "lines": "2.csv"}
    fixtures = {"list": "taobao_orders", "lines": "taobao_items_old"}
    loaded = []
    for kind in sorted(names, key=lambda one: one != first):
        land(shop, fixtures[kind], names[kind], "gbk")
        if runs == 2:
            loaded += run(warehouse, shop).loaded
            if kind == first == "lines":
                assert lines_of(warehouse) == []
    loaded += run(warehouse, shop).loaded
    assert lines_of(warehouse) == table(TAOBAO_BOTH)
    by_preset = {batch["preset"]: counts(batch) for batch in loaded}
    assert by_preset == {
        "taobao_orders": dict(zip(COUNTS, CASES["taobao_orders"][3], strict=True)),
        "taobao_items": dict(zip(COUNTS, ITEMS_OLD_COUNTS, strict=True)),
    }


@pytest.mark.parametrize("preset", ["taobao_orders", "taobao_items"])
def test_either_name_of_the_family_reads_both_files(tmp_path: Path, preset: str) -> None:
    shop, warehouse = shop_with(tmp_path, preset)
    land(shop, "taobao_orders", "a.csv", "gbk")
    land(shop, "taobao_items_old", "b.csv", "gbk")
    run(warehouse, shop)
    assert lines_of(warehouse) == table(TAOBAO_BOTH)


def test_a_line_waits_for_its_order_list(tmp_path: Path) -> None:
    shop, warehouse = shop_with(tmp_path, "taobao_orders")
    land(shop, "taobao_items_old", "lines.csv", "gbk")
    run(warehouse, shop)
    assert lines_of(warehouse) == []
    order_list(
        shop,
        "list.csv",
        "310000000000000199,松风,18.00,20.00,0.00,交易成功,2024-05-11 09:00:00,2024-05-11 09:01:00,杯垫,1,1",
    )
    run(warehouse, shop)
    assert lines_of(warehouse) == table(
        "310000000000000199 | 松风 | 2024-05-11 09:00:00 | MAT | 杯垫 | 1 | 20.00 | | 18.00 | 0.00 | sale"
    )


def test_lines_wait_again_when_their_order_list_is_taken_away(tmp_path: Path) -> None:
    shop, warehouse = shop_with(tmp_path, "taobao_orders")
    land(shop, "taobao_items_old", "lines.csv", "gbk")
    row = "310000000000000199,松风,18.00,20.00,0.00,交易成功,2024-05-11 09:00:00,2024-05-11 09:01:00,杯垫,1,1"
    order_list(shop, "list.csv", row)
    run(warehouse, shop)
    order_list(shop, "list.csv", row.replace("199", "198"))
    run(warehouse, shop)
    assert money_of(warehouse, "310000000000000199") == []
    assert money_of(warehouse, "310000000000000198") == [("松风", "杯垫", "18.00", "0.00")]


def test_the_newer_line_file_takes_only_the_buyer_from_the_order_list(tmp_path: Path) -> None:
    """Its lines say themselves what was paid for them: postage in the order's amount is no line's."""
    shop, warehouse = shop_with(tmp_path, "taobao_orders")
    land(shop, "taobao_items_new", "lines.csv", "gbk")
    order_list(
        shop,
        "list.csv",
        "310000000000000201,青岚,108.91,109.90,0.00,交易成功,2024-05-10 09:03:00,2024-05-10 09:05:00,"
        "陶瓷茶杯 白，竹编托盘,2,3",
        "310000000000000202,竹影,79.00,79.00,52.00,交易成功,2024-05-10 09:04:00,2024-05-10 09:05:00,竹编托盘，杯垫,2,6",
    )
    run(warehouse, shop)
    expected = [
        (row[0], {"0201": "青岚", "0202": "竹影"}.get(row[0][-4:], ""), *row[2:])
        for row in table(TAOBAO_ITEMS_NEW)
    ]
    assert lines_of(warehouse) == expected


@pytest.mark.parametrize(
    ("paid_at", "refund", "status", "expected"),
    [
        ("2024-05-11 09:01:00", "0.00", "交易关闭", [("松风", "MAT", "20.00", "20.00")]),
        ("2024-05-11 09:01:00", "5.00", "交易成功", [("松风", "MAT", "18.00", "5.00")]),
        ("2024-05-11 09:01:00", "18.00", "交易成功", [("松风", "MAT", "18.00", "18.00")]),
        # more came back than was paid for the goods: postage
        ("2024-05-11 09:01:00", "25.00", "交易成功", [("松风", "MAT", "18.00", "18.00")]),
    ],
    ids=["closed", "part of it back", "all of it back", "postage back, too"],
)
def test_an_order_list_that_comes_later_tells_what_was_given_back(
    tmp_path: Path, paid_at: str, refund: str, status: str, expected: list[tuple[str, ...]]
) -> None:
    shop, warehouse = shop_with(tmp_path, "taobao_orders")
    land(shop, "taobao_items_old", "lines.csv", "gbk")
    row = "310000000000000199,松风,{paid},20.00,{refund},{status},2024-05-11 09:00:00,{at},杯垫,1,1"
    order_list(
        shop,
        "list1.csv",
        row.format(paid="18.00", refund="0.00", status="卖家已发货", at="2024-05-11 09:01:00"),
    )
    run(warehouse, shop)
    assert money_of(warehouse, "310000000000000199") == [("松风", "MAT", "18.00", "0.00")]
    # a closed order's amount is set to 0: its total tells what it had been
    paid = "0.00" if status == "交易关闭" else "18.00"
    order_list(shop, "list2.csv", row.format(paid=paid, refund=refund, status=status, at=paid_at))
    run(warehouse, shop)
    assert money_of(warehouse, "310000000000000199") == expected


def test_an_order_that_turns_out_never_to_have_been_paid_leaves_nothing(tmp_path: Path) -> None:
    shop, warehouse = shop_with(tmp_path, "taobao_orders")
    row = "310000000000000199,松风,18.00,20.00,0.00,{status},2024-05-11 09:00:00,{at},杯垫,1,1"
    order_list(shop, "list1.csv", row.format(status="交易成功", at="2024-05-11 09:01:00"))
    run(warehouse, shop)
    assert len(lines_of(warehouse)) == 1
    order_list(shop, "list2.csv", row.format(status="交易关闭", at=""))
    run(warehouse, shop)
    assert lines_of(warehouse) == []


def test_an_unpaid_order_becomes_one_when_it_is_paid(tmp_path: Path) -> None:
    shop, warehouse = shop_with(tmp_path, "taobao_orders")
    row = "310000000000000199,松风,18.00,20.00,0.00,{status},2024-05-11 09:00:00,{at},杯垫,1,1"
    order_list(shop, "list1.csv", row.format(status="等待买家付款", at=""))
    assert run(warehouse, shop).loaded[0]["rows_unpaid"] == 1
    assert lines_of(warehouse) == []
    order_list(shop, "list2.csv", row.format(status="买家已付款，等待卖家发货", at="2024-05-11 09:01:00"))
    run(warehouse, shop)
    assert money_of(warehouse, "310000000000000199") == [("松风", "杯垫", "18.00", "0.00")]


@pytest.mark.parametrize("later", ["list", "lines"])
def test_a_list_without_payment_stops_its_lines_too(tmp_path: Path, later: str) -> None:
    """Paid lines of an order whose list says that it was closed unpaid: the list knows."""
    shop, warehouse = shop_with(tmp_path, "taobao_orders")
    row = "310000000000000101,青岚,0.00,59.90,0.00,交易关闭,2024-05-01 09:03:00,,陶瓷茶杯 白,1,1"
    order_list(shop, "3.csv" if later == "list" else "1.csv", row)
    land(shop, "taobao_items_old", "2.csv", "gbk")
    run(warehouse, shop)
    assert lines_of(warehouse) == []


@pytest.mark.parametrize("first", ["list", "lines"])
def test_a_youzan_order_list_and_its_line_file_are_one(tmp_path: Path, first: str) -> None:
    shop, warehouse = shop_with(tmp_path, "youzan")
    fixtures = {"list": "youzan_orders", "lines": "youzan_items"}
    for kind in sorted(fixtures, key=lambda one: one != first):
        land(shop, fixtures[kind], f"{kind}.csv", "utf-8-sig")
        run(warehouse, shop)
    only_listed = [row for row in table(YOUZAN_ORDERS) if row[0] != "E20240501090400002"]
    expected = sorted([*only_listed, *table(YOUZAN_ITEMS)], key=lambda row: row[0])
    assert lines_of(warehouse) == expected


# Through to the customers


def test_taobao_orders_become_customers(tmp_path: Path) -> None:
    """R, F and M by hand, from the table TAOBAO_BOTH."""
    shop, warehouse = shop_with(tmp_path, "taobao_orders")
    land(shop, "taobao_orders", "list.csv", "gbk")
    land(shop, "taobao_items_old", "lines.csv", "gbk")
    ingest(warehouse, shop)
    diagnose(warehouse, shop, [date(2024, 4, 29), date(2024, 5, 6)])
    rows = warehouse.read(
        "select customer_id, recency_days, frequency, monetary::varchar, last_order_at::varchar "
        "from customer_rfm where week = date '2024-05-06' order by customer_id"
    ).rows()
    assert rows == [
        # 114 has no key and stays out
        ("13800000008", 6, 1, "21.0000", "2024-05-07 10:30:00"),
        ("shan.gu@example.com", 6, 1, "20.0000", "2024-05-07 09:30:00"),
        ("听雨", 5, 2, "48.5000", "2024-05-08 12:30:00"),
        # the only order was closed after payment
        ("晚舟", 11, 0, "0.0000", "2024-05-02 12:00:00"),
        # 120 was given back in full
        ("松风", 4, 1, "39.0000", "2024-05-09 12:30:00"),
        ("石舍", 8, 2, "1358.9900", "2024-05-05 08:30:00"),
        ("竹影", 12, 1, "100.0000", "2024-05-01 09:04:00"),
        ("青岚", 10, 2, "108.9000", "2024-05-03 20:00:00"),
    ]
    before = warehouse.read(
        "select customer_id, frequency, monetary::varchar from customer_rfm "
        "where week = date '2024-04-29' order by customer_id"
    ).rows()
    assert before == [
        ("晚舟", 0, "0.0000"),
        ("松风", 1, "39.0000"),
        ("石舍", 2, "1358.9900"),
        ("竹影", 1, "100.0000"),
        ("青岚", 2, "108.9000"),
    ]
