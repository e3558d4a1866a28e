"""What of an export's money is a sale, what is given back of goods, and what is another currency's.

Each table is an export, a row an order or a line, and what the order lines must say of it, computed by hand.
"""

# ruff: noqa: E501 (a row of a table is a line)

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rfm_pipeline.ingest.checks import ORDER_LINES_CHECKS, RAW_ORDERS_CHECKS
from rfm_pipeline.ingest.loading import LoadReport, load_new_files, update_order_lines
from rfm_pipeline.ingest.presets import not_product_pattern
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.checks import Verdict, run_checks
from rfm_pipeline_tests.helpers import make_shop, small_warehouse
from rfm_pipeline_tests.ingest.shopify_exports import shopify_csv


def load(home: Path, text: str, preset: str, **orders: Any) -> tuple[Shop, LoadReport]:
    shop = make_shop(home, shop={"currency": "USD"}, orders={"preset": preset, **orders})
    (shop.orders_dir / "orders.csv").write_text(text, "utf-8")
    report = load_new_files(small_warehouse(shop), shop)
    update_order_lines(small_warehouse(shop), shop)
    return shop, report


def lines(shop: Shop) -> list[tuple[str, Decimal, Decimal, bool]]:
    return (
        small_warehouse(shop)
        .read(
            "select product_name, amount, refunded_amount, is_product from order_lines "
            "order by order_id, line_no"
        )
        .rows()
    )


def money(shop: Shop) -> dict[str, tuple[Decimal, Decimal]]:
    rows = small_warehouse(shop).read(
        "select order_id, sum(amount), sum(refunded_amount) from order_lines group by all order by all"
    )
    return {order: (amount, back) for order, amount, back in rows.iter_rows()}


def verdict(shop: Shop, name: str) -> Verdict:
    (check,) = [one for one in (*RAW_ORDERS_CHECKS, *ORDER_LINES_CHECKS) if one.name == name]
    with small_warehouse(shop).transaction() as session:
        (found,) = run_checks(session, [check], [], {})
    return found


# Shopify: refunds in goods


# what the export of an order of 100 shows, and what is given back of its goods
REFUNDS: list[tuple[str, dict[str, str], str]] = [
    ("half, with tax", {"Taxes": "20", "Total": "120", "Refunded Amount": "60"}, "50"),
    ("all, with tax", {"Taxes": "20", "Total": "120", "Refunded Amount": "120"}, "100"),
    ("to the cent", {"Taxes": "7.25", "Total": "107.25", "Refunded Amount": "10"}, "9.32"),
    ("tax stands inside", {"Taxes": "20", "Total": "100", "Refunded Amount": "60"}, "60"),
    ("the postage alone", {"Shipping": "15", "Total": "115", "Refunded Amount": "15"}, "0"),
    ("not the postage", {"Shipping": "15", "Total": "115", "Refunded Amount": "40"}, "40"),
    ("all and postage", {"Shipping": "15", "Total": "115", "Refunded Amount": "115"}, "100"),
    ("half of all", {"Shipping": "10", "Taxes": "20", "Total": "130", "Refunded Amount": "65"}, "50"),
    ("postage, taxed", {"Shipping": "10", "Taxes": "20", "Total": "130", "Refunded Amount": "10"}, "0"),
    ("no tax, no postage", {"Refunded Amount": "30"}, "30"),
]


def test_a_shopify_refund_is_scaled_to_goods(tmp_path: Path) -> None:
    rows = [{"Name": case, "Financial Status": "partially_refunded", **fields} for case, fields, _ in REFUNDS]
    shop, _ = load(tmp_path, shopify_csv(*rows), "shopify")
    assert money(shop) == {case: (100, Decimal(back)) for case, _, back in REFUNDS}


PARTS: list[tuple[str, dict[str, str], str]] = [
    ("a tenth", {"Outstanding Balance": "90"}, "10"),
    ("nearly all", {"Outstanding Balance": "0.01"}, "99.99"),
    ("not said", {"Outstanding Balance": ""}, "100"),
    ("half, with tax", {"Outstanding Balance": "60", "Taxes": "20", "Total": "120"}, "50"),
    ("more than the goods", {"Outstanding Balance": "5", "Shipping": "15", "Total": "115"}, "100"),
    ("nothing", {"Outstanding Balance": "100"}, "0"),
    # an imported order may say so and be paid
    ("paid", {"Outstanding Balance": "100", "Financial Status": "paid", "Paid at": ""}, "100"),
]


def test_of_a_partly_paid_order_counts_what_was_paid(tmp_path: Path) -> None:
    rows = [{"Name": case, "Financial Status": "partially_paid", **fields} for case, fields, _ in PARTS]
    shop, _ = load(tmp_path, shopify_csv(*rows), "shopify")
    assert money(shop) == {case: (Decimal(amount), 0) for case, _, amount in PARTS}


# What is no sale and no product


def extra(name: str, price: str, **fields: str) -> dict[str, str]:
    return {"Lineitem name": name, "Lineitem price": price, "Lineitem sku": "", **fields}


# Subtotal of an order of a mug for 100 and another line; that line's name, price, amount, whether it is a product
OTHER_LINES = [
    ("100", "Tip", "5", 0, False),
    ("100", "tips", "5", 0, False),
    ("150", "Digital Gift Card - $50", "50", 0, False),
    ("150", "Acme e-gift card", "50", 0, False),
    ("110", "Shipping protection by Rt", "10", 10, False),
    ("110", "Oak shelf - sample", "10", 10, False),
    ("110", "Deposit", "10", 10, False),
    ("110", "补差价", "10", 10, False),
    ("110", "Tip-top tea", "10", 10, True),
    ("110", "Gift box", "10", 10, True),
]


def test_lines_that_are_no_sale_or_no_product(tmp_path: Path) -> None:
    rows = [
        row
        for number, (subtotal, name, price, _, _) in enumerate(OTHER_LINES)
        for row in ({"Name": f"#{number}", "Subtotal": subtotal, "Total": subtotal}, extra(name, price))
    ]
    shop, _ = load(tmp_path, shopify_csv(*rows), "shopify")
    assert lines(shop) == [
        line
        for _, name, _, amount, is_product in OTHER_LINES
        for line in (("Mug", 100, 0, True), (name, amount, 0, is_product))
    ]


def test_a_gift_card_is_a_sale_when_its_owner_buys_with_it(tmp_path: Path) -> None:
    text = shopify_csv(
        {"Name": "#1", **extra("Gift card", "100")}, {"Name": "#2", "Payment Method": "gift_card"}
    )
    shop, _ = load(tmp_path, text, "shopify")
    assert money(shop) == {"#1": (0, 0), "#2": (100, 0)}


def test_orders_of_a_test_gateway_are_no_sales(tmp_path: Path) -> None:
    tests = ["(for testing) Bogus Gateway", "bogus gateway", "Bogus Gateway + gift_card"]
    sales = ["Shopify Payments", "", "manual"]
    rows = [{"Name": method or "none", "Payment Method": method} for method in (*tests, *sales)]
    shop, report = load(tmp_path, shopify_csv(*rows), "shopify")
    assert set(money(shop)) == {"Shopify Payments", "none", "manual"}
    assert report.loaded[0]["rows_unpaid"] == 3


TITLES = {
    "补差价专用链接": False,
    "邮费": False,
    "运费补拍": False,
    "赠品 茶匙": False,
    "【赠品】杯垫": False,
    "定金": False,
    "测试商品": False,
    "陶瓷茶杯 免运费": True,
    "茶具礼盒": True,
    "定制茶杯": True,
}


def test_chinese_titles_that_are_no_products(tmp_path: Path) -> None:
    orders = [(f"{n}", "20", "0", "20", "交易成功", title) for n, title in enumerate(TITLES)]
    shop, _ = load(tmp_path, taobao(*orders), "taobao_orders")
    assert {name: is_product for name, _, _, is_product in lines(shop)} == TITLES


def test_codes_of_no_products_may_hold_a_star_on_both_sides() -> None:
    assert not_product_pattern(["*fee*", "GIFT*", "m"]) == "^(.*FEE.*|GIFT.*|M)$"


# Taobao: net or gross, order by order


def taobao(*orders: tuple[str, str, str, str, str, str]) -> str:
    """An order list of (number, paid, refunded, total, status, title)."""
    header = "订单编号,买家会员名,总金额,买家实际支付金额,订单状态,订单创建时间,订单付款时间 ,宝贝标题 ,宝贝种类 ,宝贝总数量 ,退款金额"
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header.split(","))
    for number, paid, back, total, status, title in orders:
        day = "2024-05-01 09:00:00"
        writer.writerow([number, f"b{number}", total, paid, status, day, day, title, 1, 1, back])
    return out.getvalue()


# paid, refunded and total as the export gives them, the status; then the amount, and whether it was made gross
NET_OR_GROSS = [
    ("net", "80", "20", "100", "交易成功", 100, 20, True),
    ("net, mostly refunded", "30", "70", "100", "交易成功", 100, 70, True),
    ("net, wholly refunded, still an order", "0", "100", "100", "交易成功", 100, 100, True),
    ("gross", "100", "20", "100", "交易成功", 100, 20, False),
    ("gross, wholly refunded", "100", "100", "100", "交易成功", 100, 100, False),
    ("net, half", "50", "50", "100", "卖家已发货，等待买家确认", 100, 50, True),
    ("gross, points took 5", "95", "20", "100", "交易成功", 95, 20, False),
    ("net: more back than paid", "10", "30", "", "交易成功", 40, 30, True),
    ("closed after payment", "0", "0", "100", "交易关闭", 100, 100, False),
    ("no refund", "100", "", "100", "交易成功", 100, 0, False),
]


def test_taobao_amounts_are_net_or_gross_order_by_order(tmp_path: Path) -> None:
    orders = [
        (case, paid, back, total, status, "茶杯") for case, paid, back, total, status, *_ in NET_OR_GROSS
    ]
    shop, report = load(tmp_path, taobao(*orders), "taobao_orders")
    assert money(shop) == {case: (amount, back) for case, *_, amount, back, _ in NET_OR_GROSS}
    assert report.loaded[0]["amounts_made_gross"] == sum(was_net for *_, was_net in NET_OR_GROSS)


# Currencies


def test_rows_in_another_currency_are_rejected_and_counted(tmp_path: Path) -> None:
    rows = [
        {"Name": currency, "Currency": currency} for currency in ("USD", "usd ", "JPY", "CNY", "EUR", "US$")
    ]
    shop, report = load(tmp_path, shopify_csv(*rows, {"Name": "none", "Currency": ""}), "shopify")
    assert set(money(shop)) == {"USD", "usd", "none"}
    (batch,) = report.loaded
    assert (batch["rows_other_currency"], batch["currency"]) == (4, "USD")
    found = verdict(shop, "one_currency")
    assert (found.passed, found.check.blocking) == (False, True)


def test_the_spellings_of_a_currency_are_one(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, orders={"preset": "shopify"})
    words = ["RMB", "人民币", "cny", "￥"]
    text = shopify_csv(*({"Name": word, "Currency": word} for word in words))
    (shop.orders_dir / "orders.csv").write_text(text, "utf-8")
    load_new_files(small_warehouse(shop), shop)
    update_order_lines(small_warehouse(shop), shop)
    assert len(money(shop)) == 4


def test_a_few_rows_in_another_currency_do_not_block(tmp_path: Path) -> None:
    rows = [{"Name": f"#{n}", "Currency": "JPY" if n == 0 else "USD"} for n in range(10)]
    shop, _ = load(tmp_path, shopify_csv(*rows), "shopify")
    assert verdict(shop, "one_currency").passed


def test_without_a_shops_currency_that_of_the_first_export_counts(tmp_path: Path) -> None:
    first = shopify_csv({"Name": "#1", "Currency": "EUR"}, {"Name": "#2", "Currency": "EUR"}, {"Name": "#3"})
    shop, report = load(tmp_path, first, "shopify", currency="auto")
    assert (sorted(money(shop)), report.loaded[0]["currency"]) == (["#1", "#2"], "EUR")
    (shop.orders_dir / "next.csv").write_text(
        shopify_csv({"Name": "#4"}, {"Name": "#5"}, {"Name": "#6", "Currency": "EUR"}), "utf-8"
    )
    load_new_files(small_warehouse(shop), shop)
    update_order_lines(small_warehouse(shop), shop)
    assert sorted(money(shop)) == ["#1", "#2", "#6"]


# Cash on delivery

COD = {"Financial Status": "pending", "Paid at": "", "Payment Method": "Cash on Delivery (COD)"}


DELIVERIES: dict[str, dict[str, str]] = {
    "delivered": COD,
    "by deposit": {**COD, "Payment Method": "Bank Deposit"},
    "on its way": {**COD, "Fulfillment Status": "unfulfilled"},
    "cancelled": {**COD, "Cancelled at": "2026-03-05 10:00:00 +0800"},
    "voided": {**COD, "Financial Status": "voided"},
    "paid": {**COD, "Financial Status": "paid"},
    "a test": {**COD, "Payment Method": "Bogus Gateway"},
}


@pytest.mark.parametrize(
    ("methods", "paid", "waiting", "named"),
    [
        ([], {"paid"}, 2, '"Bank Deposit", "Cash on Delivery (COD)"'),
        (["Cash on Delivery (COD)"], {"paid", "delivered"}, 1, '"Bank Deposit"'),
        (["*cod*"], {"paid", "delivered"}, 1, '"Bank Deposit"'),
        (["*"], {"paid", "delivered", "by deposit"}, 0, ""),
    ],
)
def test_delivered_orders_paid_on_delivery(
    tmp_path: Path, methods: list[str], paid: set[str], waiting: int, named: str
) -> None:
    rows = [
        row for name, fields in DELIVERIES.items() for row in ({"Name": name, **fields}, extra("Mat", "0"))
    ]
    shop, report = load(tmp_path, shopify_csv(*rows), "shopify", paid_on_delivery=methods)
    assert set(money(shop)) == paid
    (batch,) = report.loaded
    assert (batch["unpaid_delivered_orders"], batch["unpaid_delivered_amount"]) == (waiting, 100 * waiting)
    found = verdict(shop, "delivered_orders_are_paid")
    assert (found.passed, found.check.blocking) == (not waiting, False)
    assert found.figures["counted_by"] == f"orders.paid_on_delivery: [{named}]"


def test_an_export_with_all_of_it(tmp_path: Path) -> None:
    text = shopify_csv(
        {
            "Name": "#3001",
            "Taxes": "20.00",
            "Total": "120.00",
            "Refunded Amount": "60.00",
            "Financial Status": "partially_refunded",
            "Lineitem price": "50.00",
        },
        {"Lineitem name": "Cup", "Lineitem price": "50.00", "Lineitem sku": "CUP"},
        {
            "Name": "#3002",
            "Shipping": "15.00",
            "Total": "115.00",
            "Refunded Amount": "15.00",
            "Financial Status": "partially_refunded",
        },
        {"Name": "#3003"},
        {"Name": "#3004", "Currency": "JPY", "Subtotal": "14000.00", "Total": "14000.00"},
        {
            "Name": "#3005",
            "Financial Status": "partially_paid",
            "Outstanding Balance": "900.00",
            "Subtotal": "1000.00",
            "Total": "1000.00",
            "Lineitem price": "1000.00",
        },
        {"Name": "#3006", "Subtotal": "44.99", "Total": "47.24", "Lineitem price": "44.99"},
        extra("Tip", "2.25"),
        {"Name": "#3007", **extra("Digital gift card - $100", "100.00")},
        {"Name": "#3008", "Payment Method": "gift_card"},
        {"Name": "#3009", "Subtotal": "80.00", "Total": "80.00", **COD},
        {"Name": "#3010", "Payment Method": "(for testing) Bogus Gateway"},
    )
    shop, _ = load(tmp_path, text, "shopify")
    assert money(shop) == {
        "#3001": (100, 50),
        "#3002": (100, 0),
        "#3003": (100, 0),
        "#3005": (100, 0),
        "#3006": (Decimal("44.99"), 0),
        "#3007": (0, 0),
        "#3008": (100, 0),
    }
