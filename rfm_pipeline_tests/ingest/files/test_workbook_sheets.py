"""Workbooks whose orders, lines and shipments are on sheets of their own, joined by order number."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.loading import load_new_orders, update_order_lines
from rfm_pipeline.ingest.presets import load_family
from rfm_pipeline.ingest.report import check_file
from rfm_pipeline_tests.helpers import make_shop, small_warehouse
from rfm_pipeline_tests.ingest.files.test_formats import Rows, as_xls, as_xlsx, as_zip, rows_of

ORDERS: Rows = [
    [
        "订单编号",
        "买家会员名",
        "买家实际支付金额",
        "总金额",
        "订单状态",
        "订单创建时间",
        "订单付款时间",
        "宝贝标题",
    ],
    [
        "301",
        "会员一",
        "50.00",
        "50.00",
        "交易成功",
        "2024-05-01 09:03:00",
        "2024-05-01 09:04:00",
        "茶壶，茶杯",
    ],
    ["302", "会员二", "20.00", "20.00", "交易成功", "2024-05-02 10:00:00", "2024-05-02 10:01:00", "茶杯"],
    ["303", "会员三", "0.00", "10.00", "等待买家付款", "2024-05-03 10:00:00", "", "茶杯"],
]
LINES: Rows = [
    ["订单编号", "标题", "价格", "购买数量", "商家编码"],
    ["301", "茶壶", "40.00", "1", "POT"],
    ["301", "茶杯", "10.00", "1", "CUP"],
    ["302", "茶杯", "10.00", "2", "CUP"],
]
SHIPMENTS: Rows = [
    ["订单编号", "物流公司", "收货人姓名", "联系手机"],
    ["301", "顺丰", "张三", "13800000001"],
    ["302", "中通", "李四", "13800000002"],
]
THREE = {"订单报表": ORDERS, "销售明细": LINES, "发货报表": SHIPMENTS}


def loaded(
    folder: Path, name: str, content: bytes, preset: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The order lines and the batch that a file in a shop's folder gives."""
    shop = make_shop(folder / "home", orders={"preset": preset})
    (shop.orders_dir / name).write_bytes(content)
    warehouse = small_warehouse(shop)
    (batch,) = load_new_orders(warehouse, shop).loaded
    update_order_lines(warehouse, shop)
    return warehouse.read("select * from order_lines order by order_id, sku").to_dicts(), batch


WORKBOOKS: dict[str, Callable[[], bytes]] = {
    "千牛.xlsx": lambda: as_xlsx(THREE),
    "千牛.xls": lambda: as_xls(THREE),
    "千牛.zip": lambda: as_zip({"千牛.xlsx": as_xlsx(THREE)}),
    "lines first.xlsx": lambda: as_xlsx(dict(reversed(THREE.items()))),
    "remarks.xlsx": lambda: as_xlsx(
        {name: [["导出时间：2024-05-05"], *rows] for name, rows in THREE.items()}
    ),
}


@pytest.mark.parametrize("name", WORKBOOKS)
def test_orders_lines_and_shipments_are_joined_by_number(tmp_path: Path, name: str) -> None:
    lines, batch = loaded(tmp_path, name, WORKBOOKS[name](), "taobao_orders")
    assert [
        (line["order_id"], line["sku"], line["customer_id"], line["quantity"], line["amount"])
        for line in lines
    ] == [
        ("301", "CUP", "会员一", 1, Decimal(10)),
        ("301", "POT", "会员一", 1, Decimal(40)),
        ("302", "CUP", "会员二", 2, Decimal(20)),
    ]
    assert {line["ordered_at"] for line in lines} == {datetime(2024, 5, 1, 9, 3), datetime(2024, 5, 2, 10)}
    assert (batch["rows_read"], batch["rows_accepted"], batch["rows_unpaid"]) == (6, 5, 1)
    assert batch["rows_without_customer"] == 0


def test_an_order_sheet_without_titles_takes_them_from_the_lines(tmp_path: Path) -> None:
    orders = [row[:-1] for row in ORDERS]
    lines, _ = loaded(tmp_path, "a.xlsx", as_xlsx({**THREE, "订单报表": orders}), "taobao_orders")
    assert [line["amount"] for line in lines] == [Decimal(10), Decimal(40), Decimal(20)]


def test_a_shipment_sheet_adds_the_buyers_address(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(as_xlsx(THREE))
    rows = rows_of(tmp_path / "a.xlsx", "taobao_orders").filter(row_kind="order")
    assert rows["phone"].to_list() == ["13800000001", "13800000002", None]
    assert rows["name"].to_list() == ["张三", "李四", None]


def test_lines_of_our_own_layout_take_buyer_and_time_from_another_sheet(tmp_path: Path) -> None:
    orders = [["Order ID", "Customer ID", "Ordered At"], ["7", "anna", "2024-01-03 10:00:00"]]
    lines = [["order_id", "sku", "quantity", "unit_price"], ["7", "TEA", "2", "2.5"], ["7", "CUP", "1", "9"]]
    (tmp_path / "a.xlsx").write_bytes(as_xlsx({"orders": orders, "lines": lines}))
    rows = rows_of(tmp_path / "a.xlsx")
    assert rows["customer_id"].to_list() == ["anna", "anna"]
    assert rows["ordered_at"].to_list() == [datetime(2024, 1, 3, 10)] * 2
    assert rows["amount"].to_list() == [Decimal(5), Decimal(9)]


YEARS = ["order_id", "customer_id", "ordered_at", "sku", "quantity", "unit_price"]


def test_sheets_of_one_kind_are_read_one_after_another(tmp_path: Path) -> None:
    sheets = {
        "2023": [
            YEARS,
            ["1", "anna", "2023-01-03", "TEA", "2", "2.5"],
            ["2", "bert", "never", "TEA", "2", "2.5"],
        ],
        "2024": [YEARS, ["3", "anna", "2024-01-03", "TEA", "x", "2.5"]],
    }
    (tmp_path / "a.xlsx").write_bytes(as_xlsx(sheets))
    rows = rows_of(tmp_path / "a.xlsx")
    assert rows["row_no"].to_list() == [1, 2, 3]
    assert rows["reason"].to_list() == [
        None,
        "ordered_at is no date and time (sheet 2023)",
        "quantity is no number (sheet 2024)",
    ]


def test_an_order_in_two_sheets_of_one_kind_is_refused(tmp_path: Path) -> None:
    rows = [YEARS, ["1", "anna", "2023-01-03", "TEA", "2", "2.5"]]
    (tmp_path / "a.xlsx").write_bytes(as_xlsx({"orders": rows, "copy": rows}))
    with pytest.raises(OrderFileError, match="1 orders of the sheet 'copy' are in an earlier sheet"):
        rows_of(tmp_path / "a.xlsx")


def test_a_check_names_every_sheet_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(as_xlsx(THREE))
    check = check_file(tmp_path / "a.xlsx", load_family("taobao_orders"), "Asia/Shanghai")
    assert check.layout == (
        "sheet 订单报表 (taobao_orders), columns of sheet 发货报表; sheet 销售明细 (taobao_items)"
    )
    assert check.mapping["unit_price"] == "价格"
    assert check.mapping["phone"] == "联系手机"
    assert check.rows == {"accepted": 5, "unpaid": 1, "rejected": 0}
